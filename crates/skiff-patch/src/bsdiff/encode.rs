//! The encoder: from matches to segments.

use std::num::NonZeroU32;
use std::ops::Range;

use skiff_wire::{put_varint, zigzag};

use crate::matcher::{self, Effort, Match};

/// How a file is cut up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most bytes of output a segment stands for. Its payload is a little longer, by its controls. The default is
    /// 4 MiB.
    pub segment_bytes: NonZeroU32,
    /// The most bytes of the old file that are searched at once: a longer one is searched in windows that move along it
    /// as the new one is gone through; twice as many with [`Effort::Fast`]. Bounds the encoder's memory, which is about five times
    /// this. The default is 64 MiB.
    pub window_bytes: NonZeroU32,
    /// How much time is spent on finding what the files have in common.
    pub effort: Effort,
}

impl Options {
    fn matcher(&self) -> matcher::Options {
        matcher::Options { window_bytes: self.window_bytes, effort: self.effort }
    }
}

impl Default for Options {
    fn default() -> Self {
        const SEGMENT: NonZeroU32 = NonZeroU32::new(4 << 20).expect("because it is not zero");
        const WINDOW: NonZeroU32 = NonZeroU32::new(64 << 20).expect("because it is not zero");
        Self { segment_bytes: SEGMENT, window_bytes: WINDOW, effort: Effort::Default }
    }
}

/// A part of a file, decoded by itself. The segments' outputs, one after the other, are the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// How many bytes it stands for.
    pub output_len: u64,
    /// The encoded bytes.
    pub payload: Vec<u8>,
}

/// Says how to make `new` from `old`. An empty `new` takes no segment.
///
/// Depends on the arguments alone: the same arguments give the same bytes.
#[must_use]
pub fn encode(old: &[u8], new: &[u8], options: &Options) -> Vec<Segment> {
    let matches = matcher::find(old, new, &options.matcher());
    let segment_bytes = usize::try_from(options.segment_bytes.get()).unwrap_or(usize::MAX);
    let mut segments = Vec::with_capacity(new.len().div_ceil(segment_bytes));
    let mut start = 0;
    let mut rest = &matches[..];
    while start < new.len() {
        let end = start.saturating_add(segment_bytes).min(new.len());
        let within = rest.partition_point(|found| found.start < end);
        let payload = write(old, new, start..end, &rest[..within]);
        segments.push(Segment { output_len: (end - start) as u64, payload });
        let done = rest.partition_point(|found| found.start + found.length <= end);
        rest = &rest[done..];
        start = end;
    }
    segments
}

/// The one payload for all of `new`, or none where `old` has nothing like it.
#[cfg(any(feature = "gzip", feature = "zip"))]
pub(crate) fn encode_whole(old: &[u8], new: &[u8], effort: Effort) -> Option<Vec<u8>> {
    let matches = matcher::find(old, new, &Options { effort, ..Options::default() }.matcher());
    (!matches.is_empty()).then(|| write(old, new, 0..new.len(), &matches))
}

/// How much memory [`encode`] holds for files of these lengths, in bytes, without the files themselves: an estimate from
/// above, by which a scheduler decides how many files to encode at a time.
#[must_use]
pub fn encode_memory(old_length: u64, new_length: u64, options: &Options) -> u64 {
    let segments = new_length.saturating_add(new_length / 4);
    // The matcher's index is gone when the segments are made of what it found.
    let finding = matcher::memory(old_length, new_length, &options.matcher());
    finding.max(segments.saturating_add(matcher::matches_memory(new_length)))
}

/// Writes the payload for `range` of the new file; `matches` are those that touch it.
fn write(old: &[u8], new: &[u8], range: Range<usize>, matches: &[Match]) -> Vec<u8> {
    let matches: Vec<_> = matches.iter().map(|found| found.within(&range)).collect();
    let mut payload = Vec::with_capacity(range.len() + 8 * matches.len() + 16);
    put_varint(&mut payload, matches.first().map_or(0, |first| first.position as u64));
    write_controls(&mut payload, &range, &matches);
    let mut at = range.start;
    for found in &matches {
        payload.extend_from_slice(&new[at..found.start]);
        at = found.start + found.length;
        let source = &old[found.position..found.position + found.length];
        payload.extend(new[found.start..at].iter().zip(source).map(|(new, old)| new.wrapping_sub(*old)));
    }
    payload.extend_from_slice(&new[at..range.end]);
    payload
}

fn write_controls(payload: &mut Vec<u8>, range: &Range<usize>, matches: &[Match]) {
    let before = matches.first().map_or(range.end, |first| first.start) - range.start;
    put_varint(payload, (matches.len() + usize::from(before > 0)) as u64);
    if before > 0 {
        put_varint(payload, 0);
        put_varint(payload, before as u64);
        if !matches.is_empty() {
            put_varint(payload, zigzag(0));
        }
    }
    for (index, found) in matches.iter().enumerate() {
        let next = matches.get(index + 1);
        let end = found.start + found.length;
        put_varint(payload, found.length as u64);
        put_varint(payload, (next.map_or(range.end, |next| next.start) - end) as u64);
        if let Some(next) = next {
            let seek = next.position as i64 - (found.position + found.length) as i64;
            put_varint(payload, zigzag(seek));
        }
    }
}
