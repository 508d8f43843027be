//! Leaving out what repeats itself.
//!
//! The matcher's binary search compares suffixes to their first difference, and among equal ones takes the shortest, so
//! that it moves on byte by byte: 1 MiB of zeros in 1 MiB of zeros takes 9 seconds, and four times that for twice as much.

use std::borrow::Cow;
use std::ops::Range;

/// Longest period that is looked for.
const PERIOD: usize = 4 << 10;
/// Shortest stretch that is left out. Below, the matcher's quadratic time is some milliseconds.
const STRETCH: usize = 16 << 10;
/// How many bytes must come again for a period to be tried.
const PROBE: usize = 32;

/// The ranges of a file that do not repeat themselves, in order, and the file they make when joined.
pub(super) struct Kept {
    ranges: Vec<Range<usize>>,
    /// Where each range begins in the joined file.
    starts: Vec<usize>,
}

impl Kept {
    /// What is kept of `part` of `bytes`.
    pub(super) fn of(bytes: &[u8], part: Range<usize>) -> Self {
        let mut kept = Self { ranges: Vec::new(), starts: Vec::new() };
        let (mut joined, mut from, mut at) = (0, part.start, part.start);
        while part.end - at >= STRETCH {
            let Some(end) = stretch(&bytes[..part.end], at) else {
                at += PERIOD;
                continue;
            };
            joined = kept.push(joined, from..at);
            (from, at) = (end, end);
        }
        kept.push(joined, from..part.end);
        kept
    }

    /// The joined file.
    pub(super) fn join<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.ranges[..] {
            [] => Cow::Borrowed(&[]),
            [range] => Cow::Borrowed(&bytes[range.clone()]),
            ranges => Cow::Owned(ranges.iter().flat_map(|range| &bytes[range.clone()]).copied().collect()),
        }
    }

    /// Which ranges of the file those of the joined one are.
    pub(super) fn ranges(&self, joined: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let first = self.starts.partition_point(|&start| start <= joined.start).saturating_sub(1);
        let end = self.starts.partition_point(|&start| start < joined.end).max(first);
        self.ranges[first..end].iter().zip(&self.starts[first..end]).map(move |(range, &start)| {
            let from = joined.start.max(start) - start;
            let to = (joined.end - start).min(range.len());
            range.start + from..range.start + to
        })
    }

    fn push(&mut self, joined: usize, range: Range<usize>) -> usize {
        let end = joined + range.len();
        if !range.is_empty() {
            self.ranges.push(range);
            self.starts.push(joined);
        }
        end
    }
}

/// Where the repetitive stretch that begins at `at` ends, if there is one.
fn stretch(bytes: &[u8], at: usize) -> Option<usize> {
    let probe = &bytes[at..at + PROBE];
    let again = bytes[at + 1..at + PERIOD + PROBE].windows(PROBE).position(|window| window == probe)?;
    let period = again + 1;
    let same =
        bytes[at..].iter().zip(&bytes[at + period..]).take_while(|(left, right)| left == right).count();
    let length = same + period;
    (length >= STRETCH).then_some(at + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn stretches_are_left_out_and_found_again() {
        let noise = noise(20_000);
        let period: Vec<u8> = noise[..1_000].repeat(40);
        let file = [&noise[..], &[0; 50_000], &noise, &period, &noise[..9_000]].concat();
        let kept = Kept::of(&file, 0..file.len());
        assert_eq!(kept.ranges.len(), 3);
        let joined = kept.join(&file);
        assert!(joined.len() < 49_000 + 3 * PERIOD, "{}", joined.len());

        let part = 19_000..joined.len() - 10;
        let again: Vec<u8> = kept.ranges(part.clone()).flat_map(|range| &file[range]).copied().collect();
        assert!(again == joined[part]);
    }

    #[test]
    fn what_does_not_repeat_is_kept_whole() {
        let file = [noise(30_000), vec![0; STRETCH - 1], noise(100)].concat();
        let kept = Kept::of(&file, 10..file.len());
        assert_eq!((kept.ranges.len(), kept.ranges[0].clone()), (1, 10..file.len()));
    }
}
