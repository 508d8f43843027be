//! What was seen in one of very many contexts, in two bytes.

/// How a probability moves: by this part of the error, in 65,536ths, for how often the slot has learned.
const RATES: [u16; 8] = [32_768, 22_000, 16_384, 13_000, 10_500, 9_500, 8_500, 8_000];

/// So many slots learn side by side.
pub(crate) const SIDE_BY_SIDE: usize = 8;

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
        let mut slots = [*self; 1];
        Self::learn_together(&mut slots, bit);
        [*self] = slots;
    }

    /// All learn the same bit. In halves of products, without a branch and without a table, for machines that do so with eight
    /// numbers of 16 bits at once.
    #[inline(never)]
    pub(crate) fn learn_together<const N: usize>(slots: &mut [Self; N], bit: bool) {
        // A 1 is learned as a 0 of the opposite probability.
        let flip = if bit { 0xfff8 } else { 0 };
        let rounding = u16::from(!bit);
        for slot in slots {
            let (one, seen) = ((slot.0 ^ flip) >> 3, slot.0 & 7);
            let mut rate = RATES[7];
            for fewer in 0..7 {
                let more = RATES[fewer] - RATES[fewer + 1];
                rate = rate.wrapping_add(if seen <= fewer as u16 { more } else { 0 });
            }
            let upper = ((u32::from(one) * u32::from(rate)) >> 16) as u16;
            let lower = one.wrapping_mul(rate);
            // Halves are rounded towards a 1.
            let by = upper.wrapping_add(lower.saturating_sub(rounding) >> 15);
            slot.0 = (one.wrapping_sub(by) << 3 ^ flip) | (seen + 1).min(7);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What doc/format.md says, which decides.
    fn learned(Slot(slot): Slot, bit: bool) -> Slot {
        let (one, seen) = (i32::from(slot >> 3), usize::from(slot & 7));
        let target = if bit { 8_191 } else { 0 };
        let one = one + (((target - one) * i32::from(RATES[seen]) + 32_768) >> 16);
        Slot((one as u16) << 3 | (seen + usize::from(seen < 7)) as u16)
    }

    #[test]
    fn halves_of_products_come_to_the_same() {
        for slot in 0..=u16::MAX {
            let slots = std::array::from_fn(|lane| Slot(slot.wrapping_add(lane as u16)));
            for bit in [false, true] {
                let mut together: [Slot; SIDE_BY_SIDE] = slots;
                Slot::learn_together(&mut together, bit);
                assert_eq!(together, slots.map(|slot| learned(slot, bit)), "{slot:#x} {bit}");
            }
        }
    }
}
