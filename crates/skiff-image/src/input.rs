//! What tar archives are read from: parts of files, and streams.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::ImageError;

const BUFFER: usize = 64 << 10;

/// A stream that can go on past bytes that nobody wants.
pub(crate) trait Input: BufRead {
    /// Goes past `count` bytes; [`io::ErrorKind::UnexpectedEof`] where there are fewer.
    fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let available = self.fill_buf()?.len();
            if available == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = available.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.consume(step);
            count -= step as u64;
        }
        Ok(())
    }
}

impl<I: Input + ?Sized> Input for &mut I {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        (**self).skip(count)
    }
}

/// A file on the disk, or a part of one.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Blob {
    /// A whole file, which must be a regular one.
    pub(crate) fn open(path: &Path) -> Result<Self, ImageError> {
        let failed = |op| move |source| ImageError::Io { op, path: path.into(), source };
        let file = skiff_fs::open_input(path).map_err(failed("opening"))?;
        let size = file.metadata().map_err(failed("looking at"))?.len();
        Ok(Self { file: Arc::new(file), offset: 0, size })
    }

    /// Reads from a position on; 0 bytes at the end, and where the file was cut since it was opened.
    pub(crate) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let left = self.size.saturating_sub(position);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        loop {
            match self.file.read_at(&mut buffer[..wanted], self.offset + position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads the whole of it, from its start.
    pub(crate) fn reader(&self) -> BlobReader {
        BlobReader { blob: self.clone(), position: 0, buffer: vec![0; BUFFER], filled: 0, taken: 0 }
    }
}

/// Reads a [`Blob`] from its start to its end.
#[derive(Debug)]
pub(crate) struct BlobReader {
    blob: Blob,
    /// Where in the blob the next read of the file begins.
    position: u64,
    buffer: Vec<u8>,
    filled: usize,
    taken: usize,
}

impl BufRead for BlobReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.filled {
            let count = self.blob.read_at(&mut self.buffer, self.position)?;
            self.position += count as u64;
            (self.filled, self.taken) = (count, 0);
        }
        Ok(&self.buffer[self.taken..self.filled])
    }

    fn consume(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.filled);
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

impl Input for BlobReader {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let buffered = (self.filled - self.taken) as u64;
        if count <= buffered {
            self.taken += usize::try_from(count).expect("because no more than that is buffered");
            return Ok(());
        }
        let position = self.position.checked_add(count - buffered).filter(|&end| end <= self.blob.size);
        self.position = position.ok_or(io::ErrorKind::UnexpectedEof)?;
        (self.filled, self.taken) = (0, 0);
        Ok(())
    }
}

pub(crate) fn read_buffered(input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = input.fill_buf()?;
    let count = available.len().min(buffer.len());
    buffer[..count].copy_from_slice(&available[..count]);
    input.consume(count);
    Ok(count)
}
