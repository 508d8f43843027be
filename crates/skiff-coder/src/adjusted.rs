//! Probabilities by what came of such ones before.

use crate::logistic::{LIMIT, squash};
use crate::mixer::nth;

/// How far the probabilities that are told apart lie from each other, in the logistic domain, as a power of two.
const STEP_BITS: i32 = 8;
/// The first of them.
const FIRST: i32 = -2_944;
/// How many there are: the last is not below [`LIMIT`].
const STEPS: usize = 24;
/// What was learned moves by this part of the error, as a power of two.
const RATE_BITS: u32 = 6;

/// For each of some contexts a table of what came of probabilities, after the adaptive probability maps of Matt Mahoney's PAQ.
#[derive(Debug, Clone)]
pub(crate) struct Adjusted {
    tables: Vec<Table>,
}

/// What came of the probabilities of one context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table([u16; STEPS]);

/// A probability of 1 in 65,536, and what it was made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adjustment {
    nearest: usize,
    pub(crate) one: u32,
}

impl Adjusted {
    /// So many contexts, at least one. At first probabilities are what they are said to be.
    pub(crate) fn new(contexts: usize) -> Self {
        let table = std::array::from_fn(|step| squash(FIRST + ((step as i32) << STEP_BITS)) as u16);
        Self { tables: vec![Table(table); contexts.max(1)] }
    }

    /// What it holds, in bytes.
    pub(crate) const fn memory(contexts: usize) -> u64 {
        (contexts * size_of::<Table>()) as u64
    }

    /// So many contexts that follow each other, of which there are enough.
    #[inline]
    pub(crate) fn contexts<const N: usize>(&mut self, number: usize) -> &mut [Table; N] {
        nth(&mut self.tables, number)
    }
}

impl Table {
    /// A probability that is half what is said and half what came of that; between two of the table in proportion.
    #[inline]
    pub(crate) fn of(&self, stretched: i32) -> Adjustment {
        let at = (stretched.clamp(-LIMIT, LIMIT) - FIRST) as u32;
        let (step, within) = ((at >> STEP_BITS) as usize, at & ((1 << STEP_BITS) - 1));
        let step = step.min(STEPS - 2);
        let (below, above) = (u32::from(self.0[step]), u32::from(self.0[step + 1]));
        let learned = (below * ((1 << STEP_BITS) - within) + above * within) >> STEP_BITS;
        let one = ((squash(stretched) + learned) >> 1).clamp(1, 65_535);
        Adjustment { nearest: step + usize::from(within >= 1 << (STEP_BITS - 1)), one }
    }

    /// Learns what came of it.
    #[inline]
    pub(crate) fn learn(&mut self, adjustment: Adjustment, bit: bool) {
        let learned = &mut self.0[adjustment.nearest];
        *learned = if bit {
            *learned + ((65_535 - *learned) >> RATE_BITS)
        } else {
            *learned - (*learned >> RATE_BITS)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_stays_as_it_is() {
        let mut adjusted = Adjusted::new(1);
        let [table] = adjusted.contexts(0);
        for stretched in (-3_000..3_000).step_by(37) {
            let one = table.of(stretched).one;
            // Between two steps the curve is as good as straight.
            assert!(one.abs_diff(squash(stretched)) <= 400, "{stretched}: {one}");
        }
    }

    #[test]
    fn what_is_wrong_is_made_right() {
        let mut adjusted = Adjusted::new(2);
        let [other, table] = adjusted.contexts(0);
        // A step, so that nothing beside it counts. What is said to come in 62 of 100 times comes in 75.
        let stretched = 128;
        for round in 0..4_000 {
            let adjustment = table.of(stretched);
            table.learn(adjustment, round % 4 != 0);
        }
        let halfway = u32::midpoint(squash(stretched), 49_152);
        let (learned, other) = (table.of(stretched).one, other.of(stretched).one);
        assert!(learned.abs_diff(halfway) < 600, "{learned} is not {halfway}");
        assert_eq!(other, squash(stretched));
    }

    #[test]
    fn any_probability_can_be_coded() {
        let mut adjusted = Adjusted::new(1);
        let [table] = adjusted.contexts(usize::MAX);
        for bit in [true, false] {
            for stretched in [i32::MIN, i32::MAX] {
                for _ in 0..10_000 {
                    let adjustment = table.of(stretched);
                    assert!((1..65_536).contains(&adjustment.one));
                    table.learn(adjustment, bit);
                }
            }
        }
    }
}
