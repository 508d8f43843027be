//! What tar archives are read from: parts of files, and streams.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

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
        let file = File::open(path).map_err(failed("opening"))?;
        let metadata = file.metadata().map_err(failed("looking at"))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(failed("reading")(source));
        }
        Ok(Self { file: Arc::new(file), offset: 0, size: metadata.len() })
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
            let rest = self.blob.size - self.position;
            let wanted = self.buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            let offset = self.blob.offset + self.position;
            let count = loop {
                match self.blob.file.read_at(&mut self.buffer[..wanted], offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result?,
                }
            };
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

/// Hashes what is read, as it is consumed.
pub(crate) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
}

impl<R: BufRead> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), count: 0 }
    }

    /// How many bytes were consumed.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The digest of what was consumed.
    pub(crate) fn finish(self) -> [u8; 32] {
        self.hasher.finalize().into()
    }
}

impl<R: BufRead> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What `fill_buf` has returned stays buffered until it is consumed, so this reads nothing.
        if let Ok(buffered) = self.inner.fill_buf() {
            let count = count.min(buffered.len());
            self.hasher.update(&buffered[..count]);
            self.count += count as u64;
            self.inner.consume(count);
        }
    }
}

impl<R: BufRead> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

pub(crate) fn read_buffered(input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = input.fill_buf()?;
    let count = available.len().min(buffer.len());
    buffer[..count].copy_from_slice(&available[..count]);
    input.consume(count);
    Ok(count)
}
