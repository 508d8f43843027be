//! Bytes, by several contexts together.

use crate::adjusted::{Adjusted, Table};
use crate::mixer::{INPUTS, Mixer, Weights, error, learn, opinion};
use crate::slot::{SIDE_BY_SIDE, Slot};
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

/// Two neighbouring lines. Not aligned to a line of the cache: allocators waste as much again on tables that are.
#[derive(Debug, Clone, Copy)]
struct Pair([[Slot; LINE]; 2]);

/// Bytes by `N` contexts that the caller names for each, and up to two bytes that are expected. `N` is at most 14.
///
/// Each context has a line of slots for the first half of a byte and sixteen for the second, found by hashing. A context that
/// finds no line of its own takes one from another.
#[derive(Debug, Clone)]
pub struct Bytes<const N: usize> {
    pairs: Vec<Pair>,
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
            pairs: vec![Pair([[Slot::NEW; LINE]; 2]); 1 << (bits.clamp(1, 20) - 1)],
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
        // Copied, for each slot is looked at once only, and places of a copy need no check.
        let places = self.places(half, contexts);
        let mut lines = places.map(|place| *self.line(place as usize));
        let are_shared = are_shared(&places);
        let fine: &mut [Weights; LINE] =
            self.fine.sets(half.sets.fine * 2 + usize::from(half.before.is_some()));
        let coarse = self.coarse.set(half.sets.coarse);
        let before = half.before.map_or(0, |before| usize::from(before) + 1);
        let adjusted: &mut [Table; LINE] = self.adjusted.contexts(half.sets.coarse * (NODES / LINE) + before);
        let [first, second] = &mut self.expected;
        let mut expected = [Expectation::new(expected[0], first), Expectation::new(expected[1], second)];

        let mut node = 1;
        for place in (0..4).rev() {
            let at = node & (LINE - 1);
            let mut slots = [Slot::NEW; INPUTS];
            let mut opinions = [0; INPUTS];
            // Mixed one by one as they come: those that were only just put side by side cannot be read together at once.
            let mut sums = (0, 0);
            let mut say = |index: usize, opinion: i16| {
                opinions[index] = opinion;
                sums.0 += i32::from(opinion) * i32::from(fine[at][index]);
                sums.1 += i32::from(opinion) * i32::from(coarse[index]);
            };
            for (index, line) in lines.iter().enumerate() {
                slots[index] = line[at];
                say(index, opinion(line[at].one()));
            }
            for (index, expected) in expected.iter().enumerate() {
                say(N + index, expected.opinion(node, place));
            }
            let mixed = (sums.0 >> 12, sums.1 >> 12);
            let adjustment = adjusted[at].of((mixed.0 + mixed.1) >> 1);
            let bit = coder.bit(half.bits >> place & 1 == 1, adjustment.one);
            adjusted[at].learn(adjustment, bit);
            learn(&mut fine[at], &opinions, error(mixed.0, bit));
            learn(coarse, &opinions, error(mixed.1, bit));
            for slots in &mut slots.as_chunks_mut().0[..N.div_ceil(SIDE_BY_SIDE)] {
                Slot::learn_together::<SIDE_BY_SIDE>(slots, bit);
            }
            if are_shared {
                learn_in_turn(&places, &mut slots, bit);
            }
            for (line, slot) in lines.iter_mut().zip(slots) {
                line[at] = slot;
            }
            for expected in &mut expected {
                expected.learn(node, place, bit);
            }
            node = node * 2 + usize::from(bit);
        }
        for (&place, line) in places.iter().zip(lines) {
            *self.line(place as usize) = line;
        }
        (node & 15) as u8
    }

    /// The lines of the contexts.
    #[inline]
    fn places(&mut self, half: &Half, contexts: &[u32; N]) -> [u32; N] {
        let mut seed = half.before.map_or(0, |before| u32::from(before) + 1).wrapping_mul(0x3d4d_51cb);
        let mut wanted = [(0, Slot::NEW, Slot::NEW); N];
        for (wanted, &context) in wanted.iter_mut().zip(contexts) {
            seed = seed.wrapping_add(0x632b_e5ab);
            *wanted = self.wanted(context ^ seed);
        }
        let mut places = [0; N];
        for (place, wanted) in places.iter_mut().zip(wanted) {
            *place = self.place(wanted) as u32;
        }
        places
    }

    /// Where the line of a context may be, its check, and what stands there: read for all contexts before any of it is looked
    /// at, so that memory is waited for once.
    #[inline]
    fn wanted(&self, context: u32) -> (usize, Slot, Slot) {
        let hash = context.wrapping_mul(0x9e37_79b1);
        let hash = (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d);
        let place = (hash ^ hash >> 11) as usize & (2 * self.pairs.len() - 1);
        (place, Slot::check((hash >> 16) as u16), self.pairs[place / 2].0[place % 2][0])
    }

    /// The line of a context: one of two neighbours, by its check. Of two that are another's, the one that saw less goes.
    #[inline]
    fn place(&mut self, (first, check, found): (usize, Slot, Slot)) -> usize {
        let second = first ^ 1;
        if found == check {
            return first;
        }
        if self.line(second)[0] == check {
            return second;
        }
        let is_first_less = self.line(first)[1].seen() <= self.line(second)[1].seen();
        let place = if is_first_less { first } else { second };
        let line = self.line(place);
        *line = [Slot::NEW; LINE];
        line[0] = check;
        place
    }

    #[inline]
    fn line(&mut self, place: usize) -> &mut [Slot; LINE] {
        &mut self.pairs[place / 2].0[place % 2]
    }
}

