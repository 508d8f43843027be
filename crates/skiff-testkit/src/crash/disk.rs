//! Files from a real directory, and to one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use skiff_fs::{At, DiskStorage, Special, Storage as _};
use skiff_tree::{Device, Mode, Mtime, Xattrs};

use super::files::{Body, Files, Inode, InodeId, ROOT, Slot, content};

/// Times from here on, in seconds since 1970, are those of the machine's clock: no test sets them.
const CLOCK: i64 = 1_500_000_000;

/// Which inode of a file system it is.
pub(super) type Identity = (u64, u64);

impl Files {
    /// What is in a directory.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn read(directory: &Path) -> Self {
        Self::read_with_identities(directory).0
    }

    pub(super) fn read_with_identities(directory: &Path) -> (Self, HashMap<Identity, InodeId>) {
        let mut files = Self { inodes: Vec::new() };
        let mut numbers = HashMap::new();
        let mut directories = vec![(directory.to_owned(), files.take(directory, &mut numbers))];
        while let Some((path, parent)) = directories.pop() {
            for entry in fs::read_dir(&path).expect("a directory is read") {
                let entry = entry.expect("a directory is read");
                let inode = files.take(&entry.path(), &mut numbers);
                if let Body::Directory(_) = files.inodes[inode].body {
                    directories.push((entry.path(), inode));
                }
                let Body::Directory(names) = &mut Arc::make_mut(&mut files.inodes[parent]).body else {
                    continue;
                };
                names.insert(entry.file_name().as_bytes().into(), Slot { inode, since: 0 });
            }
        }
        (files, numbers)
    }

    /// Reads an inode, unless it was read under another name.
    fn take(&mut self, path: &Path, numbers: &mut HashMap<Identity, InodeId>) -> InodeId {
        let status = fs::symlink_metadata(path).expect("an entry has a status");
        *numbers.entry((status.dev(), status.ino())).or_insert_with(|| {
            let nanoseconds = u32::try_from(status.mtime_nsec()).expect("it is less than a second");
            self.inodes.push(Arc::new(Inode {
                body: body(&status, path),
                mode: Mode::from_st_mode(status.mode()),
                owner: (status.uid(), status.gid()),
                mtime: Mtime::new(status.mtime(), nanoseconds).filter(|mtime| mtime.seconds() < CLOCK),
                xattrs: xattrs(path),
            }));
            self.inodes.len() - 1
        })
    }

    /// Writes everything into an empty directory.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, directory: &Path) {
        let parts = self.reached();
        let place = |path: &[u8]| directory.join(OsStr::from_bytes(path));
        let mut handles: HashMap<&[u8], File> = HashMap::new();
        let mut made: HashMap<InodeId, &[u8]> = HashMap::new();
        for reached in &parts {
            let path = &reached.path[..];
            if let Some(owner) = made.insert(reached.inode, path) {
                fs::hard_link(place(owner), place(path)).expect("a link is made");
                continue;
            }
            let inode = &self.inodes[reached.inode];
            if !path.is_empty() {
                let (parent, name) = split(path);
                inode.make(At { directory: handles[parent].as_fd(), name });
            }
            if let Body::Directory(_) = inode.body {
                handles.insert(path, File::open(place(path)).expect("a directory that was made opens"));
            }
        }
        // Deepest first: what is made in a directory changes its time, and its mode may forbid making it.
        for reached in parts.iter().rev().filter(|reached| !reached.is_again) {
            let (parent, name) =
                if reached.inode == ROOT { (&b""[..], &b"."[..]) } else { split(&reached.path) };
            self.inodes[reached.inode].set_attributes(At { directory: handles[parent].as_fd(), name });
        }
    }
}

/// A path's directory and its name there.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn body(status: &Metadata, path: &Path) -> Body {
    let kind = status.file_type();
    if kind.is_dir() {
        return Body::Directory(Default::default());
    } else if kind.is_symlink() {
        let target = fs::read_link(path).expect("a link is read");
        return Body::Symlink(target.as_os_str().as_bytes().into());
    } else if kind.is_file() {
        let bytes = fs::read(path).expect("a file is read");
        return Body::File { length: bytes.len(), bytes };
    }
    let device = Device { major: rustix::fs::major(status.rdev()), minor: rustix::fs::minor(status.rdev()) };
    Body::Special(match kind {
        kind if kind.is_char_device() => Special::CharDevice(device),
        kind if kind.is_block_device() => Special::BlockDevice(device),
        _ => Special::Fifo,
    })
}

/// Where the file system has any.
fn xattrs(path: &Path) -> Xattrs {
    let mut names = [0; 1024];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 1024];
        let length =
            rustix::fs::lgetxattr(path, name, &mut value[..]).expect("an attribute of a test is short");
        value.truncate(length);
        (name.into(), value.into())
    };
    // Labels that a host with SELinux gives to every file are no part of what a program does.
    names.filter(|name| *name != b"security.selinux").map(value).collect()
}

impl Inode {
    /// As it is made: empty, and its owner's alone.
    pub(super) fn new(body: Body, owner: (u32, u32)) -> Self {
        Self { mode: body.first_mode(), body, owner, mtime: None, xattrs: Xattrs::new() }
    }

    fn make(&self, at: At<'_>) {
        let made = match &self.body {
            Body::Directory(_) => DiskStorage.make_directory(at),
            Body::File { bytes, length } => DiskStorage.create_file(at).map(|file| {
                let content = content(bytes, *length);
                File::from(file).write_all_at(&content, 0).expect("a file is written");
            }),
            Body::Symlink(target) => DiskStorage.symlink(at, target),
            Body::Special(special) => DiskStorage.make_special(at, *special),
        };
        made.expect("an entry is made");
    }

    /// Sets what differs from how it was made.
    fn set_attributes(&self, at: At<'_>) {
        let set = |result: std::io::Result<()>| result.expect("attributes are set");
        if self.owner != *OWN {
            set(DiskStorage.set_owner(at, self.owner.0, self.owner.1));
        }
        if self.mode != self.body.first_mode() {
            set(DiskStorage.set_mode(at, self.mode));
        }
        for (name, value) in &self.xattrs {
            set(DiskStorage.set_xattr(at, name, value));
        }
        if let Some(mtime) = self.mtime {
            set(DiskStorage.set_mtime(at, mtime));
        }
    }
}

impl Body {
    fn first_mode(&self) -> Mode {
        Mode::from_st_mode(match self {
            Self::Directory(_) => 0o700,
            Self::Symlink(_) => 0o777,
            Self::File { .. } | Self::Special(_) => 0o600,
        })
    }
}

/// Who owns what this process makes.
pub(super) static OWN: LazyLock<(u32, u32)> =
    LazyLock::new(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
