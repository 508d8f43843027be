//! Where the tests write, what lies beside that, and who swaps its directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use skiff::fs::{Control, EntryType, Rename, Root};
use skiff::tree::EntryPath;
use skiff_testkit::{Canary, OUTSIDE};

/// A directory to work in, and a canary outside of it on the same file system, so that hard links from one to the other are possible.
pub(crate) struct Place {
    pub(crate) canary: Canary,
    work: PathBuf,
}

/// How a run of the command ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) said: String,
    pub(crate) told: String,
}

impl Place {
    pub(crate) fn new(scratch: &Path) -> Self {
        let work = scratch.join("work");
        fs::create_dir(&work).unwrap();
        Self { canary: Canary::plant(Path::new(OUTSIDE)), work }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// An empty directory of this name, whatever was there before.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        remove(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    /// A copy of a store, in the place of another.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        remove(&self.path(to));
        let mut copy = Command::new("cp");
        skiff_testkit::run_program(copy.arg("-a").args([self.path(from), self.path(to)]));
    }

    /// Runs `skiff`, which is killed neither by a signal nor by a defect of its own.
    pub(crate) fn skiff(&self, words: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        let output = command.args(words).current_dir(&self.work).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, told) = (text(&output.stderr), text(&output.stdout));
        let code = output.status.code().unwrap_or_else(|| panic!("{words:?} was ended by a signal: {said}"));
        assert!((0..=10).contains(&code) && code != 1, "{words:?} ended with {code}: {said}");
        Run { code, said, told }
    }

    pub(crate) fn succeeds(&self, words: &[&str]) -> Run {
        let run = self.skiff(words);
        assert_eq!(run.code, 0, "{words:?}: {}", run.said);
        run
    }

    /// Swaps directories beneath those of these names for a link to the canary, and back, while something is done. Returns how often
    /// it has, and what that returned.
    pub(crate) fn swapping<T>(&mut self, beneath: &[&str], doing: impl FnOnce(&mut Self) -> T) -> (u64, T) {
        let (done, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut swapper = Swapper { root: Root::open(&self.work).unwrap(), work: self.work.clone() };
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    swaps.fetch_add(swapper.swap_all(beneath), Ordering::Relaxed);
                }
            });
            // However it ends: the other thread would go on.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| doing(self)));
            done.store(true, Ordering::Relaxed);
            result
        });
        let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (swaps.into_inner(), result)
    }
}

/// Removes a file or a tree, links in it not followed.
fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Who puts a link in the place of directories.
struct Swapper {
    root: Root,
    work: PathBuf,
}

const LINK: &str = "link-to-swap";

impl Swapper {
    /// Swaps each directory that is there now once; how many it could.
    fn swap_all(&mut self, beneath: &[&str]) -> u64 {
        let mut left: Vec<EntryPath> = beneath.iter().map(|name| EntryPath::new(*name).unwrap()).collect();
        let mut swaps = 0;
        while let Some(directory) = left.pop() {
            for name in self.root.list(&directory).unwrap_or_default() {
                let Ok(path) = directory.join(&name) else { continue };
                if self.root.entry_type(&path).ok().flatten() == Some(EntryType::Directory) {
                    swaps += u64::from(self.swap(&path));
                    left.push(path);
                }
            }
        }
        swaps
    }

    /// Swaps a directory and the link, and back after a while.
    fn swap(&mut self, path: &EntryPath) -> bool {
        let link = EntryPath::new(LINK).unwrap();
        if self.root.entry_type(&link).ok().flatten() != Some(EntryType::Symlink) {
            // What was swapped was removed meanwhile, and its directory is here.
            let _ = self.root.remove(&link, &Control::default());
            symlink(OUTSIDE, self.work.join(LINK)).unwrap();
        }
        if self.root.rename(path, &link, Rename::Exchange).is_err() {
            return false;
        }
        for _ in 0..20 {
            std::thread::yield_now();
        }
        let _ = self.root.rename(path, &link, Rename::Exchange);
        true
    }
}
