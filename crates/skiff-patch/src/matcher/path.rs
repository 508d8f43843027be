//! The cheapest way through the hints: which bytes are made from which shift, and which are new.
//!
//! Dynamic programming over the bytes of the new file. A state is a shift, or that nothing is like the byte; going to
//! another state costs what telling so does. A shift is entered only where a run of equal bytes begins and left for
//! literals only where one ends, because nothing is cheaper, so that few steps of few ways are remembered.

use super::files::Files;
use super::{Match, ROW, push};

/// At a shift, files may be alike from here on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hint {
    pub(super) from: usize,
    /// Up to here they are known to be.
    pub(super) to: usize,
    pub(super) shift: isize,
}

/// Costs in eighths of a bit, chosen by what makes the deltas of real images smallest.
mod cost {
    pub(super) const LITERAL: i64 = 32;
    pub(super) const DIFFERENT: i64 = 52;
    /// A byte that differs by as much as the one before at that place of a row.
    pub(super) const AGAIN: i64 = 4;
    /// Going on at the same shift after literals.
    pub(super) const SAME: i64 = 18 * 8;
    /// Going back to the shift before.
    pub(super) const BEFORE: i64 = 24 * 8;
    pub(super) const OTHER: i64 = 24 * 8;
    /// For each bit of the distance between shifts.
    pub(super) const DISTANCE: i64 = 18;
    /// More than any way that is still to win.
    pub(super) const NEVER: i64 = i64::MAX / 4;
}

/// The most shifts that are followed at a time.
const LANES: usize = 24;
/// A shift is no longer followed when so many bytes more differed than were equal.
const PATIENCE: i64 = 96;
/// So many equal bytes end all other ways.
const SURE: usize = 32;
/// So many steps are remembered at most.
const STEPS: usize = 1 << 16;

pub(super) struct Path<'a> {
    files: Files<'a>,
    at: usize,
    steps: Vec<Step>,
    lanes: Vec<Lane>,
    /// The cheapest way that ends with literals, and its last step.
    literal: (i64, u32),
}

/// A way's last step, and by that the way.
#[derive(Debug, Clone, Copy)]
struct Step {
    parent: u32,
    start: usize,
    is_literal: bool,
    /// The shift, or for literals the one before them.
    shift: isize,
    /// The shift before that.
    before: isize,
}

/// A shift that is followed.
struct Lane {
    shift: isize,
    cost: i64,
    step: u32,
    /// Up to where the files are known to be equal.
    equal_to: usize,
    /// Whether entering it here may be better than it was before.
    may_enter: bool,
    /// By how much the bytes at each place of a row differed last.
    deltas: [u8; ROW],
    /// How many bytes more may differ before it is given up.
    patience: i64,
    /// It is not given up before.
    keep_to: usize,
}

impl<'a> Path<'a> {
    pub(super) fn new(files: Files<'a>, at: usize, shift: isize) -> Self {
        let first = Step { parent: 0, start: at, is_literal: true, shift, before: shift };
        Self { files, at, steps: vec![first], lanes: Vec::with_capacity(LANES), literal: (0, 0) }
    }

    /// Goes on to `end`; the hints are in order.
    pub(super) fn go_on(&mut self, end: usize, hints: &[Hint], matches: &mut Vec<Match>) {
        let mut hints = hints.iter().peekable();
        while self.at < end {
            while let Some(hint) = hints.next_if(|hint| hint.from <= self.at) {
                self.follow(hint);
            }
            let next = hints.peek().map_or(end, |hint| hint.from.min(end));
            self.give_up(|lane, at| lane.patience > 0 || lane.keep_to > at);
            if self.lanes.is_empty() {
                self.literal.0 += (next - self.at) as i64 * cost::LITERAL;
                self.at = next;
                continue;
            }
            if self.steps.len() > STEPS {
                let (_, step) = self.best();
                self.settle(step, matches);
            }
            self.step(end, matches);
        }
    }

    /// Settles what is left.
    pub(super) fn finish(mut self, matches: &mut Vec<Match>) {
        let (_, step) = self.best();
        self.settle(step, matches);
    }

