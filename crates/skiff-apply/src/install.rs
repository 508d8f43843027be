use std::collections::HashSet;
use std::fmt;

use skiff_fs::{Control, Reread, WriteOptions, write_tree};
use skiff_tree::{ConfigDigest, ContentSource, ReleaseId, Tree};

use crate::plan::Need;
use crate::publish::Draft;
use crate::record::Record;
use crate::stage::Stage;
use crate::{ApplyError, Collected, Options, Origin, Phase, Store, layout, stage};

/// A whole image, to be installed without a delta.
#[derive(Clone, Copy)]
pub struct InstallInput<'a> {
    /// Its flattened tree.
    pub tree: &'a Tree,
    /// Where the contents of its files are read from. Each is checked against the tree.
    pub contents: &'a dyn ContentSource,
    /// Its config, byte for byte.
    pub config: Option<&'a [u8]>,
    /// Its manifest, byte for byte.
    pub manifest: Option<&'a [u8]>,
}

impl fmt::Debug for InstallInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallInput").field("release", &self.release()).finish_non_exhaustive()
    }
}

impl<'a> InstallInput<'a> {
    /// An image without config and manifest.
    #[must_use]
    pub fn new(tree: &'a Tree, contents: &'a dyn ContentSource) -> Self {
        Self { tree, contents, config: None, manifest: None }
    }

    /// The name of the release that it makes. Takes as long as encoding and hashing the tree.
    #[must_use]
    pub fn release(&self) -> ReleaseId {
        ReleaseId::new(self.tree.digest(), self.config.map(ConfigDigest::of))
    }
}

/// What came of installing an image.
#[derive(Debug)]
#[non_exhaustive]
pub struct Installed {
    /// The release, which is the current one now.
    pub release: ReleaseId,
    /// The release that was current before.
    pub previous: Option<ReleaseId>,
    /// Whether anything was to be done.
    pub outcome: InstallOutcome,
    /// What was removed afterwards.
    pub collected: Collected,
    /// Why garbage could not be collected. The release is installed all the same, and collecting can be done later.
    pub leftover: Option<ApplyError>,
}

/// Whether installing had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstallOutcome {
    /// The release was written.
    Installed,
    /// The release was current but damaged, and was written again.
    Repaired,
    /// The release is current, and every entry of it was found as it should be.
    AlreadyCurrent,
}

impl Store {
    /// Writes a whole image and makes it the current release: the first one, one without a delta, or one in the place of
    /// a damaged one.
    ///
    /// Unlike an update by a delta it does not go on after a cut but begins again.
    ///
    /// # Errors
    /// [`ApplyError::Busy`], [`ApplyError::NeedsRoot`], [`ApplyError::NoSpace`], [`ApplyError::DiskFull`],
    /// [`ApplyError::CannotHold`], [`ApplyError::WrongContent`], [`ApplyError::VerificationFailed`],
    /// [`ApplyError::Interrupted`], [`ApplyError::Sync`], [`ApplyError::Io`]. The current release stays what it was.
    pub fn install(&self, image: &InstallInput<'_>, options: &Options<'_>) -> Result<Installed, ApplyError> {
        options.check_rights()?;
        let _lock = self.lock()?;
        let release = image.release();
        // A damaged link is put right by what follows, which is all that is wanted to know of it.
        let current = self.current_id().ok().flatten();
        let repairing = current == Some(release);
        if repairing && self.is_sound(release, options)? {
            let record = self.record(release)?;
            return Ok(Installed {
                release,
                previous: record.previous,
                outcome: InstallOutcome::AlreadyCurrent,
                collected: Collected::default(),
                leftover: None,
            });
        }
        let previous = match current {
            Some(current) if repairing => self.record(current).ok().and_then(|record| record.previous),
            Some(current) if self.has(current)? => Some(current),
            _ => None,
        };
        let staged = self.stage_image(image, (release, previous), options);
        if let Err(error) = staged.and_then(|draft| self.publish(draft, options)) {
            // What is installed cannot be gone on with. Whatever keeps it from being removed is met again by `recover`.
            let _ = stage::clear(&self.root, None, &Control::default());
            return Err(error);
        }
        let outcome = if repairing { InstallOutcome::Repaired } else { InstallOutcome::Installed };
        let (collected, leftover) = match self.tidy(options) {
            Ok(collected) => (collected, None),
            Err(error) => (Collected::default(), Some(error)),
        };
        Ok(Installed { release, previous, outcome, collected, leftover })
    }

    /// Whether a release is on the disk as it should be, in the way the options want it.
    fn is_sound(&self, id: ReleaseId, options: &Options<'_>) -> Result<bool, ApplyError> {
        let sound = self.load(id).and_then(|release| {
            Ok(release.record.ownership() == options.ownership
                && release.mismatches(Reread::All, options)?.is_empty())
        });
        match sound {
            Err(error @ ApplyError::Interrupted(_)) => Err(error),
            other => Ok(other.unwrap_or(false)),
        }
    }

    fn stage_image<'a>(
        &self,
        image: &InstallInput<'a>,
        (id, previous): (ReleaseId, Option<ReleaseId>),
        options: &Options<'_>,
    ) -> Result<Draft<'a>, ApplyError> {
        // What an update by a delta left makes room: nothing goes on with it after this.
        stage::clear(&self.root, None, &options.control)?;
        Need::of_tree(image.tree).check(self.root.free_space()?, || Ok(false))?;
        let stage = Stage::create(&self.root, id, &options.control)?;
        stage.directory.probe(&layout::path("probe"), image.tree, options.ownership)?;
        stage.write_image(image.config, image.manifest)?;
        options.begin(Phase::Writing, image.tree.totals().content_bytes);
        let writing = WriteOptions::default().with_ownership(options.ownership).with_control(options.control);
        write_tree(&stage.rootfs, image.tree, image.contents, &writing)?;
        let mut record = Record::new(Origin::Install, options.ownership);
        record.previous = previous;
        Ok(Draft { stage, tree: image.tree, record, unwritten: HashSet::new() })
    }
}
