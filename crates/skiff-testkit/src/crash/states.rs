use std::collections::HashSet;
use std::sync::Arc;

use super::files::{Files, Inode, InodeId};
use super::log::{Effect, Moment};
use crate::Random;

/// How far a moment is gone through.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Effort {
    /// Everything is tried where that is no more than so many states.
    pub exhaustive: usize,
    /// Elsewhere, so many subsets by chance, beside those that are always tried: every first so many changes, every single one, and all
    /// but each single one.
    pub random: usize,
    /// Elsewhere, every first so many changes but each single one of them.
    pub omissions: Omissions,
    /// Decides what comes by chance.
    pub seed: u64,
}

/// Which prefixes of the changes are tried with each of their changes left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omissions {
    /// That of all.
    OfAll,
    /// Each.
    OfEachPrefix,
}

impl Default for Effort {
    fn default() -> Self {
        Self { exhaustive: 1 << 12, random: 200, omissions: Omissions::OfAll, seed: 1 }
    }
}

impl Effort {
    /// This effort, with everything tried up to so many states.
    #[must_use]
    pub fn exhaustive_up_to(self, states: usize) -> Self {
        Self { exhaustive: states, ..self }
    }

    /// This effort, with so many subsets by chance.
    #[must_use]
    pub fn with_random(self, random: usize) -> Self {
        Self { random, ..self }
    }

    /// This effort, with other omissions.
    #[must_use]
    pub fn with_omissions(self, omissions: Omissions) -> Self {
        Self { omissions, ..self }
    }
}

/// What arrived of that which may or may not have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Choice(Vec<bool>);

/// What is tried of a moment.
#[derive(Debug, Clone)]
pub struct Choices {
    /// In this order.
    pub all: Vec<Choice>,
    /// Whether they lead to every state there is.
    pub is_exhaustive: bool,
}

impl Moment {
    /// What may have arrived.
    #[must_use]
    pub fn choices(&self, effort: &Effort) -> Choices {
        if let Some(all) = Exhaustive::new(self, effort.exhaustive).run() {
            return Choices { all, is_exhaustive: true };
        }
        Choices { all: self.sample(effort), is_exhaustive: false }
    }

    /// What is on the disk then.
    #[must_use]
    pub fn files(&self, choice: &Choice) -> Files {
        self.state(&choice.0)
    }

    /// Tells what did not arrive, or what did where that is less.
    #[must_use]
    pub fn describe(&self, choice: &Choice) -> String {
        let labels = |arrived: bool| {
            let chosen = self.changes.iter().zip(&choice.0).filter(|(change, _)| !change.is_certain);
            let chosen = chosen.filter(|(_, chosen)| **chosen == arrived);
            chosen.map(|(change, _)| change.label.as_str()).collect::<Vec<_>>()
        };
        let (arrived, lost) = (labels(true), labels(false));
        if lost.len() <= arrived.len() {
            format!("all arrived but {lost:?}")
        } else {
            format!("nothing arrived but {arrived:?}")
        }
    }

    fn sample(&self, effort: &Effort) -> Vec<Choice> {
        let uncertain: Vec<usize> =
            (0..self.changes.len()).filter(|&index| !self.changes[index].is_certain).collect();
        let count = uncertain.len();
        let choose = |arrives: &mut dyn FnMut(usize) -> bool| {
            let mut choice = vec![false; self.changes.len()];
            for (order, index) in uncertain.iter().enumerate() {
                choice[*index] = arrives(order);
            }
            Choice(choice)
        };
        let mut all = Vec::new();
        for first in 0..=count {
            all.push(choose(&mut |order| order < first));
        }
        for one in 0..count {
            all.push(choose(&mut |order| order != one));
            all.push(choose(&mut |order| order == one));
        }
        if effort.omissions == Omissions::OfEachPrefix {
            for first in 0..count {
                for one in 0..first {
                    all.push(choose(&mut |order| order < first && order != one));
                }
            }
        }
        let mut random = Random::new(effort.seed);
        let is_name: Vec<bool> =
            uncertain.iter().map(|index| matches!(self.changes[*index].effect, Effect::Names(_))).collect();
        for _ in 0..effort.random {
            // A name that did not arrive hides everything beneath it: most of them have to, for the rest to make a difference.
            let (names, others) = ([256, 250, 236, 192][random.below(4)], [230, 128, 26][random.below(3)]);
            let until = 1 + random.below(count);
            all.push(choose(&mut |order| {
                order < until && random.below(256) < if is_name[order] { names } else { others }
            }));
        }
        let mut seen = HashSet::new();
        all.retain(|choice| seen.insert(choice.clone()));
        all
    }
}

