//! The encoder: commands as the search finds them, cut into payloads.

use std::io::{Read, Seek};
use std::num::NonZeroUsize;

use skiff_block::{BlockError, DeltaWriter, Sink, Table, find};

/// About how many bytes a payload has at most, the commands themselves included.
const PAYLOAD_BYTES: usize = 4 << 20;
/// How many bytes a payload makes at most: between payloads a device can note how far it is.
const OUTPUT_BYTES: u64 = 8 << 20;

/// A part of a file: a payload, and the length of what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What [`decode`](crate::decode) takes.
    pub payload: Vec<u8>,
    /// How many bytes it makes.
    pub output_len: u64,
}

/// Encodes `new` as blocks of the source whose signature `table` holds, and new bytes. The segments together are the file.
///
/// # Errors
/// [`BlockError::Io`] where `new` cannot be read.
pub fn encode(table: &Table, new: impl Read) -> Result<Vec<Segment>, BlockError> {
    segments::<std::io::Empty>(table, None, new)
}

/// As [`encode`], for whoever has the source itself: what is equal beside blocks is not sent either.
///
/// # Errors
/// [`BlockError::Io`] where `old` or `new` cannot be read.
pub fn encode_with_old(
    table: &Table,
    old: impl Read + Seek,
    new: impl Read,
) -> Result<Vec<Segment>, BlockError> {
    segments(table, Some(old), new)
}

fn segments<O: Read + Seek>(
    table: &Table,
    old: Option<O>,
    new: impl Read,
) -> Result<Vec<Segment>, BlockError> {
    // Files are encoded beside each other: more threads for each would only get into each other's way.
    let (mut cutter, _) = find(table, old, new, NonZeroUsize::MIN, Cutter::default())?;
    cutter.cut()?;
    Ok(cutter.segments)
}

/// Gathers commands, and begins a new payload where one is long enough.
#[derive(Default)]
struct Cutter {
    segments: Vec<Segment>,
    writer: Option<DeltaWriter<Vec<u8>>>,
    output_len: u64,
}

impl Cutter {
    /// Ends the payload under way.
    fn cut(&mut self) -> Result<(), BlockError> {
        if let Some(writer) = self.writer.take() {
            let (payload, _) = writer.finish()?;
            self.segments.push(Segment { payload, output_len: std::mem::take(&mut self.output_len) });
        }
        Ok(())
    }

    /// Begins a payload where there is none, or none with room.
    fn begin(&mut self) -> Result<(), BlockError> {
        let is_full = |writer: &DeltaWriter<Vec<u8>>| writer.written() >= PAYLOAD_BYTES as u64;
        if self.output_len >= OUTPUT_BYTES || self.writer.as_ref().is_some_and(is_full) {
            self.cut()?;
        }
        if self.writer.is_none() {
            self.writer = Some(DeltaWriter::new(Vec::new())?);
        }
        Ok(())
    }
}

impl Sink for Cutter {
    type Error = BlockError;

    fn literal(&mut self, mut bytes: &[u8]) -> Result<(), BlockError> {
        while !bytes.is_empty() {
            self.begin()?;
            let writer = self.writer.as_mut().expect("because it was begun");
            let room = (PAYLOAD_BYTES as u64).saturating_sub(writer.written()).max(1);
            let room = room.min(OUTPUT_BYTES - self.output_len);
            let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            writer.literal(&bytes[..count])?;
            self.output_len += count as u64;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn copy(&mut self, offset: u64, length: u64) -> Result<(), BlockError> {
        let (mut offset, mut left) = (offset, length);
        while left > 0 {
            self.begin()?;
            let count = left.min(OUTPUT_BYTES - self.output_len);
            self.writer.as_mut().expect("because it was begun").copy(offset, count)?;
            self.output_len += count;
            (offset, left) = (offset + count, left - count);
        }
        Ok(())
    }
}
