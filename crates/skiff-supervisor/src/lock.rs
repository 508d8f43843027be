//! The lock of whoever must not be restarted.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, OFlags};

/// A file that a program holds locked by `flock` while it must not be restarted. The lock goes with the program, however that ends.
#[derive(Debug)]
pub(crate) struct UpdateLock {
    path: PathBuf,
}

/// What was found of a lock.
#[derive(Debug)]
pub(crate) enum Found {
    /// Somebody holds it.
    Held,
    /// Nobody does; where there is a file, nobody can as long as this is kept.
    Free(Option<UpdateLocked>),
}

/// The lock, held as long as this is.
#[derive(Debug)]
pub(crate) struct UpdateLocked {
    _file: File,
}

impl UpdateLock {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Takes the lock, unless somebody holds it. Whatever is there that is no regular file is no lock: programs that may make files
    /// there are not trusted.
    pub(crate) fn take(&self) -> Found {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let Ok(file) = File::options().read(true).custom_flags(flags).open(&self.path) else {
            return Found::Free(None);
        };
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Found::Free(None);
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Found::Held,
            _ => Found::Free(Some(UpdateLocked { _file: file })),
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
        let is_held = || matches!(lock.take(), Found::Held);
        assert!(!is_held(), "there is no file");
        let holder = File::create(&path).expect("a file");
        assert!(!is_held(), "nobody holds it");
        rustix::fs::flock(&holder, FlockOperation::LockShared).expect("locked");
        assert!(is_held());
        drop(holder);
        let taken = lock.take();
        assert!(matches!(taken, Found::Free(Some(_))));
        let program = File::open(&path).expect("a file");
        assert!(rustix::fs::flock(&program, FlockOperation::NonBlockingLockShared).is_err(), "it is ours");
    }

    #[test]
    fn what_is_no_file_is_no_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let lock = UpdateLock::new(path.clone());
        let victim = directory.path().join("victim");
        let held = File::create(&victim).expect("a file");
        rustix::fs::flock(&held, FlockOperation::LockExclusive).expect("locked");
        std::os::unix::fs::symlink(&victim, &path).expect("a link");
        assert!(matches!(lock.take(), Found::Free(None)));
        std::fs::remove_file(&path).expect("removed");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        assert!(matches!(lock.take(), Found::Free(None)));
    }
}
