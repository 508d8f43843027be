//! Finding matches: the `bsdiff` crate's matcher, kept within bounds of memory and time.

use std::io::{self, Write};
use std::num::NonZeroU32;
use std::ops::Range;

use super::repetition::Kept;

/// `length` bytes of the new file from `start` on are nearly those of the old one from `position` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) position: usize,
    pub(crate) length: usize,
}

impl Match {
    /// The part of the match within `range`, which it touches.
    pub(super) fn within(&self, range: &Range<usize>) -> Self {
        let start = self.start.max(range.start);
        let end = (self.start + self.length).min(range.end);
        Self { start, position: self.position + (start - self.start), length: end - start }
    }
}

/// The matches of two files, in the order of the new one, none empty and none overlapping another there.
///
/// What both begin and end with needs no search: it costs the matcher most of its time, and all of it on data that
/// repeats itself.
pub(crate) fn find(old: &[u8], new: &[u8], window_bytes: NonZeroU32) -> Vec<Match> {
    let common =
        |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| pairs.take_while(|(old, new)| old == new).count();
    let prefix = common(&mut old.iter().zip(new));
    let suffix = common(&mut old[prefix..].iter().rev().zip(new[prefix..].iter().rev()));

    let mut matches = Vec::new();
    push(&mut matches, Match { start: 0, position: 0, length: prefix });
    let window_bytes = usize::try_from(window_bytes.get()).unwrap_or(usize::MAX);
    for (window, part) in
        windows(old.len(), prefix..old.len() - suffix, prefix..new.len() - suffix, window_bytes)
    {
        search(old, new, (window, part), &mut matches);
    }
    let (start, position) = (new.len() - suffix, old.len() - suffix);
    push(&mut matches, Match { start, position, length: suffix });
    matches
}

/// Appends a match, joined with the last one where it goes on from there.
fn push(matches: &mut Vec<Match>, found: Match) {
    if found.length == 0 {
        return;
    }
    if let Some(last) = matches.last_mut()
        && last.start + last.length == found.start
        && last.position + last.length == found.position
    {
        last.length += found.length;
        return;
    }
    matches.push(found);
}

/// Which window of the old file each part of the new one is searched in. `old_part` and `new_part` are where the files
/// differ; a window lies around the place in the old part that is as far along as the part is in the new one, and reaches
/// at least half its length past what the part itself would cover.
fn windows(
    old_length: usize,
    old_part: Range<usize>,
    new_part: Range<usize>,
    window_bytes: usize,
) -> Vec<(Range<usize>, Range<usize>)> {
    if old_length <= window_bytes {
        return vec![(0..old_length, new_part)];
    }
    let count = old_part.len().div_ceil((window_bytes / 2).max(1)).clamp(1, new_part.len().max(1));
    let along = |range: &Range<usize>, numerator: usize, denominator: usize| {
        let offset = range.len() as u128 * numerator as u128 / denominator as u128;
        range.start + usize::try_from(offset).unwrap_or(range.len())
    };
    let window = |index: usize| {
        let middle = along(&old_part, 2 * index + 1, 2 * count);
        let start = middle.saturating_sub(window_bytes / 2).min(old_length - window_bytes);
        start..start + window_bytes
    };
    (0..count)
        .map(|index| (window(index), along(&new_part, index, count)..along(&new_part, index + 1, count)))
        .collect()
}

/// Searches one part of the new file in one window of the old.
fn search(old: &[u8], new: &[u8], (window, part): (Range<usize>, Range<usize>), matches: &mut Vec<Match>) {
    if window.is_empty() || part.is_empty() {
        return;
    }
    let (old_kept, new_kept) = (Kept::of(old, window), Kept::of(new, part));
    let mut controls = Controls::default();
    bsdiff::diff(&old_kept.join(old), &new_kept.join(new), &mut controls)
        .expect("because a writer that only counts does not fail");
    for found in controls.matches {
        let mut position = found.position;
        for range in new_kept.ranges(found.start..found.start + found.length) {
            let mut start = range.start;
            for source in old_kept.ranges(position..position + range.len()) {
                push(matches, Match { start, position: source.start, length: source.len() });
                start += source.len();
            }
            position += range.len();
        }
    }
}

/// Length of a control in the matcher's stream: how many bytes to add, how many to copy, how far to seek.
const CONTROL_BYTES: usize = 24;

/// Takes the matches off the matcher's stream as it is written, and drops the data.
#[derive(Default)]
struct Controls {
    matches: Vec<Match>,
    control: Vec<u8>,
    /// How many bytes of data come before the next control.
    data: usize,
    start: usize,
    position: usize,
}

impl Controls {
    fn control(&mut self) -> io::Result<()> {
        let field = |index: usize| {
            let bytes = self.control[index * 8..index * 8 + 8].try_into().expect("because there are eight");
            u64::from_le_bytes(bytes)
        };
        let length = |index| usize::try_from(field(index)).map_err(io::Error::other);
        let (add, copy) = (length(0)?, length(1)?);
        // The sign is a bit of its own.
        let magnitude = usize::try_from(field(2) & !(1 << 63)).map_err(io::Error::other)?;
        let end = self.position + add;
        let position =
            if field(2) >> 63 == 0 { end.checked_add(magnitude) } else { end.checked_sub(magnitude) };
        push(&mut self.matches, Match { start: self.start, position: self.position, length: add });
        self.start += add + copy;
        self.position = position.ok_or(io::ErrorKind::InvalidData)?;
        self.data = add + copy;
        self.control.clear();
        Ok(())
    }
}

impl Write for Controls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.data > 0 {
            let count = self.data.min(bytes.len());
            self.data -= count;
            return Ok(count);
        }
        let count = (CONTROL_BYTES - self.control.len()).min(bytes.len());
        self.control.extend_from_slice(&bytes[..count]);
        if self.control.len() == CONTROL_BYTES {
            self.control()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
