//! Which ranges of the old file the new one is like.
//!
//! Where time matters more, by [`greedy`]. Else in three steps, interleaved: an index of the old file ([`suffixes`]) gives ranges
//! that are equal; each is a hint that around it the files are alike at that *shift*, the distance between a byte's places
//! in both; and the cheapest way through all hints ([`path`]) says from which shift every byte is made.

mod files;
mod greedy;
mod path;
mod search;
mod seeds;
mod suffixes;

use std::num::NonZeroU32;
use std::ops::Range;

use files::Files;

/// How files are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// The most bytes of the old file that are indexed at once: a longer one is searched in windows that move along it as
    /// the new one is gone through. Twice as many with [`Effort::Fast`].
    pub(crate) window_bytes: NonZeroU32,
    pub(crate) effort: Effort,
}

impl Options {
    /// The table of the fast search takes less than half of what suffixes take, so that its window may have twice the bytes.
    fn window(&self) -> u64 {
        let window_bytes = u64::from(self.window_bytes.get());
        match self.effort {
            Effort::Fast => window_bytes * 2,
            Effort::Default => window_bytes,
        }
    }
}

/// How much time is spent on finding more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Effort {
    /// Finds most of what is equal for some 16 bytes and more, and what is like it around that.
    Fast,
    /// Finds all that is worth it.
    #[default]
    Default,
}

impl Effort {
    /// Searches one part of the new file in one window of the old.
    fn search(self, old: &[u8], new: &[u8], ranges: (Range<usize>, Range<usize>), matches: &mut Vec<Match>) {
        let files = Files { old, new };
        match self {
            Self::Fast => greedy::search(files, ranges, matches),
            Self::Default => search::search(files, ranges, matches),
        }
    }
}

/// `length` bytes of the new file from `start` on are nearly those of the old one from `position` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) position: usize,
    pub(crate) length: usize,
}

impl Match {
    /// The part of the match within `range`, which it touches.
    pub(crate) fn within(&self, range: &Range<usize>) -> Self {
        let start = self.start.max(range.start);
        let end = (self.start + self.length).min(range.end);
        Self { start, position: self.position + (start - self.start), length: end - start }
    }
}

/// The matches of two files, in the order of the new one, none empty and none overlapping another there.
///
/// Depends on the arguments alone. What both begin and end with needs no search.
pub(crate) fn find(old: &[u8], new: &[u8], options: &Options) -> Vec<Match> {
    let prefix = common_prefix(old, new);
    let suffix = common_suffix(&old[prefix..], &new[prefix..]);
    let mut matches = Vec::new();
    push(&mut matches, Match { start: 0, position: 0, length: prefix });
    let window_bytes =
        usize::try_from(options.window()).unwrap_or(usize::MAX).min(suffixes::WINDOW_BYTES_MAX);
    let (old_part, new_part) = (prefix..old.len() - suffix, prefix..new.len() - suffix);
    for (window, part) in windows(old.len(), old_part, new_part, window_bytes) {
        if !window.is_empty() && !part.is_empty() {
            options.effort.search(old, new, (window, part), &mut matches);
        }
    }
    let (start, position) = (new.len() - suffix, old.len() - suffix);
    push(&mut matches, Match { start, position, length: suffix });
    matches
}

/// The matches of two short files, where the new one is expected to begin as the old one goes on at a place.
pub(crate) fn find_from(old: &[u8], new: &[u8], expected: usize, effort: Effort) -> Vec<Match> {
    let mut matches = vec![Match { start: 0, position: expected, length: 0 }];
    if !old.is_empty() && !new.is_empty() {
        effort.search(old, new, (0..old.len(), 0..new.len()), &mut matches);
    }
    matches.retain(|found| found.length > 0);
    matches
}

/// How much memory [`find`] holds for files of these lengths, in bytes, beside the files: an estimate from above.
pub(crate) fn memory(old_length: u64, new_length: u64, options: &Options) -> u64 {
    let window = old_length.min(options.window());
    let index = match options.effort {
        Effort::Fast => seeds::memory(window),
        Effort::Default => suffixes::memory(window),
    };
    index.saturating_add(matches_memory(new_length)).saturating_add(search::MEMORY)
}

/// What the matches take, in bytes: each saves some bytes, or it would not be one.
pub(crate) fn matches_memory(new_length: u64) -> u64 {
    (new_length / 8).saturating_mul(2 * size_of::<Match>() as u64)
}

