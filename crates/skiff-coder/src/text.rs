//! Bytes by those before them.

use crate::{Bytes, Coder, Damaged, Decoder, Encoder, Expected, Sets};

/// How much is remembered, for what followed the last time.
const HISTORY: usize = 2 << 20;
/// Places where the last few bytes were seen before.
const SEEN: usize = 1 << 16;
/// How many bytes must be the same. Seven take 0.1 % more of literals, and 0.2 % more of text.
const SAME_BYTES: u32 = 4;
/// Contexts of a byte. With eight, of the twenty tried, it decodes by an eighth faster than with nine.
const CONTEXTS: usize = 8;

/// What bytes are of, which decides what they depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, tables, and whatever is not known.
    Text,
    /// Machine code.
    Code,
}

/// Bytes by those before them, the word they stand in, and what followed the last time.
///
/// ```
/// use skiff_coder::Text;
///
/// let coded = Text::encode(b"a rose is a rose is a rose");
/// assert!(coded.len() < 20);
/// assert_eq!(Text::decode(&coded, 26)?, b"a rose is a rose is a rose");
/// # Ok::<(), skiff_coder::Damaged>(())
/// ```
#[derive(Debug, Clone)]
pub struct Text {
    bytes: Bytes<CONTEXTS>,
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
        Bytes::<CONTEXTS>::memory(Self::BITS, Self::SETS) + HISTORY as u64 + SEEN as u64 * 4;

    /// A model that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: Bytes::new(Self::BITS, Self::SETS),
            history: Vec::new(),
            seen: vec![0; SEEN],
            follows: None,
            recent: 0,
            word: 0,
            held: 0,
        }
    }

    /// Compresses bytes that stand alone.
    #[must_use]
    pub fn encode(bytes: &[u8]) -> Vec<u8> {
        let (mut encoder, mut text) = (Encoder::new(), Self::new());
        for &byte in bytes {
            text.code(&mut encoder, byte, None, Kind::Text);
        }
        encoder.finish()
    }

    /// The `length` bytes that were compressed. Takes [`MEMORY`](Self::MEMORY) and what it gives, and time for that.
    ///
    /// # Errors
    /// [`Damaged`] where `coded` is not what [`encode`](Self::encode) gives for so many bytes.
    pub fn decode(coded: &[u8], length: usize) -> Result<Vec<u8>, Damaged> {
        let (mut decoder, mut text) = (Decoder::new(coded), Self::new());
        let mut bytes = Vec::new();
        while bytes.len() < length {
            if decoder.is_past_end() {
                return Err(Damaged);
            }
            bytes.push(text.code(&mut decoder, 0, None, Kind::Text));
        }
        decoder.finish().map(|()| bytes)
    }

    /// Takes note of bytes that are known anyway, as what stands before the next one.
    pub fn passed(&mut self, bytes: &[u8]) {
        for &byte in &bytes[bytes.len().saturating_sub(8)..] {
            self.recent = self.recent << 8 | u64::from(byte);
            self.word = word(self.word, byte);
        }
        self.follows = None;
    }

    /// Codes a byte. `beside` is one that it may be like, if there is any.
    pub fn code(&mut self, coder: &mut impl Coder, byte: u8, beside: Option<u8>, kind: Kind) -> u8 {
        let recent = self.recent;
        let follows = self.follows.map(|(place, length)| {
            let class = if length < 16 { length } else { 16 + (length / 8).min(15) };
            Expected { byte: self.history[place], class: class as u8 }
        });
        let near = beside.map(|byte| Expected { byte, class: self.held.min(31) as u8 });
        let code = beside.map_or(0x100, u32::from);
        let contexts = match kind {
            Kind::Text => self.text_contexts(code),
            Kind::Code => self.code_contexts(code),
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
        self.held = if beside == Some(byte) { self.held.saturating_add(1) } else { 0 };
        self.learn(byte);
        byte
    }

    fn text_contexts(&self, beside: u32) -> [u32; CONTEXTS] {
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
    fn code_contexts(&self, beside: u32) -> [u32; CONTEXTS] {
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
        let kept = self.recent & (u64::MAX >> (64 - 8 * SAME_BYTES));
        let hash = (kept.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize & (SEEN - 1);
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
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn bytes_come_back(bytes in vec((0_u8..4, any::<Option<u8>>(), any::<bool>()), 0..2_000)) {
            let kind = |is_code| if is_code { Kind::Code } else { Kind::Text };
            let (mut encoder, mut text) = (Encoder::new(), Text::new());
            for &(byte, beside, is_code) in &bytes {
                text.code(&mut encoder, byte, beside, kind(is_code));
            }
            let coded = encoder.finish();
            let (mut decoder, mut text) = (Decoder::new(&coded), Text::new());
            for &(byte, beside, is_code) in &bytes {
                prop_assert_eq!(text.code(&mut decoder, 0, beside, kind(is_code)), byte);
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn strings_come_back(bytes in vec(0_u8..4, 0..2_000)) {
            prop_assert_eq!(Text::decode(&Text::encode(&bytes), bytes.len()), Ok(bytes));
        }

        #[test]
        fn any_bytes_decode_or_are_damaged(bytes in vec(any::<u8>(), 0..200), length in 0_usize..500) {
            if let Ok(decoded) = Text::decode(&bytes, length) {
                prop_assert_eq!(Text::encode(&decoded), bytes);
            }
        }
    }

    #[test]
    fn a_length_that_was_only_promised_takes_nothing() {
        assert_eq!(Text::decode(&Text::encode(&[1, 2, 3]), usize::MAX), Err(Damaged));
    }

    #[test]
    fn a_history_that_is_full_begins_anew() {
        let bytes: Vec<u8> = (0..HISTORY + 5_000).map(|index| (index / 3_000) as u8 ^ index as u8).collect();
        assert_eq!(Text::decode(&Text::encode(&bytes), bytes.len()), Ok(bytes));
    }

    #[test]
    fn what_repeats_costs_little() {
        let words: Vec<u8> =
            (0..200_u32).flat_map(|n| (n.wrapping_mul(0x9e37_79b1) >> 8).to_le_bytes()).collect();
        assert!(Text::encode(&words.repeat(8)).len() < words.len() * 5 / 4);
    }
}
