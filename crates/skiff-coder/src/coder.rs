//! Bits and probabilities to bytes, and back.

use std::hint::black_box;

/// Codes bits, in one of the two directions.
pub trait Coder {
    /// Codes a bit that is 1 with a probability of `one` in 65,536, which is at least 1 and below that. An encoder takes
    /// `bit` and gives it back, a decoder does not look at it.
    fn bit(&mut self, bit: bool, one: u32) -> bool;
}

/// An interval that narrows with every bit. What both ends have in common is settled.
#[derive(Debug)]
struct Interval {
    low: u64,
    high: u64,
}

impl Interval {
    const fn new() -> Self {
        Self { low: 0, high: u64::MAX }
    }

    /// The last number of the part of a 1; those behind it are the part of a 0.
    fn middle(&self, one: u32) -> u64 {
        debug_assert!((1..1 << 16).contains(&one));
        self.low + ((self.high - self.low) >> 16) * u64::from(one)
    }

    fn narrow(&mut self, bit: bool, middle: u64) {
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
    }

    /// The next byte, where it is settled.
    fn settled(&mut self) -> Option<u8> {
        let byte = (self.low >> 56) as u8;
        if (self.low ^ self.high) >> 56 != 0 {
            return None;
        }
        self.low <<= 8;
        self.high = self.high << 8 | 0xff;
        Some(byte)
    }

    /// The number within that ends with the most zero bytes.
    fn roundest(&self) -> u64 {
        let rounded = (0..8).map(|bytes| self.high & u64::MAX.checked_shl(64 - 8 * bytes).unwrap_or(0));
        rounded.into_iter().find(|&number| number >= self.low).unwrap_or(self.high)
    }
}

/// How many bytes of a number stand before those that are 0 to its end.
fn significant(number: u64) -> usize {
    8 - (number.trailing_zeros() / 8) as usize
}

/// The coder that makes bytes of bits.
#[derive(Debug)]
pub struct Encoder {
    interval: Interval,
    bytes: Vec<u8>,
}

impl Encoder {
    /// An encoder that has coded nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { interval: Interval::new(), bytes: Vec::new() }
    }

    /// How many bytes are settled. Those that [`finish`](Self::finish) gives are up to eight more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte is settled yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, which decode to what was coded.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let number = self.interval.roundest();
        self.bytes.extend(&number.to_be_bytes()[..significant(number)]);
        self.bytes
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Coder for Encoder {
    #[inline]
    fn bit(&mut self, bit: bool, one: u32) -> bool {
        let middle = self.interval.middle(one);
        self.interval.narrow(bit, middle);
        while let Some(byte) = self.interval.settled() {
            self.bytes.push(byte);
        }
        bit
    }
}

/// The bytes are not what an [`Encoder`] makes of the bits that they decode to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the coded bytes do not end where the coded bits do")
    }
}

impl std::error::Error for Damaged {}

/// The coder that makes bits of bytes. Behind the last byte there are zeros without end.
#[derive(Debug)]
pub struct Decoder<'a> {
    interval: Interval,
    number: u64,
    bytes: &'a [u8],
    /// How many bytes were taken, or would have been.
    taken: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder of all of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { interval: Interval::new(), number: 0, bytes, taken: 0 };
        for _ in 0..8 {
            decoder.take();
        }
        decoder
    }

    #[inline]
    fn take(&mut self) {
        let byte = self.bytes.get(self.taken).copied().unwrap_or(0);
        self.number = self.number << 8 | u64::from(byte);
        self.taken = self.taken.saturating_add(1);
    }

    /// Whether the decoder is so far past the last byte that no encoder can have coded these bits. Ends loops on hostile
    /// bytes early; [`finish`](Self::finish) tells exactly.
    #[must_use]
    pub fn is_past_end(&self) -> bool {
        self.taken > self.bytes.len().saturating_add(8)
    }

    /// About how many bytes the bits so far took.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.taken.saturating_sub(8).min(self.bytes.len())
    }

    /// To be called behind the last bit.
    ///
    /// # Errors
    /// [`Damaged`] where the bytes are not those that an [`Encoder`] makes of the bits: these go on, or end early.
    pub fn finish(self) -> Result<(), Damaged> {
        // The number is the last eight bytes; those before them are settled.
        let number = self.interval.roundest();
        let is_whole = self.number == number && self.bytes.len() == self.taken - 8 + significant(number);
        if is_whole { Ok(()) } else { Err(Damaged) }
    }
}

impl Coder for Decoder<'_> {
    #[inline]
    fn bit(&mut self, _: bool, one: u32) -> bool {
        let middle = self.interval.middle(one);
        // The bit comes out of a branch, and not out of the comparison: what follows then goes on by what the processor predicts, which is
        // right for most bits, and need not wait for all that went into `one`. A quarter less time for numbers.
        let bit = if self.number <= middle { black_box(true) } else { black_box(false) };
        self.interval.narrow(bit, middle);
        while self.interval.settled().is_some() {
            self.take();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back(bits in vec((any::<bool>(), 1_u32..65_536), 0..3_000)) {
            let mut encoder = Encoder::new();
            for &(bit, one) in &bits {
                encoder.bit(bit, one);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            for &(bit, one) in &bits {
                prop_assert_eq!(decoder.bit(false, one), bit);
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn only_the_encoders_bytes_are_whole(bits in vec((any::<bool>(), 1_u32..65_536), 1..300), more in 1_u8..) {
            let mut encoder = Encoder::new();
            for &(bit, one) in &bits {
                encoder.bit(bit, one);
            }
            let bytes = encoder.finish();
            for other in [[&bytes[..], &[more]].concat(), [&bytes[..], &[0]].concat()] {
                let mut decoder = Decoder::new(&other);
                let is_same = bits.iter().fold(true, |is_same, &(bit, one)| is_same & (decoder.bit(false, one) == bit));
                prop_assert!(!is_same || decoder.finish() == Err(Damaged));
            }
        }

        #[test]
        fn any_bytes_decode(bytes in vec(any::<u8>(), 0..40), ones in vec(1_u32..65_536, 0..2_000)) {
            let mut decoder = Decoder::new(&bytes);
            let mut encoder = Encoder::new();
            for &one in &ones {
                let bit = decoder.bit(false, one);
                encoder.bit(bit, one);
            }
            let again = encoder.finish();
            prop_assert_eq!(decoder.finish().is_ok(), again == bytes);
        }
    }

    #[test]
    fn what_is_expected_takes_next_to_nothing() {
        let mut encoder = Encoder::new();
        for _ in 0..65_536 {
            encoder.bit(true, 65_535);
        }
        assert!(encoder.finish().len() <= 2);
    }
}
