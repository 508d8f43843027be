use std::collections::BTreeMap;

use crate::{ContentDigest, EntryPath};

/// One path of a tree.
///
/// `C` is what is known of a file's content: [`FileContent`] in a finished [`Tree`](crate::Tree).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<C = FileContent> {
    /// Where the entry lies.
    pub path: EntryPath,
    /// What is there.
    pub node: Node<C>,
}

/// What a path leads to: an inode of its own, or one that an earlier path owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<C = FileContent> {
    /// The first path, in canonical order, of an inode.
    Inode(Inode<C>),
    /// A further path of the inode that `owner`, an earlier path, owns.
    HardLink {
        /// The first path of the inode.
        owner: EntryPath,
    },
}

/// A file, directory or other object, with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode<C = FileContent> {
    /// Mode, owner, modification time, extended attributes.
    pub metadata: Metadata,
    /// What it is, and what is particular to that.
    pub kind: Kind<C>,
}

/// The type of an inode, with what is particular to the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<C = FileContent> {
    /// A directory.
    Directory,
    /// A regular file.
    File(C),
    /// A symbolic link and its target, 1 to 4,095 bytes without NUL, as it stands: never resolved, never checked.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// Size and digest of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileContent {
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub digest: ContentDigest,
}

impl FileContent {
    /// Size and digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, digest: ContentDigest::of(bytes) }
    }
}

/// The number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// The driver's number.
    pub major: u32,
    /// The device's number with that driver.
    pub minor: u32,
}

/// The metadata that every inode has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits, setuid, setgid and sticky included.
    pub mode: Mode,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Mtime,
    /// Extended attributes, by name. A name is 1 to 255 bytes without NUL, a value at most 65,536 bytes, as Linux has it.
    pub xattrs: Xattrs,
}

/// Extended attributes, by name.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Permission bits of an inode: `0o7777` at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mode(u16);

impl Mode {
    /// Takes the permission bits; none when there are other bits, such as those of the file type.
    #[must_use]
    pub const fn new(bits: u32) -> Option<Self> {
        if bits <= 0o7777 { Some(Self(bits as u16)) } else { None }
    }

    /// Takes the permission bits of a `st_mode`, dropping those of the file type.
    #[must_use]
    pub const fn from_st_mode(st_mode: u32) -> Self {
        Self((st_mode & 0o7777) as u16)
    }

    /// The bits, `0o7777` at most.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }
}

/// A modification time: nanoseconds since 1970, before it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mtime {
    seconds: i64,
    nanoseconds: u32,
}

impl Mtime {
    /// A time `seconds` after 1970 (before, if negative) and `nanoseconds` later; none from a whole second on.
    #[must_use]
    pub const fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        if nanoseconds < 1_000_000_000 { Some(Self { seconds, nanoseconds }) } else { None }
    }

    /// A time on the second.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// Whole seconds since 1970, rounded towards the past.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`seconds`](Self::seconds), fewer than 1,000,000,000.
    #[must_use]
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

impl<C> Entry<C> {
    /// An entry with an inode of its own.
    #[must_use]
    pub fn inode(path: EntryPath, metadata: Metadata, kind: Kind<C>) -> Self {
        Self { path, node: Node::Inode(Inode { metadata, kind }) }
    }

    /// A further path of the inode that `owner` owns.
    #[must_use]
    pub fn hard_link(path: EntryPath, owner: EntryPath) -> Self {
        Self { path, node: Node::HardLink { owner } }
    }

    /// The inode, unless another path owns it.
    #[must_use]
    pub fn as_inode(&self) -> Option<&Inode<C>> {
        match &self.node {
            Node::Inode(inode) => Some(inode),
            Node::HardLink { .. } => None,
        }
    }

    /// What is known of the content, where this path owns a regular file.
    #[must_use]
    pub fn as_file(&self) -> Option<&C> {
        match self.as_inode()?.kind {
            Kind::File(ref content) => Some(content),
            _ => None,
        }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.as_inode(), Some(Inode { kind: Kind::Directory, .. }))
    }
}

impl<C> Kind<C> {
    /// The same kind, with another account of the content where it is a file.
    ///
    /// # Errors
    /// Whatever `content` returns.
    pub fn try_map<D, E>(self, content: impl FnOnce(C) -> Result<D, E>) -> Result<Kind<D>, E> {
        Ok(match self {
            Self::Directory => Kind::Directory,
            Self::File(known) => Kind::File(content(known)?),
            Self::Symlink(target) => Kind::Symlink(target),
            Self::CharDevice(device) => Kind::CharDevice(device),
            Self::BlockDevice(device) => Kind::BlockDevice(device),
            Self::Fifo => Kind::Fifo,
        })
    }

    /// The type's name, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File(_) => "file",
            Self::Symlink(_) => "symbolic link",
            Self::CharDevice(_) => "character device",
            Self::BlockDevice(_) => "block device",
            Self::Fifo => "named pipe",
        }
    }
}
