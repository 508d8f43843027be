use std::io::Read;
use std::sync::Arc;

use skiff_format::{Digest, Event, Header, Reader, Section};
use skiff_tree::{ConfigDigest, ReleaseId, Skeleton, Tree, TreeDigest};

use crate::base::Base;
use crate::codecs::Codecs;
use crate::contents::Contents;
use crate::{Checkpoint, Prelude, ReplayError, Sink, ahead};

/// What a delta may cost. Each limit stops a delta that asks for more before it gets it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Of the container: sizes of header, frames and dictionaries.
    pub format: skiff_format::Limits,
    /// Of the codecs: sizes of controls and of what they hold in memory.
    pub patch: skiff_patch::Limits,
    /// Of the trees: entries and bytes.
    pub tree: skiff_tree::Limits,
    /// Of the sections before the contents, in bytes each.
    pub sections: SectionLimit,
}

/// How long a config, a manifest or a tree section may be: 64 MiB unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionLimit(pub u64);

impl Default for SectionLimit {
    fn default() -> Self {
        Self(64 << 20)
    }
}

/// What came out of a delta.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The release that the result is: equal to what the delta's header names, and computed from what was written.
    pub release: ReleaseId,
    /// The digest of its tree.
    pub tree_digest: TreeDigest,
    /// Its tree.
    pub tree: Tree,
    /// Its config.
    pub config: Option<Vec<u8>>,
    /// Its manifest.
    pub manifest: Option<Vec<u8>>,
}

/// Reads a delta to its end and replays it.
///
/// # Errors
/// Any of [`ReplayError`]; what the sink got by then is of no use.
pub fn replay<S: Sink>(
    delta: impl Read,
    base: Base<'_>,
    sink: &mut S,
    limits: Limits,
) -> Result<Replayed, ReplayError<S::Error>> {
    let mut reader = Reader::new(delta, limits.format);
    let mut replay = Replay::new(base, limits);
    while let Some(event) = reader.next_event()? {
        replay.event(event, sink)?;
    }
    replay.finish(sink)
}

/// A replay that is fed the events of a [`skiff_format::Decoder`] or [`Reader`], and does no I/O but through the sink
/// and the base's contents. Where there is more than one processor, a second thread decodes the records of a frame: it reads the base's
/// contents and what the sink [opens](Sink::open), while this thread calls the sink.
pub struct Replay<'a> {
    base: Base<'a>,
    limits: Limits,
    state: State,
}

enum State {
    /// Waiting for the header.
    Fresh,
    /// Collecting what stands before the contents.
    Prelude(Box<Pending>),
    /// Among the contents.
    Contents(Box<Contents>),
}

struct Pending {
    header: Header,
    codecs: Codecs,
    config: Vec<u8>,
    manifest: Vec<u8>,
    tree_section: Vec<u8>,
}

impl<'a> Replay<'a> {
    /// A replay from the start of a delta.
    #[must_use]
    pub fn new(base: Base<'a>, limits: Limits) -> Self {
        Self { base, limits, state: State::Fresh }
    }

    /// A replay that goes on from a checkpoint: feed it the events from frame
    /// [`next_frame`](Checkpoint::next_frame) on. What the sink has of the contents is read and hashed again.
    ///
    /// # Errors
    /// [`ReplayError::Checkpoint`] where the checkpoint is for another delta or the sink has less than it says, and
    /// whatever the sink or the base's files end in.
    pub fn resume<S: Sink>(
        base: Base<'a>,
        saved: SavedPrelude,
        checkpoint: &Checkpoint,
        sink: &S,
        limits: Limits,
    ) -> Result<Self, ReplayError<S::Error>> {
        if saved.header.digest().as_bytes() != &checkpoint.delta {
            return Err(ReplayError::Checkpoint { what: "it is for another delta" });
        }
        let pending = Pending {
            codecs: Codecs::required(&saved.header)?,
            header: saved.header,
            config: saved.config.unwrap_or_default(),
            manifest: saved.manifest.unwrap_or_default(),
            tree_section: saved.tree_section,
        };
        let mut replay = Self::new(base, limits);
        check_header(&replay.base, &pending.header)?;
        let mut contents = replay.prelude(pending)?;
        contents.restore(checkpoint, sink)?;
        replay.state = State::Contents(Box::new(contents));
        Ok(replay)
    }

