//! Several opinions on one bit, weighed by how right they were before.

use crate::logistic::{squash, stretch};
use crate::{Bit, Coder};

/// By how much a model has seen, which of its weights counts.
const CONFIDENCES: usize = 8;

#[inline]
fn confidence(seen: u32) -> usize {
    match seen {
        0..=3 => seen as usize,
        4..=7 => 4,
        8..=20 => 5,
        21..=100 => 6,
        _ => 7,
    }
}

/// A weight of 1.
const ONE: i32 = 1 << 16;
/// How fast weights move: lower is faster.
const RATE_SHIFT: u32 = 15;

/// Weighs `N` models in the logistic domain. Which set of weights counts is the caller's choice for each bit.
#[derive(Debug, Clone)]
pub struct Mixer<const N: usize> {
    sets: Vec<[[i32; CONFIDENCES]; N]>,
}

/// What the models said, kept to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Opinion<const N: usize> {
    inputs: [i32; N],
    confidences: [usize; N],
    set: usize,
    one: u32,
}

impl<const N: usize> Opinion<N> {
    /// The probability of a 1 in 65,536ths, from 1 to 65,535.
    #[inline]
    #[must_use]
    pub fn one(&self) -> u32 {
        self.one
    }
}

impl<const N: usize> Mixer<N> {
    /// A mixer of so many sets of weights, at least one.
    #[must_use]
    pub fn new(sets: usize) -> Self {
        let weight = ONE * 2 / (N as i32 + 2);
        Self { sets: vec![[[weight; CONFIDENCES]; N]; sets.max(1)] }
    }

    /// What the models say together.
    #[inline]
    #[must_use]
    pub fn mix(&self, set: usize, models: &[Bit; N]) -> Opinion<N> {
        let set = set.min(self.sets.len() - 1);
        let weights = &self.sets[set];
        let mut opinion = Opinion { inputs: [0; N], confidences: [0; N], set, one: 0 };
        let mut sum = 0_i64;
        for index in 0..N {
            let model = models[index];
            let (input, confidence) = (stretch(model.one()), confidence(model.seen()));
            opinion.inputs[index] = input;
            opinion.confidences[index] = confidence;
            sum += i64::from(input) * i64::from(weights[index][confidence]);
        }
        opinion.one = squash((sum >> 16).clamp(-32_768, 32_767) as i32);
        opinion
    }

    /// Learns from what the bit was.
    #[inline]
    pub fn learn(&mut self, opinion: &Opinion<N>, bit: bool) {
        let error = i64::from(u32::from(bit) << 16) - i64::from(opinion.one);
        let weights = &mut self.sets[opinion.set];
        for index in 0..N {
            let by = (i64::from(opinion.inputs[index]) * error) >> RATE_SHIFT;
            let weight = &mut weights[index][opinion.confidences[index]];
            *weight = (i64::from(*weight) + by).clamp(-(16 << 16), 16 << 16) as i32;
        }
    }
}

/// Yes or no, by `N` contexts together.
#[derive(Debug, Clone)]
pub struct Flags<const N: usize> {
    tables: Vec<[Bit; N]>,
    mixer: Mixer<N>,
    bits: u32,
}

impl<const N: usize> Flags<N> {
    /// Contexts share 2^`bits` places for each of the `N` (at most 24); `sets` sets of weights.
    #[must_use]
    pub fn new(bits: u32, sets: usize) -> Self {
        let bits = bits.clamp(1, 24);
        Self { tables: vec![[Bit::new(); N]; 1 << bits], mixer: Mixer::new(sets), bits }
    }

    /// Codes a flag in these contexts.
    #[inline]
    pub fn code(&mut self, coder: &mut impl Coder, flag: bool, contexts: [u32; N], set: usize) -> bool {
        let shift = 32 - self.bits;
        let places = contexts.map(|context| (context.wrapping_mul(0x9e37_79b1) >> shift) as usize);
        let mut models = [Bit::new(); N];
        for index in 0..N {
            models[index] = self.tables[places[index]][index];
        }
        let opinion = self.mixer.mix(set, &models);
        let flag = coder.bit(flag, opinion.one());
        self.mixer.learn(&opinion, flag);
        for index in 0..N {
            self.tables[places[index]][index].learn(flag, Bit::LIMIT);
        }
        flag
    }
}
