//! What was seen in one context, as a probability.

use crate::Coder;

/// How a probability moves: by the n-th part of the error, where n grows with what was seen, so that the first bits teach
/// most. In 65,536ths.
static RATES: [u32; Bit::LIMIT as usize + 1] = rates();

const fn rates() -> [u32; Bit::LIMIT as usize + 1] {
    let mut table = [0; Bit::LIMIT as usize + 1];
    let mut seen = 0;
    while seen < table.len() {
        table[seen] = 131_072 / (2 * seen as u32 + 3);
        seen += 1;
    }
    table
}

/// The probability that the next bit in some context is 1. Begins at a half.
#[derive(Debug, Clone, Copy)]
pub struct Bit(u32);

impl Bit {
    /// Beyond so many bits a model only follows, and does not settle further.
    pub const LIMIT: u32 = 255;

    /// A model that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(1 << 31)
    }

    /// The probability of a 1 in 65,536ths, from 1 to 65,535.
    #[inline]
    #[must_use]
    pub const fn one(self) -> u32 {
        let one = self.0 >> 16;
        if one == 0 { 1 } else { one }
    }

    /// How many bits it has seen, up to its limit.
    #[inline]
    #[must_use]
    pub const fn seen(self) -> u32 {
        self.0 & 0x3ff
    }

    /// Learns a bit; `limit` is at most [`LIMIT`](Self::LIMIT).
    #[inline]
    pub fn learn(&mut self, bit: bool, limit: u32) {
        let (one, seen) = (self.0 >> 10, self.0 & 0x3ff);
        let rate = RATES[(seen & 0xff) as usize];
        let one = if bit {
            one + ((u64::from((1 << 22) - 1 - one) * u64::from(rate)) >> 16) as u32
        } else {
            one - ((u64::from(one) * u64::from(rate)) >> 16) as u32
        };
        self.0 = one << 10 | if seen < limit { seen + 1 } else { seen };
    }

    /// Codes a bit by this model alone.
    #[inline]
    pub fn code(&mut self, coder: &mut impl Coder, bit: bool) -> bool {
        let bit = coder.bit(bit, self.one());
        self.learn(bit, Self::LIMIT);
        bit
    }
}

impl Default for Bit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_stay_within_what_can_be_coded() {
        for bits in [[true, true], [false, false], [true, false]] {
            let mut model = Bit::new();
            for index in 0..100_000 {
                model.learn(bits[index % 2], Bit::LIMIT);
                assert!((1..65_536).contains(&model.one()));
            }
            assert_eq!(model.seen(), Bit::LIMIT);
        }
    }
}
