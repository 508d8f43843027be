use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;

use skiff_tree::{
    ContentDigest, Device, Entry, EntryPath, FileContent, Inode, Kind, Metadata, Mode, Mtime, Node, Tree,
};

use crate::make::is_host_label;
use crate::walk::{Found, HashOptions, hash_files, walk};
use crate::{Control, FsError, Ownership, Root, parallel};

/// How a tree on disk is compared with what it should be.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct VerifyOptions<'a> {
    /// With what ownership the tree was written: what is only recorded is not compared. Default: everything is.
    pub ownership: Ownership,
    /// Which files' contents are read again; everything else is compared always. Default: all.
    pub reread: Reread<'a>,
    /// Whether the kernel's cache is dropped first. Default: it is.
    pub cache: Cache,
    /// Hash files with so many threads, and no more than the machine has cores. Default: as many as those.
    pub threads: NonZeroUsize,
    /// Watches and stops it; progress counts the bytes of files. Default: neither.
    pub control: Control<'a>,
}

/// Which files' contents are read again.
#[derive(Clone, Copy, Default)]
pub enum Reread<'a> {
    /// Every file's.
    #[default]
    All,
    /// Those for whose entry this says so.
    Only(&'a (dyn Fn(&Entry) -> bool + Sync)),
}

/// Where contents are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cache {
    /// From the disk, as far as the kernel lets go of what it holds: what is verified is what would survive a power cut,
    /// once it was synced.
    #[default]
    Drop,
    /// From memory where it is there.
    Keep,
}

/// One thing about one path that is not as the tree says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The path.
    pub path: EntryPath,
    /// What is wrong there.
    pub what: Wrong,
}

/// In what a path on disk differs from its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // every field is what it is called: what the tree says, what the disk has
pub enum Wrong {
    /// The tree has it, the disk does not.
    Missing,
    /// The disk has it, the tree does not.
    Unexpected,
    /// Another type of entry.
    Type { expected: &'static str, found: &'static str },
    /// Other permission bits.
    Mode { expected: Mode, found: Mode },
    /// Another owner or group.
    Owner { expected: (u32, u32), found: (u32, u32) },
    /// Another modification time.
    Mtime { expected: Mtime, found: Mtime },
    /// An extended attribute that is missing, surplus or has another value.
    Xattr { name: Box<[u8]> },
    /// Another target of a symbolic link.
    LinkTarget { expected: Box<[u8]>, found: Box<[u8]> },
    /// Another device number.
    Device { expected: Device, found: Device },
    /// A file of another size in bytes; its content was not read.
    Size { expected: u64, found: u64 },
    /// A file of the right size with another content.
    Content { expected: ContentDigest, found: ContentDigest },
    /// The path shares its inode with other paths than the tree says. Each is the first path of the inode.
    HardLink { expected: EntryPath, found: EntryPath },
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self {
            ownership: Ownership::default(),
            reread: Reread::default(),
            cache: Cache::default(),
            threads: parallel::available(),
            control: Control::default(),
        }
    }
}

impl<'a> VerifyOptions<'a> {
    /// These options, with another ownership.
    #[must_use]
    pub fn with_ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    /// These options, with another choice of files to read again.
    #[must_use]
    pub fn with_reread(self, reread: Reread<'a>) -> Self {
        Self { reread, ..self }
    }

    /// These options, with or without dropping the cache.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        Self { cache, ..self }
    }

    /// These options, with so many threads.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// These options, watched and stopped by `control`.
    #[must_use]
    pub fn with_control(self, control: Control<'a>) -> Self {
        Self { control, ..self }
    }
}

