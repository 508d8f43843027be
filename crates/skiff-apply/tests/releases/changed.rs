//! A file of the current release that somebody changes, before a delta is applied or at any instant while it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::common::*;
use skiff_apply::*;
use skiff_fs::{DiskStorage, FaultyStorage, When};

/// What is done to it.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Another byte in its middle; its time is not told.
    Byte,
    /// It ends earlier.
    Shorter,
    /// It goes on.
    Longer,
    /// It is not there any more.
    Removed,
    /// A link to a file with the same content stands in its place.
    Link,
}

/// A file as it was, to be put back.
#[derive(Clone)]
struct Original {
    path: PathBuf,
    aside: PathBuf,
    parent: (PathBuf, SystemTime),
}

impl Original {
    fn of(fixture: &Fixture, file: &str) -> Self {
        let path = fixture.store.path().join("current/rootfs").join(file);
        // By another name than that of the link, which may lead elsewhere afterwards.
        let path = fs::canonicalize(path).unwrap();
        let parent = path.parent().unwrap().to_owned();
        let time = fs::metadata(&parent).unwrap().modified().unwrap();
        Self { path, aside: fixture.directory.path().join("aside"), parent: (parent, time) }
    }

    fn change(&self, change: Change) {
        let modified = fs::metadata(&self.path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&self.path).unwrap();
        fs::rename(&self.path, &self.aside).unwrap();
        let middle = bytes.len() / 2;
        match change {
            Change::Byte => bytes[middle] ^= 1,
            Change::Shorter => bytes.truncate(middle),
            Change::Longer => bytes.push(0),
            Change::Removed => return self.keep_time(),
            Change::Link => {
                std::os::unix::fs::symlink(&self.aside, &self.path).unwrap();
                return self.keep_time();
            }
        }
        fs::write(&self.path, bytes).unwrap();
        File::options().write(true).open(&self.path).unwrap().set_modified(modified).unwrap();
        self.keep_time();
    }

    fn put_back(&self) {
        if self.aside.exists() {
            fs::rename(&self.aside, &self.path).unwrap();
            self.keep_time();
        }
    }

    fn keep_time(&self) {
        set_time(&self.parent.0, self.parent.1);
    }
}

fn set_time(directory: &Path, time: SystemTime) {
    File::open(directory).unwrap().set_modified(time).unwrap();
}

/// One file is a source of a patch, the other is in the new release too.
#[test]
fn a_base_that_is_changed_at_any_instant_never_becomes_another_release() {
    let (old, new) = (before(), after());
    let delta = in_small_frames(&old, &new);
    let fixture = Fixture::quick(&old);
    let counting = Arc::new(FaultyStorage::new(DiskStorage));
    apply(&fixture.through(Arc::clone(&counting)), &delta, &new).unwrap();
    let calls = counting.calls().len();
    let mut outcomes = [0, 0];
    for file in ["d/changed", "d/kept"] {
        for change in [Change::Byte, Change::Shorter, Change::Longer, Change::Removed, Change::Link] {
            // The first call is to lock: nothing was read before.
            for at in (0..calls).step_by(5) {
                let context = format!("{change:?} of {file} before call {at} of {calls}");
                let fixture = Fixture::quick(&old);
                let original = Original::of(&fixture, file);
                let theirs = original.clone();
                let disk = FaultyStorage::new(DiskStorage).watched_by(move |passing| {
                    if (passing.number, passing.when) == (at, When::Before) {
                        theirs.change(change);
                    }
                });
                let result = apply(&fixture.through(Arc::new(disk)), &delta, &new);
                let current = fixture.store.current().unwrap().unwrap().id;
                assert_eq!(current, if result.is_ok() { new.id() } else { old.id() }, "{context}");
                assert!(at > 0 || result.is_err(), "{context}: it went unnoticed");
                if let Err(error) = &result {
                    assert_eq!(error.class(), ErrorClass::Damaged, "{context}: {error}");
                    assert_eq!(fixture.names("staging"), [""; 0], "{context}");
                    original.put_back();
                    fixture.assert_current(&old);
                    apply(&fixture.store, &delta, &new)
                        .unwrap_or_else(|error| panic!("{context}: again: {error}"));
                }
                fixture.assert_current(&new);
                outcomes[usize::from(result.is_ok())] += 1;
            }
        }
    }
    println!("changes: noticed {}, too late to matter {}", outcomes[0], outcomes[1]);
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
}
