//! What a codec reads from: parts of base contents and finished target contents, one after the other.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use skiff_tree::ReadAt;

/// Several ranges of contents, read as one stream: what a record's source is, for decoders and encoders.
#[derive(Default)]
pub struct VirtualSource<'a> {
    parts: Vec<SourcePart<'a>>,
    position: u64,
    size: u64,
}

struct SourcePart<'a> {
    content: Box<dyn ReadAt + 'a>,
    /// Where the part begins in the stream.
    start: u64,
    /// Where it begins in its content.
    offset: u64,
    length: u64,
}

impl fmt::Debug for VirtualSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut source = f.debug_struct("VirtualSource");
        source.field("position", &self.position).field("size", &self.size).finish_non_exhaustive()
    }
}

impl<'a> VirtualSource<'a> {
    /// Of nothing, at first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a range of a content; none where the range is not inside it, or the whole gets too long.
    #[must_use = "because nothing was appended where there is none"]
    pub fn push(&mut self, content: Box<dyn ReadAt + 'a>, range: Option<(u64, u64)>) -> Option<()> {
        let (offset, length) = range.unwrap_or((0, content.size()));
        if offset.checked_add(length)? > content.size() {
            return None;
        }
        let size = self.size.checked_add(length)?;
        self.parts.push(SourcePart { content, start: self.size, offset, length });
        self.size = size;
        Some(())
    }
}

impl Read for VirtualSource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The part that holds the position is the last that begins at or before it; empty parts hold none.
        let after = self.parts.partition_point(|part| part.start <= self.position);
        let Some(part) = self.parts[..after].last() else { return Ok(0) };
        let within = self.position - part.start;
        let left = part.length.saturating_sub(within);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if count == 0 {
            return Ok(0);
        }
        let count = part.content.read_at(&mut buffer[..count], part.offset + within)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for VirtualSource<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_read_as_one() {
        let (first, second) = (b"0123456789", b"abcdef");
        let mut source = VirtualSource::new();
        source.push(Box::new(&first[..]), Some((2, 3))).unwrap();
        source.push(Box::new(&b""[..]), None).unwrap();
        source.push(Box::new(&second[..]), None).unwrap();
        assert!(source.push(Box::new(&second[..]), Some((5, 2))).is_none());
        assert!(source.push(Box::new(&second[..]), Some((u64::MAX, 2))).is_none());
        let mut text = String::new();
        source.read_to_string(&mut text).unwrap();
        assert_eq!(text, "234abcdef");
        source.seek(SeekFrom::Start(2)).unwrap();
        let mut two = [0; 2];
        source.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"4a");
        source.seek(SeekFrom::Start(100)).unwrap();
        assert_eq!(source.read(&mut two).unwrap(), 0);
        assert!(source.seek(SeekFrom::Current(-101)).is_err());
        assert_eq!(source.seek(SeekFrom::End(0)).unwrap(), 9);
    }
}
