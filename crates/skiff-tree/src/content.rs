use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use crate::EntryPath;

/// Bytes that can be read at any offset, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// Reads into `buffer` from `offset` on, and returns how many bytes: fewer than asked for where the system gave
    /// fewer, 0 only at the end or for an empty buffer.
    ///
    /// # Errors
    /// Whatever reading the bytes may end in.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many bytes there are.
    fn size(&self) -> u64;
}

/// Where the contents of a tree's files are read from.
pub trait ContentSource: Send + Sync {
    /// Opens the content of the file that `path` owns.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where no file is owned by `path`, and whatever opening it may end in.
    fn open(&self, path: &EntryPath) -> io::Result<Box<dyn ReadAt + '_>>;
}

impl<T: ContentSource + ?Sized> ContentSource for &T {
    fn open(&self, path: &EntryPath) -> io::Result<Box<dyn ReadAt + '_>> {
        (**self).open(path)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let count = buffer.len().min(self.len() - start);
        buffer[..count].copy_from_slice(&self[start..start + count]);
        Ok(count)
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self[..].read_at(buffer, offset)
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn size(&self) -> u64 {
        (**self).size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn size(&self) -> u64 {
        (**self).size()
    }
}

/// Reads a [`ReadAt`] as a stream that can seek.
#[derive(Debug)]
pub struct ContentReader<R> {
    content: R,
    position: u64,
}

impl<R: ReadAt> ContentReader<R> {
    /// A stream that starts at the first byte.
    pub fn new(content: R) -> Self {
        Self { content, position: 0 }
    }
}

impl<R: ReadAt> Read for ContentReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: ReadAt> Seek for ContentReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.content.size().checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// Reads the whole of a content, which must be exactly as long as it says.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] where there is less, and whatever reading may end in. Memory is taken as bytes arrive.
pub fn read_all(content: &dyn ReadAt) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ContentReader::new(content).take(content.size()).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == content.size() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Contents held in memory, by path: for tests, examples and small trees.
#[derive(Debug, Clone, Default)]
pub struct MemoryContents(BTreeMap<EntryPath, Vec<u8>>);

impl MemoryContents {
    /// Puts a content in place of what `path` had.
    pub fn insert(&mut self, path: EntryPath, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path, bytes.into());
    }
}

impl ContentSource for MemoryContents {
    fn open(&self, path: &EntryPath) -> io::Result<Box<dyn ReadAt + '_>> {
        let bytes = self.0.get(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Box::new(&bytes[..]))
    }
}
