//! Reading a source here and there without a system call for each of a patch's thousands of small ranges.

use std::io::{self, Read, Seek, SeekFrom};

use crate::PatchError;

/// How much of a source is held at once.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

/// Where a buffer begins is rounded down to a multiple of this, so that ranges a little before the last one are held too.
const ALIGNMENT: u64 = 4 << 10;

/// What the receiver has already, read at any offset through a small buffer.
///
/// Keep one for all patches that read the same source.
#[derive(Debug)]
pub struct Source<S> {
    reader: S,
    length: u64,
    buffer: Vec<u8>,
    buffer_offset: u64,
}

impl Source<io::Empty> {
    /// No source: for codecs that need none.
    #[must_use]
    pub fn none() -> Self {
        Self::new(io::empty(), 0)
    }
}

impl<S: Read + Seek> Source<S> {
    /// A source of `length` bytes; the bytes of `reader` past them are out of bounds.
    pub fn new(reader: S, length: u64) -> Self {
        Self { reader, length, buffer: Vec::new(), buffer_offset: 0 }
    }

    /// How many bytes the source has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The reader, at an unspecified position.
    pub fn into_inner(self) -> S {
        self.reader
    }

    /// Adds the source's bytes from `offset` on to `bytes`, each modulo 256. The caller has checked the range against
    /// the length.
    pub(crate) fn add_to(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), PatchError> {
        self.visit(offset, bytes, |target, held| {
            for (byte, source) in target.iter_mut().zip(held) {
                *byte = byte.wrapping_add(*source);
            }
        })
    }

    fn visit(
        &mut self,
        offset: u64,
        mut bytes: &mut [u8],
        mut each: impl FnMut(&mut [u8], &[u8]),
    ) -> Result<(), PatchError> {
        let mut offset = offset;
        while !bytes.is_empty() {
            let held = self.hold(offset).map_err(PatchError::source)?;
            let count = held.len().min(bytes.len());
            let (now, later) = bytes.split_at_mut(count);
            each(now, &held[..count]);
            bytes = later;
            offset += count as u64;
        }
        Ok(())
    }

    /// The held bytes from `offset` on, at least one of them.
    fn hold(&mut self, offset: u64) -> io::Result<&[u8]> {
        let end = self.buffer_offset + self.buffer.len() as u64;
        if !(self.buffer_offset..end).contains(&offset) {
            self.fill(offset - offset % ALIGNMENT)?;
        }
        let skip = usize::try_from(offset - self.buffer_offset).unwrap_or(usize::MAX);
        self.buffer.get(skip..).filter(|held| !held.is_empty()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the source is shorter than it was said to be")
        })
    }

    fn fill(&mut self, offset: u64) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.reserve_exact(BUFFER_BYTES);
        self.reader.seek(SeekFrom::Start(offset))?;
        self.buffer_offset = offset;
        let count = self.length.saturating_sub(offset).min(BUFFER_BYTES as u64);
        (&mut self.reader).take(count).read_to_end(&mut self.buffer)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use std::io::Cursor;

    #[test]
    fn any_range_is_read_in_any_order() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 / 3) as u8).collect();
        let mut source = Source::new(Cursor::new(&bytes), bytes.len() as u64);
        for (offset, length) in [(0, 1), (299_999, 1), (65_535, 2), (10, 200_000), (4_095, 3), (0, 300_000)] {
            let mut read = vec![0; length];
            source.add_to(offset, &mut read).unwrap();
            let offset = usize::try_from(offset).unwrap();
            assert_eq!(read, bytes[offset..offset + length]);
        }
    }

    #[test]
    fn a_source_that_shrank_is_an_error() {
        let mut source = Source::new(Cursor::new(vec![0; 100]), 200);
        let error = source.add_to(50, &mut [0; 100]).unwrap_err();
        assert!(
            matches!(error, PatchError::Io { stream: Stream::Source, source } if source.kind() == io::ErrorKind::UnexpectedEof)
        );
    }

    #[test]
    fn bytes_past_the_length_are_not_read() {
        let mut source = Source::new(Cursor::new(vec![1; 200]), 100);
        assert!(source.add_to(99, &mut [0; 2]).is_err());
    }
}