    /// Takes the next event of the delta.
    ///
    /// # Errors
    /// Any of [`ReplayError`]; the replay is of no use afterwards.
    pub fn event<S: Sink>(&mut self, event: Event, sink: &mut S) -> Result<(), ReplayError<S::Error>> {
        match event {
            Event::Header(header) => {
                check_header(&self.base, &header)?;
                self.state = State::Prelude(Box::new(Pending {
                    codecs: Codecs::required(&header)?,
                    header: *header,
                    config: Vec::new(),
                    manifest: Vec::new(),
                    tree_section: Vec::new(),
                }));
                Ok(())
            }
            Event::Frame(frame) if frame.section == Section::Contents => {
                self.begin(sink)?;
                self.contents_frame(frame.index, &frame.payload, sink)
            }
            Event::Frame(frame) => {
                let State::Prelude(pending) = &mut self.state else {
                    return Err(out_of_place(frame.offset));
                };
                let section = match frame.section {
                    Section::Config => &mut pending.config,
                    Section::Manifest => &mut pending.manifest,
                    Section::Tree => &mut pending.tree_section,
                    _ => return Err(out_of_place(frame.offset)),
                };
                let wanted = (section.len() + frame.payload.len()) as u64;
                let limit = self.limits.sections.0;
                if wanted > limit {
                    return Err(ReplayError::LimitExceeded { what: "bytes in one section", wanted, limit });
                }
                section.extend_from_slice(&frame.payload);
                Ok(())
            }
            // A section that a later addition brings and that this one leaves out: it need not come again.
            Event::Skipped { index } => match &self.state {
                State::Contents(contents) => {
                    sink.checkpoint(&contents.checkpoint(index)).map_err(ReplayError::Sink)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Ends the replay after the delta's last event: proves the result.
    ///
    /// # Errors
    /// [`ReplayError::Corrupt`] where contents are missing, [`ReplayError::WrongResult`] where the result is not what
    /// the header names.
    pub fn finish<S: Sink>(mut self, sink: &mut S) -> Result<Replayed, ReplayError<S::Error>> {
        self.begin(sink)?;
        let State::Contents(contents) = self.state else { return Err(out_of_place(0)) };
        let Contents { prelude, written, .. } = *contents;
        let offset = prelude.header.delta_size();
        let digests: Option<Vec<_>> = written.digests.into_iter().collect();
        let digests = digests.ok_or_else(|| ReplayError::Corrupt {
            offset,
            what: "it ends before all contents are whole".into(),
        })?;
        let tree = prelude.skeleton.complete(&digests).map_err(ReplayError::Tree)?;
        let tree_digest = tree.digest();
        let release = ReleaseId::new(tree_digest, prelude.config.as_deref().map(ConfigDigest::of));
        let expected = ReleaseId::from_bytes(*prelude.header.target().release.as_bytes());
        // The tree's digest is proved with it: the header was seen to name the release after its tree and config.
        if release != expected {
            return Err(ReplayError::WrongResult { expected, found: release });
        }
        Ok(Replayed { release, tree_digest, tree, config: prelude.config, manifest: prelude.manifest })
    }

    /// Passes from what stands before the contents to the contents.
    fn begin<S: Sink>(&mut self, sink: &mut S) -> Result<(), ReplayError<S::Error>> {
        let pending = match std::mem::replace(&mut self.state, State::Fresh) {
            State::Fresh => return Err(out_of_place(0)),
            State::Contents(contents) => {
                self.state = State::Contents(contents);
                return Ok(());
            }
            State::Prelude(pending) => *pending,
        };
        let mut contents = self.prelude(pending)?;
        sink.begin(&contents.prelude).map_err(ReplayError::Sink)?;
        contents.finish_empty(sink)?;
        self.state = State::Contents(Box::new(contents));
        Ok(())
    }

    /// Checks what stands before the contents against the header and the base.
    fn prelude<E: std::error::Error + 'static>(&self, pending: Pending) -> Result<Contents, ReplayError<E>> {
        let Pending { header, codecs, config, manifest, tree_section } = pending;
        let target = header.target();
        let check = |named: Option<Digest>, bytes: Vec<u8>, section: Section| match named {
            None => Ok(None),
            Some(digest) if digest == Digest::of(&bytes) => Ok(Some(bytes)),
            Some(_) => {
                let what = format!("the {section:?} is not the one that the header names").to_lowercase();
                Err(ReplayError::Corrupt { offset: begin_of(&header, section), what })
            }
        };
        let config = check(target.config, config, Section::Config)?;
        let manifest = check(target.manifest, manifest, Section::Manifest)?;
        let skeleton =
            Skeleton::decode(self.base.tree, &tree_section, &self.limits.tree).map_err(ReplayError::Tree)?;
        let new_bytes = skeleton.new_contents().iter().try_fold(0_u64, |sum, new| sum.checked_add(new.size));
        if new_bytes != Some(header.facts().new_bytes) {
            let what = "the new contents are not as many bytes as the header says".into();
            return Err(ReplayError::Corrupt { offset: begin_of(&header, Section::Tree), what });
        }
        let prelude = Prelude { header, config, manifest, tree_section, skeleton: Arc::new(skeleton) };
        Ok(Contents::new(self.base.tree, prelude, codecs))
    }

    fn contents_frame<S: Sink>(
        &mut self,
        index: usize,
        payload: &[u8],
        sink: &mut S,
    ) -> Result<(), ReplayError<S::Error>> {
        let Self { base, limits, state } = self;
        let State::Contents(contents) = state else { return Err(out_of_place(0)) };
        let offset = contents.prelude.header.frames().get(index).map_or(0, |frame| frame.offset);
        ahead::follow(contents, (base, limits), (payload, offset), sink)?;
        let checkpoint = contents.checkpoint(index);
        sink.checkpoint(&checkpoint).map_err(ReplayError::Sink)
    }
}

/// What a sink kept of a [`Prelude`] to go on with later.
#[derive(Debug, Clone)]
pub struct SavedPrelude {
    /// The delta's header.
    pub header: Header,
    /// The target's config.
    pub config: Option<Vec<u8>>,
    /// The target's manifest.
    pub manifest: Option<Vec<u8>>,
    /// The payload of the tree section.
    pub tree_section: Vec<u8>,
}

/// Everything in a header that can be known to be wrong before anything else is read.
fn check_header<E: std::error::Error>(base: &Base<'_>, header: &Header) -> Result<(), ReplayError<E>> {
    let target = header.target();
    let tree = TreeDigest::from_bytes(*target.tree.as_bytes());
    let config = target.config.map(|digest| ConfigDigest::from_bytes(*digest.as_bytes()));
    if ReleaseId::new(tree, config).as_bytes() != target.release.as_bytes() {
        let what = "its target is not named after its tree and config".into();
        return Err(ReplayError::Corrupt { offset: 0, what });
    }
    let listed = header.bases().iter().find(|listed| listed.release.as_bytes() == base.release.as_bytes());
    if let Some(listed) = listed {
        if listed.tree.as_bytes() == base.tree.digest().as_bytes() {
            return Ok(());
        }
        let what = "it names another tree of its base than that release has".into();
        return Err(ReplayError::Corrupt { offset: 0, what });
    }
    let expected = header.bases().first().map_or([0; 32], |listed| *listed.release.as_bytes());
    Err(ReplayError::WrongBase { expected: ReleaseId::from_bytes(expected), found: base.release })
}

/// Where a section begins; the header, where there is none.
fn begin_of(header: &Header, section: Section) -> u64 {
    header.frames().iter().find(|frame| frame.section == section).map_or(0, |frame| frame.offset)
}

fn out_of_place<E: std::error::Error>(offset: u64) -> ReplayError<E> {
    ReplayError::Corrupt { offset, what: "a section out of its place".into() }
}
