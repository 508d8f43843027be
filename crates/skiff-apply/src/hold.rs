//! Holding a release to read it where it lies, and a store to decide what runs.

use skiff_fs::{DirectoryContents, Lock, LockKind};
use skiff_tree::{ConfigDigest, ReleaseId, Tree};

use crate::store::read_config;
use crate::{ApplyError, Lease, Store, layout};

/// A release of a store with its files, held: it is not removed meanwhile.
#[derive(Debug)]
#[non_exhaustive]
pub struct HeldRelease {
    /// Its name.
    pub id: ReleaseId,
    /// Its tree, proved to be the one that the release is named after.
    pub tree: Tree,
    /// The digest of its config, where it has one.
    pub config: Option<ConfigDigest>,
    /// The contents of its files as they are on the disk, which nobody has compared with the tree.
    pub contents: DirectoryContents,
    /// What holds it.
    pub lease: Lease,
}

/// Says that its holder alone decides what runs of a store. Ends when it is dropped, or with the process in whatever way.
#[derive(Debug)]
pub struct Claim {
    _lock: Lock,
}

impl Store {
    /// Claims the store for whoever decides what runs of it, as long as the claim is held. It binds those alone who ask for it: no
    /// other call of the store does, and none is kept from anything.
    ///
    /// # Errors
    /// [`ApplyError::Busy`] where somebody else has claimed it; [`ApplyError::Io`].
    pub fn claim(&self) -> Result<Claim, ApplyError> {
        // Of the directories of a store, this is one that nobody else can open, and so lock.
        let releases = layout::path(layout::RELEASES);
        Ok(Claim { _lock: self.root.lock_directory(&releases, LockKind::Exclusive)? })
    }

    /// Opens the current release to read its files.
    ///
    /// # Errors
    /// [`ApplyError::NotAStore`] where nothing is installed; [`ApplyError::StoreDamaged`] where the tree is damaged;
    /// [`ApplyError::Busy`] where the release is just being removed; [`ApplyError::Io`].
    pub fn hold_current(&self) -> Result<HeldRelease, ApplyError> {
        let id = self.current_id()?.ok_or_else(|| self.nothing_installed())?;
        let lease = self.lease(id)?;
        let release = self.load(id)?;
        let config = read_config(&release.directory)?.as_deref().map(ConfigDigest::of);
        let contents = DirectoryContents::new(release.rootfs()?);
        Ok(HeldRelease { id, tree: release.tree, config, contents, lease })
    }
}
