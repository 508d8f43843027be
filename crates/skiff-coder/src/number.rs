//! Numbers of any size, small ones cheaply.

use crate::{Bit, Coder};

/// How many of a number's bits, below its first, are learned; the rest are as likely 0 as 1.
const LEARNED: u32 = 4;
const HALF: u32 = 1 << 15;

/// Numbers of 64 bits, by how many bits they have (in unary, so that what is usual is cheap) and then those bits.
#[derive(Debug, Clone)]
pub struct Number {
    lengths: [Bit; 64],
    bits: [[Bit; 1 << LEARNED]; 65],
}

impl Number {
    /// A model that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { lengths: [Bit::new(); 64], bits: [[Bit::new(); 1 << LEARNED]; 65] }
    }

    /// Codes a number.
    pub fn code(&mut self, coder: &mut impl Coder, number: u64) -> u64 {
        let length = (64 - number.leading_zeros()) as usize;
        let mut coded = 0;
        while coded < 64 && self.lengths[coded].code(coder, coded < length) {
            coded += 1;
        }
        let Some(below) = coded.checked_sub(1) else { return 0 };
        let mut value = 1_u64;
        let mut node = 1;
        for (index, place) in (0..below).rev().enumerate() {
            let bit = number >> place & 1 == 1;
            let bit = if index < LEARNED as usize {
                let bit = self.bits[coded][node].code(coder, bit);
                node = node * 2 + usize::from(bit);
                bit
            } else {
                coder.bit(bit, HALF)
            };
            value = value << 1 | u64::from(bit);
        }
        value
    }
}

impl Default for Number {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers of either sign.
#[derive(Debug, Clone, Default)]
pub struct Signed {
    is_zero: Bit,
    is_negative: Bit,
    magnitude: Number,
}

impl Signed {
    /// A model that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { is_zero: Bit::new(), is_negative: Bit::new(), magnitude: Number::new() }
    }

    /// Codes a number; −2⁶³ decodes for no bits that were coded, and is given for some that were not.
    pub fn code(&mut self, coder: &mut impl Coder, number: i64) -> i64 {
        if self.is_zero.code(coder, number == 0) {
            return 0;
        }
        let is_negative = self.is_negative.code(coder, number < 0);
        let magnitude = self.magnitude.code(coder, number.unsigned_abs().wrapping_sub(1));
        let magnitude = magnitude.wrapping_add(1) as i64;
        if is_negative { magnitude.wrapping_neg() } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, Encoder};
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in vec((any::<u64>(), 0_u32..64, any::<i64>()), 0..200)) {
            let numbers: Vec<(u64, i64)> = numbers.into_iter().map(|(n, by, s)| (n >> by, s >> by)).collect();
            let mut encoder = Encoder::new();
            let (mut unsigned, mut signed) = (Number::new(), Signed::new());
            for &(number, other) in &numbers {
                unsigned.code(&mut encoder, number);
                signed.code(&mut encoder, other);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let (mut unsigned, mut signed) = (Number::new(), Signed::new());
            for &(number, other) in &numbers {
                prop_assert_eq!(unsigned.code(&mut decoder, 0), number);
                prop_assert_eq!(signed.code(&mut decoder, 0), other);
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_numbers(bytes in vec(any::<u8>(), 0..100)) {
            let mut decoder = Decoder::new(&bytes);
            let (mut unsigned, mut signed) = (Number::new(), Signed::new());
            for _ in 0..100 {
                unsigned.code(&mut decoder, 0);
                signed.code(&mut decoder, 0);
            }
        }
    }
}
