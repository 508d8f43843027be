//! What a start begins with.

use skiff_tree::EntryPath;

use crate::stage::Saved;
use crate::{ApplyError, Options, RolledBack, Staged, Store, Trial, layout, stage, trial};

/// What recovering found and did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// What a cut left and was removed, by its path in the store.
    pub removed: Vec<EntryPath>,
    /// An interrupted update that applying the same delta goes on with. It was left alone.
    pub staged: Option<Staged>,
    /// How many starts the current release has taken on trial, this one included; none where it is not on trial.
    pub starts_taken: Option<u32>,
    /// The current release had taken all the starts of its trial and was rolled back.
    pub rolled_back: Option<RolledBack>,
    /// What could not be put right without installing the whole image: a damaged release, or a trial that is over with no
    /// sound release to roll back to. The current release is as it was.
    pub unresolved: Option<ApplyError>,
}

impl Store {
    /// Removes what a cut left, and rolls a release back whose trial is over. To be run at each start, before
    /// the current release is.
    ///
    /// Nothing is finished by guess: an interrupted update waits until its delta is applied again.
    ///
    /// # Errors
    /// [`ApplyError::Busy`]; [`ApplyError::Io`], [`ApplyError::DiskFull`] where the disk does not let it;
    /// [`ApplyError::Interrupted`]. What it cannot put right is no error but told in [`Recovered::unresolved`].
    pub fn recover(&self, options: &Options<'_>) -> Result<Recovered, ApplyError> {
        let _lock = self.lock()?;
        let mut recovered = Recovered::default();
        let next = layout::path(layout::CURRENT_NEXT);
        if self.root.remove(&next, &options.control)? == skiff_fs::Removed::Removed {
            recovered.removed.push(next);
        }
        recovered.staged = stage::find_resumable(&self.root)?;
        // An update from a release that is not the current one any more leads nowhere.
        let leads_on = match (&recovered.staged, self.current_id()) {
            (Some(staged), Ok(Some(current))) => {
                Saved::load(&self.root, staged.release).is_some_and(|saved| {
                    let bases = saved.prelude.header.bases();
                    staged.release != current
                        && bases.iter().any(|base| base.release.as_bytes() == current.as_bytes())
                })
            }
            _ => false,
        };
        recovered.staged = recovered.staged.filter(|_| leads_on);
        match stage::clear(&self.root, recovered.staged.map(|staged| staged.release), &options.control) {
            Ok(removed) => recovered.removed.extend(removed),
            // Somebody runs what was to be removed.
            Err(ApplyError::Busy { .. }) => {}
            Err(other) => return Err(other),
        }
        match self.judge_trial(&mut recovered, options) {
            Err(
                error @ (ApplyError::StoreDamaged { .. }
                | ApplyError::VerificationFailed { .. }
                | ApplyError::NoPrevious),
            ) => recovered.unresolved = Some(error),
            other => other?,
        }
        Ok(recovered)
    }

    /// Counts this start, and ends a trial that takes too many.
    fn judge_trial(&self, recovered: &mut Recovered, options: &Options<'_>) -> Result<(), ApplyError> {
        let Some(current) = self.current_id()? else { return Ok(()) };
        let directory = self.directory(current)?;
        // Without a limit nothing is decided by the count, and nothing is written at every start of a device.
        let Trial::OnTrial { starts: Some(starts) } = self.record(current)?.trial else { return Ok(()) };
        // A count that was lost is no reason to trust the release further.
        let taken = trial::starts_taken(&directory)?.unwrap_or(u32::MAX).saturating_add(1);
        if taken > starts {
            recovered.rolled_back = Some(self.roll_back_from(current, options)?);
            return Ok(());
        }
        recovered.starts_taken = Some(taken);
        trial::count_start(&directory, taken)
    }
}

impl Recovered {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn found_nothing(&self) -> bool {
        self.removed.is_empty() && self.rolled_back.is_none() && self.unresolved.is_none()
    }
}
