//! What a replay writes into: a stage.

use std::sync::Arc;

use skiff_format::{Header, Section};
use skiff_fs::{
    Control, OpenFile, Root, ShareMode, ShareOptions, Shared, SyncStrategy, Syncer, Syncing, WritableFile,
};
use skiff_replay::{Checkpoint, Prelude, Sink};
use skiff_tree::{ContentDigest, ReleaseId, Skeleton};

use crate::complete::{Completion, weight};
use crate::plan::{FileOrigin, Need, Plan, Shareable, index, metadata_tree};
use crate::stage::{Saved, Stage, write};
use crate::store::StoredRelease;
use crate::{ApplyError, Options, Phase, layout};

/// Writes new contents to where they will stay, and notes how far it is.
pub(crate) struct StageSink<'a> {
    site: Site<'a>,
    /// None until everything before the contents was read and there is room.
    stage: Option<Stage>,
    plan: Plan,
    completion: Completion<'a>,
    /// What of completing goes on beside writing; none where nothing does.
    beside: Option<Beside>,
    open: Option<OpenContent>,
    strategy: SyncStrategy,
    /// Bytes written since the last checkpoint that was recorded.
    unrecorded: u64,
    /// Files that were finished since, where each has to be synced by itself.
    unsynced: Vec<u32>,
    /// The newest checkpoint, where it is not recorded yet.
    newest: Option<Checkpoint>,
    /// The one before, while what it speaks of is brought to the disk.
    syncing: Option<(Syncing, Checkpoint)>,
    syncer: Syncer,
}

/// What a stage is made in and from.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) store: &'a Root,
    pub(crate) id: ReleaseId,
    pub(crate) base: &'a StoredRelease,
    pub(crate) options: &'a Options<'a>,
}

impl<'a> Site<'a> {
    pub(crate) fn shareable(&self) -> Shareable<'a> {
        let ownerships = (self.base.record.ownership(), self.options.ownership);
        Shareable::new(&self.base.tree, ownerships, self.options.links)
    }
}

/// Completing beside writing: while new contents are decoded, this thread waits most of the time.
///
/// It begins when little of the contents is still to come. Until all is here the delta may be cut off, and whatever is made that is no
/// new content has to be made again then: on a bad line a device would write its image many times.
struct Beside {
    skeleton: Arc<Skeleton>,
    /// The first frame of contents behind which little is to come.
    from_frame: usize,
    /// What all files of the base count for.
    weight: u64,
    /// Bytes that are to be written in all, that were written, and that were when it began, once it has.
    new_bytes: u64,
    written: u64,
    begun: Option<u64>,
}

/// So many bytes of a delta are fetched in a second or two, on most lines.
const LITTLE: u64 = 256 << 10;

impl Beside {
    fn new(skeleton: &Arc<Skeleton>, header: &Header, new_bytes: u64) -> Option<Self> {
        let contents =
            header.frames().iter().enumerate().filter(|(_, frame)| frame.section == Section::Contents);
        let (first, _) = contents.clone().next()?;
        let mut to_come = 0;
        let little = contents.rev().take_while(|(_, frame)| {
            let is_little = to_come <= LITTLE;
            to_come += frame.encoded_size;
            is_little
        });
        let (begin, _) = little.last()?;
        Some(Self {
            weight: skeleton.entries().iter().map(weight).fold(0, u64::saturating_add),
            skeleton: Arc::clone(skeleton),
            from_frame: begin,
            new_bytes,
            written: 0,
            begun: (first == begin).then_some(0),
        })
    }

    /// How far completing should be: twice as far as writing is, since it began, so that it is over before what is compressed again, such
    /// as gzip files, which this thread does. It depends on nothing but the delta, so that the calls to
    /// the disk are always the same ones in the same order.
    fn due(&self) -> Option<u64> {
        let begun = self.begun?;
        let (done, all) = (self.written - begun, (self.new_bytes - begun).max(1));
        let due = u128::from(self.weight) * 2 * u128::from(done) / u128::from(all);
        Some(u64::try_from(due).unwrap_or(u64::MAX))
    }
}

struct OpenContent {
    number: u32,
    file: WritableFile,
    written: u64,
}

impl<'a> StageSink<'a> {
    /// A sink that makes its stage when the replay begins.
    ///
    /// # Errors
    /// Where the base cannot be opened.
    pub(crate) fn new(site: Site<'a>) -> Result<Self, ApplyError> {
        Ok(Self {
            site,
            stage: None,
            plan: Plan::default(),
            completion: Completion::new(site)?,
            beside: None,
            open: None,
            strategy: SyncStrategy::for_this_kernel(),
            unrecorded: 0,
            unsynced: Vec::new(),
            newest: None,
            syncing: None,
            syncer: Syncer::start(),
        })
    }

