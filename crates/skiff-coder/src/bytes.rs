//! Bytes, by several contexts together.

use crate::adjusted::Adjusted;
use crate::mixer::{INPUTS, Mixer, opinion};
use crate::slot::Slot;
use crate::{Bit, Coder};

/// A line of slots: the four bits of half a byte, as a tree; place 0 holds a check of what the line is for.
const LINE: usize = 16;
/// What the bits of a byte so far may be: those of the first half, and those of the second behind each first half.
const NODES: usize = LINE + 16 * LINE;
/// The classes of an [`Expected`] byte.
const CLASSES: usize = 32;

/// A byte that is expected.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Which.
    pub byte: u8,
    /// What that is like: how right expectations of a class, below 32, are is learned for each.
    pub class: u8,
}

/// Which weights count for a byte: sets of two mixers, whose results are averaged. What comes of those is learned for each coarse
/// set and whatever the bits of the byte so far are.
#[derive(Debug, Clone, Copy)]
pub struct Sets {
    /// Of the mixer that has weights for each place in a byte.
    pub fine: usize,
    /// Of the one that has not.
    pub coarse: usize,
}

/// Bytes by `N` contexts that the caller names for each, and up to two bytes that are expected. `N` is at most 14.
///
/// Each context has a line of slots for the first half of a byte and sixteen for the second, found by hashing. A context that
/// finds no line of its own takes one from another.
#[derive(Debug, Clone)]
pub struct Bytes<const N: usize> {
    lines: Vec<[Slot; LINE]>,
    expected: [[Bit; CLASSES]; 2],
    fine: Mixer,
    coarse: Mixer,
    adjusted: Adjusted,
}

impl<const N: usize> Bytes<N> {
    /// 2^`bits` lines (at most 2^20) of 32 bytes; so many sets of weights.
    #[must_use]
    pub fn new(bits: u32, sets: Sets) -> Self {
        const { assert!(N + 2 <= INPUTS) };
        Self {
            lines: vec![[Slot::NEW; LINE]; 1 << bits.clamp(1, 20)],
            expected: [[Bit::new(); CLASSES]; 2],
            fine: Mixer::new(sets.fine.max(1) * 2 * LINE),
            coarse: Mixer::new(sets.coarse),
            adjusted: Adjusted::new(sets.coarse.max(1) * NODES),
        }
    }

    /// What [`new`](Self::new) takes, in bytes.
    #[must_use]
    pub const fn memory(bits: u32, sets: Sets) -> u64 {
        ((LINE * size_of::<Slot>()) << bits) as u64
            + Mixer::memory(sets.fine * 2 * LINE)
            + Mixer::memory(sets.coarse)
            + Adjusted::memory(sets.coarse * NODES)
    }

    /// Codes a byte.
    #[inline]
    pub fn code(
        &mut self,
        coder: &mut impl Coder,
        byte: u8,
        contexts: &[u32; N],
        expected: &[Option<Expected>; 2],
        sets: Sets,
    ) -> u8 {
        let high = Half { before: None, bits: byte >> 4, sets };
        let halves = expected.map(|expected| expected.map(|expected| (expected.byte >> 4, expected.class)));
        let high = self.half(coder, &high, contexts, halves);
        let low = Half { before: Some(high), bits: byte & 15, sets };
        let halves = expected.map(|expected| {
            let is_right = expected.filter(|expected| expected.byte >> 4 == high);
            is_right.map(|expected| (expected.byte & 15, expected.class))
        });
        high << 4 | self.half(coder, &low, contexts, halves)
    }

    fn half(
        &mut self,
        coder: &mut impl Coder,
        half: &Half,
        contexts: &[u32; N],
        expected: [Option<(u8, u8)>; 2],
    ) -> u8 {
        let mut seed = half.before.map_or(0, |before| u32::from(before) + 1).wrapping_mul(0x3d4d_51cb);
        let mut wanted = [(0, Slot::NEW, Slot::NEW); N];
        for (wanted, &context) in wanted.iter_mut().zip(contexts) {
            seed = seed.wrapping_add(0x632b_e5ab);
            *wanted = self.wanted(context ^ seed);
        }
        let mut places = [0; N];
        for (place, wanted) in places.iter_mut().zip(wanted) {
            *place = self.place(wanted);
        }
        let mut opinions = [0; INPUTS];
        let mut node = 1;
        for place in (0..4).rev() {
            for (index, &place) in places.iter().enumerate() {
                opinions[index] = opinion(self.lines[place][node & 15].one());
            }
            let expected = expected.map(|expected| {
                let (wanted, class) = expected?;
                let is_right = usize::from(wanted | 16) >> (place + 1) == node;
                is_right.then_some((usize::from(class) % CLASSES, wanted >> place & 1 == 1))
            });
            for (index, expected) in expected.iter().enumerate() {
                opinions[N + index] = match *expected {
                    Some((class, true)) => opinion(self.expected[index][class].one()),
                    Some((class, false)) => -opinion(self.expected[index][class].one()),
                    None => 0,
                };
            }
            let fine = (half.sets.fine * 2 + usize::from(half.before.is_some())) * LINE + node;
            let mixed = (self.fine.mix(fine, &opinions), self.coarse.mix(half.sets.coarse, &opinions));
            let so_far = half.before.map_or(node, |before| (usize::from(before) + 1) * LINE + node);
            let stretched = (mixed.0.stretched + mixed.1.stretched) >> 1;
            let adjustment = self.adjusted.of(half.sets.coarse * NODES + so_far, stretched);
            let bit = coder.bit(half.bits >> place & 1 == 1, adjustment.one);
            self.adjusted.learn(adjustment, bit);
            self.fine.learn(mixed.0, &opinions, bit);
            self.coarse.learn(mixed.1, &opinions, bit);
            for &place in &places {
                self.lines[place][node & 15].learn(bit);
            }
            for (expected, models) in expected.iter().zip(&mut self.expected) {
                if let Some((class, wanted)) = *expected {
                    models[class].learn(wanted == bit, Bit::LIMIT);
                }
            }
            node = node * 2 + usize::from(bit);
        }
        (node & 15) as u8
    }

    /// Where the line of a context may be, its check, and what stands there: read for all contexts before any of it is looked
    /// at, so that memory is waited for once.
    #[inline]
    fn wanted(&self, context: u32) -> (usize, Slot, Slot) {
        let hash = context.wrapping_mul(0x9e37_79b1);
        let hash = (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d);
        let place = (hash ^ hash >> 11) as usize & (self.lines.len() - 1);
        (place, Slot::check((hash >> 16) as u16), self.lines[place][0])
    }

    /// The line of a context: one of two neighbours, by its check. Of two that are another's, the one that saw less goes.
    #[inline]
    fn place(&mut self, (first, check, found): (usize, Slot, Slot)) -> usize {
        let second = first ^ 1;
        if found == check {
            return first;
        }
        if self.lines[second][0] == check {
            return second;
        }
        let is_first_less = self.lines[first][1].seen() <= self.lines[second][1].seen();
        let place = if is_first_less { first } else { second };
        self.lines[place] = [Slot::NEW; LINE];
        self.lines[place][0] = check;
        place
    }
}

/// Half of a byte that is to be coded.
struct Half {
    /// The first half, where this is the second.
    before: Option<u8>,
    bits: u8,
    sets: Sets,
}
