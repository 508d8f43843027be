//! Bytes, by several contexts together.

use crate::{Bit, Coder, Mixer};

/// A line of models: the four bits of half a byte, as a tree.
const LINE: usize = 16;

/// Bytes by `N` contexts that the caller names for each.
///
/// Each context has a line of models for the first half of a byte and sixteen for the second, found by hashing. Lines are
/// shared where hashes meet.
#[derive(Debug, Clone)]
pub struct Bytes<const N: usize> {
    lines: Vec<[[Bit; LINE]; N]>,
    mixer: Mixer<N>,
    bits: u32,
    limit: u32,
}

impl<const N: usize> Bytes<N> {
    /// 2^`bits` lines for each of the `N` contexts (at most 20), 64 bytes each; `sets` sets of weights for each place in a byte. No model
    /// settles beyond `limit` bits, at most [`Bit::LIMIT`].
    #[must_use]
    pub fn new(bits: u32, sets: usize, limit: u32) -> Self {
        let bits = bits.clamp(1, 20);
        let lines = vec![[[Bit::new(); LINE]; N]; 1 << bits];
        Self { lines, mixer: Mixer::new(sets.max(1) * 2 * LINE), bits, limit: limit.min(Bit::LIMIT) }
    }

    /// What [`new`](Self::new) takes, in bytes.
    #[must_use]
    pub const fn memory(bits: u32, sets: usize) -> u64 {
        ((N * LINE * size_of::<Bit>()) << bits) as u64 + (sets * 2 * LINE * N * 32) as u64
    }

    /// Codes a byte in these contexts, with the weights of this set.
    #[inline]
    pub fn code(&mut self, coder: &mut impl Coder, byte: u8, contexts: &[u32; N], set: usize) -> u8 {
        let high = self.half(coder, byte >> 4, contexts, set * 2, 0);
        let low = self.half(coder, byte & 15, contexts, set * 2 + 1, u32::from(high) + 1);
        high << 4 | low
    }

    fn half(&mut self, coder: &mut impl Coder, half: u8, contexts: &[u32; N], set: usize, before: u32) -> u8 {
        let shift = 32 - self.bits;
        let before = before.wrapping_mul(0x3d4d_51cb);
        let places = contexts.map(|context| ((context ^ before).wrapping_mul(0x9e37_79b1) >> shift) as usize);
        let mut node = 1;
        for place in (0..4).rev() {
            let mut models = [Bit::new(); N];
            for index in 0..N {
                models[index] = self.lines[places[index]][index][node];
            }
            let opinion = self.mixer.mix(set * LINE + node, &models);
            let bit = coder.bit(half >> place & 1 == 1, opinion.one());
            self.mixer.learn(&opinion, bit);
            for index in 0..N {
                self.lines[places[index]][index][node].learn(bit, self.limit);
            }
            node = node * 2 + usize::from(bit);
        }
        (node & 15) as u8
    }
}

/// A place among so many bytes before, where the last few were the same.
const MATCHES: usize = 1 << 16;
/// How many bytes must be the same.
const MATCH_BYTES: usize = 5;
/// The contexts of [`Text`].
const TEXT: usize = 10;

/// Bytes by those before them: one to six of them, the word they stand in, and what followed the last time.
#[derive(Debug, Clone)]
pub struct Text {
    bytes: Bytes<TEXT>,
    history: Vec<u8>,
    /// Where the last bytes were seen before, by their hash: an index of the history, plus 1.
    seen: Vec<u32>,
    /// The index of the history that the next byte is expected to be like, if any, and for how many bytes that held.
    follows: Option<(usize, u32)>,
    recent: u64,
    word: u32,
}

/// How much is remembered, for what followed the last time.
const HISTORY: usize = 4 << 20;

impl Text {
    const BITS: u32 = 14;
    const SETS: usize = 4;

    /// What a model holds, in bytes.
    pub const MEMORY: u64 =
        Bytes::<TEXT>::memory(Self::BITS, Self::SETS) + HISTORY as u64 + MATCHES as u64 * 4;