/// A range of the window that the new file goes on with.
#[derive(Debug, Clone, Copy)]
struct Found {
    position: usize,
    length: usize,
}

/// Shorter ones are not worth telling where they are.
const SHORTEST: usize = 8;
/// What moves in a table moves as far as its neighbours, so that bytes that differ by as much as those a row before are cheap.
/// Rows have 24 bytes in the tables of symbols and relocations of 64-bit executables, and divisors of that in others.
const ROW: usize = 24;

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

/// By which the last match was moved.
fn last_shift(matches: &[Match]) -> isize {
    matches.last().map_or(0, |last| last.position as isize - last.start as isize)
}

/// With how many bytes both begin.
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    const LANE: usize = 16;
    let lane = |bytes: &[u8; LANE]| u128::from_le_bytes(*bytes);
    let (left_lanes, right_lanes) = (left.as_chunks::<LANE>().0, right.as_chunks::<LANE>().0);
    let mut same = 0;
    for (left, right) in left_lanes.iter().zip(right_lanes) {
        let difference = lane(left) ^ lane(right);
        if difference != 0 {
            return same + difference.trailing_zeros() as usize / 8;
        }
        same += LANE;
    }
    same + left[same..].iter().zip(&right[same..]).take_while(|(left, right)| left == right).count()
}

/// With how many bytes both end.
fn common_suffix(left: &[u8], right: &[u8]) -> usize {
    left.iter().rev().zip(right.iter().rev()).take_while(|(left, right)| left == right).count()
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

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORTS: [Effort; 2] = [Effort::Fast, Effort::Default];

    fn noise(length: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    /// Finds matches, having seen that they are what they should be; gives how many bytes they leave, and how many differ.
    fn found(old: &[u8], new: &[u8], effort: Effort, window: u32) -> (Vec<Match>, usize) {
        let window_bytes = NonZeroU32::new(window).expect("a window");
        let matches = find(old, new, &Options { window_bytes, effort });
        let (mut end, mut wrong) = (0, 0);
        for found in &matches {
            assert!(found.length > 0 && found.start >= end, "{found:?} after {end}");
            wrong += found.start - end;
            end = found.start + found.length;
            let pairs = new[found.start..end].iter().zip(&old[found.position..found.position + found.length]);
            wrong += pairs.filter(|(new, old)| new != old).count();
        }
        let joined = matches.windows(2).all(|pair| {
            pair[0].start + pair[0].length < pair[1].start
                || pair[0].position + pair[0].length != pair[1].position
        });
        assert!(joined);
        (matches, wrong + new.len() - end)
    }

    #[test]
    fn moved_pieces_are_found_with_what_changed_in_them() {
        let old = noise(100_000, 1);
        let mut new = [&old[60_000..90_000], &noise(500, 2), &old[10_000..50_000]].concat();
        for at in (0..new.len()).step_by(97) {
            new[at] ^= 1;
        }
        for effort in EFFORTS {
            let (matches, wrong) = found(&old, &new, effort, 1 << 20);
            assert!(matches.len() == 2 && wrong < 500 + 70_500 / 97 + 10, "{effort:?}: {matches:?} {wrong}");
        }
    }

    #[test]
    fn what_repeats_itself_takes_no_longer() {
        let period = noise(1_000, 3).repeat(2_000);
        let zeros = vec![0; 2 << 20];
        let (head, tail) = (noise(1_000, 4), noise(1_000, 5));
        for effort in EFFORTS {
            for body in [&zeros, &period] {
                let old = [&head[..], body, &tail].concat();
                let new = [&tail[..], &body[..1 << 20], &head, body].concat();
                let (_, wrong) = found(&old, &new, effort, 16 << 20);
                assert!(wrong < 4_000, "{effort:?}: {wrong}");
            }
        }
    }

    #[test]
    fn a_window_that_moves_along_finds_what_lies_near() {
        let old = noise(400_000, 6);
        let new = [&noise(50, 7), &old[..200_000], &noise(70, 8), &old[200_000..]].concat();
        let (_, wrong) = found(&old, &new, Effort::Default, 100_000);
        assert!(wrong <= 130, "{wrong}");
    }

    #[test]
    fn nothing_in_common_and_nothing_at_all() {
        for effort in EFFORTS {
            assert!(found(&noise(10_000, 9), &noise(10_000, 10), effort, 1 << 20).0.len() < 3);
            assert!(found(b"", b"new", effort, 1).0.is_empty());
            assert!(found(b"old", b"", effort, 1).0.is_empty());
        }
    }
}
