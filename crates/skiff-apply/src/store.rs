use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use skiff_fs::{
    Control, EntryType, FsError, Lock, LockKind, Mismatch, Ownership, Reread, Root, RootOptions,
    VerifyOptions, verify_tree,
};
use skiff_tree::{ConfigDigest, ContentReader, EntryPath, Limits, ReleaseId, Tree, TreeError};

use crate::record::{Record, read_small};
use crate::stage;
use crate::{ApplyError, Options, Origin, Phase, Trial, layout, trial};

/// The longest config or manifest that is read, in bytes.
const MAX_CONFIG: u64 = 64 << 20;

/// A directory that holds releases, one of which is the current one.
///
/// Everything that changes it locks it first, and ends in [`ApplyError::Busy`] where another process has: nothing waits.
#[derive(Debug)]
pub struct Store {
    pub(crate) root: Root,
}

/// How a [`Store`] works. The default is the real disk.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StoreOptions {
    /// How paths are resolved, and what every change of the disk goes through.
    pub root: RootOptions,
}

impl StoreOptions {
    /// These options, with another way to the disk.
    #[must_use]
    pub fn with_root(mut self, root: RootOptions) -> Self {
        self.root = root;
        self
    }
}

/// What a store knows of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseInfo {
    /// Its name.
    pub id: ReleaseId,
    /// The release that was current before it, which [`Store::rollback`] leads to.
    pub previous: Option<ReleaseId>,
    /// How it came into the store.
    pub origin: Origin,
    /// When it came into the store or was last made the current one by a delta; none where the clock was past all times.
    pub written_at: Option<SystemTime>,
    /// Whether owners and devices are on the disk, or only recorded.
    pub ownership: Ownership,
    /// Whether it has proved itself.
    pub trial: Trial,
    /// How many starts it took since it became current, counted while it is on trial.
    pub starts_taken: u32,
    /// Paths in it.
    pub entries: u64,
    /// Bytes of its files.
    pub content_bytes: u64,
}

/// What there is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Status {
    /// The current release.
    pub current: Option<ReleaseInfo>,
    /// The one before it, where it is still there.
    pub previous: Option<ReleaseInfo>,
    /// What an interrupted update left, to go on with.
    pub staged: Option<Staged>,
    /// Further releases, which collecting garbage would remove.
    pub others: Vec<ReleaseId>,
}

/// An update that was interrupted after a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Staged {
    /// The release that it leads to.
    pub release: ReleaseId,
    /// The digest of the delta's header: applying this delta goes on.
    pub delta: skiff_format::Digest,
    /// How many bytes the delta's header has, which is read again in any case.
    pub header_bytes: u64,
    /// From where on the delta is read again, in bytes, beside its header.
    pub resume_offset: u64,
    /// The delta's size in bytes.
    pub delta_bytes: u64,
}

/// What reading a release back from the disk told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The release.
    pub release: ReleaseId,
    /// Whether owners and devices were compared, or only recorded and so not on the disk.
    pub ownership: Ownership,
    /// Paths that were compared.
    pub entries: u64,
    /// Bytes of files that were read.
    pub content_bytes: u64,
    /// Everything that is not as the release's tree says; empty for a sound release.
    pub mismatches: Vec<Mismatch>,
}

impl VerifyReport {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.mismatches.is_empty()
    }
}

impl Store {
    /// Opens a store that is there.
    ///
    /// # Errors
    /// [`ApplyError::NotAStore`]; [`ApplyError::Io`].
    pub fn open(path: impl Into<PathBuf>, options: &StoreOptions) -> Result<Self, ApplyError> {
        let path = path.into();
        let root = match Root::open_with(&path, options.root.clone()) {
            Ok(root) => root,
            Err(error) if error.is_not_found() => {
                return Err(ApplyError::NotAStore { path, what: "there is nothing" });
            }
            Err(error) => return Err(error.into()),
        };
        if root.entry_type(&layout::path(layout::RELEASES))? != Some(EntryType::Directory) {
            return Err(ApplyError::NotAStore { path, what: "it has no directory of releases" });
        }
        Ok(Self { root })
    }

