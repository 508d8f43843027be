//! The search: where in the new file blocks of the old one stand.
//!
//! From left to right, a block that is found is passed over as a whole, and where none is, one byte is. So what is found from
//! a place on does not depend on what stood before it, and several threads can search parts of a file: once a search
//! arrives at any place that another has visited, the other's findings are its own from there on.

use std::ops::Range;

use crate::SignatureKind;
use crate::strong::{Strong, strong_digest, strong_digests};
use crate::table::Table;
use crate::weak::{Weak, weak_digest};

/// A block that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where in the new file.
    pub(crate) at: u64,
    /// How long it is: as long as all blocks, but at the new file's end.
    pub(crate) length: u32,
    /// The class of the blocks it is equal to.
    pub(crate) class: u32,
}

impl Found {
    pub(crate) fn end(&self) -> u64 {
        self.at + u64::from(self.length)
    }
}

/// A part of the new file that is in memory.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) table: &'a Table,
    pub(crate) bytes: &'a [u8],
    /// Where in the new file the bytes begin.
    pub(crate) origin: u64,
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) found: Vec<Found>,
    /// Where the search arrived.
    pub(crate) end: u64,
    /// Whether it ended because it met another one.
    pub(crate) has_met: bool,
    /// What is left of the credit there.
    pub(crate) credit: Credit,
    /// How many bytes strong hashes were computed of, for this and for what was joined to it.
    pub(crate) hashed: u64,
    /// The cells where credit was used: what is found there may depend on where the search came from.
    charged: Vec<u64>,
}

/// How many blocks are hashed at once where those before them were found: as many as MD4 has lanes.
const ABREAST: usize = 16;

/// How many bytes a search may hash in vain for each byte it passes. Two files can be made so that at every byte the weak
/// hash of some block comes up, and its strong hash would have to be computed for nothing.
const CREDIT: u64 = 32;
/// The bytes over which that is balanced, where blocks are not longer.
const CELL: u64 = 64 << 10;

/// What a search may still hash in vain in the cell of the file it is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credit {
    cell_len: u64,
    cell: u64,
    left: u64,
}

impl Credit {
    pub(crate) fn new(block_len: u64) -> Self {
        let cell_len = CELL.max(block_len);
        Self { cell_len, cell: 0, left: CREDIT * cell_len }
    }

    /// Goes to the cell of a place, which is not before the last one.
    fn enter(&mut self, at: u64) {
        let cell = at / self.cell_len;
        if cell != self.cell {
            (self.cell, self.left) = (cell, self.full());
        }
    }

    fn full(&self) -> u64 {
        CREDIT * self.cell_len
    }
}

impl<'a> Window<'a> {
    /// Searches from `range.start`, with the credit that is left there, up to `range.end`, from where on blocks are not looked
    /// for. Ends early where it meets `other`.
    pub(crate) fn search<W: Weak>(&self, range: Range<u64>, credit: Credit, other: Option<&Path>) -> Path {
        let params = self.table.params();
        let mut search = Search {
            window: *self,
            block_len: params.block_len() as usize,
            kind: params.kind(),
            end: range.end,
            meeting: other.map(|other| Meeting { other, next: 0 }),
            path: Path {
                found: Vec::new(),
                end: range.start,
                has_met: false,
                credit,
                hashed: 0,
                charged: Vec::new(),
            },
        };
        search.run::<W>();
        search.path
    }

    fn at(&self, position: u64) -> &'a [u8] {
        // The position lies in the window, whose bytes are in memory.
        &self.bytes[(position - self.origin) as usize..]
    }
}

struct Search<'a> {
    window: Window<'a>,
    block_len: usize,
    kind: SignatureKind,
    end: u64,
    meeting: Option<Meeting<'a>>,
    path: Path,
}

/// Why a search goes no further with blocks.
enum Stop {
    /// None begins where the search is.
    NoBlock,
    /// The range ends, or there are too few bytes for a block.
    Range,
    /// Another search has been here.
    Met,
}

