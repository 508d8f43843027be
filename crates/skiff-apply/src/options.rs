use std::fmt;

use skiff_format::Header;
use skiff_fs::{Control, Ownership};
use skiff_keys::PublicKey;
use skiff_replay::Limits;
use skiff_tree::ReleaseId;

use crate::ApplyError;

/// How a store is changed. The defaults are for a device where skiff runs as root.
#[derive(Clone)]
pub struct Options<'a> {
    /// Watches and stops it. Progress counts the bytes of files, in each [`Phase`] from zero to its total.
    pub control: Control<'a>,
    /// Is told when a phase begins, and of how many bytes progress will tell in it.
    pub on_phase: Option<&'a (dyn Fn(Phase, u64) + Send + Sync)>,
    /// Whose signature a delta has to have: that of one of these keys. Where it has not, nothing is written. Anything does, unless set;
    /// nothing does where there are no keys in it.
    pub signed_by: Option<&'a [PublicKey]>,
    /// Is told the release that a delta leads to, once the delta is found to be [signed](Self::signed_by) and to apply to the current
    /// release: a key that is trusted stands for that step, whatever becomes of the delta.
    pub on_signed: Option<&'a (dyn Fn(ReleaseId) + Send + Sync)>,
    /// Whether owners and devices are applied, which takes root, or only recorded.
    pub ownership: Ownership,
    /// How the new release comes by files that the current one has.
    pub links: LinkPolicy,
    /// What is read back from the disk before a release becomes the current one.
    pub verification: Verification,
    /// After how many bytes written a checkpoint is recorded: about as much is lost to a cut. 4 MiB unless set.
    pub checkpoint_bytes: u64,
    /// What a delta may cost.
    pub limits: Limits,
    /// Which releases are kept afterwards.
    pub keep: KeepPolicy,
    /// How many starts (calls of [`Store::recover`](crate::Store::recover)) a new release may take without being
    /// [confirmed](crate::Store::confirm) before it is rolled back. None, unless set: it is on trial, but never rolled
    /// back by itself. 0 rolls it back at the next start.
    pub trial_starts: Option<u32>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            control: Control::default(),
            on_phase: None,
            signed_by: None,
            on_signed: None,
            ownership: Ownership::Apply,
            links: LinkPolicy::default(),
            verification: Verification::default(),
            checkpoint_bytes: 4 << 20,
            limits: Limits::default(),
            keep: KeepPolicy::default(),
            trial_starts: None,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("control", &self.control)
            .field("on_phase", &self.on_phase.map(|_| ".."))
            .field("signed_by", &self.signed_by)
            .field("on_signed", &self.on_signed.map(|_| ".."))
            .field("ownership", &self.ownership)
            .field("links", &self.links)
            .field("verification", &self.verification)
            .field("checkpoint_bytes", &self.checkpoint_bytes)
            .field("limits", &self.limits)
            .field("keep", &self.keep)
            .field("trial_starts", &self.trial_starts)
            .finish()
    }
}

impl Options<'_> {
    /// The defaults for an ordinary user: owners and devices are recorded, not applied.
    #[must_use]
    pub fn rootless() -> Self {
        Self { ownership: Ownership::Record, ..Self::default() }
    }

    pub(crate) fn begin(&self, phase: Phase, total: u64) {
        if let Some(on_phase) = self.on_phase {
            on_phase(phase, total);
        }
    }

    /// Sees whether a delta is signed as it has to be.
    pub(crate) fn check_signature(&self, header: &Header) -> Result<(), ApplyError> {
        if let Some(keys) = self.signed_by {
            skiff_keys::check(header, keys)?;
        }
        Ok(())
    }

    /// Tells of a delta that is signed, and applies to the current release.
    pub(crate) fn tell_signed(&self, target: ReleaseId) {
        if let (Some(_), Some(on_signed)) = (self.signed_by, self.on_signed) {
            on_signed(target);
        }
    }

    /// Refuses early what an ordinary user would be refused for later, file by file.
    pub(crate) fn check_rights(&self) -> Result<(), ApplyError> {
        if self.ownership == Ownership::Apply && !skiff_fs::can_apply_ownership() {
            return Err(ApplyError::NeedsRoot);
        }
        Ok(())
    }
}

/// What is being done to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// New contents are written.
    Writing,
    /// What the current release has is shared or copied, and metadata are set.
    Completing,
    /// What was written is brought to the disk.
    Syncing,
    /// What is on the disk is read back and compared.
    Verifying,
}

/// How a new release comes by files that the current one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkPolicy {
    /// Their blocks are shared where the file system can do that, else copied.
    #[default]
    ReflinkOrCopy,
    /// As before, but where blocks cannot be shared and content and metadata are equal, the inode is. Only for a store
    /// whose releases are mounted read-only: what writes into one release would write into the other.
    HardLinkUnchanged,
}

/// What is read back from the disk before a release becomes the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verification {
    /// Every file's content, unchanged ones too.
    #[default]
    Everything,
    /// The contents of files that were written, copies included. Of those whose blocks or inodes are shared with the
    /// current release, as of every other entry, everything else is compared.
    WrittenOnly,
}

/// Which releases are kept when garbage is collected. Those that somebody holds a [`Lease`](crate::Lease) on always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepPolicy {
    /// The current one and the one before it.
    #[default]
    CurrentAndPrevious,
    /// The current one, once it is confirmed, for devices without room: there is no rolling back.
    CurrentOnly,
    /// All.
    Everything,
}

/// Which release a delta has to lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// This one, named by a source that the caller trusts. Whatever the delta contains, nothing else becomes current.
    Release(ReleaseId),
    /// Whichever the delta itself names. For deltas that come over a trusted way, or that have to be [signed](Options::signed_by): an old delta
    /// that was signed for the current release is taken too, wherever it leads.
    TrustDelta,
}

impl From<ReleaseId> for Expectation {
    fn from(release: ReleaseId) -> Self {
        Self::Release(release)
    }
}
