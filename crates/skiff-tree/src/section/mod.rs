//! The tree section of a delta: the target's tree told as its difference from the base's, column by column.
//!
//! Digests of contents are not in it. The device computes them as it writes the contents, completes the tree with them,
//! and the tree's digest proves the whole. `doc/format.md` has the bytes.
//!
//! ```
//! use skiff_tree::{section, *};
//! # let entry = |path: &str, kind| Entry::inode(EntryPath::new(path).unwrap(), Metadata::default(), kind);
//! # let tree = |text: &[u8]| Tree::from_unsorted(vec![
//! #     entry("", Kind::Directory), entry("motd", Kind::File(FileContent::of(text)))]).unwrap();
//! let (base, target) = (tree(b"old"), tree(b"newer"));
//!
//! let told = section::encode(&base, &target);
//! let skeleton = Skeleton::decode(&base, &told.bytes, &Limits::default())?;
//! assert_eq!(skeleton.new_contents()[0].size, 5);
//!
//! assert_eq!(skeleton.complete(&[ContentDigest::of(b"newer")])?, target);
//! # Ok::<(), TreeError>(())
//! ```

mod decode;
mod encode;

pub use encode::{EncodedSection, encode};

use crate::tree::position;
use crate::{ContentDigest, Entry, EntryPath, FileContent, Inode, Node, Tree, TreeError};

/// The columns of the section, in their order.
const COLUMNS: [&str; 15] = [
    "operations",
    "changes",
    "prefixes",
    "names",
    "types",
    "modes",
    "owners",
    "times",
    "time indices",
    "attributes",
    "contents",
    "sizes",
    "links",
    "devices",
    "hard links",
];

/// The operations on the base's entries. An operation and its run are one integer: run × 4 + operation.
mod operation {
    pub(super) const KEEP: u64 = 0;
    pub(super) const CHANGE: u64 = 1;
    pub(super) const DELETE: u64 = 2;
    pub(super) const INSERT: u64 = 3;
}

/// What differs in a changed entry, one bit each.
mod change {
    /// Everything but the path: the entry is told like an inserted one.
    pub(super) const ALL: u8 = 1;
    pub(super) const MODE: u8 = 2;
    pub(super) const OWNER: u8 = 4;
    pub(super) const MTIME: u8 = 8;
    pub(super) const XATTRS: u8 = 16;
    /// What the kind holds: content, link target, device number, or the path a hard link leads to.
    pub(super) const HOLDS: u8 = 32;
    pub(super) const KNOWN: u8 = 63;
}

/// Where a file's content comes from.
mod content {
    /// The next new content; its size follows in the column of sizes.
    pub(super) const NEW: u64 = 0;
    /// A new content that an earlier entry has: 1 + how many numbers back × 2.
    pub(super) const REPEATED: u64 = 1;
    /// A file of the base: 2 + zigzag(its index − the index after the one last named) × 2.
    pub(super) const BASE: u64 = 2;
}

/// What is known of a file's content before the contents of a delta arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkeletonContent {
    /// It is the content of a file of the base.
    Base(BaseContent),
    /// It is a new content.
    New {
        /// Its number: its place in [`Skeleton::new_contents`].
        number: u32,
    },
}

/// A content that the base has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseContent {
    /// The place of the file among the base's entries.
    pub entry: u32,
    /// Its size and digest.
    pub content: FileContent,
}

/// A content that the base has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewContent {
    /// Bytes.
    pub size: u64,
    /// The place, among the target's entries, of the first file that has it.
    pub entry: u32,
}

/// The target's tree before its new contents are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    entries: Vec<Entry<SkeletonContent>>,
    new_contents: Vec<NewContent>,
}

impl Skeleton {
    /// The target's entries, in canonical order. They are as sound as a [`Tree`]'s.
    #[must_use]
    pub fn entries(&self) -> &[Entry<SkeletonContent>] {
        &self.entries
    }

    /// What is known of the content of the file at a path; a hard link leads to its owner's.
    #[must_use]
    pub fn content_at(&self, path: &EntryPath) -> Option<SkeletonContent> {
        let at = |path: &EntryPath| position(&self.entries, path).map(|index| &self.entries[index]);
        let entry = at(path)?;
        let owner = if let Node::HardLink { owner } = &entry.node { at(owner)? } else { entry };
        owner.as_file().copied()
    }

    /// The contents that the base has not, by number: in the order in which the target's entries first name them.
    #[must_use]
    pub fn new_contents(&self) -> &[NewContent] {
        &self.new_contents
    }

    /// The target's tree, given the digests of the new contents by number.
    ///
    /// # Errors
    /// [`TreeError::Entry`] where the number of digests is not that of the new contents.
    pub fn complete(&self, digests: &[ContentDigest]) -> Result<Tree, TreeError> {
        let complete_entry = |entry: &Entry<SkeletonContent>| {
            let node = match &entry.node {
                Node::HardLink { owner } => Node::HardLink { owner: owner.clone() },
                Node::Inode(inode) => Node::Inode(Inode {
                    metadata: inode.metadata.clone(),
                    kind: inode.kind.clone().try_map(|content| match content {
                        SkeletonContent::Base(base) => Ok(base.content),
                        SkeletonContent::New { number } => {
                            self.new_content(number, digests).ok_or_else(|| TreeError::Entry {
                                path: entry.path.to_string(),
                                what: "its content is missing".into(),
                            })
                        }
                    })?,
                }),
            };
            Ok(Entry { path: entry.path.clone(), node })
        };
        Tree::new(self.entries.iter().map(complete_entry).collect::<Result<_, TreeError>>()?)
    }

    fn new_content(&self, number: u32, digests: &[ContentDigest]) -> Option<FileContent> {
        let index = usize::try_from(number).ok()?;
        Some(FileContent { size: self.new_contents.get(index)?.size, digest: *digests.get(index)? })
    }
}

#[cfg(test)]
mod tests;
