//! The encoder: from matches to segments.

use std::num::NonZeroU32;
use std::ops::Range;

use skiff_wire::{put_varint, zigzag};

use super::matches::{self, Match};

/// How a file is cut up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most bytes of output a segment stands for. Its payload is a little longer, by its controls. The default is
    /// 4 MiB.
    pub segment_bytes: NonZeroU32,
    /// The most bytes of the old file that are searched at once: a longer one is searched in windows that move along it
    /// as the new one is gone through. Bounds the encoder's memory, which is about 16 times this. The default is 64 MiB.
    pub window_bytes: NonZeroU32,
}

impl Default for Options {
    fn default() -> Self {
        const SEGMENT: NonZeroU32 = NonZeroU32::new(4 << 20).expect("because it is not zero");
        const WINDOW: NonZeroU32 = NonZeroU32::new(64 << 20).expect("because it is not zero");
        Self { segment_bytes: SEGMENT, window_bytes: WINDOW }
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
///
/// Repetitive stretches (16 KiB and more with a period of at most 4 KiB) are not searched for but sent as they are: the
/// matcher takes quadratic time on them, and the container's compressor makes next to nothing of them.
#[must_use]
pub fn encode(old: &[u8], new: &[u8], options: &Options) -> Vec<Segment> {
    let matches = matches::find(old, new, options.window_bytes);
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
pub(crate) fn encode_whole(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let matches = matches::find(old, new, Options::default().window_bytes);
    (!matches.is_empty()).then(|| write(old, new, 0..new.len(), &matches))
}

/// How much memory [`encode`] holds for files of these lengths, in bytes, without the files themselves: an estimate from
/// above, by which a scheduler decides how many files to encode at a time.
#[must_use]
pub fn encode_memory(old_length: u64, new_length: u64, options: &Options) -> u64 {
    let window = old_length.min(u64::from(options.window_bytes.get()));
    // The matcher sorts the window's suffixes in two arrays of words, and holds the differences of one match.
    let sorting =
        (window + 1).saturating_mul(2 * size_of::<usize>() as u64).saturating_add(window.min(new_length));
    // Without their repetitive stretches, window and new file may have to be copied.
    let joined = window.saturating_add(new_length);
    let segments = new_length.saturating_add(new_length / 4);
    // Each match saves more than eight bytes.
    let matches = (new_length / 8).saturating_mul(2 * size_of::<Match>() as u64);
    sorting.saturating_add(joined).max(segments).saturating_add(matches)
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
