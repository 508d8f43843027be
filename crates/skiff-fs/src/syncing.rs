//! Bringing it to the disk while other work goes on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use skiff_tree::EntryPath;

use crate::storage::{RestOfSync, Sync};
use crate::{FsError, Root};

/// Stack of the thread: it makes one system call at a time.
const STACK: usize = 64 << 10;

/// A thread that brings file systems to the disk while other work goes on. It has ended when this value is dropped.
///
/// One for all of the work, as an allocator keeps memory for each thread that there is at the same time: one that came and went would make
/// it keep as much as another thread had in use before.
#[derive(Debug)]
pub struct Syncer(Option<Working>);

#[derive(Debug)]
struct Working {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

type Job = (RestOfSync, SyncSender<io::Result<()>>);

/// A sync of a whole file system that goes on beside other work.
///
/// Dropped, it is waited for all the same: while it goes on, the file system cannot be unmounted.
#[derive(Debug)]
pub struct Syncing {
    result: Option<Receiver<io::Result<()>>>,
    path: PathBuf,
}

impl Syncer {
    /// Starts the thread. Where there is none to be had, syncs are done at once.
    #[must_use]
    pub fn start() -> Self {
        let (sender, jobs) = channel::<Job>();
        let work = move || {
            for (rest, answer) in jobs {
                // Whoever asked waits for it, or has gone.
                let _ = answer.send(rest());
            }
        };
        let thread = thread::Builder::new().name("skiff-sync".into()).stack_size(STACK).spawn(work);
        Self(thread.ok().map(|thread| Working { jobs: sender, thread }))
    }

    fn begin(&self, rest: RestOfSync) -> Receiver<io::Result<()>> {
        let (answer, result) = sync_channel(1);
        let left = match &self.0 {
            Some(Working { jobs, .. }) => jobs.send((rest, answer)).err(),
            None => Some(SendError((rest, answer))),
        };
        if let Some(SendError((rest, answer))) = left {
            // It has room for one, and is there to be asked.
            let _ = answer.send(rest());
        }
        result
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        if let Some(Working { jobs, thread }) = self.0.take() {
            drop(jobs);
            // Whether it panicked has been told to whoever asked for the work.
            let _ = thread.join();
        }
    }
}

impl Root {
    /// Begins to do what [`sync_file_system`](Self::sync_file_system) does, on the syncer's thread. What is written from now on may reach
    /// the disk or not.
    ///
    /// # Errors
    /// As for [`sync_file_system`](Self::sync_file_system); most of them come from [`Syncing::wait`].
    pub fn begin_sync_file_system(&self, syncer: &Syncer) -> Result<Syncing, FsError> {
        let rest = self.storage.begin_sync(Arc::clone(&self.directory), Sync::FileSystem);
        let rest = rest.map_err(self.failed(OPERATION, &EntryPath::root()))?;
        Ok(Syncing { result: Some(syncer.begin(rest)), path: self.display(&EntryPath::root()) })
    }
}

const OPERATION: &str = "syncing the file system of";

impl Syncing {
    /// Waits until it is done.
    ///
    /// # Errors
    /// As for [`Root::sync_file_system`].
    pub fn wait(mut self) -> Result<(), FsError> {
        let path = std::mem::take(&mut self.path);
        self.outcome().map_err(|source| FsError::Io { op: OPERATION, path, source })
    }

    fn outcome(&mut self) -> io::Result<()> {
        // The thread ends before its work is done only where that panics.
        let lost = |_| Err(io::Error::other("the thread that did it has ended"));
        self.result.take().map_or(Ok(()), |result| result.recv().unwrap_or_else(lost))
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        // Nobody asked how it went.
        let _ = self.outcome();
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
        for (is_dropped, syncer) in [(false, Syncer::start()), (true, Syncer::start()), (false, Syncer(None))]
        {
            let is_over = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&is_over);
            let result = syncer.begin(Box::new(move || {
                thread::sleep(Duration::from_millis(20));
                theirs.store(true, Ordering::SeqCst);
                Err(io::Error::other("lost"))
            }));
            let syncing = Syncing { result: Some(result), path: PathBuf::new() };
            if is_dropped {
                drop(syncing);
            } else {
                assert!(matches!(syncing.wait(), Err(FsError::Io { .. })));
            }
            assert!(is_over.load(Ordering::SeqCst));
        }
    }

    /// A fuzzer found the thread still ending when the update that it had worked for was over.
    #[test]
    fn its_thread_has_ended_when_it_was_dropped() {
        use std::cell::RefCell;
        thread_local! {
            static HELD: RefCell<Option<Arc<()>>> = const { RefCell::new(None) };
        }
        for _ in 0..100 {
            let (syncer, held) = (Syncer::start(), Arc::new(()));
            let theirs = Arc::clone(&held);
            let result = syncer.begin(Box::new(move || {
                HELD.set(Some(theirs));
                Ok(())
            }));
            result.recv().unwrap().unwrap();
            drop(syncer);
            assert_eq!(Arc::strong_count(&held), 1);
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
            let begun = root.begin_sync_file_system(&Syncer::start());
            assert_eq!(disk.calls(), ["sync"]);
            assert_eq!(begun.and_then(Syncing::wait).is_err(), fault.is_some());
            assert_eq!(disk.calls(), ["sync"]);
        }
    }
}
