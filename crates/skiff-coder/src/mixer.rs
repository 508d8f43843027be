//! Several opinions on one bit, weighed by how right they were before.

use crate::logistic::{squash, stretch};
use crate::{Bit, Coder};

/// The most opinions that are weighed together.
pub(crate) const INPUTS: usize = 16;

/// By how much a model has seen, which of its weights counts.
const CONFIDENCES: usize = 8;

/// A weight of 1.
const ONE: i32 = 1 << 16;
/// How fast weights move: lower is faster. Chosen on deltas, where what is weighed changes from file to file: 12 is better than
/// 11 or 13, and 15 takes 2 % more bytes.
const RATE_SHIFT: u32 = 12;

/// What models say of a bit, in the logistic domain, and how much each has seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opinions {
    pub(crate) inputs: [i32; INPUTS],
    /// Below 8.
    pub(crate) confidences: [u8; INPUTS],
}

impl Opinions {
    pub(crate) const NONE: Self = Self { inputs: [0; INPUTS], confidences: [0; INPUTS] };

    #[inline]
    pub(crate) fn put(&mut self, index: usize, one: u32, confidence: usize) {
        self.inputs[index] = stretch(one);
        self.confidences[index] = confidence as u8;
    }
}

/// Weighs the first `N` of some opinions. Which set of weights counts is the caller's choice for each bit.
#[derive(Debug, Clone)]
pub(crate) struct Mixer<const N: usize> {
    sets: Vec<[[i32; CONFIDENCES]; N]>,
}

/// A mixer's result: a probability in the logistic domain, by a set of weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mixed {
    set: usize,
    pub(crate) stretched: i32,
}

impl<const N: usize> Mixer<N> {
    /// A mixer of so many sets of weights, at least one.
    pub(crate) fn new(sets: usize) -> Self {
        // Together they weigh more than any alone: none is as sure as it could be.
        let weight = ONE / 3;
        Self { sets: vec![[[weight; CONFIDENCES]; N]; sets.max(1)] }
    }

    /// What a mixer holds, in bytes.
    pub(crate) const fn memory(sets: usize) -> u64 {
        (sets * N * CONFIDENCES * size_of::<i32>()) as u64
    }

    #[inline]
    pub(crate) fn mix(&self, set: usize, opinions: &Opinions) -> Mixed {
        let set = set.min(self.sets.len() - 1);
        let weights = &self.sets[set];
        let mut sum = 0_i64;
        for (index, weights) in weights.iter().enumerate() {
            let weight = weights[usize::from(opinions.confidences[index]) % CONFIDENCES];
            sum += i64::from(opinions.inputs[index]) * i64::from(weight);
        }
        Mixed { set, stretched: (sum >> 16).clamp(-4_096, 4_095) as i32 }
    }

    /// Learns from what the bit was.
    #[inline]
    pub(crate) fn learn(&mut self, mixed: Mixed, opinions: &Opinions, bit: bool) {
        let error = (i32::from(bit) << 15) - (squash(mixed.stretched) >> 1) as i32;
        for (index, weights) in self.sets[mixed.set].iter_mut().enumerate() {
            let weight = &mut weights[usize::from(opinions.confidences[index]) % CONFIDENCES];
            let by = (opinions.inputs[index] * error) >> RATE_SHIFT;
            *weight = (*weight + by).clamp(-16 * ONE, 16 * ONE);
        }
    }
}

/// Yes or no, by `N` contexts together, at most 16.
#[derive(Debug, Clone)]
pub struct Flags<const N: usize> {
    tables: Vec<[Bit; N]>,
    mixer: Mixer<N>,
    bits: u32,
}

/// By how much a model has seen, which of its weights counts.
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
        ((N * size_of::<Bit>()) << bits) as u64 + Mixer::<N>::memory(sets)
    }

    /// Codes a flag in these contexts.
    #[inline]
    pub fn code(&mut self, coder: &mut impl Coder, flag: bool, contexts: [u32; N], set: usize) -> bool {
        let shift = 32 - self.bits;
        let places = contexts.map(|context| (context.wrapping_mul(0x9e37_79b1) >> shift) as usize);
        let mut opinions = Opinions::NONE;
        for (index, &place) in places.iter().enumerate() {
            let model = self.tables[place][index];
            opinions.put(index, model.one(), confidence(model.seen()));
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
