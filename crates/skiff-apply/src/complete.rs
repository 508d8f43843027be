//! Everything of a release but its new contents: what the base has, links, devices, metadata.

use std::collections::HashSet;

use skiff_fs::{Control, Root, ShareMode, ShareOptions, Shared};
use skiff_tree::{Entry, EntryPath, Inode, Kind, Node, SkeletonContent, Tree};

use crate::plan::{FileOrigin, NewFile, Plan, Shareable, index};
use crate::sink::Site;
use crate::stage::Stage;
use crate::{ApplyError, Phase};

/// How a release came by the files that were there already, in bytes of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sharing {
    /// Their blocks are shared with the release before, or within the release.
    pub reflinked_bytes: u64,
    /// Their inodes are shared with the release before.
    pub hard_linked_bytes: u64,
    /// They were copied, because the file system shares no blocks and hard links are not allowed, or ran out.
    pub copied_bytes: u64,
    /// The part of those that would have been hard-linked, had their metadata been equal.
    pub copied_for_metadata_bytes: u64,
}

/// A release that is complete but for the store's own files.
pub(crate) struct Completed {
    pub(crate) sharing: Sharing,
    /// Files that share blocks or inodes with the base: nothing of them was written.
    pub(crate) unwritten: HashSet<EntryPath>,
}

/// What a file of the base counts for beside its bytes, when completing goes on beside writing: to make a file takes about as long
/// as to copy so many bytes.
const FILE_BYTES: u64 = 16 << 10;

/// The work of completing a stage. A part of it may be done while new contents are still being written.
pub(crate) struct Completion<'a> {
    site: Site<'a>,
    /// Told of bytes only once everything is written: until then progress is that of writing.
    control: Control<'a>,
    base: Root,
    shareable: Shareable<'a>,
    /// Inodes of the base that stand in the target already.
    linked: HashSet<usize>,
    done: Completed,
    /// The first entry that is yet to be looked at, of those that come from the base.
    next: usize,
    /// What those before it counted for.
    counted: u64,
}

impl<'a> Completion<'a> {
    pub(crate) fn new(site: Site<'a>) -> Result<Self, ApplyError> {
        Ok(Self {
            control: Control { progress: None, ..site.options.control },
            base: site.base.rootfs()?,
            shareable: site.shareable(),
            linked: HashSet::new(),
            done: Completed { sharing: Sharing::default(), unwritten: HashSet::new() },
            next: 0,
            counted: 0,
            site,
        })
    }

    /// Makes files that the base has, in their order, until they count for so much.
    pub(crate) fn advance(
        &mut self,
        (stage, plan): (&Stage, &Plan),
        entries: &[Entry<SkeletonContent>],
        until: u64,
    ) -> Result<(), ApplyError> {
        while self.counted < until
            && let Some(entry) = entries.get(self.next)
        {
            let origin = plan.origins[self.next];
            self.next += 1;
            if let (Some(FileOrigin::Base(_)), Some(inode)) = (origin, entry.as_inode()) {
                self.control.check()?;
                self.make((stage, plan), (entry, inode), origin)?;
                self.counted = self.counted.saturating_add(weight(entry));
            }
        }
        Ok(())
    }

    /// Does what is left once the stage has all new contents.
    pub(crate) fn finish(
        mut self,
        (stage, plan): (&Stage, &Plan),
        tree: &Tree,
    ) -> Result<Completed, ApplyError> {
        let options = self.site.options;
        let shared_bytes = tree.files().zip(plan.origins.iter().flatten());
        let shared_bytes = shared_bytes.filter(|(_, origin)| !matches!(origin, FileOrigin::First(_)));
        options.begin(
            Phase::Completing,
            shared_bytes.fold(0, |sum, ((_, _, file), _)| file.size.saturating_add(sum)),
        );
        self.control = options.control;
        for (index, (entry, origin)) in tree.entries().iter().zip(&plan.origins).enumerate() {
            options.control.check()?;
            match &entry.node {
                Node::HardLink { owner } => {
                    if tree.inode(entry).is_some_and(|inode| options.ownership.makes(&inode.kind)) {
                        stage.rootfs.hard_link(owner, &entry.path)?;
                    }
                }
                Node::Inode(Inode { kind: Kind::Directory, .. }) => {}
                Node::Inode(Inode { kind: Kind::File(content), .. })
                    if index < self.next && matches!(origin, Some(FileOrigin::Base(_))) =>
                {
                    // Told of only now, because progress was that of writing.
                    options.control.advance(content.size);
                }
                Node::Inode(inode) => self.make((stage, plan), (entry, inode), *origin)?,
            }
        }
        // Last, deepest first: what is made in a directory changes its time, and its mode may forbid making it.
        for entry in tree.entries().iter().rev() {
            if let Some(inode @ Inode { kind: Kind::Directory, .. }) = entry.as_inode() {
                stage.rootfs.set_metadata(&entry.path, inode, options.ownership)?;
            }
        }
        Ok(self.done)
    }

