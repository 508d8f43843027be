//! From what two long files have in common to how the one is made from the other: what lies between is searched near where
//! its neighbours came from.

use std::io::{Read, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::ops::Range;

use super::encode::{Plan, estimated};
use super::outline::Outline;
use crate::matcher::{self, Effort, Match};
use crate::predict::Copy;
use crate::{PatchError, Source};

/// What refining may take, and how large what it makes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefineOptions {
    /// The most bytes of the new file that are searched at once. Six times as many of the old one are, and what is held
    /// is six bytes for each of those, beside 20 MiB.
    pub piece_bytes: NonZeroU64,
    /// The most bytes that a payload may be expected to take, if it brings no more than one piece in new bytes.
    pub payload_bytes: NonZeroU64,
    /// How much time is spent.
    pub effort: Effort,
}

/// What decoding holds for nearly all plans that are refined, in bytes.
#[must_use]
pub fn refined_decoder_memory() -> u64 {
    super::decode::memory(COPIES as u64, None, true)
}

/// What [`Refiner::refine`] holds at most for pieces of so many bytes.
#[must_use]
pub fn refine_memory(piece_bytes: u64) -> u64 {
    let window = piece_bytes.saturating_mul(6);
    window.saturating_mul(6).saturating_add(piece_bytes.saturating_mul(4)).saturating_add(20 << 20)
}

/// A plan makes at most so many bytes: where its device is interrupted, that much is made again.
const OUTPUT_BYTES: u64 = 64 << 20;
/// A plan has about as many copies at most, of which a device holds 48 bytes each.
const COPIES: usize = 1 << 16;
/// So much of the neighbours of what is searched is searched with it: whether going on at their shift is cheaper than new bytes
/// is seen only there.
const CONTEXT: u64 = 64;
/// Where that much is unknown, the neighbours no longer matter.
const LONG: u64 = 64 << 10;
/// A range in common that is shorter, and does not lie far from where its neighbours do, is searched with what is beside it.
const SHORT: u64 = 8 << 10;
/// What is searched of the old file at least, before and behind the place where the piece should be.
const MARGIN: u64 = 8 << 10;
/// So few bytes, between neighbours at the same shift, are corrected, without a search.
const CORRECTED: u64 = 12;
/// Before a long piece is searched thoroughly, seeds tell whether there is anything.
const SEEDED: u64 = 1 << 20;
/// A piece of which less than this part is like the old file is new.
const NEW_PART: u64 = 32;

/// Refines stretches of an outline.
pub struct Refiner<'o, S, N> {
    outline: &'o Outline,
    options: RefineOptions,
    source: Source<S>,
    new: N,
}

