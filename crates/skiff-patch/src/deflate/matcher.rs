//! Finding matches as the two programs do: hash chains over a sliding window, greedy or lazy.

use std::io::Write;

use super::block::{Block, BlockWriter};
use super::{Compressor, Effort, Program};
use crate::PatchError;

const SHORTEST: usize = 3;
const LONGEST: usize = 258;
/// More is read when less than this is left.
const LOOKAHEAD: usize = LONGEST + SHORTEST + 1;
/// A match of three bytes farther away than this is longer than its literals.
const TOO_FAR: usize = 4096;
/// Filtered texts are noise about zero: a match of this length or less takes more than its literals.
const TOO_SHORT_FILTERED: usize = 5;

/// How far past the end the programs look, and so by how much the plain text grows.
pub(crate) const PADDING: usize = LOOKAHEAD;

/// Deflates `plain` to the last block.
pub(super) fn run<W: Write>(
    plain: Vec<u8>,
    compressor: Compressor,
    output: &mut BlockWriter<W>,
) -> Result<(), PatchError> {
    let mut matcher = Matcher::new(plain, compressor, output);
    if compressor.is_fast() {
        matcher.greedy()?
    } else {
        matcher.lazy()?
    }
    matcher.close_block(true)
}

#[derive(Clone, Copy)]
struct Match {
    start: usize,
    length: usize,
}

impl Match {
    const NONE: Self = Self { start: 0, length: SHORTEST - 1 };
}

struct Matcher<'a, W> {
    /// The plain text, and what follows it in the programs' buffer.
    bytes: Vec<u8>,
    length: usize,
    compressor: Compressor,
    effort: Effort,
    chains: Chains,
    /// How far back a match may be, by the format. The programs hold twice as much of the file, and move up by a window when
    /// that is used up.
    window: usize,
    /// How far back they look.
    farthest: usize,
    /// Where the program's buffer begins. What is at its very beginning is never found: 0 means nothing.
    base: usize,
    /// Up to where the program has read.
    filled: usize,
    /// Whether gzip has seen that there is no more to read.
    at_end: bool,
    /// The next byte to look at.
    at: usize,
    block: Block,
    block_start: usize,
    output: &'a mut BlockWriter<W>,
}

impl<'a, W: Write> Matcher<'a, W> {
    fn new(mut plain: Vec<u8>, compressor: Compressor, output: &'a mut BlockWriter<W>) -> Self {
        let length = plain.len();
        let window = 1 << compressor.window_bits;
        plain.reserve_exact(PADDING);
        plain.resize(length + PADDING, 0);
        let mut matcher = Self {
            bytes: plain,
            length,
            compressor,
            effort: compressor.effort(),
            chains: Chains::new(compressor),
            window,
            farthest: window - LOOKAHEAD,
            base: 0,
            filled: length.min(2 * window),
            at_end: length == 0,
            at: 0,
            block: Block::new(),
            block_start: 0,
            output,
        };
        matcher.fill();
        matcher
    }

    /// Levels 1 to 3: takes every match.
    fn greedy(&mut self) -> Result<(), PatchError> {
        while self.at < self.length {
            let candidate = self.insert();
            let found = candidate.map_or(Match::NONE, |candidate| self.longest_match(candidate, Match::NONE));
            let is_full;
            if found.length >= SHORTEST {
                self.block.reference(found.length, self.at - found.start);
                is_full = self.is_full();
                let end = self.at + found.length;
                if found.length <= self.effort.lazy && (self.is_gzip() || end + SHORTEST <= self.filled) {
                    (self.at + 1..end).for_each(|at| self.chains.insert(&self.bytes, at));
                }
                self.at = end;
            } else {
                self.block.literal(self.bytes[self.at]);
                is_full = self.is_full();
                self.at += 1;
            }
            if is_full {
                self.close_block(false)?;
            }
            self.fill();
        }
        Ok(())
    }

    /// Levels 4 to 9: takes a match only if there is no longer one at the next byte.
    fn lazy(&mut self) -> Result<(), PatchError> {
        let mut previous = Match::NONE;
        // Whether the byte before is neither sent nor part of a match.
        let mut is_pending = false;
        while self.at < self.length {
            let candidate = self.insert().filter(|_| previous.length < self.effort.lazy);
            let found = candidate.map_or(Match::NONE, |candidate| self.longest_match(candidate, previous));
            let found = if self.is_worthless(found) { Match::NONE } else { found };
            if previous.length >= SHORTEST && found.length <= previous.length {
                self.block.reference(previous.length, self.at - 1 - previous.start);
                let is_full = self.is_full();
                let end = self.at - 1 + previous.length;
                let last =
                    if self.is_gzip() { end } else { end.min((self.filled + 1).saturating_sub(SHORTEST)) };
                (self.at + 1..last).for_each(|at| self.chains.insert(&self.bytes, at));
                self.at = end;
                (previous, is_pending) = (Match::NONE, false);
                if is_full {
                    self.close_block(false)?;
                }
            } else {
                if is_pending {
                    self.block.literal(self.bytes[self.at - 1]);
                    if self.is_full() {
                        self.close_block(false)?;
                    }
                }
                (previous, is_pending) = (found, true);
                self.at += 1;
            }
            self.fill();
        }
        if is_pending {
            self.block.literal(self.bytes[self.at - 1]);
        }
        Ok(())
    }

    /// Whether a match takes more than its literals would, by the programs' rule of thumb.
    fn is_worthless(&self, found: Match) -> bool {
        found.length == SHORTEST && self.at - found.start > TOO_FAR
            || self.compressor.is_filtered && found.length <= TOO_SHORT_FILTERED
    }

