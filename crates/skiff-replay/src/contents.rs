//! From records to contents: the state between the first frame of contents and the end.
//!
//! It has two halves. One follows the records and decodes them; the other writes what comes out, hashes it and finishes it. They
//! speak through an [`Outlet`] alone, so that they may be two threads: see [`ahead`](crate::ahead).

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};
use skiff_patch::{Job, Rest, Source};
use skiff_tree::{ContentDigest, NewContent, ReadAt, Skeleton, Tree};

use crate::base::{Base, hash_into, open_base};
use crate::codecs::Codecs;
use crate::record::{Extent, Known, Origin, Record};
use crate::replay::Limits;
use crate::source::VirtualSource;
use crate::{Checkpoint, Prelude, ReplayError, Sink};

/// What a replay knows while it is among the contents.
pub(crate) struct Contents {
    pub(crate) prelude: Prelude,
    pub(crate) known: Known,
    pub(crate) codecs: Codecs,
    pub(crate) followed: Followed,
    pub(crate) written: Written,
}

/// What the records were followed to.
pub(crate) struct Followed {
    /// The contents that are whole, by number.
    pub(crate) whole: Vec<bool>,
    /// The content under way, and how many bytes of it came out.
    open: Option<(u32, u64)>,
    /// The base files whose content was checked.
    checked: HashSet<u32>,
    /// What is known of contents that lists name.
    pub(crate) digests: HashMap<u32, ContentDigest>,
    pub(crate) md5: HashMap<u32, [u8; 16]>,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) digests: Vec<Option<ContentDigest>>,
    finished: FinishedDigest,
    /// Of the content under way.
    hasher: Sha256,
}

/// A digest of all finished contents that does not depend on the order in which they were finished, so that it is kept
/// up with each and found again in any order. It is there to find damage, not attacks: those the release's name stops.
#[derive(Clone, Copy, Default)]
struct FinishedDigest([u8; 32]);

impl FinishedDigest {
    fn add(&mut self, number: u32, digest: ContentDigest) {
        let mut hasher = Sha256::new();
        hasher.update(number.to_le_bytes());
        hasher.update(digest.as_bytes());
        self.0.iter_mut().zip(hasher.finalize()).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// What the records of one frame are made with.
pub(crate) struct Frame<'f, 'a> {
    pub(crate) base: &'f Base<'a>,
    pub(crate) limits: &'f Limits,
    pub(crate) codecs: &'f Codecs,
    pub(crate) skeleton: &'f Skeleton,
    pub(crate) offset: u64,
}

impl Frame<'_, '_> {
    pub(crate) fn corrupt<E: std::error::Error>(&self, what: impl Into<String>) -> ReplayError<E> {
        ReplayError::Corrupt { offset: self.offset, what: what.into() }
    }

    fn size<E: std::error::Error>(&self, number: u32) -> Result<u64, ReplayError<E>> {
        let new = usize::try_from(number).ok().and_then(|index| self.skeleton.new_contents().get(index));
        new.map(|new| new.size).ok_or_else(|| self.corrupt(format!("there is no content {number}")))
    }
}

/// Why the records are not followed further.
pub(crate) enum Stopped<E: std::error::Error + 'static> {
    Failed(ReplayError<E>),
    /// Because nobody takes any more of what comes out: why, the other side tells.
    Abandoned,
}

impl<E: std::error::Error + 'static> From<ReplayError<E>> for Stopped<E> {
    fn from(error: ReplayError<E>) -> Self {
        Self::Failed(error)
    }
}

/// Sinks get at most so many bytes at once, whoever made them.
const PIECE: usize = 64 << 10;

/// Where what comes out of records goes, in this order: the bytes of one content after the other.
pub(crate) trait Outlet<S: Sink> {
    /// The next bytes of a content, at most [`PIECE`].
    fn bytes(&mut self, number: u32, bytes: &[u8]) -> Result<(), Stopped<S::Error>>;

    /// The next bytes of a content, which are yet to be made. Given back where it is for the caller to make them.
    fn rest(&mut self, number: u32, rest: Rest) -> Result<Option<Rest>, Stopped<S::Error>>;

    /// A content is whole.
    fn whole(&mut self, number: u32) -> Result<(), Stopped<S::Error>>;

    /// Opens a content that is whole.
    fn open(&mut self, number: u32) -> Result<S::Content, Stopped<S::Error>>;

    /// The digest of a content that is whole.
    fn digest(&mut self, number: u32) -> Result<ContentDigest, Stopped<S::Error>>;
}

