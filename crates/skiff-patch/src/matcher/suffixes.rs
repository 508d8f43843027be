//! Longest matches, by the sorted suffixes of the window.

use libsais::SuffixArrayConstruction;

use super::{Found, SHORTEST, common_prefix};

/// The most suffixes that 32 bits number.
pub(super) const WINDOW_BYTES_MAX: usize = i32::MAX as usize - 1;
/// Prefixes of that many bytes select where the search begins.
const PREFIX_BYTES: u32 = 3;
/// How many suffixes beside the place are looked at, each way: those that are about as long may lie better.
const NEIGHBOURS: usize = 3;
/// What is equal for so long is good enough: bounds the search in data that repeats itself.
const ENOUGH: usize = 1 << 10;

/// The sorted suffixes of a window.
pub(super) struct Suffixes<'a> {
    text: &'a [u8],
    sorted: Vec<i32>,
    /// Where the suffixes that begin with each prefix begin, and the end.
    buckets: Vec<u32>,
    /// How many bits of a prefix the buckets leave out.
    shift: u32,
}

/// What [`Suffixes::of`] holds for a window of that many bytes.
pub(super) fn memory(window: u64) -> u64 {
    window.saturating_mul(5) + (64 << 10)
}

impl<'a> Suffixes<'a> {
    /// Takes four bytes for each of the window, and one for the buckets. None where the text is too long.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        let sorted = SuffixArrayConstruction::for_text(text).in_owned_buffer32().single_threaded().run();
        let sorted = sorted.ok()?.into_vec();
        let bits = (text.len() / 4).max(256).ilog2().min(8 * PREFIX_BYTES);
        let shift = 8 * PREFIX_BYTES - bits;
        let mut buckets = vec![0; (1 << bits) + 1];
        for at in 0..text.len() {
            buckets[(prefix(&text[at..]) >> shift) + 1] += 1;
        }
        let mut sum = 0;
        for bucket in &mut buckets {
            sum += *bucket;
            *bucket = sum;
        }
        Some(Self { text, sorted, buckets, shift })
    }

    fn suffix(&self, index: usize) -> (usize, &'a [u8]) {
        let position = self.sorted[index] as usize;
        (position, &self.text[position..])
    }

    /// Where `pattern` would stand among the suffixes.
    fn place(&self, pattern: &[u8]) -> usize {
        let bucket = prefix(pattern) >> self.shift;
        let (mut low, mut high) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        // How much of the pattern the suffixes at both ends are known to have.
        let (mut low_common, mut high_common) = (0, 0);
        while low < high {
            let middle = low + (high - low) / 2;
            let (_, suffix) = self.suffix(middle);
            let known = low_common.min(high_common);
            let common = known + common_prefix(&suffix[known..], &pattern[known..]);
            if common >= ENOUGH {
                return middle;
            }
            if suffix.get(common) < pattern.get(common) {
                (low, low_common) = (middle + 1, common);
            } else {
                (high, high_common) = (middle, common);
            }
        }
        low
    }

    /// Gives ranges of the window that are as the beginning of `pattern`, in a fixed order.
    pub(super) fn search(&self, pattern: &[u8], found: &mut Vec<Found>) {
        let pattern = &pattern[..pattern.len().min(ENOUGH)];
        let place = self.place(pattern);
        let at = |index: usize| {
            let (position, suffix) = self.suffix(index);
            Found { position, length: common_prefix(suffix, pattern) }
        };
        let (first, end) = (place.saturating_sub(NEIGHBOURS), (place + NEIGHBOURS).min(self.sorted.len()));
        let below = (first..place).next_back().map_or(0, |index| at(index).length);
        let above = (place..end).next().map_or(0, |index| at(index).length);
        let longest = below.max(above);
        if longest < SHORTEST {
            return;
        }
        let enough = SHORTEST.max(longest - longest / 4);
        let wanted = |found: &Found| found.length >= enough;
        found.extend((first..place).rev().map(at).take_while(wanted));
        found.extend((place..end).map(at).take_while(wanted));
    }
}

/// The first bytes, as a number that sorts as they do.
fn prefix(bytes: &[u8]) -> usize {
    let byte = |index: usize| usize::from(bytes.get(index).copied().unwrap_or(0));
    byte(0) << 16 | byte(1) << 8 | byte(2)
}