    fn make<C>(
        &mut self,
        (stage, plan): (&Stage, &Plan),
        (entry, inode): (&Entry<C>, &Inode<C>),
        origin: Option<FileOrigin>,
    ) -> Result<(), ApplyError> {
        let rootfs = &stage.rootfs;
        let ownership = self.site.options.ownership;
        let shared = match origin {
            Some(FileOrigin::First(_)) => None,
            Some(FileOrigin::Repeated(number)) => {
                let NewFile { path, size } = &plan.new[index(number)];
                let shared =
                    rootfs.share_file((rootfs, path), &entry.path, &self.sharing(ShareMode::Reflink))?;
                Some((shared, *size))
            }
            Some(FileOrigin::Base(named)) => Some(self.share_from_base(rootfs, (entry, inode), named)?),
            None if !ownership.makes(&inode.kind) => return Ok(()),
            None => {
                rootfs.make_entry(&entry.path, &inode.kind, ownership)?;
                None
            }
        };
        if let Some(shared) = shared {
            self.count(&entry.path, shared);
        }
        if !matches!(shared, Some((Shared::HardLinked, _))) {
            rootfs.set_metadata(&entry.path, inode, ownership)?;
        }
        Ok(())
    }

    fn sharing(&self, mode: ShareMode) -> ShareOptions<'_> {
        ShareOptions::new(mode).with_control(self.control)
    }

    fn share_from_base<C>(
        &mut self,
        rootfs: &Root,
        (entry, inode): (&Entry<C>, &Inode<C>),
        named: u32,
    ) -> Result<(Shared, u64), ApplyError> {
        let (at, source) = self.shareable.source(entry, named).ok_or_else(|| ApplyError::Corrupt {
            offset: 0,
            what: format!("tree section: {} comes from what is no file of the base", entry.path),
        })?;
        let may_link = self.shareable.may_link(source, inode) && self.linked.insert(at);
        let mode = if may_link { ShareMode::ReflinkOrHardLink } else { ShareMode::Reflink };
        let shared = rootfs.share_file((&self.base, &source.path), &entry.path, &self.sharing(mode));
        let shared = shared.map_err(ApplyError::from_base)?;
        if let (Shared::Copied(bytes), true, false) = (shared, self.shareable.allows_links(), may_link) {
            let sharing = &mut self.done.sharing;
            sharing.copied_for_metadata_bytes = sharing.copied_for_metadata_bytes.saturating_add(bytes);
        }
        Ok((shared, source.as_file().map_or(0, |content| content.size)))
    }

    fn count(&mut self, path: &EntryPath, (shared, size): (Shared, u64)) {
        let sharing = &mut self.done.sharing;
        let (sum, bytes) = match shared {
            Shared::Copied(bytes) => (&mut sharing.copied_bytes, bytes),
            Shared::Reflinked => (&mut sharing.reflinked_bytes, size),
            Shared::HardLinked => (&mut sharing.hard_linked_bytes, size),
        };
        *sum = sum.saturating_add(bytes);
        if !matches!(shared, Shared::Copied(_)) {
            self.done.unwritten.insert(path.clone());
            // Copying has told of its bytes already.
            self.control.advance(size);
        }
    }
}

/// What a file of the base counts for while completing goes on beside writing.
pub(crate) fn weight(entry: &Entry<SkeletonContent>) -> u64 {
    match entry.as_file() {
        Some(SkeletonContent::Base(base)) => base.content.size.saturating_add(FILE_BYTES),
        _ => 0,
    }
}
