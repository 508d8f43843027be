//! Bringing it to the disk, and making it the current one.

use std::os::fd::AsFd as _;

use skiff_tree::{EntryPath, Kind};

use crate::storage::{Rename, Sync};
use crate::walk::walk;
use crate::{Control, EntryType, FsError, Root};

/// How everything that was written is brought to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStrategy {
    /// One `syncfs`: fast, and enough where it tells of errors.
    FileSystem,
    /// Every file and directory by itself, then the file system: for kernels whose `syncfs` keeps errors to itself.
    EachFile,
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes that this process's user may take. What is kept for root, or beyond the user's quota, may not be counted right.
    pub bytes: u64,
    /// Inodes that this process's user may make; none where the file system makes them as they are needed.
    pub inodes: Option<u64>,
}

/// Whether `syncfs` tells of data that could not be written: from Linux 5.8 on. Where the version cannot be made out, no.
#[must_use]
pub fn syncfs_reports_errors() -> bool {
    let system = rustix::system::uname();
    system.release().to_str().ok().and_then(kernel_version).is_some_and(|version| version >= (5, 8))
}

impl SyncStrategy {
    /// What can be relied on with this kernel.
    #[must_use]
    pub fn for_this_kernel() -> Self {
        if syncfs_reports_errors() { Self::FileSystem } else { Self::EachFile }
    }
}

impl Root {
    /// Waits until everything on the root's file system is on the disk, whoever wrote it.
    ///
    /// Errors that came since the root was opened are told, from Linux 5.8 on (see [`syncfs_reports_errors`]).
    ///
    /// # Errors
    /// [`FsError::Io`], which is final: what could not be written is lost, and the next call would not tell.
    pub fn sync_file_system(&self) -> Result<(), FsError> {
        let done = self.storage.sync(self.as_fd(), Sync::FileSystem);
        done.map_err(self.failed("syncing the file system of", &EntryPath::root()))
    }

    /// Waits until everything beneath the root is on the disk.
    ///
    /// # Errors
    /// As for [`sync_file_system`](Self::sync_file_system); [`FsError::Interrupted`].
    pub fn sync_all(&self, strategy: SyncStrategy, control: &Control<'_>) -> Result<(), FsError> {
        if strategy == SyncStrategy::EachFile {
            // Directories after what is in them.
            for entry in walk(self, control, |_| false)?.iter().rev() {
                control.check()?;
                match entry.kind {
                    Some(Kind::File(_)) if entry.owner.is_none() => self.sync_file(&entry.path)?,
                    Some(Kind::Directory) => self.sync_directory(&entry.path)?,
                    _ => {}
                }
            }
        }
        self.sync_file_system()
    }

    /// Waits until a file's content and metadata are on the disk.
    ///
    /// # Errors
    /// As for [`sync_file_system`](Self::sync_file_system); [`FsError::Refused`] where it is no regular file.
    pub fn sync_file(&self, path: &EntryPath) -> Result<(), FsError> {
        let file = self.open_file(path)?;
        self.storage.sync(file.as_fd(), Sync::File).map_err(self.failed("syncing", path))
    }

    /// Waits until the names in a directory are on the disk.
    ///
    /// # Errors
    /// As for [`sync_file_system`](Self::sync_file_system).
    pub fn sync_directory(&self, path: &EntryPath) -> Result<(), FsError> {
        let directory = self.open_directory(path)?;
        self.storage.sync(directory.as_fd(), Sync::File).map_err(self.failed("syncing directory", path))
    }

    /// Makes a symbolic link point elsewhere, in one step: after a cut it names the old or the new target, and once this
    /// has returned, the new one. It need not be there before.
    ///
    /// For the time being there is a link of the same name with `.tmp` at its end; one that a cut left is replaced.
    ///
    /// # Errors
    /// [`FsError::Io`]; [`FsError::Refused`] where something other than a symbolic link stands there. After an error the old
    /// or the new target may be named.
    pub fn replace_symlink(&self, path: &EntryPath, target: &[u8]) -> Result<(), FsError> {
        if !matches!(self.entry_type(path)?, None | Some(EntryType::Symlink)) {
            return Err(FsError::Refused { path: self.display(path), what: "it is not a symbolic link" });
        }
        let temporary = self.temporary(path)?;
        self.symlink(&temporary, target)?;
        self.rename_durably(&temporary, path)
    }

    /// Puts a file with these bytes, mode 0600, in the place of what stands there, in one step: after a cut there is the
    /// old or the new file, whole, and once this has returned, the new one.
    ///
    /// For the time being there is a file of the same name with `.tmp` at its end; one that a cut left is replaced.
    ///
    /// # Errors
    /// [`FsError::Io`]. After an error the old or the new file may be there.
    pub fn replace_file(&self, path: &EntryPath, bytes: &[u8]) -> Result<(), FsError> {
        let temporary = self.temporary(path)?;
        let file = self.create_file(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        self.rename_durably(&temporary, path)
    }

    /// Room on the root's file system.
    ///
    /// # Errors
    /// [`FsError::Io`] where the system does not say.
    pub fn free_space(&self) -> Result<FreeSpace, FsError> {
        let space = rustix::fs::fstatvfs(self.as_fd())
            .map_err(|error| self.failed("asking for the room on", &EntryPath::root())(error.into()))?;
        // Btrfs and others have no table of inodes to run out of, and say 0 of 0.
        let inodes = (space.f_files != 0).then_some(space.f_favail);
        Ok(FreeSpace { bytes: space.f_bavail.saturating_mul(space.f_frsize), inodes })
    }

    /// A name beside `path` with nothing there any more.
    fn temporary(&self, path: &EntryPath) -> Result<EntryPath, FsError> {
        let mut name = path.as_bytes().to_vec();
        name.extend_from_slice(b".tmp");
        let temporary = EntryPath::new(name)?;
        self.remove(&temporary, &Control::default())?;
        Ok(temporary)
    }

    fn rename_durably(&self, from: &EntryPath, to: &EntryPath) -> Result<(), FsError> {
        self.rename(from, to, Rename::Replace)?;
        self.sync_directory(&to.parent().unwrap_or_else(EntryPath::root))
    }
}

/// Major and minor number at the head of a release like `5.10.0-rpi4`.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(kernel_version("5.10.103-v7l+"), Some((5, 10)));
        assert_eq!(kernel_version("6.1-rc3"), Some((6, 1)));
        assert_eq!(kernel_version("4.19.0-26-amd64"), Some((4, 19)));
        assert_eq!(kernel_version("unknown"), None);
        assert_eq!(kernel_version("5"), None);
    }
}
