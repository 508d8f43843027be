//! Bringing it to the disk, and making it the current one.

use std::os::fd::AsFd as _;

use skiff_tree::EntryPath;

use crate::storage::Sync;
use crate::{FsError, Root};

impl Root {
    /// Waits until everything on the root's file system is on the disk, whoever wrote it.
    ///
    /// Errors that came since the root was opened are told, from Linux 5.8 on.
    ///
    /// # Errors
    /// [`FsError::Io`], which is final: what could not be written is lost, and the next call would not tell.
    pub fn sync_file_system(&self) -> Result<(), FsError> {
        let done = self.storage.sync(self.as_fd(), Sync::FileSystem);
        done.map_err(self.failed("syncing the file system of", &EntryPath::root()))
    }
}
