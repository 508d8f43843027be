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

/// Weighs opinions. Which set of weights counts is the caller's choice for each bit.
#[derive(Debug, Clone)]
pub(crate) struct Mixer {
    sets: Vec<[i16; INPUTS]>,
}

/// A mixer's result: a probability in the logistic domain, by a set of weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mixed {
    set: usize,
    pub(crate) stretched: i32,
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

    #[inline]
    pub(crate) fn mix(&self, set: usize, opinions: &Opinions) -> Mixed {
        let set = set.min(self.sets.len() - 1);
        // Fits: an opinion is below 2^11.5 and a weight at most 2^15.
        let products = opinions
            .iter()
            .zip(&self.sets[set])
            .map(|(&opinion, &weight)| i32::from(opinion) * i32::from(weight));
        let sum: i32 = products.sum();
        Mixed { set, stretched: sum >> 12 }
    }

    /// Learns from what the bit was. Weights move quickly, as what is weighed changes from file to file: by a quarter as much takes
    /// 0.3 % more bytes.
    #[inline]
    pub(crate) fn learn(&mut self, mixed: Mixed, opinions: &Opinions, bit: bool) {
        let error = (i32::from(bit) << 14) - (squash(mixed.stretched) >> 2) as i32;
        for (weight, &opinion) in self.sets[mixed.set].iter_mut().zip(opinions) {
            let by = (i32::from(opinion) * error + (1 << 15)) >> 16;
            *weight = weight.saturating_add(by as i16);
        }
    }
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
        let mixed = self.mixer.mix(set, &opinions);
        let flag = coder.bit(flag, squash(mixed.stretched));
        self.mixer.learn(mixed, &opinions, flag);
        for (index, &place) in places.iter().enumerate() {
            self.tables[place][index].learn(flag, Bit::LIMIT);
        }
        flag
    }
}
