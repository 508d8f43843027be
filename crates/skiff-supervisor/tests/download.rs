//! A delta that comes over a bad connection, and a device that goes on where it was.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Device, FakeRunner, Server, World, get, until};
use skiff_fs::Control;
use skiff_supervisor::{Checked, Event, Failure, HttpOptions, SupervisorError};
use skiff_testkit::{FlakyProxy, HttpAnswer};

/// What the heads of requests and answers take, with what is asked beside the delta, for each connection.
const HEADS: u64 = 3000;

#[test]
fn cuts_cost_nothing_but_the_heads_of_requests() {
    let world = World::new(1 << 20);
    let server = Server::new(&world);
    let proxy = FlakyProxy::start(&server.address(), 64 << 10);
    let device = Device::new(&world, &proxy.address(), world.options());
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
    assert_eq!(world.current(), world.new);
    let (cuts, size) = (proxy.cuts(), world.delta.len() as u64);
    assert!(cuts >= size / (64 << 10), "{cuts} cuts");
    assert!(proxy.bytes_down() <= size + (cuts + 3) * HEADS, "{} for {size}", proxy.bytes_down());
    let told = device
        .events()
        .iter()
        .filter(|event| matches!(event, Event::Retry { failure: Failure::Stalled, .. }))
        .count();
    assert!(told as u64 >= cuts - 1, "{told} retries were told, and there were {cuts} cuts");
    let received = device.supervisor.report().outcome.unwrap().received;
    assert_eq!(received, size, "what was received is told");
}

#[test]
fn a_supervisor_that_is_ended_goes_on_where_it_was() {
    let world = World::new(12 << 20);
    let size = world.delta.len();
    let server = Server::new(&world);
    // Ends after two thirds.
    let most = size * 2 / 3;
    let first = server.state().delta(&get()).cut_after(most);
    server.state().next.push_back(first);
    let silent = HttpAnswer::none().delay(Duration::from_secs(20));
    server.state().next.push_back(silent);
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: Some(&cancel), ..Control::default() };
    let device = Device::new(&world, &server.address(), world.options());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until("the cut", || server.deltas_asked() == 2);
            cancel.store(true, Ordering::Relaxed);
            device.supervisor.interrupt();
        });
        let error = device.supervisor.check(&control).unwrap_err();
        assert!(matches!(error, SupervisorError::Interrupted(_)), "{error}");
    });
    drop(device);
    let staged = world.store().status().unwrap().staged.unwrap();
    assert_eq!(staged.release, world.new);

    let device = Device::new(&world, &server.address(), world.options());
    device.supervisor.start(&Control::default()).unwrap();
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
    let resumed = Event::Resumed { offset: staged.resume_offset };
    assert!(device.events().contains(&resumed), "{:#?}", device.events());
    // The header alone is asked for, then what is missing.
    let asked = server.state().asked.clone();
    let ranges: Vec<_> = asked[2..].iter().map(|request| request.header("range").unwrap()).collect();
    let header = format!("bytes=0-{}", staged.header_bytes - 1);
    assert_eq!(ranges, [&header[..], &format!("bytes={}-", staged.resume_offset)]);
    assert_eq!(asked[3].header("if-range"), Some("\"one\""));
    // What came twice is the header, and what came after the last checkpoint.
    let received = device.supervisor.report().outcome.unwrap().received;
    let twice = received - size as u64;
    let allowed = staged.header_bytes + (most as u64 - staged.resume_offset);
    assert!(twice <= allowed, "{twice} bytes came twice, and {allowed} had to");
}

#[test]
fn another_delta_after_a_restart_starts_over() {
    let world = World::new(12 << 20);
    let server = Server::new(&world);
    let half = world.delta.len() / 2;
    let first = server.state().delta(&get()).cut_after(half);
    server.state().next.push_back(first);
    server.state().always = Some(Box::new(|_| Some(HttpAnswer::new(500))));
    server.state().has_image = false;
    let device = Device::new(&world, &server.address(), world.options());
    assert!(matches!(device.check(), Checked::GivenUp { .. }));
    assert!(world.store().status().unwrap().staged.is_some());
    // The same delta under another name is the same delta, as its header says.
    server.state().always = None;
    server.state().etag = "\"two\"".into();
    assert_eq!(device.check(), Checked::Updated { by_delta: true });
    assert!(device.told().contains(&"resumed".to_owned()));

    // Another one is not gone on with.
    let world = World::new(12 << 20);
    let server = Server::new(&world);
    let first = server.state().delta(&get()).cut_after(half);
    server.state().next.push_back(first);
    server.state().always = Some(Box::new(|_| Some(HttpAnswer::new(500))));
    server.state().has_image = false;
    let device = Device::new(&world, &server.address(), world.options());
    assert!(matches!(device.check(), Checked::GivenUp { .. }));
    let level = skiff::diff::Level::Fast;
    let max_decoder_memory = Some(12 << 20);
    let options = skiff::diff::Options { level, max_decoder_memory, ..Default::default() };
    let images = world.directory.path().join("images");
    let of = |tag: &str| format!("oci:{}:{tag}", images.display()).parse().unwrap();
    let mut other = std::io::Cursor::new(Vec::new());
    skiff::diff(&of("1"), &of("2"), &options, &mut other).unwrap();
    assert_ne!(other.get_ref(), &world.delta);
    (server.state().always, server.state().delta) = (None, other.into_inner());
    assert_eq!(device.check(), Checked::Updated { by_delta: true });
    assert!(!device.told().contains(&"resumed".to_owned()));
    assert_eq!(world.current(), world.new);
}

