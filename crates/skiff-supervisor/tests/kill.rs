//! A supervisor that is killed at every call that changes the disk, and started again.
#![allow(clippy::unwrap_used)]

mod common;

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use common::{Device, FakeRunner, Server, World};
use skiff_apply::{Store, StoreOptions, Trial};
use skiff_fs::{DiskStorage, Fault, FaultyStorage, RootOptions};
use skiff_supervisor::{Checked, Options};
use skiff_tree::ReleaseId;

/// The device's directory, the server's address, the number of the call at which the process is killed, and the release whose
/// program ends at once.
const CHILD: [&str; 4] =
    ["SKIFF_TEST_DEVICE", "SKIFF_TEST_SERVER", "SKIFF_TEST_KILL_AT", "SKIFF_TEST_ENDING"];

/// Not a test by itself: the process that is killed.
#[test]
fn the_process_to_be_killed() {
    let [Ok(directory), Ok(server), Ok(kill_at), Ok(ending)] = CHILD.map(env::var) else { return };
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
    let device = Device::with(store, runner, &server, options);
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
    let kill_at = kill_at.map_or("never".to_owned(), |call| call.to_string());
    let ending = ending.map_or(String::new(), |release| release.to_string());
    let directory = world.directory.path().to_str().unwrap().to_owned();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "the_process_to_be_killed", "--nocapture"]).stdout(Stdio::null());
    command.envs(CHILD.into_iter().zip([directory, server.address(), kill_at, ending])).status().unwrap()
}

/// Kills a device at each call in turn, has it started again, and looks at what came of it.
fn at_every_call(ending: fn(&World) -> Option<ReleaseId>, look: impl Fn(&World, &Server, usize)) -> usize {
    /// One at a time: a process that is being started holds, until it runs its program, whatever lock another test has just let go.
    static ALONE: Mutex<()> = Mutex::new(());

    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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
