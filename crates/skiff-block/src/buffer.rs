//! Bytes on their way from a reader.

use std::io::{self, Read};

use crate::{BlockError, Stream};

/// How much it grows by at least.
const GROWTH: usize = 64 << 10;

/// A run of bytes of an input, and room before it for the end of the run before. It grows as bytes arrive, and keeps what it has
/// for the next run.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// All that was ever needed, so that it is not cleared time and again.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Forgets what it holds, and leaves so many bytes free before what comes next.
    pub(crate) fn clear(&mut self, headroom: usize) {
        if self.bytes.len() < headroom {
            self.grow(headroom);
        }
        (self.start, self.end) = (headroom, headroom);
    }

    /// Reads until `wanted` bytes more have come or no more do.
    pub(crate) fn fill(
        &mut self,
        input: &mut impl Read,
        wanted: usize,
        stream: Stream,
    ) -> Result<(), BlockError> {
        let wanted_end = self.end.saturating_add(wanted);
        while self.end < wanted_end {
            if self.end == self.bytes.len() {
                let length = self.bytes.len();
                self.grow((2 * length).max(length + GROWTH).min(wanted_end));
            }
            let room = self.bytes.len().min(wanted_end);
            match input.read(&mut self.bytes[self.end..room]) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(BlockError::Io { stream, source }),
            }
        }
        Ok(())
    }

    /// Puts bytes into the room before what it holds, which is large enough.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        let start = self.start - bytes.len();
        self.bytes[start..self.start].copy_from_slice(bytes);
        self.start = start;
    }

    fn grow(&mut self, length: usize) {
        self.bytes.reserve_exact(length - self.bytes.len());
        self.bytes.resize(length, 0);
    }
}
