//! A disk that loses its power keeps what it was told to flush, and of what came after whatever it likes, in whatever order.
//!
//! The update runs on a disk that logs what the file system writes. Then, for each point of the log, a disk is made with what was
//! flushed by then and some of what was written after: all of it up to a write; all but one; any of it. Each is mounted, and has to
//! hold the old or the new release.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::common::noise;
use crate::logged::{Event, LoggedDisk};
use crate::machine::{BTRFS, EXT4, FileSystem, Machine, XFS, copy_image, text};
use crate::mount::{apart, run};
use crate::points::every_call;
use crate::update::{DAMAGED, Survival, Tally, Update};

/// What was written to a disk during an update.
struct Recording {
    /// Between one flush and the next.
    epochs: Vec<Vec<(u64, Vec<u8>)>>,
    /// So many flushes there were when the update had said that it was done.
    done: usize,
}

impl Recording {
    /// Runs the update on a machine's disk, of which a copy is left as it was before.
    fn of(machine: &Machine, update: &Update) -> Self {
        let [served, mount] = ["served", "logged"].map(|name| machine.beside(name));
        let scratch = machine.beside("scratch");
        copy_image(&machine.image(), &scratch);
        fs::create_dir(&served).unwrap();
        fs::create_dir(&mount).unwrap();
        let disk = LoggedDisk::serve(&scratch, &served);
        let mounted = Mount::of(&disk, &mount);
        let store =
            skiff_apply::Store::open(mount.join("store"), &skiff_apply::StoreOptions::default()).unwrap();
        update.apply(&store).unwrap();
        drop(store);
        let events = disk.events();
        drop(mounted);
        let log = disk.log();
        let flushes = |events: &[Event]| events.iter().filter(|&event| *event == Event::Flush).count();
        let mut epochs = vec![Vec::new()];
        for event in &log {
            match event {
                Event::Flush => epochs.push(Vec::new()),
                Event::Write { offset, bytes } => epochs.last_mut().unwrap().push((*offset, bytes.clone())),
            }
        }
        Self { epochs, done: flushes(&log[..events]) }
    }
}

/// A mount that ends before the disk that it is of, even by a panic.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn of(disk: &LoggedDisk, at: &'a Path) -> Self {
        run("mount", &["-o", "loop", text(&disk.path()), text(at)]);
        Self(at)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg(self.0).status();
        assert!(std::thread::panicking() || status.unwrap().success());
    }
}

/// Which writes of an epoch reached the disk, each set another: those up to one, all but one, any.
fn subsets(count: usize, seed: u64) -> Vec<Vec<bool>> {
    let mut sets: Vec<Vec<bool>> =
        (0..count).map(|kept| (0..count).map(|write| write < kept).collect()).collect();
    sets.extend(all_but_one(count));
    let bits = noise(seed + 1, 4 * count);
    sets.extend(bits.chunks(count.max(1)).map(|chunk| chunk.iter().map(|bit| bit % 2 == 1).collect()));
    sets.sort();
    sets.dedup();
    // That of all is the next epoch's first.
    sets.retain(|set| set.contains(&false) || set.is_empty());
    sets
}

fn all_but_one(count: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..count).map(move |lost| (0..count).map(|write| write != lost).collect())
}

/// Where a write begins and how long it is, in bytes.
fn place((offset, bytes): &(u64, Vec<u8>)) -> (u64, usize) {
    (*offset, bytes.len())
}

fn write(image: &Path, writes: &[(u64, Vec<u8>)], kept: impl Fn(usize) -> bool) {
    let image = File::options().write(true).open(image).unwrap();
    for (_, (offset, bytes)) in writes.iter().enumerate().filter(|(number, _)| kept(*number)) {
        image.write_all_at(bytes, *offset).unwrap();
    }
}

/// So many states are tried unless all are.
const SAMPLE: usize = 60;

/// A machine whose disk loses what it was not told to keep.
struct Losing {
    update: Update,
    machine: Machine,
    /// The disk, with what was flushed so far.
    flushed: PathBuf,
    recording: Recording,
}

impl Losing {
    fn new(file_system: FileSystem) -> Self {
        let update = Update::new();
        let machine = Machine::with_old(file_system, &update);
        let flushed = machine.keep();
        let recording = Recording::of(&machine, &update);
        Self { update, machine, flushed, recording }
    }

