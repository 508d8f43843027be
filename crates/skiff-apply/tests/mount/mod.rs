//! File systems of a test's own; it takes root.

// Every test binary uses its own part, and a helper that fails is a test that fails.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skiff_apply::{Store, StoreOptions};

/// One test at a time: a process that is being started holds, until it runs its program, whatever lock another
/// test has just let go.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file system of its own, unmounted when it is dropped, even by a panic.
pub struct Mounted {
    directory: tempfile::TempDir,
}

pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Mounted {
    pub fn tmpfs(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("mount");
        fs::create_dir(&at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]);
        Self { directory }
    }

    /// A file system in a file, by the program that makes it.
    pub fn image(make: &[&str], bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (image, at) = (directory.path().join("image"), directory.path().join("mount"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let image = image.to_str().unwrap();
        run(make[0], &[&make[1..], &[image]].concat());
        run("mount", &["-o", "loop", image, at.to_str().unwrap()]);
        Self { directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    pub fn store(&self) -> Store {
        Store::create(self.path().join("store"), &StoreOptions::default()).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A failure shows as a mount that stays; a panic while panicking would hide the first.
        let _ = Command::new("umount").arg(self.path()).status();
    }
}