    fn follow(&mut self, hint: &Hint) {
        let (at, shift) = (self.at, hint.shift);
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.shift == shift) {
            (lane.patience, lane.keep_to) = (PATIENCE, lane.keep_to.max(hint.to));
            return;
        }
        if self.lanes.len() == LANES {
            let rank = |lane: &Lane| (lane.keep_to <= at, lane.cost, -lane.patience);
            let worst = self.lanes.iter().max_by_key(|lane| rank(lane)).map(|lane| lane.shift);
            self.give_up(|lane, _| Some(lane.shift) != worst);
        }
        self.lanes.push(Lane {
            shift,
            cost: cost::NEVER,
            step: 0,
            equal_to: at,
            may_enter: true,
            deltas: [0; ROW],
            patience: PATIENCE,
            keep_to: hint.to,
        });
    }

    /// Follows only some of the shifts any longer. The cheapest way stays one, by literals.
    fn give_up(&mut self, is_kept: impl Fn(&Lane, usize) -> bool) {
        let at = self.at;
        if self.lanes.iter().all(|lane| is_kept(lane, at)) {
            return;
        }
        let (best, step) = self.best();
        if best < self.literal.0 {
            self.literal = (best, self.remember(at, None, step));
        }
        self.lanes.retain(|lane| is_kept(lane, at));
    }

    /// The cheapest way so far.
    fn best(&self) -> (i64, u32) {
        let lanes = self.lanes.iter().map(|lane| (lane.cost, lane.step));
        lanes.fold(self.literal, |best, way| if way.0 < best.0 { way } else { best })
    }

    /// Goes on by as many bytes as are alike in being equal or not, at every shift.
    fn step(&mut self, end: usize, matches: &mut Vec<Match>) {
        let at = self.at;
        let (best, best_step) = self.best();
        let mut count = end - at;
        let mut leader_differs = false;
        let mut sure = None;
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            if lane.equal_to <= at {
                lane.equal_to = at + self.files.run(at, lane.shift);
                if self.files.place(at, lane.shift).is_none() {
                    leader_differs |= lane.cost == best;
                    (lane.cost, lane.patience, lane.keep_to) = (cost::NEVER, 0, 0);
                }
            }
            let run = lane.equal_to - at;
            if run == 0 {
                leader_differs |= lane.cost == best;
                count = 1;
                continue;
            }
            count = count.min(run);
            if lane.may_enter {
                lane.may_enter = false;
                let shift = lane.shift;
                let entered = best + self.control(best_step, shift);
                if entered < self.lanes[index].cost {
                    let step = self.remember(at, Some(shift), best_step);
                    (self.lanes[index].cost, self.lanes[index].step) = (entered, step);
                }
            }
            let lane = &mut self.lanes[index];
            if run >= SURE && lane.cost <= best {
                sure = Some(index);
            }
        }
        if let Some(index) = sure {
            self.jump(index, end, matches);
            return;
        }
        if leader_differs && best < self.literal.0 {
            self.literal = (best, self.remember(at, None, best_step));
        }
        self.literal.0 += count as i64 * cost::LITERAL;
        for lane in &mut self.lanes {
            if lane.equal_to == at {
                let old = at.checked_add_signed(lane.shift).and_then(|position| self.files.old.get(position));
                let delta = self.files.new[at].wrapping_sub(old.copied().unwrap_or(0));
                let is_known = std::mem::replace(&mut lane.deltas[at % ROW], delta) == delta;
                let cost = if is_known { cost::AGAIN } else { cost::DIFFERENT };
                lane.cost = (lane.cost + cost).min(cost::NEVER);
                lane.may_enter = true;
                lane.patience -= i64::from(!is_known);
            } else {
                lane.patience = PATIENCE.min(lane.patience + count as i64);
            }
        }
        self.at += count;
    }

    /// Takes a long run of equal bytes, which no other way survives.
    fn jump(&mut self, index: usize, end: usize, matches: &mut Vec<Match>) {
        let (step, to) = (self.lanes[index].step, self.lanes[index].equal_to.min(end));
        self.settle(step, matches);
        for lane in &mut self.lanes {
            lane.may_enter = true;
            lane.patience -= ((to - self.at) / 8) as i64;
        }
        self.lanes[index].patience = PATIENCE;
        self.at = to;
    }

    /// What telling the shift costs after that step.
    fn control(&self, after: u32, shift: isize) -> i64 {
        let step = &self.steps[after as usize];
        if shift == step.shift {
            cost::SAME
        } else if shift == step.before {
            cost::BEFORE
        } else {
            let distance = (shift - step.shift).unsigned_abs();
            cost::OTHER + i64::from(distance.max(1).ilog2()) * cost::DISTANCE
        }
    }

    fn remember(&mut self, start: usize, shift: Option<isize>, parent: u32) -> u32 {
        let last = self.steps[parent as usize];
        let is_literal = shift.is_none();
        let shift = shift.unwrap_or(last.shift);
        let before = if shift == last.shift { last.before } else { last.shift };
        self.steps.push(Step { parent, start, is_literal, shift, before });
        (self.steps.len() - 1) as u32
    }

    /// Makes the way with that last step the only one, and gives its matches.
    fn settle(&mut self, last: u32, matches: &mut Vec<Match>) {
        let last_step = self.steps[last as usize];
        let mut way = Vec::new();
        let mut step = last;
        loop {
            let Step { parent, start, is_literal, shift, .. } = self.steps[step as usize];
            way.push((start, (!is_literal).then_some(shift)));
            if step == 0 {
                break;
            }
            step = parent;
        }
        let mut ways = way.iter().rev().peekable();
        while let Some(&(start, shift)) = ways.next() {
            let end = ways.peek().map_or(self.at, |(next, _)| *next);
            if let Some(shift) = shift {
                let position = start.wrapping_add_signed(shift);
                push(matches, Match { start, position, length: end - start });
            }
        }
        self.steps.clear();
        self.steps.push(Step { parent: 0, start: self.at, ..last_step });
        let mut cost = cost::NEVER;
        for lane in &mut self.lanes {
            if lane.cost < cost::NEVER && lane.step == last && !last_step.is_literal {
                (cost, lane.cost, lane.step) = (0, 0, 0);
            } else {
                (lane.cost, lane.step, lane.may_enter) = (cost::NEVER, 0, true);
            }
        }
        self.literal = if cost == 0 { (cost::NEVER, 0) } else { (0, 0) };
    }
}
