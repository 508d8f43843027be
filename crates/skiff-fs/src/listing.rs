//! What stands in a directory, and what is known of it without opening it.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, RawDir, Stat, statat};
use rustix::io::Errno;
use skiff_tree::{Device, Kind, Metadata, Mode, Mtime, Xattrs};

use crate::storage::{At, proc_path};

/// The label that a host with SELinux gives to every file of its own accord.
pub(crate) const SELINUX: &[u8] = b"security.selinux";

const LISTING_BUFFER: usize = 32 << 10;
/// The longest list of names and the longest value that Linux has (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_BUFFER: usize = 65_536;

/// Which inode it is, on which file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// What `stat` says of an inode.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) file_type: FileType,
    pub(crate) mode: Mode,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    pub(crate) size: u64,
    pub(crate) links: u64,
    pub(crate) identity: Identity,
    device: Device,
}

impl Status {
    pub(crate) fn at(at: At<'_>) -> io::Result<Self> {
        Self::new(&statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(crate) fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        Self::new(&rustix::fs::fstat(file)?)
    }

    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)] // the types differ by architecture
    fn new(stat: &Stat) -> io::Result<Self> {
        let broken = || io::Error::from(Errno::OVERFLOW);
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).map_err(|_| broken())?;
        Ok(Self {
            file_type: FileType::from_raw_mode(stat.st_mode),
            mode: Mode::from_st_mode(stat.st_mode),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Mtime::new(i64::from(stat.st_mtime), nanoseconds).ok_or_else(broken)?,
            size: u64::try_from(stat.st_size).map_err(|_| broken())?,
            links: u64::from(stat.st_nlink),
            identity: Identity { device: u64::from(stat.st_dev), inode: u64::from(stat.st_ino) },
            device: Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) },
        })
    }

    pub(crate) fn metadata(&self, xattrs: Xattrs) -> Metadata {
        Metadata { mode: self.mode, uid: self.uid, gid: self.gid, mtime: self.mtime, xattrs }
    }

    /// The kind of tree entry this is, a file with its size; none for a socket, which a tree cannot have.
    pub(crate) fn kind(&self, at: At<'_>) -> io::Result<Option<Kind<u64>>> {
        Ok(Some(match self.file_type {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File(self.size),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(at.directory, at.name, Vec::new())?;
                Kind::Symlink(target.into_bytes().into())
            }
            FileType::CharacterDevice => Kind::CharDevice(self.device),
            FileType::BlockDevice => Kind::BlockDevice(self.device),
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(None),
        }))
    }
}

/// Lists directories, with one buffer for all.
pub(crate) struct Lister(Vec<u8>);

impl Lister {
    pub(crate) fn new() -> Self {
        // Left unfilled: without optimisation, filling it takes longer than listing.
        Self(Vec::with_capacity(LISTING_BUFFER))
    }

    /// Calls `visit` with every name of a freshly opened directory but `.` and `..`, in the disk's order.
    pub(crate) fn for_each<E: From<io::Error>>(
        &mut self,
        directory: BorrowedFd<'_>,
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut entries = RawDir::new(directory, self.0.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(io::Error::from)?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => visit(name)?,
            }
        }
        Ok(())
    }
}

/// Every name in a freshly opened directory but `.` and `..`.
pub(crate) fn list_names(directory: BorrowedFd<'_>) -> io::Result<Vec<Box<[u8]>>> {
    let mut names = Vec::new();
    Lister::new().for_each(directory, |name| {
        names.push(name.into());
        Ok::<(), io::Error>(())
    })?;
    Ok(names)
}

/// Reads extended attributes, with one pair of buffers for all.
pub(crate) struct XattrReader {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl XattrReader {
    pub(crate) fn new() -> Self {
        Self { names: vec![0; XATTR_BUFFER], value: vec![0; XATTR_BUFFER] }
    }

    /// The names that `wanted` lets through, without their values.
    pub(crate) fn names(at: At<'_>, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<Box<[u8]>>> {
        let path = proc_path(at);
        // Asked for the length first: most inodes have no attributes, and need no buffer.
        let length = match rustix::fs::llistxattr_query(&path[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Ok(length) => length,
            Err(error) => return Err(error.into()),
        };
        let mut names = vec![0; length.min(XATTR_BUFFER)];
        let length = rustix::fs::llistxattr(&path[..], &mut names[..])?;
        let names = names[..length].split(|&byte| byte == 0);
        Ok(names.filter(|name| !name.is_empty() && wanted(name)).map(Into::into).collect())
    }

    /// Every attribute that this process may read and `wanted` lets through; none where the file system has none.
    pub(crate) fn read(&mut self, at: At<'_>, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Xattrs> {
        let path = proc_path(at);
        let mut xattrs = Xattrs::new();
        let length = match rustix::fs::llistxattr(&path[..], &mut self.names[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => return Ok(xattrs),
            Err(error) => return Err(error.into()),
        };
        for name in self.names[..length].split(|&byte| byte == 0) {
            if name.is_empty() || !wanted(name) {
                continue;
            }
            match rustix::fs::lgetxattr(&path[..], name, &mut self.value[..]) {
                Ok(length) => xattrs.insert(name.into(), self.value[..length].into()),
                // Removed meanwhile, or listed to those who may not read it.
                Err(Errno::NODATA | Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP) => continue,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(xattrs)
    }
}