impl Followed {
    pub(crate) fn record<'f, S: Sink>(
        &mut self,
        frame: &Frame<'f, '_>,
        state: &mut skiff_patch::State,
        record: &Record<&[u8]>,
        outlet: &mut impl Outlet<S>,
    ) -> Result<(), Stopped<S::Error>>
    where
        S::Content: 'f,
    {
        let number = record.content;
        let size = frame.size(number)?;
        let written = self.take_open(frame, number)?;
        if record.output_len > size - written {
            return Err(frame
                .corrupt(format!("content {number} becomes longer than its {size} bytes"))
                .into());
        }
        let codec = frame.codecs.find(record.codec);
        let codec =
            codec.ok_or_else(|| frame.corrupt(format!("the header does not name codec {}", record.codec)))?;
        let left = size - written - record.output_len;
        if !codec.portion().allows(record.output_len, size, left) {
            let what = format!("content {number} is made of smaller pieces than {} makes", codec.name());
            return Err(frame.corrupt(what).into());
        }
        let source = self.source(frame, record, outlet)?;
        let source_len = source.size();
        let mut source = Source::new(source, source_len);
        let mut output = Pieces::new(|bytes: &[u8]| outlet.bytes(number, bytes));
        let job = Job::new(codec, record.payload, record.output_len);
        let limits = &frame.limits.patch;
        let decoded = skiff_patch::decode_apart(&job, &mut source, &mut output, limits, state);
        if let Some(stopped) = output.failed {
            return Err(stopped);
        }
        let decoded = match decoded {
            Ok(Some(rest)) => match outlet.rest(number, rest)? {
                Some(rest) => {
                    let mut output = Pieces::new(|bytes: &[u8]| outlet.bytes(number, bytes));
                    let finished = rest.finish(&mut output);
                    if let Some(stopped) = output.failed {
                        return Err(stopped);
                    }
                    finished
                }
                None => Ok(()),
            },
            decoded => decoded.map(|_| ()),
        };
        decoded.map_err(|source| ReplayError::Patch { offset: frame.offset, number, source })?;
        let written = written + record.output_len;
        if written == size {
            self.whole[number as usize] = true;
            outlet.whole(number)?;
        } else {
            self.open = Some((number, written));
        }
        Ok(())
    }

    /// How much there is of the content under way, which a record has to go on with, or of a new one.
    fn take_open<E: std::error::Error>(
        &mut self,
        frame: &Frame<'_, '_>,
        number: u32,
    ) -> Result<u64, ReplayError<E>> {
        match self.open.take() {
            Some((open, written)) if open == number => Ok(written),
            Some((open, _)) => {
                Err(frame.corrupt(format!("content {number} begins before content {open} ends")))
            }
            None if self.whole[number as usize] => {
                Err(frame.corrupt(format!("content {number} was whole already")))
            }
            None => Ok(0),
        }
    }

    fn source<'f, S: Sink>(
        &mut self,
        frame: &Frame<'f, '_>,
        record: &Record<&[u8]>,
        outlet: &mut impl Outlet<S>,
    ) -> Result<VirtualSource<'f>, Stopped<S::Error>>
    where
        S::Content: 'f,
    {
        let mut source = VirtualSource::new();
        let mut held = 0;
        for part in &record.source {
            let content: Box<dyn ReadAt + 'f> = match part.origin {
                Origin::Base(index) => {
                    let for_output = (&mut held, record.output_len);
                    let content = open_base(frame, &mut self.checked, index, for_output)?;
                    if part.extent == Extent::Renewed {
                        if record.source.len() > 1 {
                            return Err(frame.corrupt("a list is renewed beside other sources").into());
                        }
                        let of_record = (record.content, record.output_len);
                        Box::new(self.renewed(frame, (&*content, index), of_record, outlet)?)
                    } else {
                        content
                    }
                }
                Origin::Target(number) => {
                    frame.size(number)?;
                    if part.extent == Extent::Renewed {
                        return Err(frame.corrupt("a new content is to be renewed").into());
                    }
                    if !self.whole[number as usize] {
                        let what = format!("content {number} is read before it is whole");
                        return Err(frame.corrupt(what).into());
                    }
                    Box::new(outlet.open(number)?)
                }
            };
            let range = match part.extent {
                Extent::Whole | Extent::Renewed => None,
                Extent::Range { offset, length } => Some((offset, length)),
            };
            source.push(content, range).ok_or_else(|| frame.corrupt("a source range outside its content"))?;
        }
        Ok(source)
    }
}

impl Written {
    pub(crate) fn bytes<S: Sink>(
        &mut self,
        number: u32,
        bytes: &[u8],
        sink: &mut S,
    ) -> Result<(), ReplayError<S::Error>> {
        sink.write(number, bytes).map_err(ReplayError::Sink)?;
        self.hasher.update(bytes);
        Ok(())
    }

    pub(crate) fn rest<S: Sink>(
        &mut self,
        (number, offset): (u32, u64),
        rest: Rest,
        sink: &mut S,
    ) -> Result<(), ReplayError<S::Error>> {
        let mut output = Pieces::new(|bytes: &[u8]| self.bytes(number, bytes, sink));
        let finished = rest.finish(&mut output);
        match output.failed {
            Some(error) => Err(error),
            None => finished.map_err(|source| ReplayError::Patch { offset, number, source }),
        }
    }

