use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};

use crate::ApplyError;

/// Where a delta's bytes come from.
pub trait DeltaSource {
    /// Reads the delta from this offset on, in bytes.
    ///
    /// [`Store::apply`](crate::Store::apply) asks for offset 0 first. Where an earlier attempt left a checkpoint, it
    /// reads the header and then asks for the offset to go on with; for nothing else.
    ///
    /// # Errors
    /// Whatever keeps the delta from being read there.
    fn open_at(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>>;
}

/// A delta in a file, or whatever else can seek.
#[derive(Debug)]
pub struct SeekableDelta<R>(R);

impl<R: Read + Seek> SeekableDelta<R> {
    /// A delta that begins where the reader begins.
    pub fn new(reader: R) -> Self {
        Self(reader)
    }

    /// The reader.
    pub fn into_inner(self) -> R {
        self.0
    }
}

impl<R: Read + Seek> DeltaSource for SeekableDelta<R> {
    fn open_at(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        self.0.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(&mut self.0))
    }
}

/// A delta that can be read once only, such as standard input. What an earlier attempt dealt with is read and let go.
#[derive(Debug)]
pub struct OnePassDelta<R> {
    reader: R,
    position: u64,
}

impl<R: Read> OnePassDelta<R> {
    /// A delta whose first byte is the reader's next.
    pub fn new(reader: R) -> Self {
        Self { reader, position: 0 }
    }
}

impl<R: Read> Read for OnePassDelta<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: Read> DeltaSource for OnePassDelta<R> {
    fn open_at(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let Some(ahead) = offset.checked_sub(self.position) else {
            let what = "this part of the delta went by already; open the delta again";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        };
        if io::copy(&mut self.by_ref().take(ahead), &mut io::sink())? == ahead {
            Ok(Box::new(self))
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Tells a delta that is cut off from one that is damaged.
#[derive(Debug, Default)]
pub(crate) struct DeltaEnd(Cell<Option<u64>>);

impl DeltaEnd {
    /// Reads a delta from an offset on, and keeps an eye on where it ends.
    pub(crate) fn watch<'a>(
        &'a self,
        delta: &'a mut dyn DeltaSource,
        offset: u64,
    ) -> Result<impl Read + 'a, ApplyError> {
        match delta.open_at(offset) {
            Ok(reader) => Ok(WatchedReader { reader, position: offset, end: &self.0 }),
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ApplyError::CutOff { offset })
            }
            Err(source) => Err(ApplyError::Delta { source }),
        }
    }

    /// The same error, unless the delta's end explains it.
    pub(crate) fn explain(&self, error: ApplyError) -> ApplyError {
        match (error, self.0.get()) {
            (ApplyError::Corrupt { .. }, Some(offset)) => ApplyError::CutOff { offset },
            (error, _) => error,
        }
    }
}

struct WatchedReader<'a> {
    reader: Box<dyn Read + 'a>,
    position: u64,
    end: &'a Cell<Option<u64>>,
}

impl Read for WatchedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.position += count as u64;
        if count == 0 && !buffer.is_empty() {
            self.end.set(Some(self.position));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(source: &mut dyn DeltaSource, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        source.open_at(offset)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn one_pass_goes_forward_only() {
        let mut source = OnePassDelta::new(&b"0123456789"[..]);
        let mut two = [0; 2];
        source.open_at(0).unwrap().read_exact(&mut two).unwrap();
        assert_eq!(rest(&mut source, 5).unwrap(), b"56789");
        assert_eq!(rest(&mut source, 10).unwrap(), b"");
        assert_eq!(rest(&mut source, 11).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(rest(&mut source, 0).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_file_goes_anywhere() {
        let mut source = SeekableDelta::new(io::Cursor::new(b"0123456789"));
        assert_eq!(rest(&mut source, 8).unwrap(), b"89");
        assert_eq!(rest(&mut source, 0).unwrap(), b"0123456789");
    }
}
