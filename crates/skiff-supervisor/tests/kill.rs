//! A supervisor that is killed at every call that changes the disk, and started again.
#![allow(clippy::unwrap_used)]

mod common;

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use common::{Device, FakeRunner, Server, World};
use skiff_apply::{Store, StoreOptions, Trial};
use skiff_fs::{DiskStorage, Fault, FaultyStorage, RootOptions};
use skiff_supervisor::{Checked, Options};

/// The device's directory, the server's address, and the number of the call at which the process is killed.
const CHILD: [&str; 3] = ["SKIFF_TEST_DEVICE", "SKIFF_TEST_SERVER", "SKIFF_TEST_KILL_AT"];

/// Not a test by itself: the process that is killed.
#[test]
fn the_process_to_be_killed() {
    let [Ok(directory), Ok(server), Ok(kill_at)] = CHILD.map(env::var) else { return };
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
    let device = Device::with(store, FakeRunner::default(), &server, options);
    device.supervisor.start(&Default::default()).unwrap();
    let checked = device.check();
    assert!(matches!(checked, Checked::Updated { by_delta: true } | Checked::UpToDate), "{checked:?}");
    println!("{} calls", disk.calls().len());
}

fn child(world: &World, server: &Server, kill_at: Option<usize>) -> ExitStatus {
    let kill_at = kill_at.map_or("never".to_owned(), |call| call.to_string());
    let directory = world.directory.path().to_str().unwrap().to_owned();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "the_process_to_be_killed", "--nocapture"]).stdout(Stdio::null());
    command.envs(CHILD.into_iter().zip([directory, server.address(), kill_at])).status().unwrap()
}

#[test]
fn killed_at_every_call_it_ends_with_the_new_release() {
    let mut calls = 0;
    loop {
        let world = World::new(2000);
        let server = Server::new(&world);
        let status = child(&world, &server, Some(calls));
        if status.signal().is_none() {
            // There was no such call any more.
            assert!(status.success());
            break;
        }
        assert_eq!(status.signal(), Some(9));
        let found = world.current();
        assert!(found == world.old || found == world.new, "call {calls}");
        assert!(child(&world, &server, None).success(), "after call {calls}");
        assert_eq!(world.current(), world.new, "after call {calls}");
        let current = world.store().current().unwrap().unwrap();
        assert_eq!(current.trial, Trial::Confirmed, "after call {calls}");
        assert!(
            world.store().verify(&skiff_apply::Options::rootless()).unwrap().is_sound(),
            "after call {calls}"
        );
        // And so it is told.
        let outcome = Device::new(&world, &server.address(), world.options()).supervisor.report().outcome;
        assert!(outcome.is_some_and(|outcome| outcome.succeeded && outcome.by_delta), "after call {calls}");
        calls += 1;
    }
    // Staging, syncing, swapping, confirming and what the supervisor itself writes down.
    assert!(calls > 40, "{calls} calls");
    println!("killed at each of {calls} calls");
}