    /// A sink that goes on with the stage that is there, from which everything is removed that came after its checkpoint.
    pub(crate) fn resume(site: Site<'a>, saved: &Saved) -> Result<Self, ApplyError> {
        let limits = &site.options.limits.tree;
        let skeleton = Skeleton::decode(&site.base.tree, &saved.prelude.tree_section, limits)
            .map_err(|error| ApplyError::Corrupt { offset: 0, what: error.to_string() })?;
        let mut sink = Self::new(site)?;
        sink.plan = Plan::new(&skeleton);
        let written = written_by(&saved.checkpoint, &sink.plan);
        let need = Need::of(&sink.plan, skeleton.entries(), &site.shareable());
        sink.stage = Some(Stage::open(site.store, site.id)?);
        sink.remove_later(&skeleton, &saved.checkpoint)?;
        // Now, because what was removed has made room.
        sink.check_room(need.less(written.iter().copied()))?;
        site.options.begin(Phase::Writing, sink.plan.new_bytes());
        site.options.control.advance(written.iter().sum());
        Ok(sink)
    }

    /// The stage with every content in it, where each came from, and what is to be done still.
    pub(crate) fn into_stage(mut self) -> Result<(Stage, Plan, Completion<'a>), ApplyError> {
        self.record_synced()?;
        let stage = self.stage.expect("because a replay that ended well has begun");
        Ok((stage, self.plan, self.completion))
    }

    /// Goes on with completing, as far as that is due.
    fn complete_beside(&mut self) -> Result<(), ApplyError> {
        if let (Some(beside), Some(stage)) = (&self.beside, &self.stage)
            && let Some(due) = beside.due()
        {
            self.completion.advance((stage, &self.plan), beside.skeleton.entries(), due)?;
        }
        Ok(())
    }

    /// Notes the newest point to go on from, where an update ends early. Whether it succeeds makes no difference to
    /// anything but how much is read again.
    pub(crate) fn record_newest(&mut self) -> Result<(), ApplyError> {
        self.record_synced()?;
        self.sync_newest()?;
        self.record_synced()
    }

    /// Begins to bring to the disk what the newest checkpoint speaks of. While the next frame is decoded the disk has little else to do.
    fn sync_newest(&mut self) -> Result<(), ApplyError> {
        let Some(newest) = self.newest.take() else { return Ok(()) };
        if self.strategy == SyncStrategy::EachFile {
            self.sync_files()?;
        }
        let begun = self.stage().directory.begin_sync_file_system(&self.syncer);
        self.syncing = Some((begun.map_err(ApplyError::from_sync)?, newest));
        self.unrecorded = 0;
        Ok(())
    }

    /// Waits for what was begun, and records the checkpoint. When this is called depends on nothing but the delta, so that the calls to
    /// the disk are always the same ones in the same order.
    fn record_synced(&mut self) -> Result<(), ApplyError> {
        let Some((syncing, checkpoint)) = self.syncing.take() else { return Ok(()) };
        syncing.wait().map_err(ApplyError::from_sync)?;
        self.stage().record(&checkpoint)
    }

    fn stage(&self) -> &Stage {
        self.stage.as_ref().expect("because a replay begins before it does anything else")
    }

    fn check_room(&self, need: Need) -> Result<(), ApplyError> {
        let store = self.site.store;
        need.check(store.free_space()?, || shares_blocks(store))
    }

    fn make_directories(&self, skeleton: &Skeleton) -> Result<(), ApplyError> {
        let rootfs = &self.stage().rootfs;
        for entry in skeleton.entries().iter().filter(|entry| entry.is_directory() && !entry.path.is_root()) {
            self.site.options.control.check()?;
            rootfs.make_directory(&entry.path)?;
        }
        Ok(())
    }

    fn create(&self, number: u32) -> Result<WritableFile, ApplyError> {
        Ok(self.stage().rootfs.create_file(&self.plan.new[index(number)].path)?)
    }

    /// Brings files to the disk each by itself.
    fn sync_files(&mut self) -> Result<(), ApplyError> {
        for number in &self.unsynced {
            let path = &self.plan.new[index(*number)].path;
            self.stage().rootfs.sync_file(path).map_err(ApplyError::from_sync)?;
        }
        self.unsynced.clear();
        self.open.as_ref().map_or(Ok(()), |open| open.file.sync().map_err(ApplyError::from_sync))
    }

