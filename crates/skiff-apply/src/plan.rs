//! Where each file of the target comes from, and how much room that takes.

use std::collections::HashSet;

use skiff_fs::{FreeSpace, Ownership};
use skiff_tree::{Entry, EntryPath, Inode, Skeleton, SkeletonContent, Tree};

use crate::{ApplyError, LinkPolicy, Resource};

/// File systems hand out room in blocks; nearly all in these.
const BLOCK: u64 = 4096;
/// What directories, inodes, the tree and the store's own files take, and what a file system needs to breathe.
const MARGIN: u64 = 2 << 20;
/// For directories and inodes, per entry.
const ENTRY_BYTES: u64 = 512;
/// For the store's own files: the tree, its descriptions, the checkpoint, their directories.
const OWN_INODES: u64 = 16;

/// Where a file's content comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileOrigin {
    /// This entry of the base.
    Base(u32),
    /// This new content, of which this is the first file.
    First(u32),
    /// This new content, which another file has already.
    Repeated(u32),
}

/// A new content.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    pub(crate) path: EntryPath,
    pub(crate) size: u64,
}

/// What is to be done for a target.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By entry; none for anything but an entry that owns a file.
    pub(crate) origins: Vec<Option<FileOrigin>>,
    /// By number.
    pub(crate) new: Vec<NewFile>,
}

impl Plan {
    pub(crate) fn new(skeleton: &Skeleton) -> Self {
        let entries = skeleton.entries();
        let first = |number: u32| skeleton.new_contents().get(index(number)).map(|new| index(new.entry));
        let origin = |at: usize, entry: &Entry<SkeletonContent>| match entry.as_file()? {
            SkeletonContent::Base(base) => Some(FileOrigin::Base(base.entry)),
            SkeletonContent::New { number } if first(*number) == Some(at) => Some(FileOrigin::First(*number)),
            SkeletonContent::New { number } => Some(FileOrigin::Repeated(*number)),
        };
        let new = skeleton.new_contents().iter();
        Self {
            origins: entries.iter().enumerate().map(|(at, entry)| origin(at, entry)).collect(),
            new: new
                .map(|new| NewFile { path: entries[index(new.entry)].path.clone(), size: new.size })
                .collect(),
        }
    }

    pub(crate) fn new_bytes(&self) -> u64 {
        self.new.iter().fold(0, |sum, new| new.size.saturating_add(sum))
    }
}

/// A number of 32 bits as a place in memory.
pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The base as the plan sees it.
pub(crate) struct Shareable<'a> {
    tree: &'a Tree,
    /// Whether an inode of the base may stand in the target: whether it is allowed and both apply metadata alike.
    links: bool,
}

impl<'a> Shareable<'a> {
    pub(crate) fn new(tree: &'a Tree, (base, target): (Ownership, Ownership), policy: LinkPolicy) -> Self {
        Self { tree, links: policy == LinkPolicy::HardLinkUnchanged && base == target }
    }

    /// The file of the base that a file with this path and content is best taken from. Of those that have its content
    /// the one at the same path is most likely to have its metadata too.
    pub(crate) fn source<C>(&self, entry: &Entry<C>, named: u32) -> Option<(usize, &'a Entry)> {
        let entries = self.tree.entries();
        let content = entries.get(index(named))?.as_file()?;
        let same_path = self.tree.position(&entry.path);
        let same = same_path.filter(|&at| entries[at].as_file() == Some(content));
        let at = same.unwrap_or(index(named));
        Some((at, &entries[at]))
    }

    /// Whether inodes may be shared at all.
    pub(crate) fn allows_links(&self) -> bool {
        self.links
    }

    /// Whether the base's inode may stand in the target. Each may once: files would otherwise be hard links of each
    /// other that are none in the target's tree.
    pub(crate) fn may_link<C>(&self, source: &Entry, inode: &Inode<C>) -> bool {
        self.links && source.as_inode().is_some_and(|base| base.metadata == inode.metadata)
    }
}

/// Room that a release takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// Where blocks cannot be shared.
    copying: u64,
    /// Where they can.
    sharing: u64,
    inodes: u64,
}

