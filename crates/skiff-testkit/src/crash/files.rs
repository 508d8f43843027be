use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use skiff_fs::Special;
use skiff_tree::{Mode, Mtime, Xattrs};

pub(super) type InodeId = usize;

pub(super) const ROOT: InodeId = 0;

/// A directory with everything beneath it, as a disk may hold it.
///
/// Copies are cheap: they share what neither changes.
#[derive(Debug, Clone)]
pub struct Files {
    /// With inodes that nothing leads to, yet or any more.
    pub(super) inodes: Vec<Arc<Inode>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    pub(super) body: Body,
    pub(super) mode: Mode,
    pub(super) owner: (u32, u32),
    /// None where nobody set it: it is whatever the time was.
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: Xattrs,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Body {
    Directory(BTreeMap<Box<[u8]>, Slot>),
    /// What arrived of the bytes; those up to the length that did not are zeros, those past it are not to be seen.
    File {
        bytes: Vec<u8>,
        length: usize,
    },
    Symlink(Box<[u8]>),
    Special(Special),
}

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) inode: InodeId,
    /// The number of the change that made the name.
    pub(super) since: usize,
}

/// An entry that something leads to from the root.
pub(super) struct Reached {
    pub(super) path: Vec<u8>,
    pub(super) inode: InodeId,
    /// Whether an earlier path leads to the same inode.
    pub(super) is_again: bool,
}

impl Files {
    /// The SHA-256 of everything that can be reached: paths, contents, attributes, and which paths are one inode.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        let mut first: HashMap<InodeId, usize> = HashMap::new();
        for (index, reached) in self.reached().iter().enumerate() {
            add(&reached.path);
            let owner = *first.entry(reached.inode).or_insert(index);
            add(&(owner as u64).to_le_bytes());
            if !reached.is_again {
                self.inodes[reached.inode].encode(&mut add);
            }
        }
        hasher.finalize().into()
    }

    /// The content of the file at a path; none where there is no file. No link is followed.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        match &self.inodes[self.find(path)?].body {
            Body::File { bytes, length } => Some(content(bytes, *length)),
            _ => None,
        }
    }

    /// Where the symbolic link at a path leads; none where there is none.
    #[must_use]
    pub fn link_target(&self, path: &str) -> Option<&[u8]> {
        match &self.inodes[self.find(path)?].body {
            Body::Symlink(target) => Some(target),
            _ => None,
        }
    }

    /// Every path but the root's, each directory's before those in it.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let paths = self.reached().into_iter().skip(1);
        paths.map(|reached| String::from_utf8_lossy(&reached.path).into_owned()).collect()
    }

    fn find(&self, path: &str) -> Option<InodeId> {
        self.reached().iter().find(|reached| reached.path == path.as_bytes()).map(|reached| reached.inode)
    }

    /// Everything that the root leads to, itself first, in the order of a walk.
    pub(super) fn reached(&self) -> Vec<Reached> {
        let homes = self.homes();
        let mut seen = vec![false; self.inodes.len()];
        let mut reached = Vec::new();
        let mut next = vec![(Vec::new(), ROOT)];
        while let Some((path, inode)) = next.pop() {
            if let Body::Directory(names) = &self.inodes[inode].body {
                for (name, slot) in names.iter().rev() {
                    let is_directory = matches!(self.inodes[slot.inode].body, Body::Directory(_));
                    if is_directory && homes[slot.inode] != Some((slot.since, inode)) {
                        continue;
                    }
                    let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                    next.push(([&path[..], separator, name].concat(), slot.inode));
                }
            }
            let is_again = std::mem::replace(&mut seen[inode], true);
            reached.push(Reached { path, inode, is_again });
        }
        reached
    }

    /// For each directory that can be reached, since when it has the oldest of its names, and in which directory.
    fn homes(&self) -> Vec<Option<(usize, InodeId)>> {
        let mut homes: Vec<Option<(usize, InodeId)>> = vec![None; self.inodes.len()];
        let mut next = vec![ROOT];
        while let Some(parent) = next.pop() {
            let Body::Directory(names) = &self.inodes[parent].body else { continue };
            for slot in names.values() {
                match &mut homes[slot.inode] {
                    Some(home) => *home = (*home).min((slot.since, parent)),
                    home => {
                        *home = Some((slot.since, parent));
                        next.push(slot.inode);
                    }
                }
            }
        }
        homes
    }
}

impl Inode {
    fn encode(&self, add: &mut dyn FnMut(&[u8])) {
        add(&self.mode.bits().to_le_bytes());
        add(&self.owner.0.to_le_bytes());
        add(&self.owner.1.to_le_bytes());
        match self.mtime {
            Some(mtime) => {
                add(&mtime.seconds().to_le_bytes());
                add(&mtime.nanoseconds().to_le_bytes());
            }
            None => add(b"now"),
        }
        add(&self.xattrs.len().to_le_bytes());
        for (name, value) in &self.xattrs {
            add(name);
            add(value);
        }
        match &self.body {
            Body::Directory(_) => add(b"directory"),
            Body::File { bytes, length } => {
                add(b"file");
                add(&content(bytes, *length));
            }
            Body::Symlink(target) => {
                add(b"symlink");
                add(target);
            }
            Body::Special(special) => add(format!("{special:?}").as_bytes()),
        }
    }
}

/// What is read of a file of which these bytes arrived.
pub(super) fn content(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut content = bytes[..length.min(bytes.len())].to_vec();
    content.resize(length, 0);
    content
}