    /// Removes what was made after a checkpoint: contents that are not finished by then, and everything that is made
    /// after all contents.
    fn remove_later(&mut self, skeleton: &Skeleton, checkpoint: &Checkpoint) -> Result<(), ApplyError> {
        let finished = |number: u32| checkpoint.finished.get(index(number)) == Some(&true);
        let rootfs = &self.stage().rootfs;
        let control = &self.site.options.control;
        let mut open = None;
        for (entry, origin) in skeleton.entries().iter().zip(&self.plan.origins) {
            control.check()?;
            match *origin {
                _ if entry.is_directory() => continue,
                Some(FileOrigin::First(number)) if finished(number) => {
                    // Of a content without bytes nothing is read again: it must not be missed only later.
                    if self.plan.new[index(number)].size == 0 {
                        rootfs.remove(&entry.path, control)?;
                        rootfs.create_file(&entry.path)?;
                    }
                    continue;
                }
                Some(FileOrigin::First(number)) => {
                    if let Some((_, written)) = checkpoint.open.filter(|open| open.0 == number && open.1 > 0)
                    {
                        let mut file = rootfs.reopen_file(&entry.path)?;
                        file.set_length(written)?;
                        file.seek_to(written);
                        open = Some(OpenContent { number, file, written });
                        continue;
                    }
                }
                _ => {}
            }
            rootfs.remove(&entry.path, control)?;
        }
        self.open = open;
        Ok(())
    }
}

impl Sink for StageSink<'_> {
    type Error = ApplyError;
    type Content = OpenFile;

    fn begin(&mut self, prelude: &Prelude) -> Result<(), ApplyError> {
        let Site { store, id, options, .. } = self.site;
        let skeleton = &prelude.skeleton;
        self.plan = Plan::new(skeleton);
        self.check_room(Need::of(&self.plan, skeleton.entries(), &self.site.shareable()))?;
        let metadata = metadata_tree(skeleton).map_err(skiff_fs::FsError::from)?;
        let stage = Stage::create(store, id, &options.control)?;
        stage.directory.probe(&layout::path("probe"), &metadata, options.ownership)?;
        drop(metadata);
        stage.save(prelude)?;
        self.stage = Some(stage);
        self.make_directories(skeleton)?;
        self.beside = Beside::new(skeleton, &prelude.header, self.plan.new_bytes());
        options.begin(Phase::Writing, self.plan.new_bytes());
        Ok(())
    }

    fn write(&mut self, number: u32, bytes: &[u8]) -> Result<(), ApplyError> {
        self.site.options.control.check()?;
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.open = Some(OpenContent { number, file: self.create(number)?, written: 0 });
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.file.write_all_at(bytes, open.written)?;
        let count = bytes.len() as u64;
        open.written = open.written.saturating_add(count);
        self.unrecorded = self.unrecorded.saturating_add(count);
        self.site.options.control.advance(count);
        if let Some(beside) = &mut self.beside {
            beside.written = beside.written.saturating_add(count);
        }
        self.complete_beside()
    }

    fn finish(&mut self, number: u32, _digest: ContentDigest) -> Result<(), ApplyError> {
        self.site.options.control.check()?;
        match self.open.take().filter(|open| open.number == number) {
            Some(open) => open.file.start_writing(open.written),
            // A content without bytes was never written to.
            None => drop(self.create(number)?),
        }
        if self.strategy == SyncStrategy::EachFile {
            self.unsynced.push(number);
        }
        Ok(())
    }

    fn open(&self, number: u32) -> Result<OpenFile, ApplyError> {
        // Going on from a checkpoint opens every file to hash it again, which takes minutes on a slow device.
        self.site.options.control.check()?;
        let new = self.plan.new.get(index(number));
        let path = &new.expect("because a replay opens what the skeleton has").path;
        Ok(self.stage().rootfs.open_file(path)?)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), ApplyError> {
        self.record_synced()?;
        self.newest = Some(checkpoint.clone());
        if let Some(beside) = &mut self.beside
            && index(checkpoint.next_frame) == beside.from_frame
        {
            beside.begun = Some(beside.written);
        }
        if self.unrecorded >= self.site.options.checkpoint_bytes {
            self.sync_newest()?;
        }
        Ok(())
    }
}

/// Bytes that a checkpoint says are written, file by file.
fn written_by(checkpoint: &Checkpoint, plan: &Plan) -> Vec<u64> {
    let sizes = plan.new.iter().zip(&checkpoint.finished);
    let finished = sizes.filter(|(_, finished)| **finished).map(|(new, _)| new.size);
    finished.chain(checkpoint.open.map(|(_, written)| written)).collect()
}

/// Whether the store's file system shares blocks between files, found out on a file of its own.
fn shares_blocks(store: &Root) -> Result<bool, ApplyError> {
    let [from, to] = ["probe", "probe.copy"].map(|name| format!("{}/{name}", layout::STAGING));
    write(store, &from, &[0x5a; 4096])?;
    let (from, to) = (layout::path(&from), layout::path(&to));
    store.remove(&to, &Control::default())?;
    let shared = store.share_file((store, &from), &to, &ShareOptions::new(ShareMode::Reflink));
    store.remove(&to, &Control::default())?;
    store.remove(&from, &Control::default())?;
    Ok(shared? == Shared::Reflinked)
}