/// Goes through every state, from the root down: what lies beneath a name that did not arrive makes no difference.
struct Exhaustive<'a> {
    moment: &'a Moment,
    /// For each inode, the group of inodes that it is decided on with: those that a single change touches.
    group: Vec<InodeId>,
    most: usize,
    found: Vec<Choice>,
}

impl<'a> Exhaustive<'a> {
    fn new(moment: &'a Moment, most: usize) -> Self {
        let mut group: Vec<InodeId> = (0..moment.base.inodes.len()).collect();
        for change in &moment.changes {
            let inodes = change.effect.inodes();
            let (one, others) = inodes.split_first().expect("because every change touches something");
            for other in others {
                let (from, to) = (group[*other], group[*one]);
                group.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
            }
        }
        Self { moment, group, most, found: Vec::new() }
    }

    /// None where there are too many.
    fn run(mut self) -> Option<Vec<Choice>> {
        let choice = vec![false; self.moment.changes.len()];
        let decided = vec![false; self.group.len()];
        self.decide(self.moment.base.clone(), choice, decided)?;
        Some(self.found)
    }

    /// Decides on the next group of inodes that can be reached.
    fn decide(&mut self, files: Files, choice: Vec<bool>, mut decided: Vec<bool>) -> Option<()> {
        let reached = files.reached();
        let Some(next) =
            reached.iter().map(|reached| self.group[reached.inode]).find(|group| !decided[*group])
        else {
            self.found.push(Choice(choice));
            return (self.found.len() <= self.most).then_some(());
        };
        decided[next] = true;
        let changes: Vec<usize> =
            (0..self.moment.changes.len()).filter(|&index| self.touches(index, next)).collect();
        let cells = self.cells(&changes);
        let versions = cells.iter().try_fold(1_usize, |all, cell| all.checked_mul(cell.len() + 1))?;
        // Most of them differ.
        if versions / 4 > self.most {
            return None;
        }
        let members: Vec<InodeId> =
            (0..self.group.len()).filter(|&inode| self.group[inode] == next).collect();
        let mut seen: HashSet<Vec<Arc<Inode>>> = HashSet::new();
        for version in 0..versions {
            let (mut files, mut choice) = (files.clone(), choice.clone());
            let mut rest = version;
            for cell in &cells {
                if let Some(newest) = (rest % (cell.len() + 1)).checked_sub(1) {
                    choice[cell[newest]] = true;
                }
                rest /= cell.len() + 1;
            }
            for &index in &changes {
                let change = &self.moment.changes[index];
                if change.is_certain || choice[index] {
                    change.effect.apply(&mut files, change.number);
                }
            }
            let became: Vec<_> = members.iter().map(|&inode| Arc::clone(&files.inodes[inode])).collect();
            if seen.insert(became) {
                self.decide(files, choice, decided.clone())?;
            }
        }
        Some(())
    }

    /// Of these changes, those that may not have arrived, so that of those together only the newest that arrived makes a difference.
    fn cells(&self, changes: &[usize]) -> Vec<Vec<usize>> {
        let mut cells: Vec<(Option<Cell<'_>>, Vec<usize>)> = Vec::new();
        for &index in changes.iter().filter(|index| !self.moment.changes[**index].is_certain) {
            let cell = Cell::of(&self.moment.changes[index].effect);
            match cells.iter_mut().find(|(other, _)| cell.is_some() && *other == cell) {
                Some((_, indices)) => indices.push(index),
                None => cells.push((cell, vec![index])),
            }
        }
        cells.into_iter().map(|(_, indices)| indices).collect()
    }

    fn touches(&self, change: usize, group: InodeId) -> bool {
        let effect: &Effect = &self.moment.changes[change].effect;
        effect.inodes().iter().any(|inode| self.group[*inode] == group)
    }
}

/// What is overwritten as a whole.
#[derive(PartialEq, Eq)]
enum Cell<'a> {
    Name(InodeId, &'a [u8]),
    Mode(InodeId),
    Owner(InodeId),
    Time(InodeId),
    Xattr(InodeId, &'a [u8]),
}

impl<'a> Cell<'a> {
    /// None for what depends on what came before: two names at once, bytes and lengths.
    fn of(effect: &'a Effect) -> Option<Self> {
        match effect {
            Effect::Names(names) => match &names[..] {
                [(directory, name, _)] => Some(Self::Name(*directory, name)),
                _ => None,
            },
            Effect::Bytes { .. } | Effect::Grown { .. } | Effect::Length { .. } => None,
            Effect::Mode(inode, _) => Some(Self::Mode(*inode)),
            Effect::Owner(inode, ..) => Some(Self::Owner(*inode)),
            Effect::Time(inode, _) => Some(Self::Time(*inode)),
            Effect::Xattr(inode, name, _) => Some(Self::Xattr(*inode, name)),
        }
    }
}
