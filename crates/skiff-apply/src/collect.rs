//! Which releases stay, and who holds one.

use skiff_fs::{Control, Lock, LockKind, Rename};
use skiff_tree::ReleaseId;

use crate::{ApplyError, KeepPolicy, Options, Store, Trial, layout};

/// Keeps a release from being removed, until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct Lease {
    release: ReleaseId,
    _lock: Lock,
}

impl Lease {
    /// The release.
    #[must_use]
    pub fn release(&self) -> ReleaseId {
        self.release
    }
}

/// What collecting garbage did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Releases that were removed.
    pub removed: Vec<ReleaseId>,
    /// Releases that would have been, but somebody holds a lease on them.
    pub leased: Vec<ReleaseId>,
}

impl Store {
    /// Takes a lease on a release. Any number may be held; none keeps the store from being changed otherwise.
    ///
    /// # Errors
    /// [`ApplyError::NoSuchRelease`]; [`ApplyError::Busy`] where it is being removed; [`ApplyError::Io`].
    pub fn lease(&self, release: ReleaseId) -> Result<Lease, ApplyError> {
        let missing = || ApplyError::NoSuchRelease { release };
        if !self.has(release)? {
            return Err(missing());
        }
        let path = layout::path(&format!("{}/{release}/{}", layout::RELEASES, layout::LEASE));
        let lock = match self.root.lock(&path, LockKind::Shared) {
            Err(error) if error.is_not_found() => return Err(missing()),
            other => other?,
        };
        // Between finding and locking it, it may have been removed: the lock was on a file without a name then.
        if self.has(release)? { Ok(Lease { release, _lock: lock }) } else { Err(missing()) }
    }

    /// Removes the releases that [`Options::keep`] does not keep and nobody holds a lease on.
    ///
    /// # Errors
    /// [`ApplyError::Busy`]; [`ApplyError::StoreDamaged`] where it cannot be told which release is the previous one, and
    /// nothing is removed; [`ApplyError::Interrupted`]; [`ApplyError::Io`].
    pub fn collect(&self, options: &Options<'_>) -> Result<Collected, ApplyError> {
        let _lock = self.lock()?;
        self.collect_locked(options)
    }

    pub(crate) fn collect_locked(&self, options: &Options<'_>) -> Result<Collected, ApplyError> {
        let policy = options.keep;
        let mut collected = Collected::default();
        // Without a current release there is nothing to say which of the others is worth keeping.
        let Some(current) = self.current_id()? else { return Ok(collected) };
        if policy == KeepPolicy::Everything {
            return Ok(collected);
        }
        let record = self.record(current)?;
        // While the current one is on trial, the one before it is the way back.
        let keep_previous = policy == KeepPolicy::CurrentAndPrevious || record.trial != Trial::Confirmed;
        let kept = self.way_back(current, record.previous.filter(|_| keep_previous))?;
        for id in self.releases()? {
            if kept.contains(&id) {
                continue;
            }
            if self.remove_release(id, &options.control)? {
                collected.removed.push(id)
            } else {
                collected.leased.push(id)
            }
        }
        Ok(collected)
    }

    /// The current release, the one before it, and where that one may be rolled back by itself, the ones before it up to
    /// the first that may not: a chain of trials must end at a release that proved itself.
    fn way_back(
        &self,
        current: ReleaseId,
        previous: Option<ReleaseId>,
    ) -> Result<Vec<ReleaseId>, ApplyError> {
        let mut kept = vec![current];
        let mut next = previous;
        while let Some(id) = next.filter(|id| !kept.contains(id)) {
            kept.push(id);
            if !self.has(id)? {
                break;
            }
            let record = self.record(id)?;
            let may_be_rolled_back = matches!(record.trial, Trial::OnTrial { starts: Some(_) });
            next = record.previous.filter(|_| may_be_rolled_back);
        }
        Ok(kept)
    }

    /// Whether it was removed: not where somebody holds a lease.
    fn remove_release(&self, id: ReleaseId, control: &Control<'_>) -> Result<bool, ApplyError> {
        let path = layout::path(&format!("{}/{id}/{}", layout::RELEASES, layout::LEASE));
        // Held until the release has lost its name, so that no lease is given meanwhile.
        let lock = match self.root.lock(&path, LockKind::Exclusive).map_err(ApplyError::from) {
            Err(ApplyError::Busy { .. }) => return Ok(false),
            other => other?,
        };
        let trash = layout::trash(id);
        self.root.remove(&trash, control)?;
        self.root.rename(&layout::release(id), &trash, Rename::Replace)?;
        drop(lock);
        self.root.remove(&trash, control)?;
        Ok(true)
    }
}