impl Need {
    /// What staging a target after this plan takes.
    pub(crate) fn of(plan: &Plan, entries: &[Entry<SkeletonContent>], base: &Shareable<'_>) -> Self {
        let mut need = Self::fixed(entries.len());
        let mut linked = HashSet::new();
        for (entry, origin) in entries.iter().zip(&plan.origins) {
            need.inodes = need.inodes.saturating_add(u64::from(entry.as_inode().is_some()));
            match origin {
                Some(FileOrigin::First(number)) => {
                    need.write(plan.new.get(index(*number)).map_or(0, |new| new.size))
                }
                Some(FileOrigin::Repeated(number)) => {
                    need.share(plan.new.get(index(*number)).map_or(0, |new| new.size));
                }
                Some(FileOrigin::Base(named)) => {
                    let Some((at, source)) = base.source(entry, *named) else { continue };
                    let equal = entry.as_inode().is_some_and(|inode| base.may_link(source, inode));
                    if !(equal && linked.insert(at)) {
                        need.share(source.as_file().map_or(0, |content| content.size));
                    }
                }
                None => {}
            }
        }
        need
    }

    /// What writing a whole tree takes.
    pub(crate) fn of_tree(tree: &Tree) -> Self {
        let mut need = Self::fixed(tree.entries().len());
        need.inodes = need.inodes.saturating_add(tree.totals().inodes);
        tree.files().for_each(|(_, _, content)| need.write(content.size));
        need
    }

    /// The same less what is written already.
    pub(crate) fn less(self, written: impl Iterator<Item = u64>) -> Self {
        written.fold(self, |need, size| Self {
            copying: need.copying.saturating_sub(size),
            sharing: need.sharing.saturating_sub(size),
            inodes: need.inodes.saturating_sub(1),
        })
    }

    /// Refuses where there is not enough room. Whether blocks can be shared is asked only where it matters.
    pub(crate) fn check(
        self,
        free: FreeSpace,
        shares_blocks: impl FnOnce() -> Result<bool, ApplyError>,
    ) -> Result<(), ApplyError> {
        if let Some(available) = free.inodes.filter(|&available| available < self.inodes) {
            return Err(ApplyError::NoSpace { what: Resource::Inodes, needed: self.inodes, available });
        }
        let available = free.bytes;
        if self.copying <= available {
            return Ok(());
        }
        let needed = if self.sharing <= available && shares_blocks()? { self.sharing } else { self.copying };
        if needed <= available {
            return Ok(());
        }
        Err(ApplyError::NoSpace { what: Resource::Bytes, needed, available })
    }

    fn fixed(entries: usize) -> Self {
        let bytes = (entries as u64).saturating_mul(ENTRY_BYTES).saturating_add(MARGIN);
        Self { copying: bytes, sharing: bytes, inodes: OWN_INODES }
    }

    fn write(&mut self, size: u64) {
        self.share(size);
        self.sharing = self.sharing.saturating_add(blocks(size));
    }

    fn share(&mut self, size: u64) {
        self.copying = self.copying.saturating_add(blocks(size));
    }
}

fn blocks(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// The tree that a target will have but for its contents: for finding out whether the file system can hold its metadata.
pub(crate) fn metadata_tree(skeleton: &Skeleton) -> Result<Tree, skiff_tree::TreeError> {
    let unknown = skiff_tree::ContentDigest::from_bytes([0; 32]);
    skeleton.complete(&vec![unknown; skeleton.new_contents().len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_asked_for_in_blocks_and_sharing_only_where_it_matters() {
        let mut need = Need::fixed(0);
        need.write(1);
        need.share(BLOCK + 1);
        assert_eq!(need.copying, MARGIN + 3 * BLOCK);
        assert_eq!(need.sharing, MARGIN + BLOCK);
        let free = |bytes| FreeSpace { bytes, inodes: None };
        let never = || -> Result<bool, ApplyError> { panic!("nobody wants to know") };
        need.check(free(MARGIN + 3 * BLOCK), never).unwrap();
        need.check(free(MARGIN + BLOCK), || Ok(true)).unwrap();
        let error = need.check(free(MARGIN + BLOCK), || Ok(false)).unwrap_err();
        assert!(matches!(error, ApplyError::NoSpace { what: Resource::Bytes, needed, available }
            if needed == MARGIN + 3 * BLOCK && available == MARGIN + BLOCK));
        need.check(free(MARGIN + BLOCK - 1), never).unwrap_err();
        let error = need.check(FreeSpace { bytes: u64::MAX, inodes: Some(3) }, never).unwrap_err();
        assert!(matches!(error, ApplyError::NoSpace { what: Resource::Inodes, .. }));
        need.write(u64::MAX);
        assert_eq!(need.less([u64::MAX].into_iter()).copying, 0);
    }
}