/// Whether two of the places are the same.
#[inline(never)]
fn are_shared<const N: usize>(places: &[u32; N]) -> bool {
    // As a ring, twice around: all are compared with those at each distance at once.
    let mut ring = [0; 2 * INPUTS];
    ring[..N].copy_from_slice(places);
    ring[N..2 * N].copy_from_slice(places);
    let mut equal = [false; N];
    for distance in 1..=N / 2 {
        for index in 0..N {
            equal[index] |= ring[index] == ring[index + distance];
        }
    }
    equal.contains(&true)
}

/// Where contexts share a line, each in turn learns on what those before it have learned. What is kept is of the last of them.
#[cold]
fn learn_in_turn(places: &[u32], slots: &mut [Slot], bit: bool) {
    for index in 1..places.len() {
        if let Some(before) = places[..index].iter().rposition(|place| *place == places[index]) {
            slots[index] = slots[before];
            slots[index].learn(bit);
        }
    }
}

/// Half of a byte that is expected.
struct Expectation<'a> {
    /// The half, behind a 1; 0 where nothing is expected.
    wanted: usize,
    model: &'a mut Bit,
}

impl<'a> Expectation<'a> {
    #[inline]
    fn new(expected: Option<(u8, u8)>, models: &'a mut [Bit; CLASSES]) -> Self {
        let (wanted, class) = expected.map_or((0, 0), |(half, class)| (usize::from(half) | LINE, class));
        Self { wanted, model: &mut models[usize::from(class) % CLASSES] }
    }

    /// Whether the bits so far are as expected.
    #[inline]
    fn is_right(&self, node: usize, place: u32) -> bool {
        self.wanted >> (place + 1) == node
    }

    #[inline]
    fn opinion(&self, node: usize, place: u32) -> i16 {
        let sure = opinion(self.model.one());
        let signed = if self.wanted >> place & 1 == 1 { sure } else { -sure };
        if self.is_right(node, place) { signed } else { 0 }
    }

    #[inline]
    fn learn(&mut self, node: usize, place: u32, bit: bool) {
        if self.is_right(node, place) {
            self.model.learn((self.wanted >> place & 1 == 1) == bit, Bit::LIMIT);
        }
    }
}

/// Half of a byte that is to be coded.
struct Half {
    /// The first half, where this is the second.
    before: Option<u8>,
    bits: u8,
    sets: Sets,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoder;

    /// Bytes that are somewhat like those before them, coded.
    fn coded(bits: u32) -> Vec<u8> {
        let sets = Sets { fine: 2, coarse: 3 };
        let (mut encoder, mut model) = (Encoder::new(), Bytes::<5>::new(bits, sets));
        let (mut random, mut recent) = (1_u32, [0_u8; 3]);
        for index in 0..6_000 {
            random = random.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
            let [first, second, third] = recent.map(u32::from);
            let byte =
                if random >> 24 < 180 { recent[2] ^ recent[0] >> 6 } else { (random >> 16) as u8 & 63 };
            let contexts = [first, second << 8, third << 16, first << 9 | second, 77 + index % 7];
            let expected = [
                Some(Expected { byte: recent[2], class: (index % 40) as u8 }),
                index.is_multiple_of(3).then_some(Expected { byte: recent[1], class: 1 }),
            ];
            let sets = Sets { fine: (first & 1) as usize, coarse: (index % 3) as usize };
            model.code(&mut encoder, byte, &contexts, &expected, sets);
            recent = [byte, recent[0], recent[1]];
        }
        encoder.finish()
    }

    /// FNV-1a.
    fn digest(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// However it is computed, it is the same: of the few lines, contexts share some nearly always.
    #[test]
    fn what_is_coded_does_not_change() {
        for (bits, length, expected) in [
            (2, 2_088, 0x19ce_2774_bbdf_a64b),
            (4, 2_088, 0xb84a_0625_2d72_f6f2),
            (12, 2_071, 0x0af6_1722_bfc2_08bd_u64),
        ] {
            let coded = coded(bits);
            assert_eq!((coded.len(), digest(&coded)), (length, expected), "{bits}");
        }
    }
}
