//! From records to contents: the state between the first frame of contents and the end.

use std::collections::HashSet;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};
use skiff_patch::{Job, Source};
use skiff_tree::{ContentDigest, NewContent, ReadAt, SkeletonContent};

use crate::base::{Base, hash_into, open_base};
use crate::checksums::Checksums;
use crate::codecs::Codecs;
use crate::record::{Extent, Known, Origin, Record};
use crate::renew::{Checksum, MAX_LIST, Named, renew};
use crate::replay::Limits;
use crate::source::VirtualSource;
use crate::{Checkpoint, Prelude, ReplayError, Sink};

/// A list may be so much longer than what is made of it: else many records could have it renewed for a byte each.
const RENEWED_PER_OUTPUT: u64 = 16;
const RENEWED_FOR_ANYTHING: u64 = 4 << 10;

/// What a replay knows while it is among the contents.
pub(crate) struct Contents {
    pub(crate) prelude: Prelude,
    pub(crate) known: Known,
    pub(crate) codecs: Codecs,
    pub(crate) digests: Vec<Option<ContentDigest>>,
    pub(crate) checksums: Checksums,
    pub(crate) open: Option<OpenContent>,
    pub(crate) finished: FinishedDigest,
}

/// A digest of all finished contents that does not depend on the order in which they were finished, so that it is kept
/// up with each and found again in any order. It is there to find damage, not attacks: those the release's name stops.
#[derive(Clone, Copy, Default)]
pub(crate) struct FinishedDigest([u8; 32]);

impl FinishedDigest {
    fn add(&mut self, number: u32, digest: ContentDigest) {
        let mut hasher = Sha256::new();
        hasher.update(number.to_le_bytes());
        hasher.update(digest.as_bytes());
        self.0.iter_mut().zip(hasher.finalize()).for_each(|(sum, byte)| *sum ^= byte);
    }
}

pub(crate) struct OpenContent {
    number: u32,
    written: u64,
    hasher: Sha256,
}

/// What the records of one frame are made with.
pub(crate) struct Frame<'f, 'a> {
    pub(crate) base: &'f Base<'a>,
    pub(crate) limits: &'f Limits,
    pub(crate) codecs: &'f Codecs,
    pub(crate) offset: u64,
}

impl Frame<'_, '_> {
    pub(crate) fn corrupt<E: std::error::Error>(&self, what: impl Into<String>) -> ReplayError<E> {
        ReplayError::Corrupt { offset: self.offset, what: what.into() }
    }
}

impl Contents {
    fn size<E: std::error::Error>(&self, frame: &Frame<'_, '_>, number: u32) -> Result<u64, ReplayError<E>> {
        let new =
            usize::try_from(number).ok().and_then(|index| self.prelude.skeleton.new_contents().get(index));
        new.map(|new| new.size).ok_or_else(|| frame.corrupt(format!("there is no content {number}")))
    }

