//! Bytes by those before them.

use crate::{Bytes, Coder, Expected, Sets};

/// A place among so many bytes before, where the last few were the same.
const MATCHES: usize = 1 << 16;
/// How many bytes must be the same.
const MATCH_BYTES: u32 = 5;
/// The contexts of [`Text`].
const TEXT: usize = 8;

/// Slots follow quickly: 6,000 takes 1 % less than 3,000, where literals are a few here and there.
const SETTLED: u16 = 6_000;

/// How much is remembered, for what followed the last time.
const HISTORY: usize = 2 << 20;

/// What bytes are of, which decides what they depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, tables, and whatever is not known.
    Text,
    /// Machine code.
    Code,
}

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
    /// For how many bytes what stood beside was right.
    held: u32,
}

impl Text {
    const BITS: u32 = 18;
    const SETS: Sets = Sets { fine: 8, coarse: 64 };

    /// What a model holds, in bytes.
    pub const MEMORY: u64 =
        Bytes::<TEXT>::memory(Self::BITS, Self::SETS) + HISTORY as u64 + MATCHES as u64 * 4;

    /// A model that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: Bytes::new(Self::BITS, Self::SETS, SETTLED),
            history: Vec::new(),
            seen: vec![0; MATCHES],
            follows: None,
            recent: 0,
            word: 0,
            held: 0,
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
    pub fn code(&mut self, coder: &mut impl Coder, byte: u8, beside: u32, kind: Kind) -> u8 {
        let recent = self.recent;
        let follows = self.follows.map(|(place, length)| {
            let class = if length < 16 { length } else { 16 + (length / 8).min(15) };
            Expected { byte: self.history[place], class: class as u8 }
        });
        let near = u8::try_from(beside).ok().map(|byte| Expected { byte, class: self.held.min(31) as u8 });
        let contexts = match kind {
            Kind::Text => self.text_contexts(beside),
            Kind::Code => self.code_contexts(beside),
        };
        let fine = match self.follows.map_or(0, |(_, length)| length) {
            0 => 0,
            1..=4 => 1,
            5..=14 => 2,
            _ => 3,
        };
        let fine = fine + if kind == Kind::Code { 4 } else { 0 };
        let coarse = (recent >> 5 & 7) * 8 + (recent >> 13 & 7);
        let sets = Sets { fine, coarse: coarse as usize };
        let byte = self.bytes.code(coder, byte, &contexts, &[follows, near], sets);
        self.held = if beside == u32::from(byte) { self.held.saturating_add(1) } else { 0 };
        self.learn(byte);
        byte
    }

    fn text_contexts(&self, beside: u32) -> [u32; TEXT] {
        let recent = self.recent as u32;
        [
            hash(0, beside.into()),
            hash(1, self.last(1)),
            hash(2, self.last(2)),
            hash(3, self.last(3)),
            hash(4, self.last(5)),
            hash(5, self.word.into()),
            hash(6, self.last(3) >> 8),
            hash(7, (recent & 0xf0f0_f0ff).into()),
        ]
    }

    /// Instructions are fields of bytes: single ones of those before tell more than longer runs.
    fn code_contexts(&self, beside: u32) -> [u32; TEXT] {
        let recent = self.recent as u32;
        [
            hash(8, u64::from(beside << 8 | recent & 0xff)),
            hash(1, self.last(1)),
            hash(2, self.last(2)),
            hash(3, self.last(3)),
            hash(9, self.last(2) >> 8),
            hash(10, self.last(3) >> 16),
            hash(6, self.last(3) >> 8),
            hash(11, (recent & 0xffe0_e0f8).into()),
        ]
    }

    /// The last so many bytes, at most 7.
    fn last(&self, bytes: u32) -> u64 {
        self.recent & ((1 << (8 * bytes)) - 1)
    }

    fn learn(&mut self, byte: u8) {
        self.recent = self.recent << 8 | u64::from(byte);
        self.word = word(self.word, byte);
        self.follows = match self.follows {
            Some((place, length)) if self.history[place] == byte => {
                Some((place + 1, length.saturating_add(1)))
            }
            _ => None,
        };
        if self.history.len() == HISTORY {
            self.history.clear();
            self.seen.fill(0);
            self.follows = None;
        }
        self.history.push(byte);
        let kept = self.recent & (u64::MAX >> (64 - 8 * MATCH_BYTES));
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

/// A context of its own for each number and what it is of.
fn hash(number: u64, of: u64) -> u32 {
    ((of ^ number << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
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
            text.code(&mut encoder, byte, 0x100, Kind::Text);
        }
        encoder.finish()
    }

    fn decoded(coded: &[u8], length: usize) -> Vec<u8> {
        let (mut decoder, mut text) = (Decoder::new(coded), Text::new());
        (0..length).map(|_| text.code(&mut decoder, 0, 0x100, Kind::Text)).collect()
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