impl<S, N> std::fmt::Debug for Refiner<'_, S, N> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Refiner").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<'o, S: Read + Seek, N: Read + Seek> Refiner<'o, S, N> {
    /// Refines an outline of the files that `source` and `new` read.
    pub fn new(outline: &'o Outline, source: Source<S>, new: N, options: RefineOptions) -> Self {
        Self { outline, options, source, new }
    }

    /// Plans a stretch: gives plans for consecutive parts of it to `take`, each with where in the output it begins. Those that
    /// have no copies are long pieces that nothing is like, for which there may be better codecs.
    ///
    /// # Errors
    /// [`PatchError::Io`] where a file cannot be read, and whatever `take` ends in.
    pub fn refine<E: From<PatchError>>(
        &mut self,
        stretch: Range<u64>,
        mut take: impl FnMut(u64, Plan) -> Result<(), E>,
    ) -> Result<(), E> {
        let outline = self.outline;
        let first = outline.copies.partition_point(|copy| copy.start + copy.length <= stretch.start);
        let before = first.checked_sub(1).map_or(0, |index| shift(&outline.copies[index]));
        let mut builder = Builder::new(stretch.start, before, self.options.payload_bytes.get());
        let mut copies = outline.copies[first..].iter().peekable();
        while builder.end < stretch.end {
            let unknown = builder.end;
            let mut next = copies.peek().copied();
            // Neighbours that are short and near are searched with what is between them.
            while let Some(copy) = next
                && copy.start > unknown
                && copy.length < SHORT
                && copy.start - unknown < self.options.piece_bytes.get() / 4
                && shift(copy).abs_diff(builder.shift) < MARGIN
            {
                copies.next();
                next = copies.peek().copied();
            }
            let (to, after) = match next {
                Some(copy) if copy.start < stretch.end => (copy.start, shift(copy)),
                Some(copy) => (stretch.end, shift(copy)),
                None => (stretch.end, builder.shift),
            };
            if to > unknown {
                self.unknown(unknown..to, after, next, &stretch, &mut builder, &mut take)?;
            }
            if let Some(copy) = next.filter(|copy| copy.start < stretch.end) {
                let end = (copy.start + copy.length).min(stretch.end);
                let start = builder.end;
                builder.copies_from(start, start.wrapping_add_signed(shift(copy)), end - start, &mut take)?;
                copies.next();
            }
        }
        builder.finish(&mut take)
    }

    /// Searches for what lies between two ranges in common.
    fn unknown<E: From<PatchError>>(
        &mut self,
        range: Range<u64>,
        after: i64,
        next: Option<&Copy>,
        stretch: &Range<u64>,
        builder: &mut Builder,
        take: &mut impl FnMut(u64, Plan) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = range.end - range.start;
        if length <= CORRECTED && after == builder.shift && builder.goes_on() {
            builder.corrected += length;
            return builder.copies_from(range.start, range.start.wrapping_add_signed(after), length, take);
        }
        let mut end = range.end;
        if length < LONG {
            builder.give_back(CONTEXT);
            let beside = next.map_or(0, |copy| copy.length).min(CONTEXT);
            end = (end + beside).min(stretch.end);
        }
        while builder.end < end {
            let piece = builder.end..end.min(builder.end + self.options.piece_bytes.get());
            self.piece(piece, after, builder, take)?;
        }
        Ok(())
    }

    /// Searches for a piece where its neighbours came from.
    fn piece<E: From<PatchError>>(
        &mut self,
        piece: Range<u64>,
        after: i64,
        builder: &mut Builder,
        take: &mut impl FnMut(u64, Plan) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = piece.end - piece.start;
        let mut new = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let read = self.new.seek(SeekFrom::Start(piece.start)).and_then(|_| self.new.read_exact(&mut new));
        read.map_err(PatchError::output)?;
        let old = Old::read(&mut self.source, &piece, [builder.shift, after])?;
        let matches = old.matches(&new, piece.start, builder.shift, self.options.effort);
        let alike: u64 = matches.iter().map(|found| found.length as u64).sum();
        if length >= LONG && alike < length / NEW_PART {
            builder.cut(take)?;
            builder.new_bytes(&new);
            return builder.cut(take);
        }
        let mut done = 0;
        for found in matches {
            builder.new_bytes(&new[done..found.start]);
            done = found.start + found.length;
            let pairs = new[found.start..done].iter().zip(&old.bytes[found.position..]);
            builder.corrected += pairs.filter(|(new, old)| new != old).count() as u64;
            for (position, length) in old.places(found.position..found.position + found.length) {
                builder.copies_from(builder.end, position, length, take)?;
            }
        }
        builder.new_bytes(&new[done..]);
        if builder.is_full() { builder.cut(take) } else { Ok(()) }
    }
}

fn shift(copy: &Copy) -> i64 {
    copy.position.wrapping_sub(copy.start) as i64
}

/// What is searched of the old file: ranges of it, one after the other.
struct Old {
    /// Where each begins in the bytes, and where in the file.
    ranges: Vec<(usize, u64)>,
    bytes: Vec<u8>,
}

impl Old {
    /// Reads what a piece may have come from, if it is moved by one of the shifts.
    fn read<S: Read + Seek>(
        source: &mut Source<S>,
        piece: &Range<u64>,
        shifts: [i64; 2],
    ) -> Result<Self, PatchError> {
        let margin = (piece.end - piece.start).max(MARGIN);
        let around = |shift: i64| {
            let place = |at: u64| at.saturating_add_signed(shift).min(source.length());
            let (start, end) = (place(piece.start), place(piece.end));
            start.saturating_sub(margin)..end.saturating_add(margin).min(source.length())
        };
        let [mut first, mut second] = shifts.map(around);
        if second.start < first.start {
            std::mem::swap(&mut first, &mut second);
        }
        if second.start <= first.end {
            first.end = first.end.max(second.end);
            second = first.end..first.end;
        }
        let mut old = Self { ranges: Vec::new(), bytes: Vec::new() };
        for range in [first, second].into_iter().filter(|range| !range.is_empty()) {
            let begin = old.bytes.len();
            old.ranges.push((begin, range.start));
            old.bytes.resize(begin + usize::try_from(range.end - range.start).unwrap_or(usize::MAX), 0);
            source.read_to(range.start, &mut old.bytes[begin..])?;
        }
        Ok(old)
    }

