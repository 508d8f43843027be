//! Where old bytes went, as the copies tell.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Copy;
use super::layout::FILE_LIMIT;

/// The most copies that are looked at; of more, the longest.
pub(super) const COPY_LIMIT: usize = 1 << 18;
/// What a copy takes while the intervals are made: itself, its rank in the sweep, and two intervals.
pub(super) const MEMORY_PER_COPY: u64 = 12 + 12 + 2 * 12;

/// `length` bytes of the old file from `position` on went to `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    position: u32,
    start: u32,
    length: u32,
}

impl Interval {
    const fn end(&self) -> u32 {
        self.position + self.length
    }
}

/// Where each old byte went: by the longest of the copies that have it.
pub(super) struct Placement {
    /// In the order of their positions, none overlapping another.
    intervals: Vec<Interval>,
    last: usize,
}

/// What is known of where an old byte went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Where it went if it moved with the nearest copied byte.
    pub(super) start: u64,
    /// How far that byte is away: zero for a byte that was itself copied.
    pub(super) distance: u32,
    /// Where it went if it moved with the nearest copied byte on the other side.
    pub(super) other: Option<u64>,
}

impl Placement {
    pub(super) fn new(copies: &[Copy]) -> Self {
        let mut sorted = kept(copies);
        sorted.sort_unstable_by_key(|interval| (interval.position, interval.start, interval.length));
        Self { intervals: sweep(&sorted), last: 0 }
    }

    /// Where the byte at `position` went; none if nothing was copied at all.
    pub(super) fn of(&mut self, position: u64) -> Option<Placed> {
        let position = u32::try_from(position).ok()?;
        let index = self.index(position);
        let before = index.map(|index| self.intervals[index]);
        if let Some(before) = before
            && position < before.end()
        {
            let start = u64::from(before.start) + u64::from(position - before.position);
            return Some(Placed { start, distance: 0, other: None });
        }
        let after = self.intervals.get(index.map_or(0, |index| index + 1)).copied();
        let with = |interval: Interval| {
            (u64::from(interval.start) + u64::from(position)).checked_sub(u64::from(interval.position))
        };
        let left = before.and_then(|before| Some((position - before.end() + 1, with(before)?)));
        let right = after.and_then(|after| Some((after.position - position, with(after)?)));
        let (near, far) = match (left, right) {
            (Some(left), Some(right)) if right.0 < left.0 => (Some(right), Some(left)),
            (None, right) => (right, None),
            (left, right) => (left, right),
        };
        let (distance, start) = near?;
        Some(Placed { start, distance, other: far.map(|(_, start)| start).filter(|far| *far != start) })
    }

    /// The last interval that begins at or before `position`.
    fn index(&mut self, position: u32) -> Option<usize> {
        let holds = |index: usize| {
            self.intervals.get(index).is_some_and(|interval| interval.position <= position)
                && self.intervals.get(index + 1).is_none_or(|interval| interval.position > position)
        };
        if !holds(self.last) {
            let count = self.intervals.partition_point(|interval| interval.position <= position);
            self.last = count.checked_sub(1)?;
        }
        Some(self.last)
    }
}

/// The copies that are looked at.
fn kept(copies: &[Copy]) -> Vec<Interval> {
    let class = |copy: &Copy| 64 - copy.length.leading_zeros() as usize;
    let mut counts = [0_usize; 65];
    copies.iter().for_each(|copy| counts[class(copy)] += 1);
    // The shortest length of which, and of all longer ones, there are not too many.
    let mut total = 0;
    let shortest = (1..65).rev().find(|&class| {
        total += counts[class];
        total > COPY_LIMIT
    });
    let is_kept = |copy: &&Copy| {
        let ends = [copy.start, copy.position].map(|start| start.checked_add(copy.length));
        class(copy) > shortest.unwrap_or(0) && ends.iter().all(|end| end.is_some_and(|end| end < FILE_LIMIT))
    };
    // Below 2³¹, as was just seen.
    let interval = |copy: &Copy| Interval {
        position: copy.position as u32,
        start: copy.start as u32,
        length: copy.length as u32,
    };
    let mut kept = Vec::with_capacity(copies.iter().filter(is_kept).count());
    kept.extend(copies.iter().filter(is_kept).map(interval));
    kept
}

/// Cuts overlapping intervals, sorted by position, into ones that do not overlap; the longest wins.
fn sweep(sorted: &[Interval]) -> Vec<Interval> {
    // The longest first, then the one that comes first in the new file.
    let rank = |index: usize| (sorted[index].length, Reverse(sorted[index].start), index as u32);
    let mut active = BinaryHeap::with_capacity(sorted.len());
    let mut out: Vec<Interval> = Vec::with_capacity(2 * sorted.len());
    let (mut next, mut at) = (0, 0);
    loop {
        while active
            .peek()
            .is_some_and(|&(.., index): &(u32, Reverse<u32>, u32)| sorted[index as usize].end() <= at)
        {
            active.pop();
        }
        if active.is_empty() {
            let Some(interval) = sorted.get(next) else { return out };
            at = interval.position;
        }
        while let Some(interval) = sorted.get(next)
            && interval.position <= at
        {
            active.push(rank(next));
            next += 1;
        }
        let Some(&(.., best)) = active.peek() else { continue };
        let best = sorted[best as usize];
        if best.end() <= at {
            continue;
        }
        // The next that could be better begins at the next position.
        let until = sorted.get(next).map_or(best.end(), |interval| interval.position.min(best.end()));
        let piece = Interval { position: at, start: best.start + (at - best.position), length: until - at };
        push(&mut out, piece);
        at = until;
    }
}

fn push(out: &mut Vec<Interval>, piece: Interval) {
    if let Some(last) = out.last_mut()
        && last.end() == piece.position
        && last.start + last.length == piece.start
    {
        last.length += piece.length;
    } else {
        out.push(piece);
    }
}