/// Reads everything beneath a root again and tells, path by path in canonical order, what is not as `expected` says. Nothing
/// told means that the tree on disk is the tree, in everything that the ownership applies.
///
/// Labels in `security.` that the host gives to files of its own accord are let pass where the tree has none.
///
/// # Errors
/// [`FsError::Io`] where the disk cannot be read; [`FsError::Refused`] for a file that was replaced meanwhile;
/// [`FsError::Tree`] for a path on the disk that is longer than a tree can hold; [`FsError::Interrupted`].
pub fn verify_tree(
    root: &Root,
    expected: &Tree,
    options: &VerifyOptions<'_>,
) -> Result<Vec<Mismatch>, FsError> {
    let found = walk(root, &options.control, |_| true)?;
    let mut comparison =
        Comparison { tree: expected, found: &found, options, wrong: Vec::new(), reread: Vec::new() };
    comparison.run();
    let Comparison { mut wrong, reread, .. } = comparison;
    let hashing = HashOptions {
        threads: options.threads,
        drop_cache: options.cache == Cache::Drop,
        control: options.control,
    };
    let jobs = reread.iter().map(|&(index, _)| index).collect();
    let mut hashed = hash_files(root, &found, jobs, hashing)?;
    hashed.sort_unstable_by_key(|&(index, _)| index);
    // `reread` is in the order of the paths, which is the order of `found`.
    for ((index, content), (_, expected)) in hashed.into_iter().zip(reread) {
        if let Some(what) = compare_content(expected, content) {
            wrong.push(Mismatch { path: found[index].path.clone(), what });
        }
    }
    wrong.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(wrong)
}

struct Comparison<'a> {
    tree: &'a Tree,
    found: &'a [Found],
    options: &'a VerifyOptions<'a>,
    wrong: Vec<Mismatch>,
    /// Files that are to be hashed: their position in `found`, and what should be in them.
    reread: Vec<(usize, FileContent)>,
}

impl Comparison<'_> {
    fn run(&mut self) {
        let ownership = self.options.ownership;
        let tree = self.tree;
        let made = |entry: &&Entry| tree.inode(entry).is_some_and(|inode| ownership.makes(&inode.kind));
        let mut expected = tree.entries().iter().filter(made).peekable();
        let mut index = 0;
        loop {
            let order = match (expected.peek(), self.found.get(index)) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(entry), Some(found)) => entry.path.cmp(&found.path),
            };
            match (order, expected.next_if(|_| order.is_le())) {
                (Ordering::Equal, Some(entry)) => self.compare(entry, index),
                (_, Some(entry)) => self.tell(&entry.path, Wrong::Missing),
                (_, None) => self.tell(&self.found[index].path, Wrong::Unexpected),
            }
            index += usize::from(order.is_ge());
        }
    }

    fn tell(&mut self, path: &EntryPath, what: Wrong) {
        self.wrong.push(Mismatch { path: path.clone(), what });
    }

    fn compare(&mut self, entry: &Entry, index: usize) {
        let found = &self.found[index];
        let expected_owner = match &entry.node {
            Node::HardLink { owner } => owner,
            Node::Inode(_) => &entry.path,
        };
        let found_owner = &self.found[found.owner.unwrap_or(index)].path;
        if expected_owner != found_owner {
            let (expected, found) = (expected_owner.clone(), found_owner.clone());
            self.tell(&entry.path, Wrong::HardLink { expected, found });
        } else if found.owner.is_some() {
            return; // the inode is compared at its first path
        }
        let Some(inode) = self.tree.inode(entry) else { return };
        if self.compare_kind(entry, inode, index) {
            self.compare_metadata(&entry.path, inode, &found.metadata);
        }
    }

    /// Whether it is the same kind at all.
    fn compare_kind(&mut self, entry: &Entry, inode: &Inode, index: usize) -> bool {
        let path = &entry.path;
        match (&inode.kind, &self.found[index].kind) {
            (Kind::Directory, Some(Kind::Directory)) | (Kind::Fifo, Some(Kind::Fifo)) => {}
            (Kind::File(expected), Some(Kind::File(size))) if expected.size != *size => {
                self.tell(path, Wrong::Size { expected: expected.size, found: *size });
            }
            (Kind::File(expected), Some(Kind::File(_))) => {
                let reread = match self.options.reread {
                    Reread::All => true,
                    Reread::Only(chosen) => chosen(entry),
                };
                if reread {
                    self.reread.push((index, *expected));
                }
            }
            (Kind::Symlink(expected), Some(Kind::Symlink(found))) => {
                if expected != found {
                    let (expected, found) = (expected.clone(), found.clone());
                    self.tell(path, Wrong::LinkTarget { expected, found });
                }
            }
            (Kind::CharDevice(expected), Some(Kind::CharDevice(found)))
            | (Kind::BlockDevice(expected), Some(Kind::BlockDevice(found))) => {
                if expected != found {
                    self.tell(path, Wrong::Device { expected: *expected, found: *found });
                }
            }
            (expected, found) => {
                let found = found.as_ref().map_or("socket", Kind::name);
                self.tell(path, Wrong::Type { expected: expected.name(), found });
                return false;
            }
        }
        true
    }

    fn compare_metadata(&mut self, path: &EntryPath, inode: &Inode, found: &Metadata) {
        let ownership = self.options.ownership;
        let expected = &inode.metadata;
        if let Some(mode) = ownership.mode(inode)
            && mode != found.mode
        {
            self.tell(path, Wrong::Mode { expected: mode, found: found.mode });
        }
        let owners = ((expected.uid, expected.gid), (found.uid, found.gid));
        if ownership == Ownership::Apply && owners.0 != owners.1 {
            self.tell(path, Wrong::Owner { expected: owners.0, found: owners.1 });
        }
        if expected.mtime != found.mtime {
            self.tell(path, Wrong::Mtime { expected: expected.mtime, found: found.mtime });
        }
        if expected.xattrs == found.xattrs {
            return;
        }
        let applied = |name: &[u8]| ownership == Ownership::Apply || name.starts_with(b"user.");
        let names: BTreeSet<_> = expected.xattrs.keys().chain(found.xattrs.keys()).collect();
        for name in names.into_iter().filter(|name| applied(name)) {
            let (wanted, there) = (expected.xattrs.get(name), found.xattrs.get(name));
            if wanted != there && !(wanted.is_none() && is_host_label(name)) {
                self.tell(path, Wrong::Xattr { name: name.clone() });
            }
        }
    }
}

