//! From the index's answers to hints: at which shifts the files may be alike, and from where on.

use std::collections::HashMap;
use std::ops::Range;

use super::files::{Files, Shifts};
use super::path::{Hint, Path};
use super::suffixes::Suffixes;
use super::{Found, Match, ROW, SHORTEST, last_shift};

/// How many bytes of the new file hints are gathered for before the path is continued through them.
const CHUNK: usize = 256 << 10;
/// What the hints of a chunk and the path take, in bytes.
pub(super) const MEMORY: u64 = 36 << 20;
/// The files are alike if they are for that many bytes: no other shift is looked for.
const ALIKE: usize = 32;
/// How many of those bytes may differ.
const SPARSE: usize = 3;

/// How far ahead shifts are compared.
const AHEAD: usize = 64;
/// Equal ranges are not compared further.
const ENOUGH: usize = 1 << 12;

/// How far back a hint reaches: what is half alike goes on and on in tables.
const BACK: usize = 32 << 10;
/// And how far back it is given again: among many shifts that reach far back some are given up before they are met.
const NEAR: usize = 512;

/// Searches one part of the new file in one window of the old.
pub(super) fn search(
    files: Files<'_>,
    (window, part): (Range<usize>, Range<usize>),
    matches: &mut Vec<Match>,
) {
    let Some(index) = Suffixes::of(&files.old[window.clone()]) else { return };
    let shift = last_shift(matches);
    let mut scan = Scan {
        index,
        files,
        window,
        shifts: Shifts::new(shift),
        at: part.start,
        misses: 0,
        hinted: HashMap::new(),
        found: Vec::new(),
    };
    let mut path = Path::new(files, part.start, shift);
    let mut hints = vec![Hint { from: part.start, to: part.start, shift }];
    let mut start = part.start;
    while start < part.end {
        let end = part.end.min(start + CHUNK);
        scan.hints(start..end, &mut hints);
        hints.sort_by_key(|hint| hint.from);
        path.go_on(end, &hints, matches);
        hints.clear();
        start = end;
    }
    path.finish(matches);
}

struct Scan<'a> {
    index: Suffixes<'a>,
    files: Files<'a>,
    window: Range<usize>,
    shifts: Shifts<4>,
    at: usize,
    /// How many searches in a row found nothing.
    misses: usize,
    /// From where on each shift was hinted at last in this chunk: what lies before is known.
    hinted: HashMap<isize, usize>,
    found: Vec<Found>,
}

impl Scan<'_> {
    /// Appends the hints for a chunk.
    fn hints(&mut self, chunk: Range<usize>, hints: &mut Vec<Hint>) {
        self.hinted.clear();
        while self.at < chunk.end {
            let run = self.files.run(self.at, self.shifts.current);
            let equal = if run >= ALIKE { ALIKE } else { self.gain(self.at, self.shifts.current, ALIKE).1 };
            if equal >= ALIKE / 3 {
                // The path may have left the shift meanwhile.
                hints.push(Hint { from: self.at, to: self.at + run, shift: self.shifts.current });
            }
            if equal + SPARSE >= ALIKE {
                self.at += run.max(1);
                continue;
            }
            self.found.clear();
            self.index.search(&self.files.new[self.at..], &mut self.found);
            match self.best() {
                Some((length, shift)) => {
                    self.hint(chunk.start, (length, shift), hints);
                    self.shifts.turn(shift);
                    self.at += length.max(1);
                    self.misses = 0;
                }
                None => {
                    // A long stretch of nothing known is gone through in longer steps, which meet every place of a table's stride.
                    self.misses += 1;
                    self.at += (run + 1).max(if self.misses < 256 { 1 } else { 3 });
                }
            }
        }
    }

    /// The best of what was found and of the shifts before, unless the shift there is is as good.
    fn best(&self) -> Option<(usize, isize)> {
        let worth = |shift: isize| {
            let equal = self.files.run(self.at, shift);
            let gain = equal.min(ENOUGH)
                + self.gain(self.at + equal, shift, AHEAD).0
                + self.gain_before(self.at, shift);
            (gain, equal)
        };
        let found =
            self.found.iter().map(|found| (self.window.start + found.position) as isize - self.at as isize);
        let mut best: Option<(usize, usize, isize)> = None;
        for shift in found.chain(self.shifts.recent).filter(|&shift| shift != self.shifts.current) {
            let (gain, length) = worth(shift);
            let distance = (shift - self.shifts.current).unsigned_abs().max(1).ilog2() as usize;
            let rank = gain * 4 + 64 - distance;
            if best.is_none_or(|best| rank > best.0) {
                best = Some((rank, length, shift));
            }
        }
        let (_, length, shift) = best?;
        let (gain, _) = worth(shift);
        let (same, _) = worth(self.shifts.current);
        (gain > same && gain >= SHORTEST).then_some((length, shift))
    }

    /// By how many bytes more are equal than differ from `at` on, where that is most, and how many of `length` are equal.
    fn gain(&self, at: usize, shift: isize, length: usize) -> (usize, usize) {
        let Some(position) = self.files.place(at, shift) else { return (0, 0) };
        let (mut equal, mut gain, mut most) = (0, 0_isize, 0_isize);
        let mut deltas = [0; ROW];
        for (index, (new, old)) in
            self.files.new[at..].iter().zip(&self.files.old[position..]).take(length).enumerate()
        {
            let delta = new.wrapping_sub(*old);
            if delta == 0 {
                equal += 1;
                gain += 1;
                most = most.max(gain);
            } else if std::mem::replace(&mut deltas[index % ROW], delta) != delta {
                gain -= 1;
            }
        }
        (most as usize, equal)
    }

    /// The same backwards from `at`, for a few bytes.
    fn gain_before(&self, at: usize, shift: isize) -> usize {
        let Some(position) = self.files.place(at, shift) else { return 0 };
        let pairs = self.files.new[..at].iter().rev().zip(self.files.old[..position].iter().rev()).take(32);
        let (mut gain, mut most) = (0_isize, 0_isize);
        for (new, old) in pairs {
            gain += if new == old { 1 } else { -1 };
            most = most.max(gain);
        }
        most as usize
    }

    /// Appends the hints of a shift at which the files are equal here; they reach back to `start` at most.
    fn hint(&mut self, start: usize, (length, shift): (usize, isize), hints: &mut Vec<Hint>) {
        let to = self.at + length;
        let known = self.hinted.insert(shift, self.at).unwrap_or(start);
        let from = self.back(known.max(self.at.saturating_sub(BACK)), shift);
        let near = self.back(start.max(self.at.saturating_sub(NEAR)), shift);
        hints.push(Hint { from: near, to, shift });
        if from < near {
            hints.push(Hint { from, to, shift });
        }
    }

    /// From where on the files are alike at a shift at which they are equal here, not before `start`.
    fn back(&self, start: usize, shift: isize) -> usize {
        const DROP: isize = 16;
        let Some(position) = self.files.place(self.at, shift) else { return self.at };
        let (mut gain, mut most, mut from) = (0, 0, self.at);
        let pairs = self.files.new[..self.at].iter().enumerate().skip(start).rev();
        for ((index, new), old) in pairs.zip(self.files.old[..position].iter().rev()) {
            gain += if new == old { 1 } else { -1 };
            if gain > most {
                (most, from) = (gain, index);
            }
            if gain < most - DROP {
                break;
            }
        }
        from
    }
}