    /// Opens a store, which is made, with everything in it, where there is nothing or an empty directory.
    ///
    /// A new store is on the disk once something is installed in it; a cut before that may leave it to be made again.
    ///
    /// # Errors
    /// [`ApplyError::NotAStore`] for a directory with something else in it; [`ApplyError::Io`].
    pub fn create(path: impl Into<PathBuf>, options: &StoreOptions) -> Result<Self, ApplyError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|source| ApplyError::Io {
            op: "making directory",
            path: path.clone(),
            source,
        })?;
        let root = Root::open_with(&path, options.root.clone())?;
        let releases = layout::path(layout::RELEASES);
        if root.entry_type(&releases)?.is_some() {
            return Self::open(path, options);
        }
        // A store may be the whole of a file system, and one whose making was cut off is made to the end.
        let known = [layout::LOCK, layout::STAGING, "lost+found"];
        if root
            .list(&EntryPath::root())?
            .iter()
            .any(|name| !known.iter().any(|known| known.as_bytes() == &**name))
        {
            return Err(ApplyError::NotAStore { path, what: "it is a directory with other things in it" });
        }
        let store = Self { root };
        let _lock = store.lock()?;
        store.root.ensure_directory(&layout::path(layout::STAGING))?;
        // What has a directory of releases is taken for a store, and lacks nothing: a cut must not leave that one alone.
        store.root.sync_directory(&EntryPath::root())?;
        store.root.ensure_directory(&releases)?;
        Ok(store)
    }

    /// The store's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Where the files of a release lie, to be mounted or changed into. Hold a [`Lease`](crate::Lease) meanwhile.
    #[must_use]
    pub fn rootfs(&self, release: ReleaseId) -> PathBuf {
        self.root.display(&layout::path(&format!("{}/{release}/{}", layout::RELEASES, layout::ROOTFS)))
    }

    /// The config of the image that a release was made of, byte for byte; none where it has none.
    ///
    /// # Errors
    /// [`ApplyError::StoreDamaged`] where the release is not there; [`ApplyError::Io`]. It is not compared with the release's name:
    /// [`hold_current`](Self::hold_current) does that.
    pub fn config(&self, release: ReleaseId) -> Result<Option<Vec<u8>>, ApplyError> {
        read_config(&self.directory(release)?)
    }

    /// The current release; none before the first.
    ///
    /// # Errors
    /// [`ApplyError::StoreDamaged`] where the link or what is known of the release is damaged; [`ApplyError::Io`].
    pub fn current(&self) -> Result<Option<ReleaseInfo>, ApplyError> {
        self.current_id()?.map(|id| self.info(id)).transpose()
    }

    /// What there is in the store.
    ///
    /// # Errors
    /// As for [`current`](Self::current).
    pub fn status(&self) -> Result<Status, ApplyError> {
        let current = self.current()?;
        let releases = self.releases()?;
        let previous = current.as_ref().and_then(|current| current.previous);
        let previous = previous.filter(|previous| releases.contains(previous));
        let shown = [current.as_ref().map(|current| current.id), previous];
        Ok(Status {
            previous: previous.map(|id| self.info(id)).transpose()?,
            others: releases.into_iter().filter(|id| !shown.contains(&Some(*id))).collect(),
            staged: stage::find_resumable(&self.root)?,
            current,
        })
    }

    /// Reads every entry of the current release back from the disk and compares it with the release's tree. Watched and
    /// stopped by the options' control; the rest of them does not matter here.
    ///
    /// # Errors
    /// [`ApplyError::NotAStore`] where nothing is installed; [`ApplyError::StoreDamaged`] where the tree itself is damaged;
    /// [`ApplyError::Busy`] where the release is just being removed; [`ApplyError::Io`]; [`ApplyError::Interrupted`].
    /// What does not match is no error but told in the report.
    pub fn verify(&self, options: &Options<'_>) -> Result<VerifyReport, ApplyError> {
        let id = self.current_id()?.ok_or_else(|| self.nothing_installed())?;
        let _lease = self.lease(id)?;
        let release = self.load(id)?;
        let mismatches = release.mismatches(Reread::All, options)?;
        let totals = release.tree.totals();
        Ok(VerifyReport {
            release: id,
            ownership: release.record.ownership(),
            entries: totals.entries,
            content_bytes: totals.content_bytes,
            mismatches,
        })
    }

    pub(crate) fn nothing_installed(&self) -> ApplyError {
        ApplyError::NotAStore { path: self.path().into(), what: "no release is installed in it" }
    }

    pub(crate) fn lock(&self) -> Result<Lock, ApplyError> {
        Ok(self.root.lock(&layout::path(layout::LOCK), LockKind::Exclusive)?)
    }

    /// The release that `current` names, whether or not it is there.
    pub(crate) fn current_id(&self) -> Result<Option<ReleaseId>, ApplyError> {
        let link = layout::path(layout::CURRENT);
        let target = match self.root.read_link(&link) {
            Ok(target) => target,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(FsError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                return Err(self.damaged(&link, "it is not a symbolic link"));
            }
            Err(error) => return Err(error.into()),
        };
        match layout::parse_link(&target) {
            Some(id) => Ok(Some(id)),
            None => Err(self.damaged(&link, "it does not point to a release")),
        }
    }

    pub(crate) fn has(&self, id: ReleaseId) -> Result<bool, ApplyError> {
        Ok(self.root.entry_type(&layout::release(id))?.is_some())
    }

    /// Every release in the store.
    pub(crate) fn releases(&self) -> Result<Vec<ReleaseId>, ApplyError> {
        let names = self.root.list(&layout::path(layout::RELEASES))?;
        Ok(names.iter().filter_map(|name| layout::parse_name(name)).collect())
    }

    pub(crate) fn directory(&self, id: ReleaseId) -> Result<Root, ApplyError> {
        let path = layout::release(id);
        match self.root.descend(&path) {
            Err(error) if error.is_not_found() => Err(self.damaged(&path, "the release is not there")),
            other => Ok(other?),
        }
    }

    pub(crate) fn record(&self, id: ReleaseId) -> Result<Record, ApplyError> {
        Record::read(&self.directory(id)?)
    }

    /// A release with its tree, which is proved to be the one that the release is named after.
    pub(crate) fn load(&self, id: ReleaseId) -> Result<StoredRelease, ApplyError> {
        StoredRelease::load(id, self.directory(id)?)
    }

    pub(crate) fn damaged(&self, path: &EntryPath, what: &str) -> ApplyError {
        ApplyError::StoreDamaged { path: self.root.display(path), what: what.into() }
    }

    fn info(&self, id: ReleaseId) -> Result<ReleaseInfo, ApplyError> {
        let directory = self.directory(id)?;
        let record = Record::read(&directory)?;
        Ok(ReleaseInfo {
            id,
            previous: record.previous,
            origin: record.origin,
            written_at: record.written_at(),
            ownership: record.ownership(),
            trial: record.trial,
            starts_taken: trial::starts_taken(&directory)?.unwrap_or(u32::MAX),
            entries: record.entries,
            content_bytes: record.content_bytes,
        })
    }
}

