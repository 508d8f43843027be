//! What was seen in one of very many contexts, in two bytes.

/// How a probability moves: by this part of the error, in 65,536ths, for how often the slot has learned.
const RATES: [i32; 8] = [32_768, 22_000, 16_384, 13_000, 10_500, 9_500, 8_500, 8_000];

/// The probability that the next bit in some context is 1, in 13 bits, and in 3 bits how often it has learned. Less exact than a
/// [`Bit`](crate::Bit), for tables that decide by their size how much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u16);

impl Slot {
    pub(crate) const NEW: Self = Self(4_096 << 3);

    /// What is no probability, but a check of what the slots beside are for.
    #[inline]
    pub(crate) const fn check(check: u16) -> Self {
        Self(check)
    }

    /// The probability of a 1 in 65,536ths.
    #[inline]
    pub(crate) const fn one(self) -> u32 {
        self.0 as u32 & 0xfff8 | 4
    }

    /// How often it has learned, up to 7.
    #[inline]
    pub(crate) const fn seen(self) -> usize {
        (self.0 & 7) as usize
    }

    /// Learns a bit.
    #[inline]
    pub(crate) fn learn(&mut self, bit: bool) {
        let (one, seen) = (i32::from(self.0 >> 3), self.seen());
        let target = if bit { 8_191 } else { 0 };
        let one = one + (((target - one) * RATES[seen] + 32_768) >> 16);
        self.0 = (one as u16) << 3 | (seen + usize::from(seen < 7)) as u16;
    }
}