#[test]
fn a_delta_that_is_signed_during_its_download_starts_over() {
    let world = World::new(12 << 20);
    let signer = skiff_keys::PrivateKey::generate("").unwrap();
    let mut signed = Vec::new();
    skiff_keys::sign(&world.delta[..], &mut signed, &[signer]).unwrap();
    // Before there is a checkpoint, and behind some.
    for (most, is_staged) in [(300_000, false), (world.delta.len() * 2 / 3, true)] {
        let world = World::new(12 << 20);
        let server = Server::new(&world);
        {
            let mut state = server.state();
            let cut = state.delta(&get()).cut_after(most);
            state.next.push_back(cut);
            // From then on, frames begin elsewhere.
            (state.delta, state.etag) = (signed.clone(), "\"two\"".into());
        }
        let device = Device::new(&world, &server.address(), world.options());
        assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
        assert_eq!(world.current(), world.new);
        let verified = world.store().verify(&skiff::apply::Options::rootless()).unwrap();
        assert!(verified.mismatches.is_empty(), "{verified:?}");
        // What was missing of the first delta is not taken from the second, whose first byte is asked for next.
        let asked = server.state().asked.clone();
        let told = |header| -> Vec<_> { asked.iter().map(|request| request.header(header)).collect() };
        assert_eq!(told("if-range")[..3], [None, Some("\"one\""), None]);
        assert!(told("range")[2].is_none_or(|range| range.starts_with("bytes=0-")), "{:?}", told("range"));
        let changed = |event: &Event| matches!(event, Event::Retry { failure: Failure::Changed, .. });
        assert_eq!(device.events().into_iter().filter(changed).count(), 1, "{:#?}", device.events());
        // Then, what comes behind the last checkpoint.
        let resumed = device.events().into_iter().find_map(|event| match event {
            Event::Resumed { offset } => Some(format!("bytes={offset}-")),
            _ => None,
        });
        assert_eq!(resumed.is_some(), is_staged);
        assert_eq!(told("range").last().copied().flatten(), resumed.as_deref());
    }
}

#[test]
fn a_server_without_ranges_is_heard_from_the_start() {
    let world = World::new(200_000);
    let server = Server::new(&world);
    let (delta, size) = (world.delta.clone(), world.delta.len().to_string());
    let asked = std::sync::atomic::AtomicUsize::new(0);
    server.state().always = Some(Box::new(move |_| {
        let answer = HttpAnswer::new(200).header("skiff-delta-size", size.clone()).body(&delta[..]);
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        Some(if is_first { answer.cut_after(delta.len() / 2) } else { answer })
    }));
    let device = Device::new(&world, &server.address(), world.options());
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
}

#[test]
fn deltas_that_lie_elsewhere_are_fetched_without_the_token() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let delta = world.delta.clone();
    let elsewhere = skiff_testkit::HttpServer::start(move |request| {
        assert_eq!(request.header("authorization"), None);
        HttpAnswer::new(200).body(&delta[..])
    });
    let location = format!("http://{}/there", elsewhere.address());
    server.state().always =
        Some(Box::new(move |_| Some(HttpAnswer::new(303).header("location", location.clone()))));
    let device = Device::new(&world, &server.address(), world.options());
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
}

#[test]
fn no_more_bytes_come_in_a_second_than_were_granted() {
    let world = World::new(100_000);
    let server = Server::new(&world);
    for is_delta in ["1", "0"] {
        server.set("", is_delta);
        let world = World::new(100_000);
        let http = HttpOptions::default().with_bytes_per_second(200_000);
        let device = Device::with_http(
            world.store(),
            FakeRunner::default(),
            &server.address(),
            world.options(),
            &http,
        );
        let begun = Instant::now();
        assert!(matches!(device.check(), Checked::Updated { .. }), "{:#?}", device.events());
        // A lower bound holds on any machine.
        assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    }
}

#[test]
fn room_is_asked_for_before_anything_comes() {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.set("", "0");
    server.state().image_bytes = 1 << 60;
    let device = Device::new(&world, &server.address(), world.options());
    let checked = device.check();
    assert!(matches!(checked, Checked::GivenUp { failure: Failure::NoSpace, .. }), "{checked:?}");
    assert!(!server.registry.requests().iter().any(|request| request.path.starts_with("/v2/")));
}

#[test]
fn phases_and_bytes_are_told() {
    let world = World::new(200_000);
    let server = Server::new(&world);
    server
        .state()
        .next
        .push_back(HttpAnswer::new(202).body(r#"{"stage": "comparing", "done": 5, "total": 10}"#));
    let device = Device::new(&world, &server.address(), world.options());
    assert_eq!(device.check(), Checked::Updated { by_delta: true });
    let mut phases = Vec::new();
    let mut furthest = 0;
    for event in device.all_events() {
        match event {
            Event::Phase { phase, .. } => phases.push(serde_json::to_value(phase).unwrap()),
            Event::Progress { phase: skiff_protocol::Phase::Downloading, done, total } => {
                assert!(done >= furthest && total == world.delta.len() as u64);
                furthest = done;
            }
            _ => {}
        }
    }
    assert_eq!(furthest, world.delta.len() as u64);
    assert_eq!(phases, ["requesting", "waiting", "downloading", "applying", "verifying", "swapping"]);
}
