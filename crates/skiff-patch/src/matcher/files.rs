//! The two files, compared at shifts, and which shifts a search goes by.

use super::common_prefix;

/// Both files. A *shift* is the distance between a byte's places in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
}

impl Files<'_> {
    /// The old file's place for one of the new, if it has one.
    pub(super) fn place(&self, at: usize, shift: isize) -> Option<usize> {
        at.checked_add_signed(shift).filter(|&position| position < self.old.len())
    }

    /// How many bytes from `at` on are equal.
    pub(super) fn run(&self, at: usize, shift: isize) -> usize {
        self.place(at, shift).map_or(0, |position| common_prefix(&self.new[at..], &self.old[position..]))
    }
}

/// The shift at which the files were alike last, and those before, the last one first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shifts<const N: usize> {
    pub(super) current: isize,
    pub(super) recent: [isize; N],
}

impl<const N: usize> Shifts<N> {
    pub(super) fn new(shift: isize) -> Self {
        Self { current: shift, recent: [shift; N] }
    }

    /// Goes over to another one.
    pub(super) fn turn(&mut self, shift: isize) {
        let known = self.recent.iter().position(|&recent| recent == self.current).unwrap_or(N - 1);
        self.recent[..=known].rotate_right(1);
        self.recent[0] = self.current;
        self.current = shift;
    }
}
