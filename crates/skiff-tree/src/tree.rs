use std::collections::HashSet;

use crate::encoding::{SYMLINK_MAX, XATTR_NAME_MAX, XATTR_VALUE_MAX};
use crate::path::{compare, escape};
use crate::{ContentDigest, Entry, EntryPath, FileContent, Inode, Kind, Node, TreeError};

/// The flattened filesystem of an image: its entries in canonical order.
///
/// A tree that exists is sound: it begins with the root, a directory; every entry lies in a directory of the tree; no
/// path stands twice; every hard link names an earlier path that owns an inode other than a directory; every mode, name,
/// attribute and link target is one that Linux can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(Vec<Entry>);

/// How much there is in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeTotals {
    /// Paths, the root included.
    pub entries: u64,
    /// Inodes: paths without further hard links.
    pub inodes: u64,
    /// Regular files, each hard-linked one counted once.
    pub files: u64,
    /// Bytes of all regular files, each hard-linked one counted once.
    pub content_bytes: u64,
}

impl Tree {
    /// Takes entries that are in canonical order.
    ///
    /// # Errors
    /// [`TreeError::Entry`] names the first entry that does not fit.
    pub fn new(entries: Vec<Entry>) -> Result<Self, TreeError> {
        check(&entries)?;
        Ok(Self(entries))
    }

    /// Sorts entries into canonical order and takes them.
    ///
    /// # Errors
    /// [`TreeError::Entry`] names the first entry that does not fit.
    pub fn from_unsorted(mut entries: Vec<Entry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Self::new(entries)
    }

    /// The entries, in canonical order; the first is the root.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entries, in canonical order.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry> {
        self.0
    }

    /// Where in [`entries`](Self::entries) a path stands.
    #[must_use]
    pub fn position(&self, path: &EntryPath) -> Option<usize> {
        position(&self.0, path)
    }

    /// The entry at a path.
    #[must_use]
    pub fn find(&self, path: &EntryPath) -> Option<&Entry> {
        self.position(path).map(|index| &self.0[index])
    }

    /// The inode an entry of this tree leads to: its own, or the one of the path it is a hard link to.
    ///
    /// None only for an entry of another tree.
    #[must_use]
    pub fn inode<'a>(&'a self, entry: &'a Entry) -> Option<&'a Inode> {
        match &entry.node {
            Node::Inode(inode) => Some(inode),
            Node::HardLink { owner } => self.find(owner)?.as_inode(),
        }
    }

    /// The regular files: the entries that own one, their positions, and what is in them.
    pub fn files(&self) -> impl Iterator<Item = (usize, &Entry, FileContent)> {
        self.0.iter().enumerate().filter_map(|(index, entry)| Some((index, entry, *entry.as_file()?)))
    }

    /// How much there is in the tree.
    #[must_use]
    pub fn totals(&self) -> TreeTotals {
        let mut totals = TreeTotals { entries: self.0.len() as u64, ..TreeTotals::default() };
        totals.inodes = self.0.iter().filter(|entry| entry.as_inode().is_some()).count() as u64;
        for (_, _, content) in self.files() {
            totals.files += 1;
            totals.content_bytes = totals.content_bytes.saturating_add(content.size);
        }
        totals
    }

    /// Bytes of the tree's distinct contents: what one copy of each takes.
    #[must_use]
    pub fn distinct_content_bytes(&self) -> u64 {
        self.distinct(HashSet::new())
    }

    /// Bytes of the tree's distinct contents that no file of `base` has: what has to be sent and written.
    #[must_use]
    pub fn content_bytes_missing_from(&self, base: &Self) -> u64 {
        self.distinct(base.files().map(|(_, _, content)| content.digest).collect())
    }

    fn distinct(&self, mut seen: HashSet<ContentDigest>) -> u64 {
        self.files()
            .filter(|(_, _, content)| seen.insert(content.digest))
            .fold(0, |sum, (_, _, content)| sum.saturating_add(content.size))
    }
}

pub(crate) fn position<C>(entries: &[Entry<C>], path: &EntryPath) -> Option<usize> {
    entries.binary_search_by(|entry| entry.path.cmp(path)).ok()
}

/// Checks everything that [`Tree`] promises.
pub(crate) fn check<C>(entries: &[Entry<C>]) -> Result<(), TreeError> {
    let refuse =
        |path: &EntryPath, what: &str| Err(TreeError::Entry { path: path.to_string(), what: what.into() });
    match entries.first() {
        Some(first) if first.path.is_root() && first.is_directory() => {}
        Some(first) if first.path.is_root() => return refuse(&first.path, "the root is not a directory"),
        _ => return refuse(&EntryPath::root(), "the tree has no root"),
    }
    // In canonical order the ancestors of an entry are the directories opened and not yet left.
    let mut open: Vec<&[u8]> = vec![b""];
    for (index, entry) in entries.iter().enumerate().skip(1) {
        let path = &entry.path;
        if compare(entries[index - 1].path.as_bytes(), path.as_bytes()).is_ge() {
            return refuse(path, "it is there twice or out of canonical order");
        }
        let parent = path.parent_bytes().unwrap_or_default();
        while open.last().is_some_and(|&directory| directory != parent) {
            open.pop();
        }
        if open.is_empty() {
            return refuse(path, "it does not lie in a directory of the tree");
        }
        match &entry.node {
            Node::HardLink { owner } => check_link(&entries[..index], path, owner)?,
            Node::Inode(inode) => {
                if let Err(what) = check_inode(inode) {
                    return refuse(path, &what);
                }
                if entry.is_directory() {
                    open.push(path.as_bytes());
                }
            }
        }
    }
    check_inode(entries[0].as_inode().expect("because the first entry was seen to be a directory"))
        .or_else(|what| refuse(&EntryPath::root(), &what))
}

fn check_link<C>(before: &[Entry<C>], path: &EntryPath, owner: &EntryPath) -> Result<(), TreeError> {
    let owned = position(before, owner).and_then(|index| before[index].as_inode());
    let what = match owned {
        Some(inode) if !matches!(inode.kind, Kind::Directory) => return Ok(()),
        Some(_) => "it is a hard link to a directory",
        None => "it is a hard link to a path that does not stand before it or owns no inode",
    };
    Err(TreeError::Entry { path: path.to_string(), what: format!("{what}: {owner}") })
}

fn check_inode<C>(inode: &Inode<C>) -> Result<(), String> {
    for (name, value) in &inode.metadata.xattrs {
        if name.is_empty() || name.len() as u64 > XATTR_NAME_MAX || name.contains(&0) {
            return Err(format!("{:?} cannot name an extended attribute", escape(name)));
        }
        if value.len() as u64 > XATTR_VALUE_MAX {
            return Err(format!("its extended attribute {} is longer than 65536 bytes", escape(name)));
        }
    }
    match &inode.kind {
        Kind::Symlink(target) if target.is_empty() => Err("its link target is empty".into()),
        Kind::Symlink(target) if target.len() as u64 > SYMLINK_MAX => {
            Err("its link target is longer than 4095 bytes".into())
        }
        Kind::Symlink(target) if target.contains(&0) => Err("its link target contains a NUL byte".into()),
        _ => Ok(()),
    }
}
