//! Bringing it to the disk while other work goes on.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{panic, thread};

use skiff_tree::EntryPath;

use crate::storage::{RestOfSync, Sync};
use crate::{FsError, Root};

/// Stack of the thread: it makes one system call.
const STACK: usize = 64 << 10;

/// A sync of a whole file system that goes on beside other work.
///
/// Dropped, it is waited for all the same: while it goes on, the file system cannot be unmounted.
#[derive(Debug)]
pub struct Syncing {
    progress: Progress,
    path: PathBuf,
}

#[derive(Debug)]
enum Progress {
    Beside(thread::JoinHandle<io::Result<()>>),
    Done(io::Result<()>),
}

impl Root {
    /// Begins to do what [`sync_file_system`](Self::sync_file_system) does, on a thread of its own; at once, where there is none to
    /// be had. What is written from now on may reach the disk or not.
    ///
    /// # Errors
    /// As for [`sync_file_system`](Self::sync_file_system); most of them come from [`Syncing::wait`].
    pub fn begin_sync_file_system(&self) -> Result<Syncing, FsError> {
        let rest = self.storage.begin_sync(Arc::clone(&self.directory), Sync::FileSystem);
        let rest = rest.map_err(self.failed(OPERATION, &EntryPath::root()))?;
        Ok(Syncing { progress: Progress::new(rest), path: self.display(&EntryPath::root()) })
    }
}

const OPERATION: &str = "syncing the file system of";

impl Progress {
    fn new(rest: RestOfSync) -> Self {
        // Shared, as a thread that does not start loses what it was given.
        let rest = Arc::new(Mutex::new(Some(rest)));
        let run = |rest: &Mutex<Option<RestOfSync>>| {
            let rest = rest.lock().unwrap_or_else(PoisonError::into_inner).take();
            rest.map_or(Ok(()), |rest| rest())
        };
        let theirs = Arc::clone(&rest);
        let thread = thread::Builder::new().name("skiff-sync".into()).stack_size(STACK);
        match thread.spawn(move || run(&theirs)) {
            Ok(thread) => Self::Beside(thread),
            Err(_) => Self::Done(run(&rest)),
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::Done(Ok(()))) {
            Self::Beside(thread) => thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload)),
            Self::Done(result) => result,
        }
    }
}

impl Syncing {
    /// Waits until it is done.
    ///
    /// # Errors
    /// As for [`Root::sync_file_system`].
    pub fn wait(mut self) -> Result<(), FsError> {
        let path = std::mem::take(&mut self.path);
        self.progress.wait().map_err(|source| FsError::Io { op: OPERATION, path, source })
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        if let Progress::Beside(_) = &self.progress {
            // Nobody asked how it went.
            let _ = self.progress.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::{DiskStorage, Fault, FaultyStorage, RootOptions};

    #[test]
    fn it_is_over_when_it_was_waited_for_or_dropped() {
        for is_dropped in [false, true] {
            let is_over = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&is_over);
            let progress = Progress::new(Box::new(move || {
                thread::sleep(Duration::from_millis(20));
                theirs.store(true, Ordering::SeqCst);
                Err(io::Error::other("lost"))
            }));
            let syncing = Syncing { progress, path: PathBuf::new() };
            if is_dropped {
                drop(syncing);
            } else {
                assert!(matches!(syncing.wait(), Err(FsError::Io { .. })));
            }
            assert!(is_over.load(Ordering::SeqCst));
        }
    }

    #[test]
    fn it_is_numbered_where_it_begins() {
        let directory = tempfile::tempdir().unwrap();
        for fault in [None, Some(Fault::BROKEN)] {
            let disk = FaultyStorage::new(DiskStorage);
            let disk = Arc::new(match fault {
                Some(fault) => disk.failing_at(0, fault),
                None => disk,
            });
            let options = RootOptions::default().with_storage(disk.clone());
            let root = Root::open_with(directory.path(), options).unwrap();
            let begun = root.begin_sync_file_system();
            assert_eq!(disk.calls(), ["sync"]);
            assert_eq!(begun.and_then(Syncing::wait).is_err(), fault.is_some());
            assert_eq!(disk.calls(), ["sync"]);
        }
    }
}
