//! From blocks that were found to commands, which are as few and as short as can be.

use std::io::{self, Read, Seek, SeekFrom};

use crate::runs::Runs;
use crate::scan::Found;
use crate::table::Table;
use crate::{BlockError, Command, DeltaReport, Sink, Stream};

/// How many new bytes wait for the copy after them at most: more are written before it is known.
const LITERAL_MAX: usize = 4 << 20;
/// How many of them still wait then: what the copy may be extended by backwards.
const LITERAL_KEPT: usize = 64 << 10;
/// How many bytes of the old file are compared at once.
const COMPARED: usize = 4 << 10;

/// Takes findings and the new bytes between them, in order, and hands commands to a sink.
///
/// Commands wait here in this order: a copy, new bytes after it, and blocks after those whose place in the old file is not
/// chosen yet.
pub(crate) struct Assembler<'a, O, S> {
    table: &'a Table,
    old: Option<O>,
    sink: S,
    copy: Option<(u64, u64)>,
    literal: Vec<u8>,
    runs: Runs,
    report: DeltaReport,
}

impl<'a, O: Read + Seek, S: Sink<Error = BlockError>> Assembler<'a, O, S> {
    pub(crate) fn new(table: &'a Table, old: Option<O>, sink: S) -> Self {
        Self {
            table,
            old,
            sink,
            copy: None,
            literal: Vec::new(),
            runs: Runs::new(table.params().block_len()),
            report: DeltaReport::default(),
        }
    }

    /// A block that was found.
    pub(crate) fn block(&mut self, found: &Found) -> Result<(), BlockError> {
        if self.runs.is_full() {
            self.choose()?;
        }
        self.runs.push(self.table, found.class, found.length);
        Ok(())
    }

    /// Bytes before which nothing was found.
    pub(crate) fn literal(&mut self, mut bytes: &[u8]) -> Result<(), BlockError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.choose()?;
        while self.literal.len() + bytes.len() > LITERAL_MAX {
            let (now, later) = bytes.split_at(bytes.len().min(LITERAL_MAX - self.literal.len()));
            self.literal.extend_from_slice(now);
            bytes = later;
            self.extend_copy()?;
            let written = self.literal.len().saturating_sub(LITERAL_KEPT);
            self.write_copy()?;
            self.write_literal(written)?;
        }
        self.literal.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes all that waits.
    pub(crate) fn finish(mut self) -> Result<(S, DeltaReport), BlockError> {
        self.choose()?;
        self.extend_copy()?;
        self.write_copy()?;
        self.write_literal(self.literal.len())?;
        Ok((self.sink, self.report))
    }

    /// Makes copies of the blocks that wait, and so settles what the new bytes before them are.
    fn choose(&mut self) -> Result<(), BlockError> {
        if self.runs.is_empty() {
            return Ok(());
        }
        for (mut offset, mut length) in self.runs.finish() {
            if !self.literal.is_empty() {
                self.extend_copy()?;
                let count = self.common_suffix(offset)?;
                if pays((offset, length), (offset - count, length + count), count) {
                    (offset, length) = (offset - count, length + count);
                    self.report.extended_bytes += count;
                    self.literal.truncate(self.literal.len() - count as usize);
                }
            }
            match &mut self.copy {
                Some((held, held_length)) if self.literal.is_empty() && *held + *held_length == offset => {
                    *held_length += length;
                }
                _ => {
                    self.write_copy()?;
                    self.write_literal(self.literal.len())?;
                    self.copy = Some((offset, length));
                }
            }
        }
        Ok(())
    }

    /// Extends the copy that waits into the new bytes after it.
    fn extend_copy(&mut self) -> Result<(), BlockError> {
        let Some((offset, length)) = self.copy else { return Ok(()) };
        let count = self.common_prefix(offset + length)?;
        if pays((offset, length), (offset, length + count), count) {
            self.copy = Some((offset, length + count));
            self.report.extended_bytes += count;
            self.literal.drain(..count as usize);
        }
        Ok(())
    }

    /// How many of the new bytes that wait are those of the old file from `offset` on.
    fn common_prefix(&mut self, offset: u64) -> Result<u64, BlockError> {
        let Some(old) = &mut self.old else { return Ok(0) };
        let mut common = 0;
        for piece in self.literal.chunks(COMPARED) {
            let bytes = read_old(old, offset + common, piece.len())?;
            let equal = piece.iter().zip(&bytes).take_while(|(new, old)| new == old).count();
            common += equal as u64;
            if equal < piece.len() {
                break;
            }
        }
        Ok(common)
    }

    /// How many of the new bytes that wait, from the last one backwards, are those of the old file before `offset`.
    fn common_suffix(&mut self, offset: u64) -> Result<u64, BlockError> {
        let Some(old) = &mut self.old else { return Ok(0) };
        let mut common = 0;
        for piece in self.literal.rchunks(COMPARED) {
            let count = piece.len().min(usize::try_from(offset - common).unwrap_or(usize::MAX));
            let bytes = read_old(old, offset - common - count as u64, count)?;
            let equal =
                piece.iter().rev().zip(bytes.iter().rev()).take_while(|(new, old)| new == old).count();
            common += equal as u64;
            if equal < piece.len() {
                break;
            }
        }
        Ok(common)
    }

    fn write_copy(&mut self) -> Result<(), BlockError> {
        let Some((offset, length)) = self.copy.take() else { return Ok(()) };
        self.report.copied_bytes += length;
        self.report.commands += 1;
        self.sink.copy(offset, length)
    }

    /// Writes the first of the new bytes that wait.
    fn write_literal(&mut self, count: usize) -> Result<(), BlockError> {
        if count == 0 {
            return Ok(());
        }
        self.report.literal_bytes += count as u64;
        self.report.commands += 1;
        self.sink.literal(&self.literal[..count])?;
        self.literal.drain(..count);
        Ok(())
    }
}

/// Whether a copy that makes `more` bytes more takes fewer bytes than they do: its numbers may grow wider.
fn pays(before: (u64, u64), after: (u64, u64), more: u64) -> bool {
    let cost = |(offset, length)| Command::Copy { offset, length }.encoded_len();
    more > 0 && cost(after) <= cost(before) + more
}

/// Bytes of the old file; fewer where it ends.
fn read_old(old: &mut (impl Read + Seek), offset: u64, count: usize) -> Result<Vec<u8>, BlockError> {
    let failed = BlockError::io(Stream::Old);
    let mut bytes = Vec::with_capacity(count);
    old.seek(SeekFrom::Start(offset)).map_err(&failed)?;
    io::Read::take(old, count as u64).read_to_end(&mut bytes).map_err(&failed)?;
    Ok(bytes)
}
