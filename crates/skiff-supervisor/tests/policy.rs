//! Every row of the policy, against a server that fails in that way.
#![allow(clippy::unwrap_used)]

mod common;
mod signed;

use std::sync::Arc;
use std::time::Duration;

use common::{Device, FakeRunner, Server, World, get, problem};
use skiff_apply::{Store, StoreOptions};
use skiff_fs::{DiskStorage, Fault, FaultyStorage, RootOptions};
use skiff_supervisor::{Again, Checked, Event, Failure, Options, POLICY, Retries, Then};
use skiff_testkit::HttpAnswer;
use skiff_tree::ReleaseId;

/// What makes a failure happen.
struct Case {
    failure: Failure,
    /// Changes the server, and how the device works.
    prepare: fn(&World, &Server, &mut Options),
    /// How often the delta is asked for, where that is another number than the rule's retries say.
    asked: Option<usize>,
}

const fn case(failure: Failure, prepare: fn(&World, &Server, &mut Options)) -> Case {
    Case { failure, prepare, asked: None }
}

fn always(server: &Server, answer: impl Fn() -> HttpAnswer + Send + 'static) {
    server.state().always = Some(Box::new(move |_| Some(answer())));
}

/// Those that a server causes.
const CASES: &[Case] = &[
    case(Failure::ServerDown, |_, server, _| always(server, HttpAnswer::none)),
    case(Failure::Unauthorized, |_, server, _| always(server, || problem(401, "unauthorized"))),
    case(Failure::Unauthorized, |_, server, _| always(server, || problem(403, "forbidden"))),
    case(Failure::NotKnown, |_, server, _| always(server, || problem(404, "target-unknown"))),
    // Once more, with a signature.
    Case {
        failure: Failure::NotKnown,
        prepare: |_, server, _| always(server, || problem(404, "base-unknown")),
        asked: Some(2),
    },
    case(Failure::Refused, |_, server, _| always(server, || problem(409, "pull-cheaper"))),
    case(Failure::ServerError, |_, server, _| always(server, || problem(500, "internal"))),
    case(Failure::ServerError, |_, server, _| always(server, || problem(429, "busy"))),
    case(Failure::ServerError, |_, server, _| always(server, || HttpAnswer::new(502).body("<html>"))),
    Case {
        failure: Failure::StillComputing,
        prepare: |_, server, options| {
            options.patience = Duration::from_secs(1);
            always(server, || HttpAnswer::new(202).body(r#"{"stage": "comparing", "done": 5, "total": 10}"#));
        },
        asked: Some(usize::MAX),
    },
    case(Failure::TimedOut, |_, server, _| {
        server.set("_REQUEST_TIMEOUT", "100");
        always(server, || HttpAnswer::none().delay(Duration::from_millis(400)));
    }),
    case(Failure::Stalled, |world, server, _| {
        let size = world.delta.len().to_string();
        always(server, move || {
            HttpAnswer::new(206)
                .header("content-range", format!("bytes 0-9/{size}"))
                .header("skiff-delta-size", size.clone())
                .body(vec![0; 100])
                .cut_after(0)
        });
    }),
    case(Failure::BadAnswer, |_, server, _| always(server, || HttpAnswer::new(418))),
    case(Failure::BadAnswer, |_, server, _| always(server, || HttpAnswer::new(202).body("soon"))),
    case(Failure::Corrupt, |_, server, _| {
        let mut state = server.state();
        let middle = state.delta.len() / 2;
        state.delta[middle] ^= 1;
    }),
    // It ends too early.
    case(Failure::Corrupt, |_, server, _| {
        let mut state = server.state();
        let middle = state.delta.len() / 2;
        state.delta.truncate(middle);
    }),
    case(Failure::WrongBase, |_, server, _| server.state().delta = delta_to_elsewhere()),
    case(Failure::CodecUnknown, |_, server, _| server.state().delta[8] = 99),
    case(Failure::DecoderMemory, |_, _, options| options.decoder_memory = 1),
    case(Failure::ApplyTimedOut, |_, server, _| {
        server.set("_APPLY_TIMEOUT", "100");
        always(server, || HttpAnswer::new(202).body(r#"{"stage": "waiting", "done": 0, "total": 0}"#));
    }),
];

fn delta_to_elsewhere() -> Vec<u8> {
    let world = World::new(500);
    let other = skiff_testkit::Image::new().layer(skiff_testkit::Layer::new().file("else", "where"));
    let layout = skiff_testkit::OciLayout::new().image("else", other);
    let path = world.directory.path().join("else");
    layout.write_directory(&path);
    let old = format!("oci:{}:1", world.directory.path().join("images").display());
    let mut delta = std::io::Cursor::new(Vec::new());
    let to = format!("oci:{}:else", path.display());
    skiff::diff(&old.parse().unwrap(), &to.parse().unwrap(), &Default::default(), &mut delta).unwrap();
    delta.into_inner()
}

#[test]
fn every_failure_of_a_server_leads_to_what_its_rule_says() {
    for (number, case) in CASES.iter().enumerate() {
        let world = World::new(2000);
        let server = Server::new(&world);
        let mut options = world.options();
        (case.prepare)(&world, &server, &mut options);
        let device = Device::new(&world, &server.address(), options);
        device.supervisor.start(&Default::default()).unwrap();
        let checked = device.check();
        let place = format!("case {number}, {}: {:#?}", case.failure, device.events());
        let rule = case.failure.rule();
        let retries = match rule.retries {
            Retries::Never => 0,
            Retries::Fixed(count) => count as usize,
            // As the server sets it.
            Retries::Configured | Retries::WhilePatient => 3,
        };
        match case.asked {
            // As often as it takes, and not for ever.
            Some(usize::MAX) => assert!(server.deltas_asked() > 1, "{place}"),
            Some(asked) => assert_eq!(server.deltas_asked(), asked, "{place}"),
            None if case.failure == Failure::ApplyTimedOut => assert!(server.deltas_asked() > 0, "{place}"),
            None => assert_eq!(server.deltas_asked(), retries + 1, "{place}"),
        }
        assert_eq!(rule.then, Then::FullPull, "{place}");
        assert_eq!(checked, Checked::Updated { by_delta: false }, "{place}");
        assert_eq!(world.current(), world.new, "{place}");
        assert_eq!(device.runner.ran().log, ["start 1", "stop", "start 2", "collect all but 2"], "{place}");
        // The cause is told to the program around, and to the server.
        let fell_back = device.events().into_iter().find_map(|event| match event {
            Event::FallBack { failure, cause } => Some((failure, cause)),
            _ => None,
        });
        let (failure, cause) = fell_back.unwrap();
        assert_eq!(failure, case.failure, "{place}");
        assert!(!cause.is_empty());
        let told = device.events().iter().filter(|event| matches!(event, Event::Retry { .. })).count();
        if case.asked.is_none() && case.failure != Failure::ApplyTimedOut {
            assert_eq!(told, retries, "{place}");
        }
    }
}

#[test]
fn the_table_of_the_document_is_that_of_the_code() {
    let document = include_str!("../../../doc/supervisor.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    for rule in POLICY {
        let retries = match rule.retries {
            Retries::Never => "no".to_owned(),
            Retries::Fixed(count) => format!("{count} times"),
            Retries::Configured => "`RETRY_COUNT` times".to_owned(),
            Retries::WhilePatient => "while patience lasts".to_owned(),
        };
        let then = match rule.then {
            Then::FullPull => "full pull",
            Then::Alarm => "alarm",
        };
        let again = match rule.again {
            Again::Later => "after a pause",
            Again::WithNextTarget => "with the next target",
        };
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{}` |", rule.failure)));
        let row = row.unwrap_or_else(|| panic!("{} is not in the document", rule.failure));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[3..6], [retries.as_str(), then, again], "{row}");
    }
    // And no rows that are none.
    let known = |row: &&str| POLICY.iter().any(|rule| row.starts_with(&format!("| `{}` |", rule.failure)));
    assert_eq!(rows.iter().filter(|row| known(row)).count(), POLICY.len());
}

/// Brings a release with a store whose disk fails at a call.
fn with_fault(fault: Fault) -> (World, Server, Device, Checked) {
    let world = World::new(2000);
    let server = Server::new(&world);
    // Counts how many calls an update takes, to fail in its middle.
    let counted = Arc::new(FaultyStorage::new(DiskStorage));
    let probe = World::new(2000);
    let probe_server = Server::new(&probe);
    let device = device_on(&probe, &probe_server, counted.clone());
    assert_eq!(device.check(), Checked::Updated { by_delta: true });
    let calls = counted.calls();
    let at = calls.iter().position(|call| call.contains("write")).unwrap();
    let device = device_on(&world, &server, Arc::new(FaultyStorage::new(DiskStorage).failing_at(at, fault)));
    let checked = device.check();
    (world, server, device, checked)
}

fn device_on(world: &World, server: &Server, storage: Arc<FaultyStorage<DiskStorage>>) -> Device {
    let root = RootOptions::default().with_storage(storage);
    let store = Store::open(world.store_path(), &StoreOptions::default().with_root(root)).unwrap();
    Device::with(store, FakeRunner::default(), &server.address(), world.options())
}

#[test]
fn a_disk_that_fails_once_is_tried_again() {
    let (world, server, device, checked) = with_fault(Fault::BROKEN);
    assert_eq!(checked, Checked::Updated { by_delta: true }, "{:#?}", device.events());
    assert_eq!(world.current(), world.new);
    assert!(server.deltas_asked() >= 2);
    let retry =
        |event: &Event| matches!(event, Event::Retry { failure: Failure::ApplyFailed, attempt: 1, .. });
    assert!(device.events().iter().any(retry), "{:#?}", device.events());
}

#[test]
fn a_disk_that_fails_for_good_ends_in_an_alarm() {
    let (world, _, device, checked) = with_fault(Fault::Stop);
    assert!(matches!(checked, Checked::GivenUp { failure: Failure::ApplyFailed, .. }), "{checked:?}");
    assert_eq!(world.current(), world.old);
    assert_eq!(Failure::ApplyFailed.rule().retries, Retries::Fixed(2));
    let retries = device.told().iter().filter(|name| *name == "retry").count();
    assert_eq!(retries, 2, "{:#?}", device.events());
}

#[test]
fn a_full_disk_ends_in_an_alarm_without_a_pull() {
    let (world, server, device, checked) = with_fault(Fault::NO_SPACE);
    assert!(matches!(checked, Checked::GivenUp { failure: Failure::NoSpace, .. }), "{checked:?}");
    assert_eq!((world.current(), server.deltas_asked()), (world.old, 1));
    assert_eq!(Failure::NoSpace.rule().then, Then::Alarm);
    assert!(!device.told().contains(&"fall-back".to_owned()));
    // It may go better another time.
    assert_eq!(Failure::NoSpace.rule().again, Again::Later);
    assert_eq!(device.check(), Checked::Updated { by_delta: true });
}

#[test]
fn a_base_that_was_changed_is_replaced_by_a_pull() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let kept = world.store().rootfs(world.old).join("app/kept");
    let mut bytes = std::fs::read(&kept).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&kept, bytes).unwrap();
    let device = Device::new(&world, &server.address(), world.options());
    assert_eq!(device.check(), Checked::Updated { by_delta: false }, "{:#?}", device.events());
    let fell_back =
        |event: &Event| matches!(event, Event::FallBack { failure: Failure::VerificationFailed, .. });
    assert!(device.events().iter().any(fell_back), "{:#?}", device.events());
    let options = skiff_apply::Options::rootless();
    assert!(world.store().verify(&options).unwrap().is_sound());
}

#[test]
fn a_store_that_somebody_works_on_is_waited_for() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let device = Device::new(&world, &server.address(), world.options());
    let lock = std::fs::File::open(world.store_path().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let checked = device.check();
    assert!(matches!(checked, Checked::GivenUp { failure: Failure::StoreBusy, .. }), "{checked:?}");
    assert_eq!(device.told().iter().filter(|name| *name == "retry").count(), 3);
    drop(lock);
    assert_eq!(device.check(), Checked::Updated { by_delta: true });
}

#[test]
fn an_image_that_is_another_release_is_not_tried_again() {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.set("", "0");
    server.state().release = ReleaseId::of(b"another");
    let device = Device::new(&world, &server.address(), world.options());
    let checked = device.check();
    assert!(matches!(checked, Checked::GivenUp { failure: Failure::WrongImage, .. }), "{checked:?}");
    assert!(matches!(device.check(), Checked::Refused { .. }));
    assert_eq!(world.current(), world.old);
    server.state().release = world.new;
    assert_eq!(device.check(), Checked::Updated { by_delta: false });
}

#[test]
fn a_pull_that_fails_too_is_an_alarm() {
    let world = World::new(2000);
    let server = Server::new(&world);
    always(&server, || problem(409, "pull-cheaper"));
    server.state().has_image = false;
    let device = Device::new(&world, &server.address(), world.options());
    let checked = device.check();
    let Checked::GivenUp { failure: Failure::ServerDown, cause } = checked else { panic!("{checked:?}") };
    assert!(cause.contains("500"), "{cause}");
    assert_eq!(world.current(), world.old);
    // The server is told.
    let outcome = device.supervisor.report().outcome.unwrap();
    assert!(!outcome.succeeded && outcome.cause.unwrap().contains("500"));
}

#[test]
fn the_delta_that_changes_while_it_is_fetched_starts_over() {
    let world = World::new(200_000);
    let server = Server::new(&world);
    let half = world.delta.len() / 2;
    // Cut in its middle; when it is asked for again, it is another one.
    let cut = server.state().delta(&get()).cut_after(half);
    server.state().next.push_back(cut);
    server.state().etag = "\"two\"".into();
    let device = Device::new(&world, &server.address(), world.options());
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
    let asked = server.state().asked.clone();
    assert_eq!(asked[1].header("if-range"), Some("\"one\""));
    assert_eq!(asked[1].header("range"), Some(&format!("bytes={half}-")[..]));
    let changed = |event: &Event| matches!(event, Event::Retry { failure: Failure::Changed, .. });
    assert!(device.events().iter().any(changed), "{:#?}", device.events());
}

#[test]
fn a_delta_that_changes_for_ever_is_pulled() {
    let world = World::new(200_000);
    let server = Server::new(&world);
    let half = world.delta.len() / 2;
    let count = std::sync::atomic::AtomicUsize::new(0);
    let size = world.delta.len().to_string();
    let delta = world.delta.clone();
    server.state().always = Some(Box::new(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let answer = HttpAnswer::new(200).header("etag", format!("\"{number}\""));
        Some(answer.header("skiff-delta-size", size.clone()).body(&delta[..]).cut_after(half))
    }));
    let device = Device::new(&world, &server.address(), world.options());
    assert_eq!(device.check(), Checked::Updated { by_delta: false }, "{:#?}", device.events());
    let fell_back = |event: &Event| matches!(event, Event::FallBack { failure: Failure::Changed, .. });
    assert!(device.events().iter().any(fell_back), "{:#?}", device.events());
}
