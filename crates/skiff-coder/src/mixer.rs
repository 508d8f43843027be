//! Several opinions on one bit, weighed by how right they were before.

use crate::logistic::{squash, stretch};
use crate::{Bit, Coder};

/// The most opinions that are weighed together: a power of two, so that they are weighed side by side.
pub(crate) const INPUTS: usize = 16;

/// A weight of 1; weights stay below 8.
const ONE: i16 = 1 << 12;

/// What models say of a bit, in the logistic domain; 0 is none.
pub(crate) type Opinions = [i16; INPUTS];

#[inline]
pub(crate) fn opinion(one: u32) -> i16 {
    stretch(one) as i16
}

/// What opinions count for.
pub(crate) type Weights = [i16; INPUTS];

/// What the opinions come to, in the logistic domain.
#[inline]
pub(crate) fn mix(opinions: &Opinions, weights: &Weights) -> i32 {
    // Fits: an opinion is below 2^11.5 and a weight at most 2^15.
    let products =
        opinions.iter().zip(weights).map(|(&opinion, &weight)| i32::from(opinion) * i32::from(weight));
    products.sum::<i32>() >> 12
}

/// How wrong that was, in 16,384ths: from −16,383 to 16,384.
#[inline]
pub(crate) fn error(mixed: i32, bit: bool) -> i16 {
    ((i32::from(bit) << 14) - (squash(mixed) >> 2) as i32) as i16
}

/// Learns from an error. Weights move quickly, as what is weighed changes from file to file: by a quarter as much takes 0.3 % more
/// bytes.
///
/// A function of its own, so that this loop is compiled as one over what lies in memory, to instructions that take eight steps at
/// once. Within a function that gathered the opinions one by one it is not.
#[inline(never)]
pub(crate) fn learn(weights: &mut Weights, opinions: &Opinions, error: i16) {
    for (weight, &opinion) in weights.iter_mut().zip(opinions) {
        // The product's 65,536th part, rounded, from its halves: whole products do not fit where their factors do.
        let upper = ((i32::from(opinion) * i32::from(error)) >> 16) as i16;
        let lower = opinion.wrapping_mul(error) as u16;
        *weight = weight.saturating_add(upper.wrapping_add((lower >> 15) as i16));
    }
}

/// Weights of opinions. Which set of them counts is the caller's choice for each bit.
#[derive(Debug, Clone)]
pub(crate) struct Mixer {
    sets: Vec<Weights>,
}

impl Mixer {
    /// A mixer of so many sets of weights, at least one.
    pub(crate) fn new(sets: usize) -> Self {
        // Together they weigh more than any alone: none is as sure as it could be.
        Self { sets: vec![[ONE / 3; INPUTS]; sets.max(1)] }
    }

    /// What a mixer holds, in bytes.
    pub(crate) const fn memory(sets: usize) -> u64 {
        (sets * INPUTS * size_of::<i16>()) as u64
    }

    /// The weights of a set; of the last for those that there are not.
    #[inline]
    pub(crate) fn set(&mut self, set: usize) -> &mut Weights {
        let last = self.sets.len() - 1;
        &mut self.sets[set.min(last)]
    }

    /// So many sets that follow each other, of which there are enough.
    #[inline]
    pub(crate) fn sets<const N: usize>(&mut self, number: usize) -> &mut [Weights; N] {
        nth(&mut self.sets, number)
    }
}

/// The n-th `N` of many; the last for those that there are not. There are `N` at least.
#[inline]
pub(crate) fn nth<T, const N: usize>(many: &mut [T], number: usize) -> &mut [T; N] {
    let (chunks, _) = many.as_chunks_mut();
    let last = chunks.len() - 1;
    &mut chunks[number.min(last)]
}

/// Yes or no, by `N` contexts together, at most 16.
#[derive(Debug, Clone)]
pub struct Flags<const N: usize> {
    tables: Vec<[Bit; N]>,
    mixer: Mixer,
    bits: u32,
}

impl<const N: usize> Flags<N> {
    /// Contexts share 2^`bits` places for each of the `N` (at most 24); `sets` sets of weights.
    #[must_use]
    pub fn new(bits: u32, sets: usize) -> Self {
        const { assert!(N <= INPUTS) };
        let bits = bits.clamp(1, 24);
        Self { tables: vec![[Bit::new(); N]; 1 << bits], mixer: Mixer::new(sets), bits }
    }

    /// What [`new`](Self::new) takes, in bytes.
    #[must_use]
    pub const fn memory(bits: u32, sets: usize) -> u64 {
        ((N * size_of::<Bit>()) << bits) as u64 + Mixer::memory(sets)
    }

    /// Codes a flag in these contexts.
    #[inline]
    pub fn code(&mut self, coder: &mut impl Coder, flag: bool, contexts: [u32; N], set: usize) -> bool {
        let shift = 32 - self.bits;
        let places = contexts.map(|context| (context.wrapping_mul(0x9e37_79b1) >> shift) as usize);
        let mut opinions = [0; INPUTS];
        for (index, &place) in places.iter().enumerate() {
            opinions[index] = opinion(self.tables[place][index].one());
        }
        let weights = self.mixer.set(set);
        let mixed = mix(&opinions, weights);
        let flag = coder.bit(flag, squash(mixed));
        learn(weights, &opinions, error(mixed, flag));
        for (index, &place) in places.iter().enumerate() {
            self.tables[place][index].learn(flag, Bit::LIMIT);
        }
        flag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_products_come_to_the_same() {
        let numbers = [0, 1, -1, 2, -2, 3, -5, 17, 181, -182, 1_448, -1_449, 2_047, -2_048, 2_840, -2_840];
        for error in (-16_384..=16_384).step_by(7).chain([-1, 0, 1, -16_383]) {
            for weight in [i16::MIN, -32_000, -1, 0, 4_096, 32_700, i16::MAX] {
                let mut weights = [weight; INPUTS];
                learn(&mut weights, &numbers, error as i16);
                let expected = numbers.map(|number| {
                    weight.saturating_add(((i32::from(number) * error + (1 << 15)) >> 16) as i16)
                });
                assert_eq!(weights, expected, "{error} {weight}");
            }
        }
    }
}