    pub(crate) fn record<S: Sink>(
        &mut self,
        frame: &Frame<'_, '_>,
        (checked, state): (&mut HashSet<u32>, &mut skiff_patch::State),
        record: &Record<&[u8]>,
        sink: &mut S,
    ) -> Result<(), ReplayError<S::Error>> {
        let number = record.content;
        let size = self.size(frame, number)?;
        let mut open = self.take_open(frame, number)?;
        if record.output_len > size - open.written {
            return Err(frame.corrupt(format!("content {number} becomes longer than its {size} bytes")));
        }
        let codec = frame.codecs.find(record.codec);
        let codec =
            codec.ok_or_else(|| frame.corrupt(format!("the header does not name codec {}", record.codec)))?;
        let source = self.source(frame, checked, record, sink)?;
        let source_len = source.size();
        let mut source = Source::new(source, source_len);
        let mut output = SinkWriter { sink, number, hasher: &mut open.hasher, failed: None };
        let job = Job::new(codec, record.payload, record.output_len);
        let decoded = skiff_patch::decode(&job, &mut source, &mut output, &frame.limits.patch, state);
        if let Some(error) = output.failed {
            return Err(ReplayError::Sink(error));
        }
        decoded.map_err(|source| ReplayError::Patch { offset: frame.offset, number, source })?;
        open.written += record.output_len;
        if open.written == size {
            self.close(number, open.hasher, sink)?;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    /// The content under way, which a record has to go on with, or a new one.
    fn take_open<E: std::error::Error>(
        &mut self,
        frame: &Frame<'_, '_>,
        number: u32,
    ) -> Result<OpenContent, ReplayError<E>> {
        match self.open.take() {
            Some(open) if open.number == number => Ok(open),
            Some(open) => {
                Err(frame.corrupt(format!("content {number} begins before content {} ends", open.number)))
            }
            None if self.digests[number as usize].is_some() => {
                Err(frame.corrupt(format!("content {number} was whole already")))
            }
            None => Ok(OpenContent { number, written: 0, hasher: Sha256::new() }),
        }
    }

    fn close<S: Sink>(
        &mut self,
        number: u32,
        hasher: Sha256,
        sink: &mut S,
    ) -> Result<(), ReplayError<S::Error>> {
        let digest = ContentDigest::from_bytes(hasher.finalize().into());
        self.finished(number, digest);
        sink.finish(number, digest).map_err(ReplayError::Sink)
    }

    fn finished(&mut self, number: u32, digest: ContentDigest) {
        self.digests[number as usize] = Some(digest);
        self.finished.add(number, digest);
    }

    /// A digest of everything that was written so far.
    fn written(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.finished.0);
        if let Some(open) = &self.open {
            hasher.update(open.hasher.clone().finalize());
        }
        hasher.finalize().into()
    }

    /// Contents of no bytes have no records.
    pub(crate) fn finish_empty<S: Sink>(&mut self, sink: &mut S) -> Result<(), ReplayError<S::Error>> {
        for number in 0..self.digests.len() {
            if self.prelude.skeleton.new_contents()[number].size == 0 {
                let number = u32::try_from(number).expect("because the section numbers contents in 32 bits");
                self.close(number, Sha256::new(), sink)?;
            }
        }
        Ok(())
    }

    fn source<'s, S: Sink>(
        &mut self,
        frame: &Frame<'s, '_>,
        checked: &mut HashSet<u32>,
        record: &Record<&[u8]>,
        sink: &S,
    ) -> Result<VirtualSource<'s>, ReplayError<S::Error>>
    where
        S::Content: 's,
    {
        let mut source = VirtualSource::new();
        let mut held = 0;
        for part in &record.source {
            let content: Box<dyn ReadAt + 's> = match part.origin {
                Origin::Base(index) if part.extent == Extent::Renewed => {
                    let worth = record.output_len.saturating_mul(RENEWED_PER_OUTPUT);
                    let most = worth.saturating_add(RENEWED_FOR_ANYTHING).min(MAX_LIST);
                    let list = open_base(frame, checked, index, (&mut held, record.output_len))?;
                    if list.size() > most {
                        return Err(frame.corrupt("a list that is too long to be renewed"));
                    }
                    Box::new(self.renew(&*list, (index, record.content), frame, sink)?)
                }
                Origin::Base(index) => open_base(frame, checked, index, (&mut held, record.output_len))?,
                Origin::Target(number) => {
                    self.size(frame, number)?;
                    if part.extent == Extent::Renewed {
                        return Err(frame.corrupt("a new content is to be renewed"));
                    }
                    if self.digests[number as usize].is_none() {
                        return Err(frame.corrupt(format!("content {number} is read before it is whole")));
                    }
                    Box::new(sink.open(number).map_err(ReplayError::Sink)?)
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

    /// A list of the base with the checksums of what is finished.
    fn renew<S: Sink>(
        &mut self,
        list: &dyn ReadAt,
        (index, number): (u32, u32),
        frame: &Frame<'_, '_>,
        sink: &S,
    ) -> Result<Vec<u8>, ReplayError<S::Error>> {
        let path = |index: u32| &frame.base.tree.entries()[index as usize].path;
        let list = skiff_tree::read_all(&list)
            .map_err(|source| ReplayError::Base { path: path(index).clone(), source })?;
        let Self { prelude, digests, checksums, .. } = self;
        let skeleton = &prelude.skeleton;
        let new = skeleton.new_contents();
        let home = &skeleton.entries()[new[number as usize].entry as usize].path;
        renew(&list, home, |path, kind| {
            let number = match skeleton.content_at(path) {
                None => return Ok(Named::Nothing),
                Some(SkeletonContent::Base(_)) => return Ok(Named::Kept),
                Some(SkeletonContent::New { number }) => number,
            };
            let Some(digest) = digests[number as usize] else { return Ok(Named::Kept) };
            let size = new[number as usize].size;
            let checksum = match kind {
                Checksum::Sha256 => digest.as_bytes().to_vec(),
                Checksum::Md5 => {
                    let open = || sink.open(number).map_err(ReplayError::Sink);
                    checksums.md5(frame, (number, size), open)?.to_vec()
                }
            };
            Ok(Named::New { size, checksum })
        })
    }

    pub(crate) fn checkpoint(&self, index: usize) -> Checkpoint {
        Checkpoint {
            delta: *self.prelude.header.digest().as_bytes(),
            next_frame: u32::try_from(index + 1).unwrap_or(u32::MAX),
            written: self.written(),
            open: self.open.as_ref().map(|open| (open.number, open.written)),
            finished: self.digests.iter().map(Option::is_some).collect(),
        }
    }

    /// Hashes what the sink has, so that the state is that of the checkpoint again.
    pub(crate) fn restore<S: Sink>(
        &mut self,
        checkpoint: &Checkpoint,
        sink: &S,
    ) -> Result<(), ReplayError<S::Error>> {
        if checkpoint.finished.len() != self.digests.len() {
            return Err(ReplayError::Checkpoint { what: "it has another number of contents" });
        }
        for (number, new) in self.prelude.skeleton.new_contents().to_vec().into_iter().enumerate() {
            let number32 = u32::try_from(number).expect("because the section numbers contents in 32 bits");
            if checkpoint.finished[number] {
                let hasher = rehash(sink, number32, new, new.size)?;
                self.finished(number32, ContentDigest::from_bytes(hasher.finalize().into()));
            } else if let Some((open, written)) = checkpoint.open
                && open == number32
            {
                let hasher = rehash(sink, number32, new, written)?;
                self.open = Some(OpenContent { number: number32, written, hasher });
            }
        }
        if checkpoint.open.is_some() != self.open.is_some() {
            return Err(ReplayError::Checkpoint { what: "it has a content that the delta has not" });
        }
        if checkpoint.written != self.written() {
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

/// Hands what a codec writes to the sink and to the hasher.
struct SinkWriter<'s, S: Sink> {
    sink: &'s mut S,
    number: u32,
    hasher: &'s mut Sha256,
    /// The sink's error, which would lose its type on its way through the codec.
    failed: Option<S::Error>,
}

impl<S: Sink> Write for SinkWriter<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.sink.write(self.number, bytes) {
            Ok(()) => {
                self.hasher.update(bytes);
                Ok(bytes.len())
            }
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("the sink failed"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
