//! A supervisor that is killed at every call that changes the disk, and started again.
#![allow(clippy::unwrap_used)]

mod common;

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::{Device, FakeRunner, Server, World, until};
use skiff_apply::{Store, StoreOptions, Trial};
use skiff_fs::{DiskStorage, Fault, FaultyStorage, RootOptions};
use skiff_supervisor::{Checked, HttpOptions, Options};
use skiff_testkit::FlakyProxy;
use skiff_tree::ReleaseId;

/// The device's directory, the server's address, the number of the call at which the process is killed, the release whose
/// program ends at once, and how many bytes may come in a second.
const CHILD: [&str; 5] = [
    "SKIFF_TEST_DEVICE",
    "SKIFF_TEST_SERVER",
    "SKIFF_TEST_KILL_AT",
    "SKIFF_TEST_ENDING",
    "SKIFF_TEST_BANDWIDTH",
];

/// Not a test by itself: the process that is killed.
#[test]
fn the_process_to_be_killed() {
    let [Ok(directory), Ok(server), Ok(kill_at), Ok(ending), Ok(bandwidth)] = CHILD.map(env::var) else {
        return;
    };
    let mut disk = FaultyStorage::new(DiskStorage);
    if let Ok(call) = kill_at.parse() {
        disk = disk.failing_at(call, Fault::Kill);
    }
    let disk = Arc::new(disk);
    let root = RootOptions::default().with_storage(disk.clone());
    let options = StoreOptions::default().with_root(root.clone());
    let store = Store::open(Path::new(&directory).join("store"), &options).unwrap();
    let mut options = Options::new(Path::new(&directory).join("state"));
    options.ownership = skiff_fs::Ownership::Record;
    options.health = skiff_supervisor::Health::settled_after(std::time::Duration::ZERO);
    options.root = root;
    let runner = FakeRunner::default();
    runner.ran().ending.extend(ending.parse::<ReleaseId>());
    let mut http = HttpOptions::default();
    http.bytes_per_second = bandwidth.parse().ok();
    let device = Device::with_http(store, runner, &server, options, &http);
    device.supervisor.start(&Default::default()).unwrap();
    let checked = device.check();
    match checked {
        Checked::Updated { by_delta: true } | Checked::UpToDate => assert!(ending.is_empty()),
        Checked::RolledBack { .. } | Checked::Refused { .. } => assert!(!ending.is_empty()),
        other => panic!("{other:?}"),
    }
    println!("{} calls", disk.calls().len());
}

fn child(world: &World, server: &Server, kill_at: Option<usize>, ending: Option<ReleaseId>) -> ExitStatus {
    command(world, &server.address(), (kill_at, ending, None)).status().unwrap()
}

/// What starts the process, with the number of a call, a release that ends at once, and a bandwidth.
fn command(
    world: &World,
    server: &str,
    (kill_at, ending, bandwidth): (Option<usize>, Option<ReleaseId>, Option<u64>),
) -> Command {
    let bandwidth = bandwidth.map_or(String::new(), |bandwidth| bandwidth.to_string());
    let kill_at = kill_at.map_or("never".to_owned(), |call| call.to_string());
    let ending = ending.map_or(String::new(), |release| release.to_string());
    let directory = world.directory.path().to_str().unwrap().to_owned();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "the_process_to_be_killed", "--nocapture"]).stdout(Stdio::null());
    command.envs(CHILD.into_iter().zip([directory, server.to_owned(), kill_at, ending, bandwidth]));
    command
}

