//! The power goes, on either side of the calls that change the disk. Btrfs has nothing that loses its memory on demand: it is tried
//! on a disk that logs what is written, beside the others.

use std::sync::Arc;

use skiff_fs::{DiskStorage, FaultyStorage};

use crate::machine::{EXT4, FileSystem, Machine, XFS};
use crate::mount::apart;
use crate::points::{Calls, Point};
use crate::update::{Survival, Tally, Update, through};

fn cut(machine: &Machine, update: &Update, (calls, point): (&Calls, Point)) -> Survival {
    machine.start();
    let mount = machine.mount();
    let disk = FaultyStorage::new(DiskStorage).watched_by(move |passing| {
        if point.is(&passing) {
            Machine::cut_power(&mount);
        }
    });
    // What it says is said by a machine that has no power any more.
    drop(update.apply(&through(&machine.store(), Arc::new(disk))));
    machine.stop();
    machine.start();
    let store = machine.open();
    let survival = update.assert_recovers(&store, &point.to_string());
    assert!(survival.is_new || !calls.is_done(&point), "{point}: it had said that it was done");
    drop(store);
    machine.stop();
    machine.check(&point.to_string());
    survival
}

fn cut_everywhere(file_system: FileSystem) {
    let update = Update::new();
    let machine = Machine::with_old(file_system, &update);
    let kept = machine.keep();
    machine.start();
    let calls = Calls::of(&update, &machine.store());
    machine.stop();
    let points = calls.points(24);
    let mut tally = Tally::default();
    for &point in &points {
        machine.restore(&kept);
        tally.add(cut(&machine, &update, (&calls, point)));
    }
    let Point { call, .. } = points.last().unwrap();
    assert!(*call > calls.len() - 25);
    tally.report(&format!("power cuts at {} calls on {}", calls.len(), file_system.name));
}

#[test]
#[ignore = "needs root, mkfs.ext4 and xfs_io"]
fn on_ext4_a_power_cut_on_either_side_of_a_call_leaves_the_old_or_the_new() {
    apart(|| cut_everywhere(EXT4));
}

#[test]
#[ignore = "needs root, mkfs.xfs and xfs_io"]
fn on_xfs_a_power_cut_on_either_side_of_a_call_leaves_the_old_or_the_new() {
    apart(|| cut_everywhere(XFS));
}
