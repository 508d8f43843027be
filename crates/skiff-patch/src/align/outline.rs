//! Which long ranges two files have in common, where neither can be held: blocks of the one that the other has, extended
//! byte by byte. What lies between is then [searched](super::refine) as files are that can be held, stretch by stretch.

use std::io::{Read, Seek};
use std::num::NonZeroUsize;
use std::ops::Range;

use skiff_block::{BlockError, Sink, Table, find};

use crate::predict::Copy;

/// The ranges that two files have in common.
///
/// Each is at least a block of the table long, or one at the end of the source is, so that there are no more of them than the
/// output has blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    pub(super) copies: Vec<Copy>,
    pub(super) output_len: u64,
}

/// Where the bytes that are not in common pass this number, another stretch begins, and where a stretch passes the other one.
const UNKNOWN_BYTES: u64 = 32 << 20;
const STRETCH_BYTES: u64 = 256 << 20;

impl Outline {
    /// Of files that have nothing in common, of which the new one has so many bytes.
    #[must_use]
    pub fn of_nothing(output_len: u64) -> Self {
        Self { copies: Vec::new(), output_len }
    }

    /// Compares `new` with the file that `table` was made of and that `old` reads. Every number of threads finds the same.
    ///
    /// # Errors
    /// [`BlockError::Io`] where one of the files cannot be read.
    pub fn find(
        table: &Table,
        old: impl Read + Seek,
        new: impl Read,
        threads: NonZeroUsize,
    ) -> Result<Self, BlockError> {
        let outline = Self::of_nothing(0);
        let (mut outline, _) = find(table, Some(old), new, threads, outline)?;
        outline.copies.shrink_to_fit();
        Ok(outline)
    }

    /// Parts of the output that are to be searched one by one: each takes a bounded time, and any number of them can be
    /// searched side by side.
    #[must_use]
    pub fn stretches(&self) -> Vec<Range<u64>> {
        let mut cuts = vec![0];
        let (mut begin, mut unknown, mut at) = (0, 0, 0);
        let end = Copy { start: self.output_len, position: 0, length: 0 };
        for copy in self.copies.iter().chain([&end]) {
            for (to, is_known) in [(copy.start, false), (copy.start + copy.length, true)] {
                while at < to {
                    let room = STRETCH_BYTES - (at - begin);
                    let room = if is_known { room } else { room.min(UNKNOWN_BYTES - unknown) };
                    let now = room.min(to - at);
                    at += now;
                    unknown += if is_known { 0 } else { now };
                    if at - begin == STRETCH_BYTES || unknown == UNKNOWN_BYTES {
                        cuts.push(at);
                        (begin, unknown) = (at, 0);
                    }
                }
            }
        }
        if begin < self.output_len {
            cuts.push(self.output_len);
        }
        cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
    }
}

impl Sink for Outline {
    type Error = BlockError;

    fn literal(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.output_len += bytes.len() as u64;
        Ok(())
    }

    fn copy(&mut self, offset: u64, length: u64) -> Result<(), BlockError> {
        self.copies.push(Copy { start: self.output_len, position: offset, length });
        self.output_len += length;
        Ok(())
    }
}