/// The config of the release in this directory.
pub(crate) fn read_config(directory: &Root) -> Result<Option<Vec<u8>>, ApplyError> {
    read_small(directory, &layout::path(layout::CONFIG), MAX_CONFIG)
}

/// A release on the disk, and what it should be.
#[derive(Debug)]
pub(crate) struct StoredRelease {
    pub(crate) id: ReleaseId,
    pub(crate) directory: Root,
    pub(crate) tree: Tree,
    pub(crate) record: Record,
}

impl StoredRelease {
    pub(crate) fn load(id: ReleaseId, directory: Root) -> Result<Self, ApplyError> {
        let name = layout::path(layout::TREE);
        let damaged = |what: String| ApplyError::StoreDamaged { path: directory.display(&name), what };
        let file = match directory.open_file(&name) {
            Err(error) if error.is_not_found() => return Err(damaged("it is missing".into())),
            other => other?,
        };
        // What comes after a power cut, not what memory still has of it.
        file.drop_cache();
        let reader = BufReader::with_capacity(128 << 10, ContentReader::new(file));
        let tree = Tree::decode(reader, &Limits::default()).map_err(|error| match error {
            // Of a disk that fails nothing follows for what is on it.
            TreeError::Io { source, .. } => {
                ApplyError::Io { op: "reading", path: directory.display(&name), source }
            }
            other => damaged(other.to_string()),
        })?;
        let config = read_config(&directory)?;
        let found = ReleaseId::new(tree.digest(), config.as_deref().map(ConfigDigest::of));
        if found != id {
            return Err(damaged(format!("with {} it makes release {found}, not {id}", layout::CONFIG)));
        }
        let record = Record::read(&directory)?;
        Ok(Self { id, directory, tree, record })
    }

    pub(crate) fn rootfs(&self) -> Result<Root, ApplyError> {
        Ok(self.directory.descend(&layout::path(layout::ROOTFS))?)
    }

    /// The digest of its manifest.
    pub(crate) fn manifest(&self) -> Result<Option<skiff_format::Digest>, ApplyError> {
        let manifest = read_small(&self.directory, &layout::path(layout::MANIFEST), MAX_CONFIG)?;
        Ok(manifest.as_deref().map(skiff_format::Digest::of))
    }

    /// Reads it back from the disk.
    pub(crate) fn mismatches(
        &self,
        reread: Reread<'_>,
        options: &Options<'_>,
    ) -> Result<Vec<Mismatch>, ApplyError> {
        let bytes = match reread {
            Reread::All => self.tree.totals().content_bytes,
            Reread::Only(chosen) => self
                .tree
                .files()
                .filter(|(_, entry, _)| chosen(entry))
                .fold(0, |sum, (_, _, content)| content.size.saturating_add(sum)),
        };
        options.begin(Phase::Verifying, bytes);
        let verification = VerifyOptions::default()
            .with_ownership(self.record.ownership())
            .with_reread(reread)
            .with_control(Control { ..options.control });
        Ok(verify_tree(&self.rootfs()?, &self.tree, &verification)?)
    }

    /// Reads it back from the disk, and refuses it where anything is wrong.
    pub(crate) fn prove(&self, reread: Reread<'_>, options: &Options<'_>) -> Result<(), ApplyError> {
        let mismatches = self.mismatches(reread, options)?;
        if mismatches.is_empty() {
            return Ok(());
        }
        Err(ApplyError::VerificationFailed { release: self.id, mismatches })
    }
}
