//! The process is killed, on either side of the calls that change the disk.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use skiff_apply::Expectation;
use skiff_fs::{DiskStorage, Fault, FaultyStorage, When};

use crate::machine::{BTRFS, EXT4, FileSystem, Machine, XFS, text};
use crate::mount::{apart, run};
use crate::points::{Calls, Point};
use crate::update::{Tally, Update, apply, through};

const STORE: &str = "SKIFF_TEST_STORE";
const CALL: &str = "SKIFF_TEST_CALL";
const SIDE: &str = "SKIFF_TEST_SIDE";
/// What the delta's name has beyond that of the store.
const DELTA: &str = ".delta";

/// Not a test by itself: the process that is killed.
#[test]
fn the_process_to_be_killed() {
    let Ok(store) = env::var(STORE) else { return };
    let fault = if env::var(SIDE).unwrap() == "before" { Fault::Kill } else { Fault::KillAfter };
    let call = env::var(CALL).unwrap().parse().unwrap();
    let disk = FaultyStorage::new(DiskStorage).failing_at(call, fault);
    let delta = fs::read(format!("{store}{DELTA}")).unwrap();
    apply(&through(Path::new(&store), Arc::new(disk)), &delta, Expectation::TrustDelta).unwrap();
}

fn kill(store: &Path, point: Point) {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "kill::the_process_to_be_killed"]).env(STORE, store);
    child.env(CALL, point.call.to_string());
    child.env(SIDE, if point.when == When::Before { "before" } else { "after" });
    let status = child.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.signal(), Some(9), "{point}: {status}");
}

fn kill_everywhere(file_system: FileSystem) {
    let update = Update::new();
    let machine = Machine::with_old(file_system, &update);
    machine.start();
    let (store, kept) = (machine.store(), machine.mount().join("kept"));
    // A disk that keeps its power loses nothing: it is enough to put the store back.
    run("cp", &["-a", text(&store), text(&kept)]);
    let restore = || {
        fs::remove_dir_all(&store).unwrap();
        run("cp", &["-a", text(&kept), text(&store)]);
    };
    fs::write(format!("{}{DELTA}", text(&store)), &update.delta).unwrap();
    let calls = Calls::of(&update, &store);
    let mut tally = Tally::default();
    for point in calls.points(12) {
        restore();
        kill(&store, point);
        let open = machine.open();
        let survival = update.assert_recovers(&open, &point.to_string());
        assert!(survival.is_new || !calls.is_done(&point), "{point}: it was done");
        tally.add(survival);
    }
    machine.stop();
    machine.check("after all");
    tally.report(&format!("kills at {} calls on {}", calls.len(), file_system.name));
}

#[test]
#[ignore = "needs root and mkfs.ext4"]
fn on_ext4_a_kill_on_either_side_of_a_call_leaves_the_old_or_the_new() {
    apart(|| kill_everywhere(EXT4));
}

#[test]
#[ignore = "needs root and mkfs.xfs"]
fn on_xfs_a_kill_on_either_side_of_a_call_leaves_the_old_or_the_new() {
    apart(|| kill_everywhere(XFS));
}

#[test]
#[ignore = "needs root and mkfs.btrfs"]
fn on_btrfs_a_kill_on_either_side_of_a_call_leaves_the_old_or_the_new() {
    apart(|| kill_everywhere(BTRFS));
}
