//! Matches found in one pass, each decided on when it is met.
//!
//! Colin Percival's matching ("Naive differences of executable code", 2003) with a table of places instead of sorted
//! suffixes: the new file is gone through at one shift until something equal elsewhere is longer than what that shift makes
//! of it by some bytes; then each of both is followed towards the other as far as it gains.

use std::ops::Range;

use super::files::{Files, Shifts};
use super::seeds::Seeds;
use super::{Match, SHORTEST, last_shift, push};

/// By how many bytes what lies elsewhere must be better.
const COST: usize = 10;
/// What is equal for so long, or but for [`SPARSE`] of so many bytes, is gone on with unasked.
const ALIKE: usize = 32;
const SPARSE: usize = 3;
/// So many bytes beyond what is equal are looked at to tell what is better.
const AHEAD: usize = 32;
/// Equal ranges are not compared further.
const ENOUGH: usize = 1 << 10;
/// So many shifts that were left are tried again where the table has nothing better.
const RECENT: usize = 2;
/// So many places in a row where nothing is found make the steps longer by one.
const MISSES: usize = 64;
/// The longest step: it shares no divisor with the distance of the places that the table knows, so that it meets them all.
const STEP: usize = 5;
/// How far a match reaches back at most.
const BACK: usize = 4 << 10;

/// Searches one part of the new file in one window of the old.
pub(super) fn search(
    files: Files<'_>,
    (window, part): (Range<usize>, Range<usize>),
    matches: &mut Vec<Match>,
) {
    let seeds = Seeds::of(&files.old[window.clone()]);
    let mut way = Way { files, shifts: Shifts::new(last_shift(matches)), start: part.start };
    let mut misses = 0;
    let mut at = part.start;
    while at < part.end {
        let run = way.run(at, way.shifts.current);
        if run >= ALIKE || way.equal(at, way.shifts.current, ALIKE) + SPARSE >= ALIKE {
            at += run + 1;
            misses = 0;
            continue;
        }
        let found =
            seeds.find(&files.new[at..]).map(|position| (window.start + position) as isize - at as isize);
        match way.better(at, found) {
            Some((length, shift)) => {
                way.turn(at, shift, matches);
                at += length;
                misses = 0;
            }
            None => {
                misses += 1;
                at += (run + 1).max((1 + misses / MISSES).min(STEP));
            }
        }
    }
    way.finish(part.end, matches);
}

/// The way through the files so far.
struct Way<'a> {
    files: Files<'a>,
    shifts: Shifts<RECENT>,
    /// From where on the shift there is was gone with.
    start: usize,
}

impl Way<'_> {
    /// How many bytes from `at` on are equal, or that it is enough.
    fn run(&self, at: usize, shift: isize) -> usize {
        let Files { old, new } = self.files;
        Files { old, new: &new[..new.len().min(at + ENOUGH)] }.run(at, shift)
    }

    /// How many of `length` bytes are equal.
    fn equal(&self, at: usize, shift: isize, length: usize) -> usize {
        let Some(position) = self.files.place(at, shift) else { return 0 };
        let pairs = self.files.new[at..].iter().zip(&self.files.old[position..]);
        pairs.take(length).filter(|(new, old)| new == old).count()
    }

    /// What is better than the shift there is, and for how long it is equal.
    fn better(&self, at: usize, found: Option<isize>) -> Option<(usize, isize)> {
        let others =
            self.shifts.recent.into_iter().chain(found).filter(|&shift| shift != self.shifts.current);
        let weighed = |shift| {
            let run = self.run(at, shift);
            (run, run + self.equal(at + run, shift, AHEAD), shift)
        };
        let (length, equal, shift) =
            others.map(weighed).filter(|way| way.0 >= SHORTEST).max_by_key(|way| way.1)?;
        (equal > self.equal(at, self.shifts.current, length + AHEAD) + COST).then_some((length, shift))
    }

    /// Goes over to another shift, which was met at `at`.
    fn turn(&mut self, at: usize, shift: isize, matches: &mut Vec<Match>) {
        let forward = self.start + self.forward(at);
        let backward = at - self.backward(at, shift);
        let (end, start) = if forward <= backward {
            (forward, backward)
        } else {
            let split = self.split(backward..forward, shift);
            (split, split)
        };
        self.settle(end, matches);
        self.start = start;
        self.shifts.turn(shift);
    }

    fn finish(mut self, end: usize, matches: &mut Vec<Match>) {
        let end = self.start + self.forward(end);
        self.settle(end, matches);
    }

    fn settle(&mut self, end: usize, matches: &mut Vec<Match>) {
        let position = self.start.wrapping_add_signed(self.shifts.current);
        push(matches, Match { start: self.start, position, length: end - self.start });
    }

    /// How far the shift there is gains.
    fn forward(&self, at: usize) -> usize {
        let Some(position) = self.files.place(self.start, self.shifts.current) else { return 0 };
        gain(self.files.new[self.start..at].iter().zip(&self.files.old[position..]))
    }

    /// How far another one does, back from where it was met.
    fn backward(&self, at: usize, shift: isize) -> usize {
        let Some(position) = self.files.place(at, shift) else { return 0 };
        let first = self.start.max(at.saturating_sub(BACK));
        gain(self.files.new[first..at].iter().rev().zip(self.files.old[..position].iter().rev()))
    }

    /// Where to go over to another shift, where both gain.
    fn split(&self, both: Range<usize>, shift: isize) -> usize {
        let is_equal = |at: usize, shift| {
            self.files.place(at, shift).map(|position| self.files.old[position]) == Some(self.files.new[at])
        };
        let (mut score, mut best, mut split) = (0_isize, 0, both.start);
        for at in both {
            score += isize::from(is_equal(at, self.shifts.current)) - isize::from(is_equal(at, shift));
            if score > best {
                (best, split) = (score, at + 1);
            }
        }
        split
    }
}

/// After how many pairs most more are equal than differ.
fn gain<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    let (mut gain, mut best, mut length) = (0_isize, 0, 0);
    for (index, (new, old)) in pairs.enumerate() {
        gain += if new == old { 1 } else { -1 };
        if gain > best {
            (best, length) = (gain, index + 1);
        }
    }
    length
}
