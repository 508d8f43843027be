//! The lock of whoever must not be restarted.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use rustix::fs::FlockOperation;

use crate::SupervisorError;

/// A file that a program holds locked by `flock` while it must not be restarted. The lock goes with the program, however that ends.
#[derive(Debug)]
pub(crate) struct UpdateLock {
    path: PathBuf,
}

impl UpdateLock {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Whether somebody holds it; nobody does where there is no file.
    pub(crate) fn is_held(&self) -> Result<bool, SupervisorError> {
        let failed = |source| SupervisorError::Io { op: "looking at", path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_until_its_holder_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let lock = UpdateLock::new(path.clone());
        assert!(!lock.is_held().expect("no file"));
        let holder = File::create(&path).expect("a file");
        assert!(!lock.is_held().expect("a file that nobody holds"));
        rustix::fs::flock(&holder, FlockOperation::LockShared).expect("locked");
        assert!(lock.is_held().expect("held"));
        drop(holder);
        assert!(!lock.is_held().expect("free"));
    }
}
