//! The way through a payload, the same for both directions.

use std::io::{Read, Seek};

use skiff_coder::{Coder, Expected, Sets};

use super::literals::{Gap, Origin, SharedSource, gaps};
use super::models::{CORRECTION, Copies, FIELD};
use crate::PatchError;
use crate::predict::{Copy, Predictor, Reference};

/// How much of source and output are looked at together.
pub(super) const CHUNK: usize = 32 << 10;

/// The output: where an encoder gets its bytes from, and a decoder puts them.
pub(super) trait Output {
    /// Fills `bytes` with the next of the output where they are known; leaves them alone where not.
    fn next(&mut self, bytes: &mut [u8]) -> Result<(), PatchError>;
    /// Takes note of what they are.
    fn settled(&mut self, bytes: &[u8]) -> Result<(), PatchError>;
}

/// Where the walk stands.
pub(super) struct Walk<'w, 's, C, S, O> {
    pub(super) coder: &'w mut C,
    pub(super) models: &'w mut Copies,
    pub(super) literals: Origin<'w, C>,
    pub(super) source: &'w SharedSource<'s, S>,
    pub(super) output: &'w mut O,
    /// For executables.
    predictor: Option<Predictor>,
    /// Where the output begins in the file.
    begin: u64,
    trail: Trail,
    old: Vec<u8>,
    new: Vec<u8>,
    references: References,
}

/// The references among the old bytes in hand.
#[derive(Debug, Default)]
struct References {
    found: Vec<Reference>,
    /// The first that is still to come.
    next: usize,
    /// Whether a byte belongs to one.
    covered: Vec<bool>,
    /// How the last ones came out: bit by bit, 1 where the first candidate was not it.
    history: u32,
}

/// The copies of an output that begins at `begin` in its file, as they lie there.
pub(super) fn in_file(copies: &[Copy], begin: u64) -> Vec<Copy> {
    copies.iter().map(|copy| Copy { start: copy.start.saturating_add(begin), ..*copy }).collect()
}

/// What the last corrections were like.
#[derive(Debug, Default)]
struct Trail {
    /// For how many bytes, and for how many words, nothing was corrected.
    bytes: u32,
    words: u32,
    /// How long that was the time before.
    gap: u32,
    /// Which of the last words were corrected, the last in the lowest bit.
    history: u32,
    /// Which bytes of the last corrected word were.
    mask: u32,
    /// The last two corrections.
    last: u8,
    before: u8,
}

impl Trail {
    fn corrected(&mut self, by: u8) {
        self.gap = self.bytes;
        self.bytes = 0;
        self.before = self.last;
        self.last = by;
    }
}

/// For how long something has been going on, roughly.
fn magnitude(count: u32) -> u32 {
    32 - count.leading_zeros()
}

fn hash(seed: u32, parts: &[u32]) -> u32 {
    parts.iter().fold(seed.wrapping_mul(0x9e37_79b1), |hash, &part| {
        (hash ^ part).wrapping_mul(0x85eb_ca6b).rotate_left(13).wrapping_add(seed)
    })
}

impl<'w, 's, C: Coder, S: Read + Seek, O: Output> Walk<'w, 's, C, S, O> {
    pub(super) fn new(
        coder: &'w mut C,
        models: &'w mut Copies,
        literals: Origin<'w, C>,
        source: &'w SharedSource<'s, S>,
        output: &'w mut O,
    ) -> Self {
        Self {
            coder,
            models,
            literals,
            source,
            output,
            predictor: None,
            begin: 0,
            trail: Trail::default(),
            old: Vec::new(),
            new: Vec::new(),
            references: References::default(),
        }
    }

    /// Has references predicted, of an output that begins at `begin` in its file.
    pub(super) fn predicting(mut self, predictor: Predictor, begin: u64) -> Self {
        (self.predictor, self.begin) = (Some(predictor), begin);
        self
    }

