//! A sink in memory that checks what a replay promises to every sink.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use skiff_replay::{
    Base, Checkpoint, Limits, Prelude, Replay, ReplayError, Replayed, SavedPrelude, Sink, Trust,
};
use skiff_tree::{ContentDigest, ReleaseId};

use super::release::Release;
use crate::Nowhere;

/// The error of a sink that has none.
pub(crate) type Refusal = ReplayError<Infallible>;

/// The new contents by number, and all that the sink knew at some of the checkpoints.
#[derive(Default, Clone)]
pub(crate) struct CheckedSink {
    sizes: Vec<u64>,
    pub(crate) contents: BTreeMap<u32, Vec<u8>>,
    finished: BTreeMap<u32, ContentDigest>,
    saved: Option<SavedPrelude>,
    checkpoints: Vec<(Checkpoint, BTreeMap<u32, Vec<u8>>)>,
}

impl Sink for CheckedSink {
    type Error = Infallible;
    type Content = Vec<u8>;

    fn begin(&mut self, prelude: &Prelude) -> Result<(), Infallible> {
        assert!(self.saved.is_none(), "a replay began twice");
        self.sizes = prelude.skeleton.new_contents().iter().map(|new| new.size).collect();
        self.saved = Some(SavedPrelude {
            header: prelude.header.clone(),
            config: prelude.config.clone(),
            manifest: prelude.manifest.clone(),
            tree_section: prelude.tree_section.clone(),
        });
        Ok(())
    }

    fn write(&mut self, number: u32, bytes: &[u8]) -> Result<(), Infallible> {
        assert!(!self.finished.contains_key(&number), "content {number} was written to after its end");
        let content = self.contents.entry(number).or_default();
        content.extend_from_slice(bytes);
        assert!(
            content.len() as u64 <= self.sizes[number as usize],
            "content {number} became longer than told"
        );
        Ok(())
    }

    fn finish(&mut self, number: u32, digest: ContentDigest) -> Result<(), Infallible> {
        let content = self.contents.entry(number).or_default();
        assert_eq!(
            content.len() as u64,
            self.sizes[number as usize],
            "content {number} is not as long as told"
        );
        assert_eq!(digest, ContentDigest::of(content));
        assert!(self.finished.insert(number, digest).is_none(), "content {number} was finished twice");
        Ok(())
    }

    fn open(&self, number: u32) -> Result<Vec<u8>, Infallible> {
        Ok(self.contents.get(&number).expect("because only what was written to is opened").clone())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Infallible> {
        if self.checkpoints.len() < 3 {
            self.checkpoints.push((checkpoint.clone(), self.contents.clone()));
        }
        Ok(())
    }
}

/// Replays a delta onto a base, and where that ends well goes on from some of its checkpoints, which must give the same.
pub(crate) fn replay(
    delta: &[u8],
    base: &Release,
    limits: &Limits,
) -> (CheckedSink, Result<Replayed, Refusal>) {
    let mut sink = CheckedSink::default();
    let replayed = skiff_replay::replay(delta, as_base(base), &mut sink, limits.clone());
    match &replayed {
        Ok(replayed) => {
            assert_eq!(sink.finished.len(), sink.sizes.len(), "a replay ended well without all contents");
            for (checkpoint, contents) in std::mem::take(&mut sink.checkpoints) {
                resume(delta, base, (&checkpoint, contents), (&sink, replayed));
            }
        }
        Err(error @ (ReplayError::BaseDamaged { .. } | ReplayError::Base { .. } | ReplayError::Sink(_))) => {
            panic!("neither base nor sink is at fault: {error}")
        }
        Err(_) => {}
    }
    (sink, replayed)
}

fn resume(
    delta: &[u8],
    base: &Release,
    (checkpoint, contents): (&Checkpoint, BTreeMap<u32, Vec<u8>>),
    (whole, replayed): (&CheckedSink, &Replayed),
) {
    let saved = whole.saved.clone().expect("because a replay that ended has begun");
    let frames = saved.header.frames();
    let offset = frames.get(checkpoint.next_frame as usize).map_or(delta.len() as u64, |frame| frame.offset);
    let rest = &delta[usize::try_from(offset).expect("because the delta is in memory")..];
    let finished = |number: &u32| checkpoint.finished[*number as usize];
    let mut sink = CheckedSink {
        sizes: whole.sizes.clone(),
        finished: whole
            .finished
            .iter()
            .filter(|(number, _)| finished(number))
            .map(|(&n, &d)| (n, d))
            .collect(),
        saved: Some(saved.clone()),
        contents,
        checkpoints: Vec::new(),
    };
    let (header, next) = (saved.header.clone(), checkpoint.next_frame as usize);
    let again = (|| {
        let mut reader = skiff_format::Reader::resume(rest, header, next, skiff_format::Limits::default())?;
        let mut replay = Replay::resume(as_base(base), saved, checkpoint, &sink, Limits::default())?;
        while let Some(event) = reader.next_event()? {
            replay.event(event, &mut sink)?;
        }
        replay.finish(&mut sink)
    })();
    let again: Result<Replayed, Refusal> = again;
    let again = again.expect("because going on from a checkpoint ends as the whole did");
    assert_eq!(again.tree, replayed.tree);
    assert_eq!(sink.contents, whole.contents, "going on from a checkpoint wrote something else");
}

pub(crate) fn as_base(release: &Release) -> Base<'_> {
    let Release { tree, contents, .. } = release;
    let id = ReleaseId::new(tree.digest(), release.config_digest());
    Base { release: id, tree, contents, trust: Trust::Checked }
}

/// Replays a delta onto a base, and keeps nothing.
pub(crate) fn replay_to_nowhere(
    delta: &[u8],
    base: &Release,
    limits: Limits,
) -> Result<(), ReplayError<io::Error>> {
    skiff_replay::replay(delta, as_base(base), &mut Nowhere, limits).map(drop)
}