impl Search<'_> {
    fn run<W: Weak>(&mut self) {
        while self.path.end < self.end && !self.has_met() {
            if self.window.at(self.path.end).len() < self.block_len {
                return self.pass_tail::<W>();
            }
            match self.pass_blocks() {
                Stop::NoBlock => self.pass_bytes::<W>(),
                Stop::Range => {}
                Stop::Met => return,
            }
        }
    }

    /// Passes over blocks that are found, one after the other.
    fn pass_blocks(&mut self) -> Stop {
        let mut abreast = 1;
        let mut strong: Vec<Strong> = Vec::new();
        loop {
            let range = usize::try_from(self.end.saturating_sub(self.path.end)).unwrap_or(usize::MAX);
            let bytes = self.window.at(self.path.end);
            let blocks = (bytes.len() / self.block_len).min(range.div_ceil(self.block_len)).min(abreast);
            if blocks == 0 {
                return Stop::Range;
            }
            self.path.credit.enter(self.path.end);
            if self.path.credit.left == 0 {
                return Stop::NoBlock;
            }
            let same_weak = bytes.chunks_exact(self.block_len).take(blocks).map_while(|block| {
                let range = self.same_weak(weak_digest(self.kind.weak, block))?;
                Some((block, range))
            });
            let same_weak: Vec<(&[u8], Range<u32>)> = same_weak.collect();
            strong.clear();
            strong_digests(self.kind.strong, same_weak.iter().map(|(block, _)| *block), &mut strong);
            let hashed = same_weak.len();
            self.path.hashed += (hashed * self.block_len) as u64;
            for ((_, range), strong) in same_weak.into_iter().zip(&strong) {
                let Some(class) = self.window.table.with_strong(range, strong) else {
                    self.charge(self.path.end, self.block_len);
                    return Stop::NoBlock;
                };
                self.take(self.block_len as u32, class);
                if self.has_met() {
                    return Stop::Met;
                }
            }
            if hashed < blocks {
                return Stop::NoBlock;
            }
            abreast = ABREAST;
        }
    }

    /// Passes over one byte, known not to begin a block, and then over all that do not either.
    fn pass_bytes<W: Weak>(&mut self) {
        let bytes = self.window.at(self.path.end);
        let mut weak = W::of(&bytes[..self.block_len]);
        let range = usize::try_from(self.end - self.path.end).unwrap_or(usize::MAX);
        let start = self.path.end;
        // The bytes in memory may end with this block: then its first byte is passed over, and the rest is a tail.
        self.path.end = start + 1;
        let table = self.window.table;
        let (mut firsts, mut passed) = (bytes.iter().zip(&bytes[self.block_len..]).take(range), 0);
        loop {
            // Nearly all the time is spent in this loop, where there is no other search to meet.
            let is_alone = self.meeting.is_none();
            let candidate = firsts.by_ref().position(|(&first, &added)| {
                weak.roll(first, added);
                !is_alone || table.may_have(weak.digest())
            });
            passed = candidate.map_or(range.min(bytes.len() - self.block_len), |count| passed + count + 1);
            self.path.end = self.path.end.max(start + passed as u64);
            if candidate.is_none() {
                return;
            }
            let may_begin = passed < range && table.may_have(weak.digest());
            if may_begin && self.begins(weak.digest()) || self.has_met() {
                return;
            }
        }
    }

    /// Whether a block of this weak hash begins where the search is.
    fn begins(&mut self, weak: u32) -> bool {
        let Some(same_weak) = self.same_weak(weak) else { return false };
        self.path.credit.enter(self.path.end);
        if self.path.credit.left == 0 {
            return false;
        }
        let block = &self.window.at(self.path.end)[..self.block_len];
        let strong = self.strong_digest(block);
        let is_block = self.window.table.with_strong(same_weak, &strong).is_some();
        if !is_block {
            self.charge(self.path.end, self.block_len);
        }
        is_block
    }

    /// Passes over what is left at the end, less than a block: one byte after the other is taken off its front until the rest is
    /// the old file's last block.
    fn pass_tail<W: Weak>(&mut self) {
        let tail = self.window.at(self.path.end);
        let (mut weak, end) = (W::of(tail), self.path.end + tail.len() as u64);
        for (passed, &first) in tail.iter().enumerate() {
            let (rest, at) = (&tail[passed..], end - (tail.len() - passed) as u64);
            self.path.credit.enter(at);
            if self.path.credit.left > 0 && self.window.table.last_has(weak.digest()) {
                match self.window.table.last_class(&self.strong_digest(rest)) {
                    Some(class) => {
                        self.path.end = at;
                        return self.take(rest.len() as u32, class);
                    }
                    None => self.charge(at, rest.len()),
                }
            }
            weak.shrink(first);
        }
        self.path.end = end;
    }

    fn strong_digest(&mut self, bytes: &[u8]) -> Strong {
        self.path.hashed += bytes.len() as u64;
        strong_digest(self.kind.strong, bytes)
    }

    #[inline]
    fn same_weak(&self, weak: u32) -> Option<Range<u32>> {
        let table = self.window.table;
        table.may_have(weak).then(|| table.with_weak(weak)).filter(|range| !range.is_empty())
    }

    fn take(&mut self, length: u32, class: u32) {
        let at = self.path.end;
        self.path.found.push(Found { at, length, class });
        self.path.end = at + u64::from(length);
    }

    fn charge(&mut self, at: u64, hashed: usize) {
        let Path { credit, charged, .. } = &mut self.path;
        credit.enter(at);
        credit.left = credit.left.saturating_sub(hashed as u64);
        if charged.last() != Some(&credit.cell) {
            charged.push(credit.cell);
        }
    }

    /// Whether another search has visited the place where this one is, and found from there on what this one would.
    #[inline]
    fn has_met(&mut self) -> bool {
        let Some(meeting) = &mut self.meeting else { return false };
        let Path { credit, end, has_met, .. } = &mut self.path;
        credit.enter(*end);
        *has_met = credit.left == credit.full() && meeting.is_visited(*end, credit.cell);
        *has_met
    }
}

/// Looks for places that another search has visited.
struct Meeting<'a> {
    other: &'a Path,
    /// The first finding of the other that ends behind where this search is.
    next: usize,
}

impl Meeting<'_> {
    /// Whether the other search has looked at this place, in a cell where it used no credit.
    fn is_visited(&mut self, at: u64, cell: u64) -> bool {
        let Path { found, end, charged, .. } = self.other;
        while found.get(self.next).is_some_and(|found| found.end() <= at) {
            self.next += 1;
        }
        let is_within = found.get(self.next).is_some_and(|found| found.at < at);
        !is_within && at <= *end && charged.binary_search(&cell).is_err()
    }
}

impl Path {
    /// Goes on with what a search found that began where this one ended.
    pub(crate) fn append(&mut self, next: Self) {
        self.found.extend(next.found);
        self.hashed += next.hashed;
        self.charged.extend(next.charged);
        (self.end, self.credit) = (next.end, next.credit);
    }

    /// Goes on with what another search found, from where this one ends: where the two have met.
    pub(crate) fn join(&mut self, other: Self) {
        let from = other.found.partition_point(|found| found.at < self.end);
        self.found.extend_from_slice(&other.found[from..]);
        self.hashed += other.hashed;
        self.charged.extend(other.charged);
        (self.end, self.credit) = (other.end, other.credit);
    }
}
