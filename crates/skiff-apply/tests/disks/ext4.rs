//! What ext4 does of its own: it runs out of inodes, and turns read-only when it finds an error in itself.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use skiff_apply::*;
use skiff_fs::{DiskStorage, FaultyStorage, When};

use crate::common::names;
use crate::machine::{FileSystem, LAZY, Machine};
use crate::mount::apart;
use crate::points::Calls;
use crate::update::{Tally, Update, options, through};

/// With room for the old release and the new one, and a few more.
const FEW_INODES: FileSystem = FileSystem::ext4(&["mkfs.ext4", "-q", "-N", "256", "-E", LAZY]);
const READ_ONLY_ON_ERRORS: FileSystem =
    FileSystem::ext4(&["mkfs.ext4", "-q", "-e", "remount-ro", "-E", LAZY]);

/// Makes files until there is no inode left, but for some.
fn take_inodes(mount: &Path, left: usize) {
    let taken = mount.join("taken");
    fs::create_dir(&taken).unwrap();
    let mut made = (0..)
        .map(|number: usize| taken.join(number.to_string()))
        .take_while(|path| fs::write(path, "").is_ok());
    let count = made.by_ref().count();
    for number in count.saturating_sub(left)..count {
        fs::remove_file(taken.join(number.to_string())).unwrap();
    }
}

fn give_inodes_back(mount: &Path) {
    fs::remove_dir_all(mount.join("taken")).unwrap();
}

#[test]
#[ignore = "needs root and mkfs.ext4"]
fn too_few_inodes_are_found_out_before_or_given_back() {
    apart(|| take_inodes_everywhere(&Update::new()));
}

fn take_inodes_everywhere(update: &Update) {
    let machine = Machine::with_old(FEW_INODES, update);
    let kept = machine.keep();
    machine.start();
    let mount = machine.mount();
    take_inodes(&mount, 20);
    let store = machine.open();
    let error = update.apply(&store).unwrap_err();
    assert!(
        matches!(error, ApplyError::NoSpace { what: Resource::Inodes, needed, available: 20 } if needed > 40),
        "{error}"
    );
    assert_eq!(names(&store.path().join("staging")), [""; 0]);
    let error = store.install(&update.new.input(), &options()).unwrap_err();
    assert!(matches!(error, ApplyError::NoSpace { what: Resource::Inodes, .. }), "{error}");
    give_inodes_back(&mount);
    drop(store);
    let calls = Calls::of(update, &machine.store());
    machine.stop();

    // Somebody else takes them once they were looked for.
    let (mut full, mut late) = (0, 0);
    let makes = |name: &str| matches!(name, "create_file" | "make_directory" | "symlink" | "make_special");
    for point in
        calls.points(1).into_iter().filter(|point| point.when == When::Before && makes(point.name)).step_by(5)
    {
        machine.restore(&kept);
        machine.start();
        let theirs = mount.clone();
        let disk = FaultyStorage::new(DiskStorage).watched_by(move |passing| {
            if point.is(&passing) {
                take_inodes(&theirs, 0);
            }
        });
        let result = update.apply(&through(&machine.store(), Arc::new(disk)));
        let store = machine.open();
        match result {
            Ok(_) => late += 1,
            Err(error) => {
                assert_eq!(error.class(), ErrorClass::NoSpace, "{point}: {error}");
                assert_eq!(names(&store.path().join("staging")), [""; 0], "{point}");
                assert_eq!(store.current().unwrap().unwrap().id, update.old.id(), "{point}");
                full += 1;
            }
        }
        update.assert_sound(&store, &point.to_string());
        give_inodes_back(&mount);
        update.assert_recovers(&store, &point.to_string());
        drop(store);
        machine.stop();
    }
    println!("inodes taken at {} calls: {full} noticed, {late} too late to matter", full + late);
    assert!(full > 10);
}

#[test]
#[ignore = "needs root and mkfs.ext4"]
fn a_store_that_turns_read_only_keeps_the_old_or_the_new() {
    apart(|| turn_read_only_everywhere(&Update::new()));
}

fn turn_read_only_everywhere(update: &Update) {
    let machine = Machine::with_old(READ_ONLY_ON_ERRORS, update);
    let kept = machine.keep();
    machine.start();
    let calls = Calls::of(update, &machine.store());
    machine.stop();
    let mut tally = Tally::default();
    for point in calls.points(24) {
        machine.restore(&kept);
        machine.start();
        // As when it finds an error in itself.
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", machine.device_name());
        let disk = FaultyStorage::new(DiskStorage).watched_by(move |passing| {
            if point.is(&passing) {
                fs::write(&trigger, "by a test").unwrap();
            }
        });
        let context = format!("read-only: {point}");
        let result = update.apply(&through(&machine.store(), Arc::new(disk)));
        let store = machine.open();
        assert!(fs::write(machine.mount().join("file"), "").is_err(), "{context}");
        // What was not on the disk may still be read, so that either may be current by now; until it is mounted again.
        update.assert_sound(&store, &context);
        if let Err(error) = &result {
            assert_eq!(error.class(), ErrorClass::Io, "{context}: {error}");
        }
        if store.current().unwrap().unwrap().id == update.old.id() {
            let error = update
                .apply(&store)
                .map(drop)
                .or_else(|_| store.install(&update.new.input(), &options()).map(drop));
            assert!(error.is_err_and(|error| error.class() == ErrorClass::Io), "{context}");
        }
        drop(store);
        machine.stop();
        machine.mend();
        machine.start();
        let store = machine.open();
        let survival = update.assert_recovers(&store, &context);
        assert!(survival.is_new || result.is_err(), "{context}: it had said that it was done");
        tally.add(survival);
        drop(store);
        machine.stop();
        machine.check(&context);
    }
    tally.report(&format!("turned read-only at {} calls", calls.len()));
}
