//! Equal ranges of some length, by a table of places in the window.

use super::Found;
use super::common_prefix;
use super::search::Index;

/// How many bytes must be equal.
const SEED: usize = 16;
/// How far apart the places are that the table knows.
const STRIDE: usize = 8;
/// An equal range of that many bytes is looked at, at most.
const ENOUGH: usize = 1 << 10;

pub(super) struct Seeds<'a> {
    text: &'a [u8],
    /// Places, divided by the stride; the first that hashed there.
    table: Vec<u32>,
    shift: u32,
}

const NONE: u32 = u32::MAX;

/// What [`Seeds::of`] holds for a window of that many bytes.
pub(super) fn memory(window: u64) -> u64 {
    window + (64 << 10)
}

impl<'a> Seeds<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        let bits = (text.len() / STRIDE * 2).max(256).ilog2();
        let shift = 64 - bits;
        let mut table = vec![NONE; 1 << bits];
        for (index, place) in text.windows(SEED).step_by(STRIDE).enumerate() {
            if let Some(hash) = hash(place) {
                let slot = &mut table[(hash >> shift) as usize];
                if *slot == NONE {
                    *slot = index as u32;
                }
            }
        }
        Self { text, table, shift }
    }
}

impl Index for Seeds<'_> {
    fn search(&self, pattern: &[u8], found: &mut Vec<Found>) {
        let Some(hash) = hash(pattern) else { return };
        let place = self.table[(hash >> self.shift) as usize];
        if place == NONE {
            return;
        }
        let position = place as usize * STRIDE;
        let length = common_prefix(&self.text[position..], &pattern[..pattern.len().min(ENOUGH)]);
        if length >= SEED {
            found.push(Found { position, length });
        }
    }
}

fn hash(bytes: &[u8]) -> Option<u64> {
    let seed = u128::from_le_bytes(*bytes.first_chunk::<SEED>()?);
    let (low, high) = (seed as u64, (seed >> 64) as u64);
    // Odd numbers without a pattern: the fractions of the golden ratio and of the square root of three.
    Some((low.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high).wrapping_mul(0xbb67_ae85_84ca_a73b))
}
