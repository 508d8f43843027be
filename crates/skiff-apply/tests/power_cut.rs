//! The power goes, before every single call that changes the disk, on real file systems.
//!
//! The file system is shut down as by a power cut: nothing that it holds in memory reaches the disk any more, its journal
//! neither. It is mounted again, which replays the journal, and what is there then has to be the old or the new
//! release, whole.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod common;
mod mount;

use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use common::*;
use mount::{alone, run};
use skiff_apply::*;
use skiff_fs::{At, DiskStorage, Removal, Rename, RestOfSync, RootOptions, Special, Storage, Sync};
use skiff_tree::{Mode, Mtime};

/// A disk that loses its power before the call of a certain number.
#[derive(Debug)]
struct PowerCut {
    mount: PathBuf,
    calls: Mutex<Vec<&'static str>>,
    at: usize,
}

impl PowerCut {
    fn count(&self, name: &'static str) {
        let mut calls = self.calls.lock().unwrap();
        calls.push(name);
        if calls.len() == self.at + 1 {
            // Without -f: the journal is not written either.
            run("xfs_io", &["-x", "-c", "shutdown", self.mount.to_str().unwrap()]);
        }
    }
}

macro_rules! count {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        impl Storage for PowerCut {$(
            fn $name(&self, $($argument: $kind),*) -> io::Result<$result> {
                self.count(stringify!($name));
                DiskStorage.$name($($argument),*)
            }
        )*

            fn begin_sync(&self, file: Arc<OwnedFd>, sync: Sync) -> io::Result<RestOfSync> {
                self.count("sync");
                DiskStorage.begin_sync(file, sync)
            }
        }
    };
}

count! {
    make_directory(at: At<'_>) -> ();
    create_file(at: At<'_>) -> OwnedFd;
    symlink(at: At<'_>, target: &[u8]) -> ();
    make_special(at: At<'_>, special: Special) -> ();
    hard_link(from: At<'_>, to: At<'_>) -> ();
    rename(from: At<'_>, to: At<'_>, rename: Rename) -> ();
    remove(at: At<'_>, removal: Removal) -> ();
    write(file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> usize;
    set_length(file: BorrowedFd<'_>, length: u64) -> ();
    clone_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> ();
    copy_range(from: BorrowedFd<'_>, to: BorrowedFd<'_>, range: Range<u64>) -> usize;
    set_owner(at: At<'_>, uid: u32, gid: u32) -> ();
    set_mode(at: At<'_>, mode: Mode) -> ();
    set_xattr(at: At<'_>, name: &[u8], value: &[u8]) -> ();
    remove_xattr(at: At<'_>, name: &[u8]) -> ();
    set_mtime(at: At<'_>, mtime: Mtime) -> ();
    sync(file: BorrowedFd<'_>, sync: Sync) -> ();
}

/// A file system in a file, mounted and unmounted many times.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new(make: &[&str], bytes: u64) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let machine = Self { directory };
        fs::create_dir(machine.mount()).unwrap();
        fs::File::create(machine.image()).unwrap().set_len(bytes).unwrap();
        run(make[0], &[&make[1..], &[machine.image().to_str().unwrap()]].concat());
        machine
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    fn start(&self) -> PathBuf {
        run("mount", &["-o", "loop", self.image().to_str().unwrap(), self.mount().to_str().unwrap()]);
        self.mount().join("store")
    }

    fn stop(&self) {
        run("umount", &[self.mount().to_str().unwrap()]);
    }

    /// Puts the disk back to what it was.
    fn restore(&self, from: &Path) {
        run("cp", &["--sparse=always", from.to_str().unwrap(), self.image().to_str().unwrap()]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A mount that stays would keep the directory; one that is gone already is as good.
            let _ = Command::new("umount").arg(self.mount()).status();
        }
    }
}

fn cut_everywhere(machine: &Machine) {
    let _alone = alone();
    let (old, new) = (before(), after());
    let delta = in_small_frames(&old, &new);
    let store = Store::create(machine.start(), &StoreOptions::default()).unwrap();
    store.install(&old.input(), &rootless()).unwrap();
    drop(store);
    machine.stop();
    let pristine = machine.directory.path().join("pristine");
    fs::copy(machine.image(), &pristine).unwrap();

    let (mut outcomes, mut resumed) = ([0, 0], 0);
    for at in 0.. {
        machine.restore(&pristine);
        let path = machine.start();
        let disk = Arc::new(PowerCut { mount: machine.mount(), calls: Mutex::default(), at });
        let root = RootOptions::default().with_storage(disk.clone());
        let store = Store::open(&path, &StoreOptions::default().with_root(root)).unwrap();
        // What it says is said by a process that had no power any more.
        let _ = apply(&store, &delta, &new);
        drop(store);
        machine.stop();
        let calls = disk.calls.lock().unwrap().clone();
        if calls.len() <= at {
            break; // the power held to the end
        }
        // Once the swap is done and synced, success is reported.
        let swap = calls[..at].windows(3).any(|three| three == ["symlink", "rename", "sync"]);
        let store = Store::open(machine.start(), &StoreOptions::default()).unwrap();
        store.recover(&rootless()).unwrap_or_else(|error| panic!("cut before call {at}: {error}"));
        let current = store.current().unwrap().unwrap().id;
        assert!(current == old.id() || current == new.id(), "cut before call {at}");
        assert!(current == new.id() || !swap, "cut before call {at}: it had said that it was done");
        assert_sound(&store, if current == new.id() { &new } else { &old });
        outcomes[usize::from(current == new.id())] += 1;
        let applied =
            apply(&store, &delta, &new).unwrap_or_else(|error| panic!("cut before call {at}: {error}"));
        resumed += usize::from(matches!(applied.outcome, Outcome::Resumed { .. }));
        assert_sound(&store, &new);
        drop(store);
        machine.stop();
    }
    println!("old {}, new {}, resumed {resumed}", outcomes[0], outcomes[1]);
    assert!(outcomes[0] > 50 && outcomes[1] > 0 && resumed > 10, "{outcomes:?} {resumed}");
}

#[test]
#[ignore = "needs root, mkfs.ext4 and xfs_io"]
fn on_ext4_a_power_cut_before_every_call_leaves_the_old_or_the_new() {
    cut_everywhere(&Machine::new(&["mkfs.ext4", "-q"], 24 << 20));
}

#[test]
#[ignore = "needs root, mkfs.xfs and xfs_io"]
fn on_xfs_a_power_cut_before_every_call_leaves_the_old_or_the_new() {
    cut_everywhere(&Machine::new(&["mkfs.xfs", "-q"], 320 << 20));
}
