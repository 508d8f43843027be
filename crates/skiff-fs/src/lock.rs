use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use skiff_tree::EntryPath;

use crate::{FsError, Root};

/// A lock on a file or directory, held until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

/// Who else may hold the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Nobody.
    Exclusive,
    /// Others who share it too.
    Shared,
}

impl Root {
    /// Locks a file, which is made, empty, where it is not there. Does not wait.
    ///
    /// The lock is `flock`'s: it binds only those who ask for it, and not across machines.
    ///
    /// # Errors
    /// [`FsError::Locked`] where somebody else holds it; [`FsError::Io`]; [`FsError::Refused`] where a symbolic link stands
    /// there.
    pub fn lock(&self, path: &EntryPath, kind: LockKind) -> Result<Lock, FsError> {
        let op = "opening the lock file";
        let place = self.place(op, path)?;
        let file = match self.storage.create_file(place.at()) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {
                self.open_beneath(op, path, OFlags::RDONLY | OFlags::NONBLOCK)?
            }
            other => other.map_err(self.failed(op, path))?,
        };
        self.flock(file, path, kind)
    }

    /// Locks a directory itself, so that no file is made for it. Does not wait.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock); [`FsError::Io`] where it is not there or no directory.
    pub fn lock_directory(&self, path: &EntryPath, kind: LockKind) -> Result<Lock, FsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = self.open_beneath("opening the directory to lock", path, flags)?;
        self.flock(directory, path, kind)
    }

    fn flock(&self, file: OwnedFd, path: &EntryPath, kind: LockKind) -> Result<Lock, FsError> {
        let operation = match kind {
            LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
            LockKind::Shared => FlockOperation::NonBlockingLockShared,
        };
        match rustix::fs::flock(file.as_fd(), operation) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(FsError::Locked { path: self.display(path) }),
            Err(error) => Err(self.failed("locking", path)(error.into())),
        }
    }
}
