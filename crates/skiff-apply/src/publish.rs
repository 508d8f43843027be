//! From a complete stage to the current release.

use std::collections::HashSet;

use skiff_fs::{Rename, Reread, SyncStrategy};
use skiff_tree::{EntryPath, ReleaseId, Tree};

use crate::record::Record;
use crate::stage::{self, Stage, write};
use crate::store::StoredRelease;
use crate::{ApplyError, Collected, Options, Phase, Store, Trial, Verification, layout};

/// A stage that lacks only the store's own files.
pub(crate) struct Draft<'a> {
    pub(crate) stage: Stage,
    pub(crate) tree: &'a Tree,
    pub(crate) record: Record,
    /// Files of which nothing was written.
    pub(crate) unwritten: HashSet<EntryPath>,
}

impl Store {
    /// Brings a draft to the disk, proves it by reading it back, and makes it the current release.
    pub(crate) fn publish(&self, draft: Draft<'_>, options: &Options<'_>) -> Result<(), ApplyError> {
        let Draft { stage, tree, mut record, unwritten } = draft;
        let totals = tree.totals();
        (record.entries, record.content_bytes) = (totals.entries, totals.content_bytes);
        record.trial = Trial::OnTrial { starts: options.trial_starts };
        stage.write_tree(tree)?;
        write(&stage.release, layout::RECORD, &record.to_bytes())?;
        // Made here, so that who runs a release needs no right to write to the store.
        write(&stage.release, layout::LEASE, &[])?;
        options.begin(Phase::Syncing, 0);
        let strategy = SyncStrategy::for_this_kernel();
        stage.directory.sync_all(strategy, &options.control).map_err(ApplyError::from_sync)?;

        let release = stage.directory.descend(&layout::path(layout::RELEASE))?;
        let release = StoredRelease::load(stage.id, release)?;
        let was_written = |entry: &skiff_tree::Entry| !unwritten.contains(&entry.path);
        let reread = match options.verification {
            Verification::Everything => Reread::All,
            Verification::WrittenOnly => Reread::Only(&was_written),
        };
        release.prove(reread, options)?;
        // From here on it takes no time: an end asked for comes too late.
        options.control.check()?;
        self.move_to_releases(stage.id)?;
        self.swap(stage.id)
    }

    /// Moves what was staged to where it is released, in the place of a damaged release of this name.
    fn move_to_releases(&self, id: ReleaseId) -> Result<(), ApplyError> {
        let staging = layout::staging(id);
        let from = layout::path(&format!("{}/{id}/{}", layout::STAGING, layout::RELEASE));
        let how = if self.has(id)? { Rename::Exchange } else { Rename::Replace };
        self.root.rename(&from, &layout::release(id), how)?;
        self.root.sync_directory(&layout::path(layout::RELEASES))?;
        Ok(self.root.sync_directory(&staging)?)
    }

    /// What is done once the new release is the current one, and may be done later instead.
    pub(crate) fn tidy(&self, options: &Options<'_>) -> Result<Collected, ApplyError> {
        stage::clear(&self.root, None, &options.control)?;
        self.collect_locked(options)
    }
}
