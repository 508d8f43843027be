//! Bytes that nothing in the source is like.

use std::io::{Read, Seek};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};

use skiff_coder::{Coder, Decoder, Kind, Text};

use super::walk::{CHUNK, Output};
use crate::predict::Copy;
use crate::{PatchError, Source};

/// With so many literals, an encoder gives them a stream of their own, so that a device with two processors decodes them beside
/// all else: a payload is then longer by about five bytes, of more than ten thousand.
#[cfg(feature = "encode")]
pub(super) const APART: u64 = 32 << 10;
/// How many chunks are decoded ahead of what they stand between.
pub(super) const AHEAD: usize = 32;
/// What they take.
pub(super) const AHEAD_BYTES: u64 = (AHEAD as u64 + 4) * CHUNK as u64;

/// A source that is read by two threads in turn.
pub(super) struct SharedSource<'s, S> {
    source: Mutex<&'s mut Source<S>>,
    length: u64,
}

impl<'s, S: Read + Seek> SharedSource<'s, S> {
    pub(super) fn new(source: &'s mut Source<S>) -> Self {
        Self { length: source.length(), source: Mutex::new(source) }
    }

    /// Makes `bytes` the source's from `position` on: `length` of them, or as many as there are.
    pub(super) fn read(&self, position: u64, length: u64, bytes: &mut Vec<u8>) -> Result<(), PatchError> {
        let there = self.length.saturating_sub(position).min(length);
        bytes.resize(there as usize, 0);
        // A thread that panicked while it read leaves nothing half done that another one would see.
        self.source.lock().unwrap_or_else(PoisonError::into_inner).read_to(position, bytes)
    }
}

/// A stretch of the output between two copies.
pub(super) struct Gap {
    pub(super) range: Range<u64>,
    /// How many bytes the copy before it has.
    before: u64,
    /// How far the source's bytes lie from the output's there.
    shift: u64,
}

/// What stands before each copy, and behind the last; stretches of no bytes among them.
pub(super) fn gaps(copies: &[Copy], length: u64) -> impl Iterator<Item = Gap> + '_ {
    let mut last = Copy { start: 0, position: 0, length: 0 };
    let ends = copies.iter().map(Some).chain([None]);
    ends.map(move |copy| {
        let end = copy.map_or(length, |copy| copy.start);
        let gap = Gap {
            range: last.start + last.length..end,
            before: last.length,
            shift: last.position.wrapping_sub(last.start),
        };
        last = copy.copied().unwrap_or(last);
        gap
    })
}

/// Codes them.
pub(super) struct Literals<'m> {
    model: &'m mut Text,
    kind: Kind,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl<'m> Literals<'m> {
    pub(super) fn new(model: &'m mut Text, kind: Kind) -> Self {
        Self { model, kind, old: Vec::new(), new: Vec::new() }
    }

    /// Codes a gap, beside the bytes that would come next in the source.
    pub(super) fn code<S: Read + Seek>(
        &mut self,
        coder: &mut impl Coder,
        source: &SharedSource<'_, S>,
        gap: &Gap,
        output: &mut impl Output,
    ) -> Result<(), PatchError> {
        // The last bytes before the gap are taken from the source, not from the output: so nothing of the output has to be
        // there, and they are nearly always the same.
        let mut known = gap.before.min(8);
        let mut at = gap.range.start;
        while at < gap.range.end {
            let length = (gap.range.end - at).min(CHUNK as u64);
            let position = at.wrapping_add(gap.shift).wrapping_sub(known);
            source.read(position, length + known, &mut self.old)?;
            let (passed, old) = self.old.split_at((known as usize).min(self.old.len()));
            if !passed.is_empty() {
                self.model.passed(passed);
            }
            self.new.clear();
            self.new.resize(length as usize, 0);
            output.next(&mut self.new)?;
            for (index, byte) in self.new.iter_mut().enumerate() {
                *byte = self.model.code(coder, *byte, old.get(index).copied(), self.kind);
            }
            output.settled(&self.new)?;
            at += length;
            known = 0;
        }
        Ok(())
    }
}

/// Where a walk has literals from.
pub(super) enum Origin<'m, C> {
    /// From the walk's own stream.
    Among(Literals<'m>),
    /// From a stream of their own.
    Apart(Literals<'m>, &'m mut C),
    /// From a thread that decodes that stream.
    Ahead(Received),
}

/// Literals that a thread decodes.
pub(super) struct Received {
    chunks: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
}

impl Received {
    pub(super) fn new(chunks: Receiver<Vec<u8>>) -> Self {
        Self { chunks, chunk: Vec::new(), taken: 0 }
    }

    /// Hands on those of a gap.
    pub(super) fn take(&mut self, gap: &Gap, output: &mut impl Output) -> Result<(), PatchError> {
        let mut left = gap.range.end - gap.range.start;
        while left > 0 {
            if self.taken == self.chunk.len() {
                // Fails where the thread has failed, whose error is the one that is told.
                let next = self.chunks.recv();
                self.chunk = next.map_err(|_| PatchError::corrupt(0, "its literals end early"))?;
                self.taken = 0;
            }
            let there = &self.chunk[self.taken..];
            let now = &there[..usize::try_from(left).map_or(there.len(), |left| left.min(there.len()))];
            output.settled(now)?;
            self.taken += now.len();
            left -= now.len() as u64;
        }
        Ok(())
    }
}

/// Decodes all literals of an output, for a walk that goes on meanwhile. Ends early where that did.
pub(super) fn decode_ahead<S: Read + Seek>(
    (coded, offset): (&[u8], u64),
    mut literals: Literals<'_>,
    source: &SharedSource<'_, S>,
    (copies, length): (&[Copy], u64),
    chunks: SyncSender<Vec<u8>>,
) -> Result<(), PatchError> {
    let mut coder = Decoder::new(coded);
    let mut chunks = Sent { chunks, filling: Vec::with_capacity(CHUNK), is_abandoned: false };
    for gap in gaps(copies, length) {
        match literals.code(&mut coder, source, &gap, &mut chunks) {
            Err(_) if chunks.is_abandoned => return Ok(()),
            result => result?,
        }
    }
    // Whether there is somebody to take the last ones makes no difference any more.
    let _ = chunks.send();
    finish(coder, offset)
}

/// To be called behind the last bit of a stream that begins at `offset` in its payload.
pub(super) fn finish(coder: Decoder<'_>, offset: u64) -> Result<(), PatchError> {
    let offset = offset.saturating_add(coder.offset() as u64);
    coder.finish().map_err(|damaged| PatchError::corrupt(offset, damaged.to_string()))
}

struct Sent {
    chunks: SyncSender<Vec<u8>>,
    /// The next one: most gaps are short, and threads that wake each other for each of them wait most of the time.
    filling: Vec<u8>,
    /// Whether there is nobody any more who would take them.
    is_abandoned: bool,
}

impl Output for Sent {
    fn next(&mut self, _: &mut [u8]) -> Result<(), PatchError> {
        Ok(())
    }

    fn settled(&mut self, bytes: &[u8]) -> Result<(), PatchError> {
        if self.filling.len() + bytes.len() > CHUNK {
            self.send()?;
        }
        self.filling.extend_from_slice(bytes);
        Ok(())
    }
}

impl Sent {
    fn send(&mut self) -> Result<(), PatchError> {
        let chunk = std::mem::replace(&mut self.filling, Vec::with_capacity(CHUNK));
        self.chunks.send(chunk).map_err(|_| {
            self.is_abandoned = true;
            PatchError::output(std::io::ErrorKind::BrokenPipe.into())
        })
    }
}
