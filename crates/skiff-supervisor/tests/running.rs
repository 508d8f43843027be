//! A supervisor that runs, with all its threads.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Device, Server, World, problem, until};
use skiff_apply::ErrorClass;
use skiff_protocol::Phase;
use skiff_supervisor::{Event, OnExit};
use skiff_testkit::HttpAnswer;

/// Runs a supervisor while something is done.
fn while_running(device: &Device, work: impl FnOnce()) {
    let cancel = AtomicBool::new(false);
    /// Ends it where the test fails, too.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let running = scope.spawn(|| device.supervisor.run(&cancel));
        let end = End(&cancel);
        work();
        drop(end);
        running.join().unwrap().unwrap();
    });
}

#[test]
fn a_store_has_one_supervisor() {
    let world = World::new(1000);
    let server = Server::new(&world);
    let device = Device::new(&world, &server.address(), world.options());
    let refused = world.store().claim().unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Busy, "{refused}");
    drop(device);
    let _claim = world.store().claim().unwrap();
}

#[test]
fn an_update_is_brought_reported_and_kept_running() {
    let world = World::new(100_000);
    let server = Server::new(&world);
    let device = Device::new(&world, &server.address(), world.options());
    while_running(&device, || {
        until("the update", || device.told().contains(&"updated".into()));
        until("the report", || {
            let state = server.state();
            let last = state.reports.last().unwrap();
            last.running.unwrap().0 == world.new
                && last.outcome.as_ref().is_some_and(|outcome| outcome.succeeded)
                && last.phase == Phase::Idle
        });
        let state = server.state();
        let capabilities = state.reports[0].capabilities.as_ref().unwrap();
        assert!(!capabilities.codecs.is_empty() && capabilities.decoder_memory.is_some());
        drop(state);
        // What ends is started again.
        let mut ran = device.runner.ran();
        (ran.running, ran.ended) = (None, Some(world.new));
        drop(ran);
        until("it runs again", || device.runner.ran().running == Some(world.new));
    });
    // It was stopped at the end.
    assert_eq!(device.runner.ran().running, None);
    assert!(device.told().contains(&"online".into()));
}

#[test]
fn a_program_may_outlive_its_supervisor() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let mut options = world.options();
    options.on_exit = OnExit::LeaveRunning;
    let device = Device::new(&world, &server.address(), options);
    while_running(&device, || until("the update", || device.told().contains(&"updated".into())));
    assert_eq!(device.runner.ran().running, Some(world.new));
}

#[test]
fn another_target_ends_the_work_towards_the_one_before() {
    let world = World::new(2000);
    let server = Server::new(&world);
    // The delta to this one is made for ever.
    server.state().always = Some(Box::new(|_| {
        Some(
            HttpAnswer::new(202)
                .header("retry-after", "600")
                .body(r#"{"stage": "waiting", "done": 0, "total": 0}"#),
        )
    }));
    let device = Device::new(&world, &server.address(), world.options());
    while_running(&device, || {
        until("the delta is asked for", || server.deltas_asked() == 1);
        server.state().release = world.old;
        until("it is idle", || {
            let report = device.supervisor.report();
            report.phase == Phase::Idle && report.target.is_none()
        });
        // And back, where it can be had now.
        (server.state().always, server.state().release) = (None, world.new);
        until("the update", || device.told().contains(&"updated".into()));
    });
    assert!(!device.told().contains(&"alarm".into()), "{:#?}", device.events());
}

#[test]
fn an_update_that_was_given_up_is_begun_again_after_a_pause() {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.state().always = Some(Box::new(|_| Some(problem(409, "pull-cheaper"))));
    server.state().has_image = false;
    let device = Device::new(&world, &server.address(), world.options());
    while_running(&device, || {
        until("the alarm", || device.told().contains(&"alarm".into()));
        assert!(device.supervisor.report().outcome.is_some_and(|outcome| !outcome.succeeded));
        server.state().has_image = true;
        until("the update", || device.told().contains(&"updated".into()));
    });
    let again = |event: &Event| matches!(event, Event::Alarm { again_after_s: Some(_), .. });
    assert!(device.events().iter().any(again));
}

#[test]
fn a_server_that_is_down_is_asked_again_and_what_runs_goes_on() {
    let world = World::new(2000);
    let address = {
        let server = Server::new(&world);
        server.address()
    };
    let device = Device::new(&world, &address, world.options());
    while_running(&device, || {
        until("it is told", || device.told().contains(&"offline".into()));
        assert_eq!(device.runner.ran().running, Some(world.old));
    });
}

#[test]
fn a_server_that_waits_for_a_change_is_no_server_that_is_silent() {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.set("_REQUEST_TIMEOUT", "200");
    server.state().waits = true;
    server.state().release = world.old;
    let mut options = world.options();
    options.poll = Duration::from_secs(20);
    let device = Device::new(&world, &server.address(), options);
    let polls = || {
        let requests = server.registry.requests();
        requests.iter().filter(|request| request.path == "/v1/device/target").count()
    };
    while_running(&device, || until("several polls", || polls() >= 3));
    assert_eq!(device.told().iter().filter(|name| *name == "offline").count(), 0, "{:#?}", device.events());
}

#[test]
fn an_observer_that_panics_and_a_runner_that_fails_do_not_end_it() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let device = Device::panicking(&world, &server.address(), world.options());
    device.runner.ran().failing = 10;
    while_running(&device, || {
        until("the update", || {
            let outcome = device.supervisor.report().outcome;
            outcome.is_some_and(|outcome| outcome.succeeded) && device.runner.ran().running == Some(world.new)
        });
    });
}

#[test]
fn it_ends_soon_whatever_it_waits_for() {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.state().always = Some(Box::new(|_| Some(HttpAnswer::none().delay(Duration::from_secs(50)))));
    let device = Device::new(&world, &server.address(), world.options());
    let begun = std::time::Instant::now();
    while_running(&device, || until("the delta is asked for", || server.deltas_asked() == 1));
    // Sooner than the answer comes, or the time for it ends.
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}