/// One test at a time: a process that is being started holds, until it runs its program, whatever lock another test has just let go.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills a device at each call in turn, has it started again, and looks at what came of it.
fn at_every_call(ending: fn(&World) -> Option<ReleaseId>, look: impl Fn(&World, &Server, usize)) -> usize {
    let _alone = alone();
    let mut calls = 0;
    loop {
        let world = World::new(2000);
        let server = Server::new(&world);
        let ending = ending(&world);
        let status = child(&world, &server, Some(calls), ending);
        if status.signal().is_none() {
            // There was no such call any more.
            assert!(status.success());
            return calls;
        }
        assert_eq!(status.signal(), Some(9));
        let found = world.current();
        assert!(found == world.old || found == world.new, "call {calls}");
        assert!(child(&world, &server, None, ending).success(), "after call {calls}");
        assert!(
            world.store().verify(&skiff_apply::Options::rootless()).unwrap().is_sound(),
            "after call {calls}"
        );
        look(&world, &server, calls);
        calls += 1;
    }
}

#[test]
fn killed_at_every_call_it_ends_with_the_new_release() {
    let calls = at_every_call(
        |_| None,
        |world, server, call| {
            let current = world.store().current().unwrap().unwrap();
            assert_eq!((current.id, current.trial), (world.new, Trial::Confirmed), "after call {call}");
            // And so it is told.
            let outcome = Device::new(world, &server.address(), world.options()).supervisor.report().outcome;
            assert!(
                outcome.is_some_and(|outcome| outcome.succeeded && outcome.by_delta),
                "after call {call}"
            );
        },
    );
    // Staging, syncing, swapping, confirming and what the supervisor itself writes down.
    assert!(calls > 40, "{calls} calls");
    println!("killed at each of {calls} calls");
}

#[test]
fn killed_at_every_call_a_release_that_does_not_work_is_gone_back_from_and_told() {
    let calls = at_every_call(
        |world| Some(world.new),
        |world, server, call| {
            assert_eq!(world.current(), world.old, "after call {call}");
            let device = Device::new(world, &server.address(), world.options());
            let outcome = device.supervisor.report().outcome;
            let is_told = outcome.is_some_and(|outcome| !outcome.succeeded && outcome.target.0 == world.new);
            assert!(is_told, "after call {call}");
            assert!(matches!(device.check(), Checked::Refused { .. }), "after call {call}");
        },
    );
    assert!(calls > 40, "{calls} calls");
    println!("killed at each of {calls} calls");
}

#[test]
fn what_comes_twice_after_a_kill_is_the_header_and_two_frames_at_most() {
    let _alone = alone();
    let world = World::new(20 << 20);
    let server = Server::new(&world);
    let header = skiff_format::Reader::new(&world.delta[..], Default::default()).next_event().unwrap();
    let Some(skiff_format::Event::Header(header)) = header else { panic!("no header") };
    let frame = header.frames().iter().map(|frame| frame.encoded_size).max().unwrap();
    // Never cut; it counts.
    let proxy = FlakyProxy::start(&server.address(), u64::MAX);
    let size = world.delta.len() as u64;
    let mut kills = 0;
    for part in 1..=3 {
        let mut process = command(&world, &proxy.address(), (None, None, Some(16 << 20))).spawn().unwrap();
        until("so much of the delta", || {
            proxy.bytes_down() > size * part / 4 || world.current() == world.new
        });
        process.kill().unwrap();
        kills += u64::from(!process.wait().unwrap().success());
    }
    assert!(command(&world, &proxy.address(), (None, None, None)).status().unwrap().success());
    assert_eq!(world.current(), world.new);
    assert!(kills >= 2, "it was too fast: {kills} kills");
    // The frame that is applied, and the one whose checkpoint is still brought to the disk; and what the system had received for the
    // process, here as much as loopback lets it. Targets, reports and the heads of answers come beside the delta.
    let (header, buffers) = (header.bytes().len() as u64, 6 << 20);
    let allowed = size + kills * (2 * frame + header + buffers) + (kills + 1) * 10_000;
    let down = proxy.bytes_down();
    println!("{down} bytes came of {size} in {kills} kills; {allowed} may, the largest frame having {frame}");
    assert!(down <= allowed, "{down} bytes came, and {allowed} may");
}
