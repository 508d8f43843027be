use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;
use skiff_tree::{Device, Mtime};

/// A name in an open directory. `.` is the directory itself.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The directory.
    pub directory: BorrowedFd<'a>,
    /// A single component.
    pub name: &'a [u8],
}

/// What `mknod` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
}

/// What a rename does with what stands at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// Puts the source in its place.
    Replace,
    /// Fails, with `EEXIST`.
    NoReplace,
    /// Changes places with the source: both have to be there.
    Exchange,
}

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// A name of anything but a directory.
    File,
    /// An empty directory.
    Directory,
}

/// What is brought to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// The file or directory.
    File,
    /// Everything of the file system it lies on.
    FileSystem,
}

/// Every call that changes the disk, and the one that reads the contents of files.
///
/// This crate changes nothing but through here, so that a test can put another implementation in the place of
/// [`DiskStorage`], number the calls, and let one of them fail or be the last. Names are single components that are
/// never followed; errors carry the system's error number.
pub trait Storage: Send + std::marker::Sync + fmt::Debug {
    /// Makes a directory of mode 0700.
    ///
    /// # Errors
    /// Those of `mkdirat`.
    fn make_directory(&self, at: At<'_>) -> io::Result<()>;

    /// Makes an empty file of mode 0600, which must not be there, and opens it for reading and writing.
    ///
    /// # Errors
    /// Those of `openat`.
    fn create_file(&self, at: At<'_>) -> io::Result<OwnedFd>;

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// Those of `symlinkat`.
    fn symlink(&self, at: At<'_>, target: &[u8]) -> io::Result<()>;

    /// Makes a named pipe or a device of mode 0600.
    ///
    /// # Errors
    /// Those of `mknodat`.
    fn make_special(&self, at: At<'_>, special: Special) -> io::Result<()>;

    /// Gives the inode at `from` the further name `to`.
    ///
    /// # Errors
    /// Those of `linkat`.
    fn hard_link(&self, from: At<'_>, to: At<'_>) -> io::Result<()>;

    /// Renames.
    ///
    /// # Errors
    /// Those of `renameat2`.
    fn rename(&self, from: At<'_>, to: At<'_>, rename: Rename) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// Those of `unlinkat`.
    fn remove(&self, at: At<'_>, removal: Removal) -> io::Result<()>;

    /// Reads at an offset, and returns how many bytes it read: fewer than asked for is no error, and none is the end.
    /// Of the real disk, unless implemented otherwise.
    ///
    /// # Errors
    /// Those of `pread`.
    fn read(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(file, buffer, offset)?)
    }

    /// Writes at an offset, and returns how many bytes it wrote: fewer than asked for is no error.
    ///
    /// # Errors
    /// Those of `pwrite`.
    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts a file off, or extends it by a hole.
    ///
    /// # Errors
    /// Those of `ftruncate`.
    fn set_length(&self, file: BorrowedFd<'_>, length: u64) -> io::Result<()>;

    /// Makes `to`, an empty file, share the blocks of `from`.
    ///
    /// # Errors
    /// Those of `ioctl(FICLONE)`.
    fn clone_file(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()>;

    /// Copies a range of bytes to the same place in another file, and returns how many: fewer than asked for is no error.
    ///
    /// # Errors
    /// Those of `copy_file_range`.
    fn copy_range(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, range: Range<u64>) -> io::Result<usize>;

    /// Sets owner and group.
    ///
    /// # Errors
    /// Those of `fchownat`; `EINVAL` for an id of 2³²−1, which Linux takes for "leave as it is".
    fn set_owner(&self, at: At<'_>, uid: u32, gid: u32) -> io::Result<()>;

    /// Sets the permission bits of anything but a symbolic link.
    ///
    /// # Errors
    /// Those of `fchmodat`; `ELOOP` for a symbolic link.
    fn set_mode(&self, at: At<'_>, mode: skiff_tree::Mode) -> io::Result<()>;

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// Those of `lsetxattr`.
    fn set_xattr(&self, at: At<'_>, name: &[u8], value: &[u8]) -> io::Result<()>;

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// Those of `lremovexattr`.
    fn remove_xattr(&self, at: At<'_>, name: &[u8]) -> io::Result<()>;

    /// Sets the modification time, and leaves the access time.
    ///
    /// # Errors
    /// Those of `utimensat`.
    fn set_mtime(&self, at: At<'_>, mtime: Mtime) -> io::Result<()>;

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// Those of `fsync` and `syncfs`. They are final: data that failed to be written is lost, and a second call succeeds.
    fn sync(&self, file: BorrowedFd<'_>, sync: Sync) -> io::Result<()>;

    /// Begins what [`sync`](Self::sync) does, and gives the rest, which may be done on another thread and waits until what
    /// had been written by now is on the disk. Calls are numbered by when they begin, so that this is one, and its rest none.
    ///
    /// Does all at once, unless implemented otherwise.
    ///
    /// # Errors
    /// Those of [`sync`](Self::sync), now or from the rest.
    fn begin_sync(&self, file: Arc<OwnedFd>, sync: Sync) -> io::Result<RestOfSync> {
        self.sync(file.as_fd(), sync).map(|()| -> RestOfSync { Box::new(|| Ok(())) })
    }
}

/// What remains to be done of a sync that has begun.
pub type RestOfSync = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskStorage;

impl Storage for DiskStorage {
    fn make_directory(&self, at: At<'_>) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(at.directory, at.name, Mode::RWXU)?)
    }

    fn create_file(&self, at: At<'_>) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(at.directory, at.name, flags, Mode::RUSR | Mode::WUSR)?)
    }

    fn symlink(&self, at: At<'_>, target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, at.directory, at.name)?)
    }

    fn make_special(&self, at: At<'_>, special: Special) -> io::Result<()> {
        let (file_type, device) = match special {
            Special::Fifo => (FileType::Fifo, Device { major: 0, minor: 0 }),
            Special::CharDevice(device) => (FileType::CharacterDevice, device),
            Special::BlockDevice(device) => (FileType::BlockDevice, device),
        };
        let number = rustix::fs::makedev(device.major, device.minor);
        Ok(rustix::fs::mknodat(at.directory, at.name, file_type, Mode::RUSR | Mode::WUSR, number)?)
    }

    fn hard_link(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        Ok(rustix::fs::linkat(from.directory, from.name, to.directory, to.name, AtFlags::empty())?)
    }

    fn rename(&self, from: At<'_>, to: At<'_>, rename: Rename) -> io::Result<()> {
        let flags = match rename {
            // Without a flag it is plain renameat, which every file system has.
            Rename::Replace => {
                return Ok(rustix::fs::renameat(from.directory, from.name, to.directory, to.name)?);
            }
            Rename::NoReplace => RenameFlags::NOREPLACE,
            Rename::Exchange => RenameFlags::EXCHANGE,
        };
        Ok(rustix::fs::renameat_with(from.directory, from.name, to.directory, to.name, flags)?)
    }

    fn remove(&self, at: At<'_>, removal: Removal) -> io::Result<()> {
        let flags = match removal {
            Removal::File => AtFlags::empty(),
            Removal::Directory => AtFlags::REMOVEDIR,
        };
        Ok(rustix::fs::unlinkat(at.directory, at.name, flags)?)
    }

    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwrite(file, bytes, offset)?)
    }

    fn set_length(&self, file: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(file, length)?)
    }

    fn clone_file(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::fs::ioctl_ficlone(to, from)?)
    }

    fn copy_range(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, range: Range<u64>) -> io::Result<usize> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let (mut read_at, mut write_at) = (range.start, range.start);
        Ok(rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length)?)
    }

    fn set_owner(&self, at: At<'_>, uid: u32, gid: u32) -> io::Result<()> {
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::INVAL.into());
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(rustix::fs::chownat(at.directory, at.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn set_mode(&self, at: At<'_>, mode: skiff_tree::Mode) -> io::Result<()> {
        // fchmodat follows links, and fchmodat2, which need not, is younger than many devices' kernels. A handle from
        // O_PATH is the inode itself, and its name in /proc leads to nothing else.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(at.directory, at.name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        let bits = Mode::from_raw_mode(mode.bits());
        match rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), bits) {
            Err(Errno::NOENT) => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(at.directory, at.name, flags, Mode::empty())?;
                Ok(rustix::fs::fchmod(file, bits)?)
            }
            other => Ok(other?),
        }
    }

    fn set_xattr(&self, at: At<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::lsetxattr(proc_path(at), name, value, XattrFlags::empty())?)
    }

    fn remove_xattr(&self, at: At<'_>, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::lremovexattr(proc_path(at), name)?)
    }

    fn set_mtime(&self, at: At<'_>, mtime: Mtime) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds(), tv_nsec: mtime.nanoseconds().into() },
        };
        Ok(rustix::fs::utimensat(at.directory, at.name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn sync(&self, file: BorrowedFd<'_>, sync: Sync) -> io::Result<()> {
        match sync {
            Sync::File => Ok(rustix::fs::fsync(file)?),
            Sync::FileSystem => Ok(rustix::fs::syncfs(file)?),
        }
    }

    fn begin_sync(&self, file: Arc<OwnedFd>, sync: Sync) -> io::Result<RestOfSync> {
        Ok(Box::new(move || Self.sync(file.as_fd(), sync)))
    }
}

/// A path for the calls that take no directory handle: the open directory's own, then one component that `l...xattr`
/// does not follow. It needs `/proc`.
pub(crate) fn proc_path(at: At<'_>) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", at.directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(at.name);
    path
}