    /// Goes through all of the output.
    pub(super) fn run(&mut self, copies: &[Copy], length: u64) -> Result<(), PatchError> {
        for (index, gap) in gaps(copies, length).enumerate() {
            self.gap(&gap)?;
            if let Some(copy) = copies.get(index) {
                self.copy(copy)?;
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), PatchError> {
        match &mut self.literals {
            Origin::Among(literals) => literals.code(self.coder, self.source, gap, self.output),
            Origin::Apart(literals, coder) => literals.code(*coder, self.source, gap, self.output),
            Origin::Ahead(received) => received.take(gap, self.output),
        }
    }

    fn copy(&mut self, copy: &Copy) -> Result<(), PatchError> {
        let mut done = 0;
        while done < copy.length {
            let position = copy.position + done;
            let length = (copy.length - done).min(CHUNK as u64);
            self.source.read(position, length, &mut self.old)?;
            self.new.clear();
            self.new.resize(length as usize, 0);
            self.output.next(&mut self.new)?;
            self.find_references(position);
            self.chunk(position, self.begin.wrapping_add(copy.start + done));
            self.output.settled(&self.new)?;
            done += length;
        }
        Ok(())
    }

    fn find_references(&mut self, position: u64) {
        let Some(predictor) = &mut self.predictor else { return };
        let References { found, next, covered, .. } = &mut self.references;
        found.clear();
        *next = 0;
        predictor.find(position, &self.old, found);
        covered.clear();
        covered.resize(self.old.len(), false);
        for reference in found {
            let start = (reference.position - position) as usize;
            covered[start..start + usize::from(reference.length)].fill(true);
        }
    }

    fn is_covered(&self, index: usize) -> bool {
        self.references.covered.get(index).copied().unwrap_or(false)
    }

    /// Looks at all of them, which is faster than to stop at the first.
    fn is_any_covered(&self, at: usize, length: usize) -> bool {
        let covered = self.references.covered.get(at..at + length);
        covered.is_some_and(|covered| covered.iter().fold(false, |any, &is_covered| any | is_covered))
    }

    /// Whether nothing is to be corrected beside references.
    fn is_same(&self, at: usize, length: usize) -> bool {
        let (old, new) = (&self.old[at..at + length], &self.new[at..at + length]);
        let mut pairs = old.iter().zip(new).enumerate();
        old == new || pairs.all(|(index, (old, new))| old == new || self.is_covered(at + index))
    }

    fn chunk(&mut self, position: u64, start: u64) {
        let class = self.predictor.as_ref().map_or(0, |predictor| predictor.class(position));
        let mut at = 0;
        while at < self.old.len() {
            let word = 8 - (position.wrapping_add(at as u64) & 7) as usize;
            if self.trail.words >= 16 && word == 8 && self.old.len() - at >= 64 {
                let is_same = self.is_same(at, 64);
                let model = &mut self.models.blocks[class][magnitude(self.trail.words).min(23) as usize];
                if model.code(self.coder, is_same) {
                    self.same(at, 64);
                    self.references(position, start, at + 64);
                    self.trail.words = self.trail.words.saturating_add(8);
                    at += 64;
                    continue;
                }
            }
            let mut words = if self.trail.words >= 16 { 8 } else { 1 };
            while words > 0 && at < self.old.len() {
                let word = 8 - (position.wrapping_add(at as u64) & 7) as usize;
                let word = word.min(self.old.len() - at);
                // First, because what is beside them is seen by what comes next.
                self.references(position, start, at + word);
                if (at..at + word).any(|index| !self.is_covered(index)) {
                    self.word(class, position, at, word);
                }
                at += word;
                words -= 1;
            }
        }
    }

    fn same(&mut self, at: usize, length: usize) {
        if self.is_any_covered(at, length) {
            for index in (at..at + length).filter(|&index| !self.references.covered[index]) {
                self.new[index] = self.old[index];
            }
        } else {
            self.new[at..at + length].copy_from_slice(&self.old[at..at + length]);
        }
        self.trail.bytes = self.trail.bytes.saturating_add(length as u32);
    }

    fn word(&mut self, class: usize, position: u64, at: usize, length: usize) {
        let old = self.old[at..at + length].iter().fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
        let trail = &self.trail;
        let contexts = [
            hash(1, &[trail.history & 0x3f, class as u32]),
            hash(2, &[trail.words.min(40), magnitude(trail.gap), trail.history & 1]),
            hash(3, &[old as u32, (old >> 32) as u32]),
        ];
        let is_same = self.is_same(at, length);
        let is_same = self.models.words.code(self.coder, is_same, contexts, class);
        self.trail.history = self.trail.history << 1 | u32::from(!is_same);
        if is_same {
            self.same(at, length);
            self.trail.words = self.trail.words.saturating_add(1);
            return;
        }
        self.trail.words = 0;
        let mut mask = 0_u32;
        let last = (at..at + length).rev().find(|&index| !self.is_covered(index));
        for index in at..at + length {
            if self.is_covered(index) {
                continue;
            }
            // One byte of a word that is not the same is not the same.
            let is_forced = Some(index) == last && mask == 0;
            let is_same = !is_forced && self.byte(class, position, index, mask, index - at);
            if is_same {
                self.new[index] = self.old[index];
                self.trail.bytes = self.trail.bytes.saturating_add(1);
            } else {
                mask |= 1 << (index - at);
                self.correct(class, position, index);
            }
        }
        self.trail.mask = mask;
    }

    /// Codes the references that begin before `end`.
    fn references(&mut self, position: u64, start: u64, end: usize) {
        while let Some(&reference) = self.references.found.get(self.references.next)
            && reference.position - position < end as u64
        {
            self.references.next += 1;
            let at = (reference.position - position) as usize;
            self.reference(&reference, at, start.wrapping_add(at as u64));
        }
    }

    fn reference(&mut self, reference: &Reference, at: usize, start: u64) {
        let Some(predictor) = &mut self.predictor else { return };
        let range = at..at + usize::from(reference.length);
        let prediction = predictor.predict(reference, start);
        let mut field = [0; 8];
        field[..range.len()].copy_from_slice(&self.new[range.clone()]);
        let actual = u64::from_le_bytes(field);
        let kind = reference.kind as u32;
        let near = magnitude(self.trail.bytes).min(8);
        let mut is_known = false;
        for (rank, &candidate) in prediction.candidates[..prediction.count].iter().enumerate() {
            let contexts = [
                hash(1, &[prediction.context as u32, rank as u32]),
                hash(2, &[kind, rank as u32, self.references.history & 0xff]),
                hash(3, &[prediction.context as u32, rank as u32, near, self.references.history & 1]),
            ];
            let set = if rank == 0 { kind as usize } else { crate::predict::KINDS + rank };
            is_known = self.models.candidates.code(self.coder, candidate == actual, contexts, set);
            self.references.history = self.references.history << 1 | u32::from(rank == 0 && !is_known);
            if is_known {
                self.new[range.clone()].copy_from_slice(&candidate.to_le_bytes()[..range.len()]);
                break;
            }
        }
        if !is_known {
            self.field(kind, prediction.candidates[0].to_le_bytes(), range.clone());
        }
        if let Some(predictor) = &mut self.predictor {
            predictor.learn(reference, start, &self.new[range]);
        }
    }

    /// A reference that nothing predicted, as how it differs from the first candidate.
    fn field(&mut self, kind: u32, expected: [u8; 8], range: std::ops::Range<usize>) {
        let mut before = 0;
        for (place, index) in range.enumerate().collect::<Vec<_>>().into_iter().rev() {
            let (place32, expected) = (place as u32, expected[place]);
            let contexts: [u32; FIELD] = [
                hash(1, &[kind, place32]),
                hash(2, &[kind, place32, before]),
                hash(3, &[kind, place32, u32::from(expected)]),
                hash(4, &[place32, before, u32::from(self.old[index].wrapping_sub(expected))]),
                hash(5, &[place32, u32::from(before == 0)]),
            ];
            let by = self.new[index].wrapping_sub(expected);
            let by = self.models.fields.code(
                self.coder,
                by,
                &contexts,
                &[None; 2],
                Sets { fine: 0, coarse: place },
            );
            self.new[index] = expected.wrapping_add(by);
            before = before << 8 | u32::from(by);
        }
    }

    fn byte(&mut self, class: usize, position: u64, index: usize, mask: u32, place: usize) -> bool {
        let (trail, old) = (&self.trail, &self.old);
        let before = |by: usize| index.checked_sub(by).map_or(0, |index| u32::from(old[index]));
        let phase = (position.wrapping_add(index as u64) & 7) as u32;
        let contexts = [
            hash(1, &[class as u32, trail.bytes.min(15), u32::from(mask != 0), place as u32]),
            hash(2, &[before(0), before(1)]),
            hash(3, &[phase, trail.mask, mask]),
            hash(4, &[trail.bytes.min(255), trail.gap.min(255)]),
            hash(5, &[before(0), before(1), before(2), u32::from(trail.bytes == 0)]),
        ];
        let is_same = self.old[index] == self.new[index];
        self.models.bytes.code(self.coder, is_same, contexts, class)
    }

    fn correct(&mut self, class: usize, position: u64, index: usize) {
        let (trail, old, new) = (&self.trail, &self.old, &self.new);
        let before =
            |bytes: &[u8], by: usize| index.checked_sub(by).map_or(0, |index| u32::from(bytes[index]));
        let phase = (position.wrapping_add(index as u64) & 7) as u32;
        let by = |distance: usize| {
            index.checked_sub(distance).map_or(0, |index| u32::from(new[index].wrapping_sub(old[index])))
        };
        let after = |by: usize| old.get(index + by).map_or(0, |&old| u32::from(old));
        let (last, is_next) = (u32::from(trail.last), u32::from(trail.bytes == 0));
        let contexts: [u32; CORRECTION] = [
            hash(1, &[last, u32::from(trail.before), is_next]),
            hash(2, &[before(old, 0), last, is_next]),
            hash(3, &[phase, class as u32, trail.bytes.min(16)]),
            hash(4, &[before(old, 0), before(new, 1), before(new, 2)]),
            hash(5, &[by(4), by(8), by(12), by(24)]),
            hash(6, &[before(old, 0), before(old, 1), before(old, 2), after(1)]),
            hash(7, &[before(old, 0), after(1), after(2)]),
        ];
        let expected = Some(Expected { byte: trail.last, class: is_next as u8 });
        let sets = Sets { fine: class, coarse: phase as usize };
        let by = self.new[index].wrapping_sub(self.old[index]);
        let by = self.models.corrections.code(self.coder, by, &contexts, &[expected, None], sets);
        self.new[index] = self.old[index].wrapping_add(by);
        self.trail.corrected(by);
    }
}
