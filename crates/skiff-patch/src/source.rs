//! Reading a source here and there without a system call for each of a patch's thousands of small ranges.

use std::io::{self, Read, Seek, SeekFrom};

use crate::PatchError;

/// How much of a source is read at once. Patches of executables go back and forth between a handful of places, a few
/// hundred bytes at each: on libcrypto, sixteen small blocks read 8 MB where one buffer of 64 KiB reads 50 MB.
const BLOCK_BYTES: u64 = 8 << 10;
/// How many blocks are held.
const BLOCKS: usize = 16;
/// How much of a source is held.
pub(crate) const BUFFER_BYTES: u64 = BLOCKS as u64 * BLOCK_BYTES;

/// What the receiver has already, read at any offset through a small cache.
///
/// Keep one for all patches that read the same source.
#[derive(Debug)]
pub struct Source<S> {
    reader: S,
    length: u64,
    /// The blocks that were used last, the very last at the front.
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    offset: u64,
    bytes: Vec<u8>,
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
        Self { reader, length, blocks: Vec::new() }
    }

    /// How many bytes the source has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The reader, at an unspecified position.
    pub fn into_inner(self) -> S {
        self.reader
    }

    /// All of the source, past the cache.
    #[cfg(any(feature = "gzip", feature = "png"))]
    pub(crate) fn whole(&mut self) -> io::Result<impl Read> {
        self.reader.seek(SeekFrom::Start(0))?;
        Ok((&mut self.reader).take(self.length))
    }

    /// So many bytes from `offset` on, past the cache: for long stretches that are read once. Ends early where the reader does.
    #[cfg(feature = "zip")]
    pub(crate) fn range(&mut self, offset: u64, length: u64) -> io::Result<impl Read> {
        self.reader.seek(SeekFrom::Start(offset))?;
        Ok((&mut self.reader).take(length.min(self.length.saturating_sub(offset))))
    }

    /// Adds the source's bytes from `offset` on to `bytes`, each modulo 256. The caller has checked the range against
    /// the length.
    pub(crate) fn add_to(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), PatchError> {
        self.combine(offset, bytes, |bytes, source| {
            for (byte, source) in bytes.iter_mut().zip(source) {
                *byte = byte.wrapping_add(*source);
            }
        })
    }

    /// Fills `bytes` with the source's from `offset` on. The caller has checked the range against the length.
    pub(crate) fn read_to(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), PatchError> {
        self.combine(offset, bytes, |bytes, source| bytes.copy_from_slice(&source[..bytes.len()]))
    }

    /// Goes through `bytes` beside the source's from `offset` on, which are at least as many each time.
    fn combine(
        &mut self,
        mut offset: u64,
        mut bytes: &mut [u8],
        mut combine: impl FnMut(&mut [u8], &[u8]),
    ) -> Result<(), PatchError> {
        while !bytes.is_empty() {
            let held = self.hold(offset).map_err(PatchError::source)?;
            let count = held.len().min(bytes.len());
            let (now, later) = bytes.split_at_mut(count);
            combine(now, held);
            bytes = later;
            offset += count as u64;
        }
        Ok(())
    }

    /// The bytes from `offset` to the end of its block, at least one.
    fn hold(&mut self, offset: u64) -> io::Result<&[u8]> {
        let within = offset % BLOCK_BYTES;
        let block_offset = offset - within;
        match self.blocks.iter().position(|block| block.offset == block_offset) {
            Some(index) => self.blocks[..=index].rotate_right(1),
            None => self.load(block_offset)?,
        }
        let held = usize::try_from(within).ok().and_then(|within| self.blocks.first()?.bytes.get(within..));
        held.filter(|held| !held.is_empty()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the source is shorter than it was said to be")
        })
    }

    /// Reads a block into the place of the one not used for longest.
    fn load(&mut self, offset: u64) -> io::Result<()> {
        let count = self.length.saturating_sub(offset).min(BLOCK_BYTES);
        let mut bytes = Vec::new();
        if self.blocks.len() == BLOCKS
            && let Some(unused) = self.blocks.pop()
        {
            bytes = unused.bytes;
            bytes.clear();
        }
        bytes.reserve_exact(usize::try_from(count).unwrap_or_default());
        self.reader.seek(SeekFrom::Start(offset))?;
        (&mut self.reader).take(count).read_to_end(&mut bytes)?;
        self.blocks.insert(0, Block { offset, bytes });
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