    /// A model that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: Bytes::new(Self::BITS, Self::SETS, 20),
            history: Vec::new(),
            seen: vec![0; MATCHES],
            follows: None,
            recent: 0,
            word: 0,
        }
    }

    /// Takes note of bytes that are known anyway, as what stands before the next one.
    pub fn passed(&mut self, bytes: &[u8]) {
        for &byte in &bytes[bytes.len().saturating_sub(8)..] {
            self.recent = self.recent << 8 | u64::from(byte);
            self.word = word(self.word, byte);
        }
        self.follows = None;
    }

    /// Codes a byte. `beside` is whatever else tells about it.
    pub fn code(&mut self, coder: &mut impl Coder, byte: u8, beside: u32) -> u8 {
        let recent = self.recent;
        let order = |bytes: u32| {
            let kept = recent & (u64::MAX >> (64 - 8 * bytes));
            (kept.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 ^ bytes
        };
        let (expected, length) = match self.follows {
            Some((place, length)) => (u32::from(self.history[place]) + 1, length.min(15)),
            None => (0, 0),
        };
        let contexts = [
            order(1),
            order(2),
            order(3),
            order(4),
            order(6),
            ((recent as u32 >> 8) & 0xffff).wrapping_mul(0x2545_f491) ^ 0x1717,
            ((recent as u32) & 0xf0f0_f0ff).wrapping_mul(0x2545_f491) ^ 0x1919,
            self.word.wrapping_mul(0x2545_f491) ^ 0x77,
            (expected << 8 | length).wrapping_mul(0x2c1b_3c6d) ^ (recent as u32 & 0xff) ^ 0x5555,
            beside.wrapping_mul(0x2745_937f) ^ 0xaaaa,
        ];
        let set = match length {
            0 => 0,
            1..=4 => 1,
            5..=14 => 2,
            _ => 3,
        };
        let byte = self.bytes.code(coder, byte, &contexts, set);
        self.learn(byte);
        byte
    }

    fn learn(&mut self, byte: u8) {
        self.recent = self.recent << 8 | u64::from(byte);
        self.word = word(self.word, byte);
        self.follows = match self.follows {
            Some((place, length)) if self.history[place] == byte => Some((place + 1, length + 1)),
            _ => None,
        };
        if self.history.len() == HISTORY {
            self.history.clear();
            self.seen.fill(0);
            self.follows = None;
        }
        self.history.push(byte);
        let kept = self.recent & (u64::MAX >> (64 - 8 * MATCH_BYTES as u32));
        let hash = (kept.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize & (MATCHES - 1);
        if self.follows.is_none() {
            self.follows = (self.seen[hash] as usize).checked_sub(1).map(|place| (place + 1, 0));
            self.follows = self.follows.filter(|&(place, _)| place < self.history.len());
        }
        self.seen[hash] = self.history.len() as u32;
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

/// The letters and digits of the word so far, as a hash.
fn word(before: u32, byte: u8) -> u32 {
    if byte.is_ascii_alphanumeric() || byte >= 0x80 {
        (before ^ u32::from(byte)).wrapping_mul(0x0100_0193).wrapping_add(1)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, Encoder};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn coded(bytes: &[u8]) -> Vec<u8> {
        let (mut encoder, mut text) = (Encoder::new(), Text::new());
        for &byte in bytes {
            text.code(&mut encoder, byte, 0);
        }
        encoder.finish()
    }

    fn decoded(coded: &[u8], length: usize) -> Vec<u8> {
        let (mut decoder, mut text) = (Decoder::new(coded), Text::new());
        (0..length).map(|_| text.code(&mut decoder, 0, 0)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn bytes_come_back(bytes in vec(0_u8..4, 0..2_000)) {
            prop_assert_eq!(decoded(&coded(&bytes), bytes.len()), bytes);
        }

        #[test]
        fn any_bytes_decode(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&bytes, 500).len(), 500);
        }
    }

    #[test]
    fn what_repeats_costs_little() {
        let words: Vec<u8> =
            (0..200_u32).flat_map(|n| (n.wrapping_mul(0x9e37_79b1) >> 8).to_le_bytes()).collect();
        assert!(coded(&words.repeat(8)).len() < words.len() * 5 / 4);
    }
}