    /// Loses all writes of an epoch but these, and looks at what is left.
    fn assert_survives(&self, epoch: usize, kept: &[bool]) -> Survival {
        let writes = &self.recording.epochs[epoch];
        let lost: Vec<_> =
            writes.iter().zip(kept).filter(|(_, kept)| !**kept).map(|(write, _)| place(write)).collect();
        let context = format!("of {} writes after flush {epoch}, lost {lost:?}", writes.len());
        self.machine.restore(&self.flushed);
        write(&self.machine.image(), writes, |write| kept[write]);
        self.machine.start();
        let store = self.machine.open();
        let survival = self.update.assert_recovers(&store, &context);
        assert!(survival.is_new || epoch < self.recording.done, "{context}: {FORGOTTEN}");
        drop(store);
        self.machine.stop();
        self.machine.check(&context);
        survival
    }
}

const FORGOTTEN: &str = "it had said that it was done";

fn lose_everywhere(file_system: FileSystem) {
    let losing = Losing::new(file_system);
    let Recording { epochs, done } = &losing.recording;
    let states: Vec<_> =
        epochs.iter().enumerate().map(|(epoch, writes)| subsets(writes.len(), epoch as u64)).collect();
    let all: usize = states.iter().map(Vec::len).sum();
    let stride = if every_call() { 1 } else { all.div_ceil(SAMPLE) };
    let (mut tally, mut number) = (Tally::default(), 0);
    for (epoch, states) in states.iter().enumerate() {
        for kept in states {
            number += 1;
            if number % stride == 0 {
                tally.add(losing.assert_survives(epoch, kept));
            }
        }
        write(&losing.flushed, &epochs[epoch], |_| true);
    }
    let writes: usize = epochs.iter().map(Vec::len).sum();
    let flushes = epochs.len() - 1;
    assert!(*done > 5 && writes > 30, "{flushes} flushes and {writes} writes: it was not logged");
    tally.report(&format!("losses of {writes} writes between {flushes} flushes on {}", file_system.name));
}

/// The negative control: what is looked at above is found wrong where a disk says that it has flushed and has not.
fn lose_what_was_flushed(file_system: FileSystem) {
    let mut losing = Losing::new(file_system);
    let writes = losing.recording.epochs.concat();
    let mut states: Vec<_> = all_but_one(writes.len()).collect();
    let all = writes.len();
    // None of it was flushed, and the update had said that it was done by then.
    losing.recording = Recording { epochs: vec![writes], done: 0 };
    let stride = if every_call() { 1 } else { all.div_ceil(SAMPLE) };
    states = states.into_iter().step_by(stride).chain([vec![false; all]]).collect();
    // Each of these is expected.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found: Vec<String> = states
        .iter()
        .filter_map(|kept| {
            let survived = catch_unwind(AssertUnwindSafe(|| losing.assert_survives(0, kept)));
            losing.machine.let_go();
            survived.err().map(|panic| match panic.downcast::<String>() {
                Ok(said) => *said,
                Err(_) => String::new(),
            })
        })
        .collect();
    std::panic::set_hook(hook);
    let [forgotten, damaged] =
        [FORGOTTEN, DAMAGED].map(|what| found.iter().filter(|said| said.contains(what)).count());
    println!(
        "of {} losses of what was flushed on {}, {} were found: {forgotten} old releases, {damaged} damaged ones",
        states.len(),
        file_system.name,
        found.len()
    );
    assert!(forgotten > 0 && damaged > 0, "{found:#?}");
}

#[test]
#[ignore = "needs root and mkfs.ext4"]
fn on_ext4_a_disk_that_loses_what_it_was_not_told_to_keep_has_the_old_or_the_new() {
    apart(|| lose_everywhere(EXT4));
}

#[test]
#[ignore = "needs root and mkfs.ext4"]
fn on_ext4_a_disk_that_loses_what_it_was_told_to_keep_is_found_out() {
    apart(|| lose_what_was_flushed(EXT4));
}

#[test]
#[ignore = "needs root and mkfs.xfs"]
fn on_xfs_a_disk_that_loses_what_it_was_not_told_to_keep_has_the_old_or_the_new() {
    apart(|| lose_everywhere(XFS));
}

#[test]
#[ignore = "needs root and mkfs.btrfs"]
fn on_btrfs_a_disk_that_loses_what_it_was_not_told_to_keep_has_the_old_or_the_new() {
    apart(|| lose_everywhere(BTRFS));
}