    /// What of `new`, which begins at `start` in its file, is like these bytes. Where there is nothing, that is found out fast.
    fn matches(&self, new: &[u8], start: u64, before: i64, effort: Effort) -> Vec<Match> {
        let place = start.saturating_add_signed(before);
        let within = self.ranges.iter().rev().find(|(_, position)| *position <= place);
        let (begin, position) = within.copied().unwrap_or_default();
        let expected = begin + usize::try_from(place - position.min(place)).unwrap_or(0);
        if new.len() as u64 >= SEEDED && effort == Effort::Default {
            let seeded = matcher::find_from(&self.bytes, new, expected, Effort::Fast);
            let alike: usize = seeded.iter().map(|found| found.length).sum();
            if (alike as u64) < new.len() as u64 / NEW_PART {
                return seeded;
            }
        }
        matcher::find_from(&self.bytes, new, expected, effort)
    }

    /// Where in the file a range of the bytes lies, and how long each part of it is.
    fn places(&self, range: Range<usize>) -> impl Iterator<Item = (u64, u64)> {
        let ends = self.ranges.iter().skip(1).map(|(begin, _)| *begin).chain([self.bytes.len()]);
        self.ranges.iter().zip(ends).filter_map(move |(&(begin, position), end)| {
            let (from, to) = (range.start.max(begin), range.end.min(end));
            (from < to).then(|| (position + (from - begin) as u64, (to - from) as u64))
        })
    }
}

/// Gathers copies into plans.
struct Builder {
    begin: u64,
    end: u64,
    /// By which the last copy was moved.
    shift: i64,
    copies: Vec<Copy>,
    corrected: u64,
    literals: [u64; 256],
    payload_bytes: u64,
}

impl Builder {
    fn new(begin: u64, shift: i64, payload_bytes: u64) -> Self {
        let (copies, literals) = (Vec::new(), [0; 256]);
        Self { begin, end: begin, shift, copies, corrected: 0, literals, payload_bytes }
    }

    /// Whether the last byte is copied.
    fn goes_on(&self) -> bool {
        self.copies.last().is_some_and(|copy| self.begin + copy.start + copy.length == self.end)
    }

    /// A copy of bytes that follow the last one.
    fn copies_from<E>(
        &mut self,
        start: u64,
        position: u64,
        length: u64,
        take: &mut impl FnMut(u64, Plan) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert_eq!(start, self.end, "because plans leave nothing out");
        let mut position = position;
        let mut left = length;
        while left > 0 {
            if self.is_full() {
                self.cut(take)?;
            }
            let now = left.min(OUTPUT_BYTES - (self.end - self.begin));
            match self.copies.last_mut() {
                Some(last)
                    if self.begin + last.start + last.length == self.end
                        && last.position + last.length == position =>
                {
                    last.length += now;
                }
                _ => self.copies.push(Copy { start: self.end - self.begin, position, length: now }),
            }
            self.shift = position.wrapping_sub(self.end) as i64;
            (self.end, position, left) = (self.end + now, position + now, left - now);
        }
        Ok(())
    }

    /// Forgets the last bytes, as many of them as belong to one copy.
    fn give_back(&mut self, bytes: u64) {
        if !self.goes_on() {
            return;
        }
        if let Some(last) = self.copies.last_mut() {
            let bytes = bytes.min(last.length);
            last.length -= bytes;
            self.end -= bytes;
            self.copies.pop_if(|last| last.length == 0);
        }
    }

    /// Bytes that nothing is like.
    fn new_bytes(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.literals[usize::from(byte)] += 1);
        self.end += bytes.len() as u64;
    }

    fn is_full(&self) -> bool {
        let bytes = self.literals.iter().sum::<u64>() + self.corrected + self.copies.len() as u64 * 8;
        bytes >= self.payload_bytes || self.copies.len() >= COPIES || self.end - self.begin >= OUTPUT_BYTES
    }

    /// Ends a plan.
    fn cut<E>(&mut self, take: &mut impl FnMut(u64, Plan) -> Result<(), E>) -> Result<(), E> {
        if self.begin == self.end {
            return Ok(());
        }
        let next = Self::new(self.end, self.shift, self.payload_bytes);
        let ended = std::mem::replace(self, next);
        take(ended.begin, ended.plan())
    }

    fn finish<E>(mut self, take: &mut impl FnMut(u64, Plan) -> Result<(), E>) -> Result<(), E> {
        self.cut(take)
    }

    fn plan(self) -> Plan {
        let estimate = estimated(self.copies.len(), self.corrected, &self.literals);
        Plan::of_copies(self.copies, self.begin, self.end - self.begin, estimate)
    }
}
