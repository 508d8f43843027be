//! `staging/ID`: what is to become a release, and what it takes to go on with it after a cut.

use std::io::{BufWriter, Write as _};

use skiff_format::Header;
use skiff_fs::{Control, Lock, LockKind, Root};
use skiff_replay::{Checkpoint, Prelude, SavedPrelude};
use skiff_tree::{EntryPath, ReleaseId, Tree};

use crate::record::read_small;
use crate::{ApplyError, Staged, layout};

/// More than any header, tree section, config, manifest or checkpoint that the default limits let pass.
const MAX_SAVED: u64 = 64 << 20;
const TREE_BUFFER: usize = 128 << 10;

/// A release under way.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) id: ReleaseId,
    /// `staging/ID`.
    pub(crate) directory: Root,
    /// What becomes `releases/ID`.
    pub(crate) release: Root,
    pub(crate) rootfs: Root,
}

/// What a cut left of an update, as far as it can be gone on with.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) prelude: SavedPrelude,
    pub(crate) checkpoint: Checkpoint,
}

impl Stage {
    /// An empty stage, in the place of anything that was staged before.
    pub(crate) fn create(store: &Root, id: ReleaseId, control: &Control<'_>) -> Result<Self, ApplyError> {
        clear(store, None, control)?;
        let path = layout::staging(id);
        let release = path.join(layout::RELEASE.as_bytes());
        let release = release.expect("because the store's own names are short and plain");
        let rootfs = release.join(layout::ROOTFS.as_bytes());
        let rootfs = rootfs.expect("because the store's own names are short and plain");
        for directory in [&path, &release, &rootfs] {
            store.make_directory(directory)?;
        }
        Self::open(store, id)
    }

    /// A stage that is there.
    pub(crate) fn open(store: &Root, id: ReleaseId) -> Result<Self, ApplyError> {
        let directory = store.descend(&layout::staging(id))?;
        let release = directory.descend(&layout::path(layout::RELEASE))?;
        let rootfs = release.descend(&layout::path(layout::ROOTFS))?;
        Ok(Self { id, directory, release, rootfs })
    }

    /// Keeps everything that stands before the contents of a delta.
    pub(crate) fn save(&self, prelude: &Prelude) -> Result<(), ApplyError> {
        write(&self.directory, layout::DELTA_HEADER, prelude.header.bytes())?;
        write(&self.directory, layout::TREE_SECTION, &prelude.tree_section)?;
        self.write_image(prelude.config.as_deref(), prelude.manifest.as_deref())
    }

    /// Writes the image's own descriptions.
    pub(crate) fn write_image(
        &self,
        config: Option<&[u8]>,
        manifest: Option<&[u8]>,
    ) -> Result<(), ApplyError> {
        for (name, bytes) in [(layout::CONFIG, config), (layout::MANIFEST, manifest)] {
            if let Some(bytes) = bytes {
                write(&self.release, name, bytes)?;
            }
        }
        Ok(())
    }

    pub(crate) fn write_tree(&self, tree: &Tree) -> Result<(), ApplyError> {
        let name = layout::path(layout::TREE);
        self.release.remove(&name, &Control::default())?;
        let file = self.release.create_file(&name)?;
        let mut out = BufWriter::with_capacity(TREE_BUFFER, file);
        let failed =
            |source| skiff_fs::FsError::Io { op: "writing", path: self.release.display(&name), source };
        match tree.encode(&mut out) {
            Ok(()) => Ok(out.flush().map_err(failed)?),
            Err(skiff_tree::TreeError::Io { source, .. }) => Err(failed(source).into()),
            Err(other) => Err(skiff_fs::FsError::from(other).into()),
        }
    }

    /// Notes how far it is. What was written before has to be on the disk.
    pub(crate) fn record(&self, checkpoint: &Checkpoint) -> Result<(), ApplyError> {
        Ok(self.directory.replace_file(&layout::path(layout::CHECKPOINT), &checkpoint.to_bytes())?)
    }
}

/// Writes a file in the place of one that a cut may have left.
pub(crate) fn write(directory: &Root, name: &str, bytes: &[u8]) -> Result<(), ApplyError> {
    let name = layout::path(name);
    directory.remove(&name, &Control::default())?;
    Ok(directory.create_file(&name)?.write_all_at(bytes, 0)?)
}