    fn is_gzip(&self) -> bool {
        self.compressor.program == Program::Gzip
    }

    /// Enters the next bytes into the hash table, and gives where bytes of the same hash were last, if that is in reach.
    fn insert(&mut self) -> Option<usize> {
        if !self.is_gzip() && self.at + SHORTEST > self.filled {
            return None;
        }
        let candidate = self.chains.head(&self.bytes, self.at);
        self.chains.insert(&self.bytes, self.at);
        // Near the end of its buffer gzip looks for nothing.
        let may_search = !self.is_gzip() || self.at - self.base <= 2 * self.window - LOOKAHEAD;
        (may_search && candidate > self.base && self.at - candidate <= self.farthest).then_some(candidate)
    }

    /// The longest of the matches from `candidate` on back that is longer than `previous`, else one of that length. Of
    /// equals, the nearest.
    fn longest_match(&self, candidate: usize, previous: Match) -> Match {
        let lookahead = self.filled - self.at;
        let nice = if self.is_gzip() { self.effort.nice } else { self.effort.nice.min(lookahead) };
        let mut left =
            if previous.length >= self.effort.good { self.effort.chain >> 2 } else { self.effort.chain };
        let limit = if self.at - self.base > self.farthest { self.at - self.farthest } else { self.base };
        let scan = &self.bytes[self.at..self.at + LONGEST];
        let mut best = Match { start: candidate, length: previous.length };
        let mut start = candidate;
        loop {
            let other = &self.bytes[start..start + LONGEST];
            // Most candidates fail where they would have to be better.
            if other[best.length - 1..=best.length] == scan[best.length - 1..=best.length] {
                let length = common(scan, other);
                if length > best.length {
                    best = Match { start, length };
                    if length >= nice {
                        break;
                    }
                }
            }
            start = self.chains.before(start);
            left -= 1;
            if start <= limit || left == 0 {
                break;
            }
        }
        Match { length: best.length.min(lookahead), ..best }
    }

    /// Reads on as the program would.
    fn fill(&mut self) {
        while self.filled - self.at < LOOKAHEAD && !self.at_end {
            let mut room = 2 * self.window - (self.filled - self.base);
            if self.at - self.base >= self.window + self.farthest {
                self.base += self.window;
                room += self.window;
            }
            let count = room.min(self.length - self.filled);
            self.filled += count;
            if count > 0 {
                continue;
            }
            if !self.is_gzip() {
                return;
            }
            self.at_end = true;
            self.leave_behind();
        }
    }

    /// gzip compares past the end with what its buffer held before: two zeros, and then what was there a window ago.
    fn leave_behind(&mut self) {
        if self.base > 0 {
            let (from, to) = (self.length + 2 - self.window, self.length + LOOKAHEAD - self.window);
            self.bytes.copy_within(from..to, self.length + 2);
        }
    }

    /// Whether the program closes the block here.
    fn is_full(&self) -> bool {
        match self.compressor.program {
            Program::Gzip => {
                let is_better_closed =
                    self.compressor.level > 2 && self.block.is_better_closed(self.at - self.block_start);
                is_better_closed || self.block.len() == 0x7fff
            }
            Program::Zlib { memory_level } => self.block.len() == (1 << (memory_level + 6)) - 1,
        }
    }

    fn close_block(&mut self, is_last: bool) -> Result<(), PatchError> {
        let bytes = (self.block_start >= self.base).then(|| &self.bytes[self.block_start..self.at]);
        self.output.block(&self.block, bytes, is_last)?;
        self.block.clear();
        self.block_start = self.at;
        Ok(())
    }
}

/// How many bytes two slices of the longest match's length have in common, eight at a time.
fn common(left: &[u8], right: &[u8]) -> usize {
    let (left_words, left_rest) = left.as_chunks::<8>();
    let (right_words, right_rest) = right.as_chunks::<8>();
    for (index, (left, right)) in left_words.iter().zip(right_words).enumerate() {
        let difference = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if difference != 0 {
            return 8 * index + difference.trailing_zeros() as usize / 8;
        }
    }
    let rest = left_rest.iter().zip(right_rest).take_while(|(left, right)| left == right).count();
    8 * left_words.len() + rest
}

/// For each hash where it was last, and for each place where its hash was before.
struct Chains {
    heads: Vec<u32>,
    before: Vec<u32>,
    shift: u32,
}

impl Chains {
    fn new(compressor: Compressor) -> Self {
        let bits: u32 = match compressor.program {
            Program::Gzip => 15,
            Program::Zlib { memory_level } => u32::from(memory_level) + 7,
        };
        Self {
            heads: vec![0; 1 << bits],
            before: vec![0; 1 << compressor.window_bits],
            shift: bits.div_ceil(3),
        }
    }

    fn hash(&self, bytes: &[u8], at: usize) -> usize {
        let byte = |index: usize| usize::from(bytes[at + index]);
        (byte(0) << (2 * self.shift) ^ byte(1) << self.shift ^ byte(2)) & (self.heads.len() - 1)
    }

    /// Where bytes of the same hash as those at `at` were last.
    fn head(&self, bytes: &[u8], at: usize) -> usize {
        self.heads[self.hash(bytes, at)] as usize
    }

    /// Where in the window a place is.
    fn slot(&self, at: usize) -> usize {
        at & (self.before.len() - 1)
    }

    fn before(&self, at: usize) -> usize {
        self.before[self.slot(at)] as usize
    }

    fn insert(&mut self, bytes: &[u8], at: usize) {
        let hash = self.hash(bytes, at);
        let slot = self.slot(at);
        self.before[slot] = self.heads[hash];
        self.heads[hash] = at as u32;
    }
}