fn compare_content(expected: FileContent, found: FileContent) -> Option<Wrong> {
    if expected.size != found.size {
        return Some(Wrong::Size { expected: expected.size, found: found.size });
    }
    (expected.digest != found.digest)
        .then_some(Wrong::Content { expected: expected.digest, found: found.digest })
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "missing"),
            Self::Unexpected => write!(f, "not in the tree"),
            Self::Type { expected, found } => write!(f, "expected a {expected}, found a {found}"),
            Self::Mode { expected, found } => {
                write!(f, "expected mode {:04o}, found {:04o}", expected.bits(), found.bits())
            }
            Self::Owner { expected, found } => {
                write!(f, "expected owner {}:{}, found {}:{}", expected.0, expected.1, found.0, found.1)
            }
            Self::Mtime { expected, found } => {
                write!(f, "expected time {}, found {}", decimal(*expected), decimal(*found))
            }
            Self::Xattr { name } => write!(f, "extended attribute {} differs", name.escape_ascii()),
            Self::LinkTarget { expected, found } => {
                let (expected, found) = (expected.escape_ascii(), found.escape_ascii());
                write!(f, "expected a link to {expected}, found one to {found}")
            }
            Self::Device { expected, found } => {
                let (wanted, there) = ((expected.major, expected.minor), (found.major, found.minor));
                write!(f, "expected device {}:{}, found {}:{}", wanted.0, wanted.1, there.0, there.1)
            }
            Self::Size { expected, found } => write!(f, "expected {expected} bytes, found {found}"),
            Self::Content { expected, found } => write!(f, "expected SHA-256 {expected}, found {found}"),
            Self::HardLink { expected, found } => {
                write!(f, "expected to share the inode of {expected}, shares that of {found}")
            }
        }
    }
}

/// Seconds since 1970 as one decimal number, which before then is negative as a whole.
pub(crate) fn decimal(time: Mtime) -> String {
    let nanoseconds = i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanoseconds());
    let (sign, size) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
    format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000)
}

impl fmt::Debug for Reread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "All",
            Self::Only(_) => "Only(..)",
        })
    }
}
