//! Numbers of any size, small ones cheaply.

use crate::{Coder, Flags};

/// How many of a number's bits, below its first, are learned; the rest are as likely 0 as 1.
const LEARNED: u32 = 3;
const HALF: u32 = 1 << 15;
/// Contexts of each bit that is learned.
const CONTEXTS: usize = 4;
/// Places of each of them, as a power of two.
const BITS: u32 = 12;

/// Numbers of 64 bits, by how many bits they have and then those bits, in up to three contexts together.
#[derive(Debug, Clone)]
pub struct Number {
    flags: Flags<CONTEXTS>,
}

impl Number {
    /// What a model holds, in bytes.
    pub const MEMORY: u64 = Flags::<CONTEXTS>::memory(BITS, 2);

    /// A model that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { flags: Flags::new(BITS, 128) }
    }

    /// Codes a number in these contexts.
    pub fn code(&mut self, coder: &mut impl Coder, number: u64, contexts: &[u32; 3]) -> u64 {
        let length = 64 - number.leading_zeros();
        let mut node = 1;
        for place in (0..7).rev() {
            let bit = self.flag(coder, length >> place & 1 == 1, node, contexts, node as usize);
            node = node * 2 + u32::from(bit);
        }
        // Only a decoder of bytes that no encoder made gets more.
        let length = (node & 127).min(64);
        let Some(below) = length.checked_sub(1) else { return 0 };
        let mut value = 1_u64;
        let mut node = 1;
        for (index, place) in (0..below).rev().enumerate() {
            let bit = number >> place & 1 == 1;
            let bit = if index < LEARNED as usize {
                let bit = self.flag(coder, bit, length << 8 | node | 0x8000, contexts, 0);
                node = node * 2 + u32::from(bit);
                bit
            } else {
                coder.bit(bit, HALF)
            };
            value = value << 1 | u64::from(bit);
        }
        value
    }

    fn flag(
        &mut self,
        coder: &mut impl Coder,
        bit: bool,
        node: u32,
        contexts: &[u32; 3],
        set: usize,
    ) -> bool {
        let [first, second, third] = contexts.map(|context| hash(context, node));
        self.flags.code(coder, bit, [hash(0x5bd1_e995, node), first, second, third], set)
    }
}

fn hash(context: u32, node: u32) -> u32 {
    (context ^ node.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35).rotate_left(15)
}

impl Default for Number {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers of either sign.
#[derive(Debug, Clone, Default)]
pub struct Signed {
    signs: Number,
    magnitude: Number,
}

impl Signed {
    /// What a model holds, in bytes.
    pub const MEMORY: u64 = 2 * Number::MEMORY;

    /// A model that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Codes a number in these contexts; −2⁶³ decodes for no bits that were coded, and is given for some that were not.
    pub fn code(&mut self, coder: &mut impl Coder, number: i64, contexts: &[u32; 3]) -> i64 {
        let is_negative = self.signs.flag(coder, number < 0, 1, contexts, 0);
        let contexts = contexts.map(|context| context << 1 | u32::from(is_negative));
        let magnitude = self.magnitude.code(coder, number.unsigned_abs(), &contexts) as i64;
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
                unsigned.code(&mut encoder, number, &[0, 1, 2]);
                signed.code(&mut encoder, other, &[0, 1, 2]);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let (mut unsigned, mut signed) = (Number::new(), Signed::new());
            for &(number, other) in &numbers {
                prop_assert_eq!(unsigned.code(&mut decoder, 0, &[0, 1, 2]), number);
                prop_assert_eq!(signed.code(&mut decoder, 0, &[0, 1, 2]), other);
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_numbers(bytes in vec(any::<u8>(), 0..100)) {
            let mut decoder = Decoder::new(&bytes);
            let (mut unsigned, mut signed) = (Number::new(), Signed::new());
            for _ in 0..100 {
                unsigned.code(&mut decoder, 0, &[0, 1, 2]);
                signed.code(&mut decoder, 0, &[0, 1, 2]);
            }
        }
    }
}
