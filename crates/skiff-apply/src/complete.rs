//! Everything of a release but its new contents: what the base has, links, devices, metadata.

use std::collections::HashSet;

use skiff_fs::{FsError, Root, ShareMode, ShareOptions, Shared};
use skiff_tree::{Entry, EntryPath, Inode, Kind, Node, Tree};

use crate::plan::{FileOrigin, Plan, Shareable, index};
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

/// Completes a stage that has all new contents.
pub(crate) fn complete(
    site: &Site<'_>,
    stage: &Stage,
    plan: &Plan,
    tree: &Tree,
) -> Result<Completed, ApplyError> {
    let options = site.options;
    let shared_bytes = tree.files().zip(plan.origins.iter().flatten());
    let shared_bytes = shared_bytes.filter(|(_, origin)| !matches!(origin, FileOrigin::First(_)));
    options.begin(
        Phase::Completing,
        shared_bytes.fold(0, |sum, ((_, _, file), _)| file.size.saturating_add(sum)),
    );
    let mut work = Work {
        site,
        rootfs: &stage.rootfs,
        base: site.base.rootfs()?,
        shareable: site.shareable(),
        plan,
        linked: HashSet::new(),
        done: Completed { sharing: Sharing::default(), unwritten: HashSet::new() },
    };
    for (entry, origin) in tree.entries().iter().zip(&plan.origins) {
        options.control.check()?;
        match &entry.node {
            Node::HardLink { owner } => {
                if tree.inode(entry).is_some_and(|inode| options.ownership.makes(&inode.kind)) {
                    stage.rootfs.hard_link(owner, &entry.path)?;
                }
            }
            Node::Inode(Inode { kind: Kind::Directory, .. }) => {}
            Node::Inode(inode) => work.make(entry, inode, *origin)?,
        }
    }
    // Last, deepest first: what is made in a directory changes its time, and its mode may forbid making it.
    for entry in tree.entries().iter().rev() {
        if let Some(inode @ Inode { kind: Kind::Directory, .. }) = entry.as_inode() {
            stage.rootfs.set_metadata(&entry.path, inode, options.ownership)?;
        }
    }
    Ok(work.done)
}

struct Work<'a> {
    site: &'a Site<'a>,
    rootfs: &'a Root,
    base: Root,
    shareable: Shareable<'a>,
    plan: &'a Plan,
    /// Inodes of the base that stand in the target already.
    linked: HashSet<usize>,
    done: Completed,
}

impl Work<'_> {
    fn make(&mut self, entry: &Entry, inode: &Inode, origin: Option<FileOrigin>) -> Result<(), ApplyError> {
        let ownership = self.site.options.ownership;
        let shared = match origin {
            Some(FileOrigin::First(_)) => None,
            Some(FileOrigin::Repeated(number)) => {
                let from = &self.plan.new[index(number)].path;
                Some(self.rootfs.share_file(
                    (self.rootfs, from),
                    &entry.path,
                    &self.sharing(ShareMode::Reflink),
                )?)
            }
            Some(FileOrigin::Base(named)) => Some(self.share_from_base(entry, inode, named)?),
            None if !ownership.makes(&inode.kind) => return Ok(()),
            None => {
                self.rootfs.make_entry(&entry.path, &inode.kind, ownership)?;
                None
            }
        };
        if let Some(shared) = shared {
            self.count(entry, shared);
        }
        if !matches!(shared, Some(Shared::HardLinked)) {
            self.rootfs.set_metadata(&entry.path, inode, ownership)?;
        }
        Ok(())
    }

    fn sharing(&self, mode: ShareMode) -> ShareOptions<'_> {
        ShareOptions::new(mode).with_control(self.site.options.control)
    }

    fn share_from_base(&mut self, entry: &Entry, inode: &Inode, named: u32) -> Result<Shared, ApplyError> {
        let (at, source) = self.shareable.source(entry, named).ok_or_else(|| ApplyError::Corrupt {
            offset: 0,
            what: format!("tree section: {} comes from what is no file of the base", entry.path),
        })?;
        let may_link = self.shareable.may_link(source, inode) && self.linked.insert(at);
        let mode = if may_link { ShareMode::ReflinkOrHardLink } else { ShareMode::Reflink };
        let shared = self.rootfs.share_file((&self.base, &source.path), &entry.path, &self.sharing(mode));
        let shared = shared.map_err(|error| match error {
            // Whatever took it away, the base is not what its tree says.
            FsError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ApplyError::StoreDamaged { path, what: "it is missing from the current release".into() }
            }
            other => other.into(),
        })?;
        if let (Shared::Copied(bytes), true, false) = (shared, self.shareable.allows_links(), may_link) {
            let sharing = &mut self.done.sharing;
            sharing.copied_for_metadata_bytes = sharing.copied_for_metadata_bytes.saturating_add(bytes);
        }
        Ok(shared)
    }

    fn count(&mut self, entry: &Entry, shared: Shared) {
        let size = entry.as_file().map_or(0, |content| content.size);
        let sharing = &mut self.done.sharing;
        let (sum, bytes) = match shared {
            Shared::Copied(bytes) => (&mut sharing.copied_bytes, bytes),
            Shared::Reflinked => (&mut sharing.reflinked_bytes, size),
            Shared::HardLinked => (&mut sharing.hard_linked_bytes, size),
        };
        *sum = sum.saturating_add(bytes);
        if !matches!(shared, Shared::Copied(_)) {
            self.done.unwritten.insert(entry.path.clone());
            // Copying has told of its bytes already.
            self.site.options.control.advance(size);
        }
    }
}
