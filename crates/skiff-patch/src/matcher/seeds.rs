//! Equal ranges of some length, by a table of places in the window.

use super::common_prefix;

/// How many bytes must be equal.
const SEED: usize = 12;
/// How far apart the places are that the table knows.
const STRIDE: usize = 4;

pub(super) struct Seeds<'a> {
    text: &'a [u8],
    /// Places, divided by the stride; the first that hashed there.
    table: Vec<u32>,
    shift: u32,
}

const NONE: u32 = u32::MAX;

/// What [`Seeds::of`] holds for a window of that many bytes.
pub(super) fn memory(window: u64) -> u64 {
    2 * window + (64 << 10)
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

    /// Where something lies that begins as `pattern` does.
    pub(super) fn find(&self, pattern: &[u8]) -> Option<usize> {
        let place = self.table[(hash(pattern)? >> self.shift) as usize];
        let position = (place != NONE).then_some(place as usize * STRIDE)?;
        (common_prefix(&self.text[position..], &pattern[..SEED]) == SEED).then_some(position)
    }
}

fn hash(bytes: &[u8]) -> Option<u64> {
    let seed = bytes.first_chunk::<SEED>()?;
    let low = u64::from_le_bytes(*seed.first_chunk()?);
    let high = u64::from_le_bytes(*seed.last_chunk()?);
    // Odd numbers without a pattern: the fractions of the golden ratio and of the square root of three.
    Some((low.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high).wrapping_mul(0xbb67_ae85_84ca_a73b))
}
