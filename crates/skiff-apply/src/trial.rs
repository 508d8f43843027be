//! Trials: confirming, counting starts, rolling back.

use skiff_fs::{Control, Reread, Root};
use skiff_tree::{EntryPath, ReleaseId};

use crate::record::read_small;
use crate::{ApplyError, Options, Store, Trial, Verification, layout};

/// A release was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RolledBack {
    /// The release that was current.
    pub from: ReleaseId,
    /// The release that is.
    pub to: ReleaseId,
}

impl Store {
    /// Says that the current release has proved itself. Doing it again does nothing.
    ///
    /// # Errors
    /// [`ApplyError::NotAStore`] where nothing is installed, [`ApplyError::Busy`], [`ApplyError::StoreDamaged`],
    /// [`ApplyError::Io`], [`ApplyError::DiskFull`].
    pub fn confirm(&self) -> Result<ReleaseId, ApplyError> {
        let _lock = self.lock()?;
        let id = self.current_id()?.ok_or_else(|| self.nothing_installed())?;
        let directory = self.directory(id)?;
        let mut record = self.record(id)?;
        if record.trial != Trial::Confirmed {
            record.trial = Trial::Confirmed;
            record.replace(&directory)?;
        }
        directory.remove(&layout::path(layout::ATTEMPTS), &Control::default())?;
        Ok(id)
    }

    /// Makes the release before the current one the current one, by the same swap, once it was verified (its files'
    /// contents too, unless [`Options::verification`] is [`Verification::WrittenOnly`]).
    ///
    /// It goes one way: the release that is left is not recorded as one to roll back to, and collecting garbage removes it.
    ///
    /// # Errors
    /// [`ApplyError::NoPrevious`]; [`ApplyError::VerificationFailed`] where the previous release was damaged, and
    /// the current one stays; [`ApplyError::NotAStore`], [`ApplyError::Busy`], [`ApplyError::StoreDamaged`],
    /// [`ApplyError::Io`], [`ApplyError::DiskFull`], [`ApplyError::Interrupted`].
    pub fn rollback(&self, options: &Options<'_>) -> Result<RolledBack, ApplyError> {
        let _lock = self.lock()?;
        let from = self.current_id()?.ok_or_else(|| self.nothing_installed())?;
        self.roll_back_from(from, options)
    }

    pub(crate) fn roll_back_from(
        &self,
        from: ReleaseId,
        options: &Options<'_>,
    ) -> Result<RolledBack, ApplyError> {
        let to = self.record(from)?.previous.ok_or(ApplyError::NoPrevious)?;
        if !self.has(to)? {
            return Err(ApplyError::NoPrevious);
        }
        let reread = match options.verification {
            Verification::Everything => Reread::All,
            Verification::WrittenOnly => Reread::Only(&|_| false),
        };
        let release = self.load(to)?;
        release.prove(reread, options)?;
        // Where it is on trial itself, that begins again.
        release.directory.remove(&layout::path(layout::ATTEMPTS), &Control::default())?;
        release.directory.sync_directory(&EntryPath::root())?;
        self.swap(to)?;
        Ok(RolledBack { from, to })
    }

    /// Makes `current` name a release: the one step that decides, and on the disk when this returns.
    pub(crate) fn swap(&self, to: ReleaseId) -> Result<(), ApplyError> {
        let target = layout::link_target(to);
        Ok(self.root.replace_symlink(&layout::path(layout::CURRENT), target.as_bytes())?)
    }
}

/// How many starts a release took while on trial; none where the count cannot be read.
pub(crate) fn starts_taken(directory: &Root) -> Result<Option<u32>, ApplyError> {
    let count = match read_small(directory, &layout::path(layout::ATTEMPTS), 32) {
        Err(ApplyError::StoreDamaged { .. }) => return Ok(None),
        other => other?,
    };
    let Some(count) = count else { return Ok(Some(0)) };
    Ok(std::str::from_utf8(&count).ok().and_then(|count| count.trim_end().parse().ok()))
}

/// Counts one more start.
pub(crate) fn count_start(directory: &Root, taken: u32) -> Result<(), ApplyError> {
    let count = format!("{taken}\n");
    Ok(directory.replace_file(&layout::path(layout::ATTEMPTS), count.as_bytes())?)
}