    pub(crate) fn whole<S: Sink>(&mut self, number: u32, sink: &mut S) -> Result<(), ReplayError<S::Error>> {
        let digest = ContentDigest::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
        self.finished(number, digest);
        sink.finish(number, digest).map_err(ReplayError::Sink)
    }

    /// Of a content that is whole.
    pub(crate) fn digest(&self, number: u32) -> ContentDigest {
        self.digests[number as usize]
            .expect("because whole contents are hashed before others are asked about")
    }

    fn finished(&mut self, number: u32, digest: ContentDigest) {
        self.digests[number as usize] = Some(digest);
        self.finished.add(number, digest);
    }
}

impl Contents {
    pub(crate) fn new(base: &Tree, prelude: Prelude, codecs: Codecs) -> Self {
        let known = Known::new(base, prelude.skeleton.entries(), prelude.skeleton.new_contents());
        let count = prelude.skeleton.new_contents().len();
        let followed = Followed {
            whole: vec![false; count],
            open: None,
            checked: HashSet::new(),
            digests: HashMap::new(),
            md5: HashMap::new(),
        };
        let (finished, hasher) = (FinishedDigest::default(), Sha256::new());
        let written = Written { digests: vec![None; count], finished, hasher };
        Self { prelude, known, codecs, followed, written }
    }

    /// A digest of everything that was written so far.
    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.written.finished.0);
        if self.followed.open.is_some() {
            hasher.update(self.written.hasher.clone().finalize());
        }
        hasher.finalize().into()
    }

    /// Contents of no bytes have no records.
    pub(crate) fn finish_empty<S: Sink>(&mut self, sink: &mut S) -> Result<(), ReplayError<S::Error>> {
        for (number, new) in self.prelude.skeleton.new_contents().iter().enumerate() {
            if new.size == 0 {
                self.followed.whole[number] = true;
                let number = u32::try_from(number).expect("because the section numbers contents in 32 bits");
                self.written.whole(number, sink)?;
            }
        }
        Ok(())
    }

    pub(crate) fn checkpoint(&self, index: usize) -> Checkpoint {
        Checkpoint {
            delta: *self.prelude.header.digest().as_bytes(),
            next_frame: u32::try_from(index + 1).unwrap_or(u32::MAX),
            written: self.digest(),
            open: self.followed.open,
            finished: self.followed.whole.clone(),
        }
    }

    /// Hashes what the sink has, so that the state is that of the checkpoint again.
    pub(crate) fn restore<S: Sink>(
        &mut self,
        checkpoint: &Checkpoint,
        sink: &S,
    ) -> Result<(), ReplayError<S::Error>> {
        if checkpoint.finished.len() != self.followed.whole.len() {
            return Err(ReplayError::Checkpoint { what: "it has another number of contents" });
        }
        for (number, new) in self.prelude.skeleton.new_contents().to_vec().into_iter().enumerate() {
            let number32 = u32::try_from(number).expect("because the section numbers contents in 32 bits");
            if checkpoint.finished[number] {
                let hasher = rehash(sink, number32, new, new.size)?;
                self.followed.whole[number] = true;
                self.written.finished(number32, ContentDigest::from_bytes(hasher.finalize().into()));
            } else if let Some((open, written)) = checkpoint.open
                && open == number32
            {
                self.written.hasher = rehash(sink, number32, new, written)?;
                self.followed.open = Some((number32, written));
            }
        }
        if checkpoint.open.is_some() != self.followed.open.is_some() {
            return Err(ReplayError::Checkpoint { what: "it has a content that the delta has not" });
        }
        if checkpoint.written != self.digest() {
            return Err(ReplayError::Checkpoint { what: "what was written before it was damaged since" });
        }
        Ok(())
    }
}

fn rehash<S: Sink>(
    sink: &S,
    number: u32,
    new: NewContent,
    length: u64,
) -> Result<Sha256, ReplayError<S::Error>> {
    let missing = ReplayError::Checkpoint { what: "what was written before it is gone" };
    if length > new.size {
        return Err(ReplayError::Checkpoint { what: "it has more of a content than there is" });
    }
    let mut hasher = Sha256::new();
    if length == 0 {
        return Ok(hasher);
    }
    let content = sink.open(number).map_err(ReplayError::Sink)?;
    match hash_into(&content, length, &mut hasher) {
        Ok(()) => Ok(hasher),
        Err(_) => Err(missing),
    }
}

/// Hands on what a codec writes, in pieces that are the same ones whoever takes them.
struct Pieces<F, E> {
    hand_on: F,
    /// Why a piece was not taken, which would lose its type on its way through the codec.
    failed: Option<E>,
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Pieces<F, E> {
    fn new(hand_on: F) -> Self {
        Self { hand_on, failed: None }
    }
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Write for Pieces<F, E> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        match (self.hand_on)(piece) {
            Ok(()) => Ok(piece.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("what was written is not taken"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
