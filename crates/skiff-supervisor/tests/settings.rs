//! Each variable, by what two of its values do.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Device, FakeRunner, Server, World, problem};
use skiff_protocol::{ServerAddress, Tls, Token};
use skiff_supervisor::{Checked, Event, Failure, HttpFetch, HttpOptions, LocalVariables, Parts, Supervisor};
use skiff_testkit::HttpAnswer;

/// What came of it with a variable set so, and what was told.
fn with(variable: &str, value: &str, prepare: impl Fn(&Server)) -> (Checked, Vec<Event>) {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.set(variable, value);
    prepare(&server);
    let device = Device::new(&world, &server.address(), world.options());
    let checked = device.check();
    (checked, device.events())
}

fn fell_back(events: &[Event]) -> Option<Failure> {
    events.iter().find_map(|event| match event {
        Event::FallBack { failure, .. } => Some(*failure),
        _ => None,
    })
}

#[test]
fn delta() {
    let (checked, events) = with("", "1", |_| {});
    assert_eq!((checked, fell_back(&events)), (Checked::Updated { by_delta: true }, None));
    // Without deltas, a pull is no fall-back.
    let (checked, events) = with("", "0", |_| {});
    assert_eq!((checked, fell_back(&events)), (Checked::Updated { by_delta: false }, None));
}

#[test]
fn request_timeout() {
    let slow = |server: &Server| {
        server.state().always =
            Some(Box::new(|_| Some(problem(409, "refused").delay(Duration::from_secs(1)))));
    };
    let (_, events) = with("_REQUEST_TIMEOUT", "150", slow);
    assert_eq!(fell_back(&events), Some(Failure::TimedOut));
    let (_, events) = with("_REQUEST_TIMEOUT", "30000", slow);
    assert_eq!(fell_back(&events), Some(Failure::Refused));
}

#[test]
fn apply_timeout() {
    let slow = |server: &Server| {
        let pending = HttpAnswer::new(202).body(r#"{"stage": "waiting", "done": 0, "total": 0}"#);
        let pending = pending.delay(Duration::from_millis(300));
        server.state().next.push_back(pending);
    };
    let (_, events) = with("_APPLY_TIMEOUT", "200", slow);
    assert_eq!(fell_back(&events), Some(Failure::ApplyTimedOut));
    let (checked, events) = with("_APPLY_TIMEOUT", "0", slow);
    assert_eq!((checked, fell_back(&events)), (Checked::Updated { by_delta: true }, None));
}

#[test]
fn retry_count() {
    let failing = |server: &Server| server.state().next.extend((0..3).map(|_| problem(503, "busy")));
    let (_, events) = with("_RETRY_COUNT", "2", failing);
    assert_eq!(fell_back(&events), Some(Failure::ServerError));
    let (checked, events) = with("_RETRY_COUNT", "3", failing);
    assert_eq!((checked, fell_back(&events)), (Checked::Updated { by_delta: true }, None));
    // The device's own prefix is not the only one.
    let (_, events) = with("_RETRY_COUNT", "3", |server| {
        failing(server);
        let mut state = server.state();
        state.variables.remove("SKIFF_SUPERVISOR_DELTA_RETRY_COUNT");
        state.variables.insert("BALENA_SUPERVISOR_DELTA_RETRY_COUNT".into(), "0".into());
        state.variables.insert("RESIN_SUPERVISOR_DELTA_RETRY_COUNT".into(), "9".into());
    });
    assert_eq!(fell_back(&events), Some(Failure::ServerError));
}

#[test]
fn retry_interval() {
    for interval in [20, 200] {
        let failing = |server: &Server| server.state().next.extend((0..2).map(|_| problem(503, "busy")));
        let (checked, events) = with("_RETRY_INTERVAL", &interval.to_string(), failing);
        assert_eq!(checked, Checked::Updated { by_delta: true });
        let waits = events.iter().filter_map(|event| match event {
            Event::Retry { wait_ms, .. } => Some(*wait_ms),
            _ => None,
        });
        let waits: Vec<u64> = waits.collect();
        // Twice as long the second time, and less by chance.
        assert!((interval / 2..=interval).contains(&waits[0]), "{waits:?}");
        assert!((interval..=interval * 2).contains(&waits[1]), "{waits:?}");
    }
}

#[test]
fn version() {
    for version in ["2", "3"] {
        let (checked, events) = with("_VERSION", version, |_| {});
        assert_eq!((checked, fell_back(&events)), (Checked::Updated { by_delta: true }, None));
    }
}

#[test]
fn wrong_values_are_told_once_and_their_defaults_count() {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.set("", "perhaps");
    let device = Device::new(&world, &server.address(), world.options());
    // By default, deltas are not asked for.
    assert_eq!(device.check(), Checked::Updated { by_delta: false });
    let wrong = |event: &&Event| matches!(event, Event::WrongValue { .. });
    let told = device.events();
    let told: Vec<&Event> = told.iter().filter(wrong).collect();
    let [Event::WrongValue { name, value, takes }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&name[..], &value[..], &takes[..]), ("SKIFF_SUPERVISOR_DELTA", "perhaps", "0 or 1"));
    device.check();
    assert_eq!(device.events().iter().filter(wrong).count(), 1);
}

#[test]
fn what_is_set_on_the_device_counts_until_the_server_says_otherwise_and_that_counts_when_it_is_gone() {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.state().variables.clear();
    let device = || {
        let address = ServerAddress::parse(&format!("http://{}", server.address()), Tls::Required).unwrap();
        let fetch =
            HttpFetch::new(address, Token::parse("secret").unwrap(), &HttpOptions::default()).unwrap();
        let local = [("RESIN_SUPERVISOR_DELTA".to_owned(), "1".to_owned())];
        let parts = Parts {
            store: world.store(),
            fetch: Box::new(fetch),
            runner: Box::new(FakeRunner::default()),
            local: LocalVariables::new(local),
            observer: Box::new(|_| {}),
        };
        Supervisor::new(parts, world.options()).unwrap()
    };
    assert!(device().settings().is_delta_enabled);
    server.set("", "0");
    server.state().release = world.old;
    assert_eq!(device().check(&Default::default()).unwrap(), Checked::UpToDate);
    // Without asking the server again.
    assert!(!device().settings().is_delta_enabled);
}