impl Saved {
    /// What was kept of an update to this release; none where that is not everything, or does not fit together.
    pub(crate) fn load(store: &Root, id: ReleaseId) -> Option<Self> {
        let directory = store.descend(&layout::staging(id)).ok()?;
        let release = directory.descend(&layout::path(layout::RELEASE)).ok()?;
        let read = |root: &Root, name| read_small(root, &layout::path(name), MAX_SAVED).ok();
        let checkpoint = Checkpoint::from_bytes(&read(&directory, layout::CHECKPOINT)??)?;
        let header = Header::parse(&read(&directory, layout::DELTA_HEADER)??).ok()?;
        let tree_section = read(&directory, layout::TREE_SECTION)??;
        let [config, manifest] = [layout::CONFIG, layout::MANIFEST].map(|name| read(&release, name));
        let (config, manifest) = (config?, manifest?);
        let fits = checkpoint.delta == *header.digest().as_bytes()
            && header.target().release.as_bytes() == id.as_bytes()
            && usize::try_from(checkpoint.next_frame).is_ok_and(|next| next <= header.frames().len());
        fits.then_some(Self { prelude: SavedPrelude { header, config, manifest, tree_section }, checkpoint })
    }

    pub(crate) fn next_frame(&self) -> usize {
        usize::try_from(self.checkpoint.next_frame).unwrap_or(usize::MAX)
    }

    /// Where in the delta it goes on.
    pub(crate) fn offset(&self) -> u64 {
        let header = &self.prelude.header;
        header.frames().get(self.next_frame()).map_or(header.delta_size(), |frame| frame.offset)
    }
}

/// What can be gone on with.
pub(crate) fn find_resumable(store: &Root) -> Result<Option<Staged>, ApplyError> {
    for name in names(store)? {
        let Some(id) = layout::parse_name(&name) else { continue };
        if let Some(saved) = Saved::load(store, id) {
            let header = &saved.prelude.header;
            return Ok(Some(Staged {
                release: id,
                delta: *header.digest(),
                header_bytes: header.bytes().len() as u64,
                resume_offset: saved.offset(),
                delta_bytes: header.delta_size(),
            }));
        }
    }
    Ok(None)
}

/// Removes everything that is staged, but for one release; tells what.
///
/// A damaged release that a whole one took the place of lies there too: while somebody runs it, it is left alone, and the
/// answer is [`ApplyError::Busy`].
pub(crate) fn clear(
    store: &Root,
    keep: Option<ReleaseId>,
    control: &Control<'_>,
) -> Result<Vec<EntryPath>, ApplyError> {
    let staging = layout::path(layout::STAGING);
    let (mut removed, mut busy) = (Vec::new(), None);
    for name in names(store)? {
        if keep.is_some() && layout::parse_name(&name) == keep {
            continue;
        }
        let path = staging.join(&name).map_err(skiff_fs::FsError::from)?;
        match lock_replaced(store, &path) {
            Ok(_lock) => store.remove(&path, control)?,
            Err(error @ ApplyError::Busy { .. }) => {
                busy = Some(error);
                continue;
            }
            Err(other) => return Err(other),
        };
        removed.push(path);
    }
    busy.map_or(Ok(removed), Err)
}

/// Makes sure that nobody holds a lease on what lies in a directory of the staging.
fn lock_replaced(store: &Root, staged: &EntryPath) -> Result<Option<Lock>, ApplyError> {
    let below = [layout::RELEASE, layout::LEASE]
        .iter()
        .try_fold(staged.clone(), |path, name| path.join(name.as_bytes()));
    let lease = below.map_err(skiff_fs::FsError::from)?;
    match store.entry_type(&lease) {
        Ok(Some(_)) => Ok(Some(store.lock(&lease, LockKind::Exclusive)?)),
        // Nothing, or something that is no release.
        _ => Ok(None),
    }
}

fn names(store: &Root) -> Result<Vec<Box<[u8]>>, ApplyError> {
    match store.list(&layout::path(layout::STAGING)) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        other => Ok(other?),
    }
}
