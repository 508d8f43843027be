//! Where the contents of a flattened image are read from.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use skiff_fs::DirectoryContents;
use skiff_tree::{ContentDigest, ContentSource, EntryPath, FileContent, ReadAt};

use crate::ImageError;
use crate::input::Blob;

/// The contents of a flattened image's files, readable at any offset by several threads at once.
///
/// They come from the image's own file where they stand there uncompressed, and else from a spool: a file without a name, gone
/// with this value. An image's file must not change while its contents are in use.
#[derive(Debug)]
pub struct ImageContents(Contents);

#[derive(Debug)]
enum Contents {
    /// Parts of files.
    Extents {
        files: Vec<Arc<File>>,
        extents: Extents,
    },
    Directory(DirectoryContents),
}

/// Where contents are, by the paths that own them, in canonical order.
pub(crate) type Extents = Vec<(EntryPath, Extent)>;

/// A part of one of the files that contents are in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    file: usize,
    offset: u64,
    size: u64,
}

/// A content and where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) content: FileContent,
    pub(crate) extent: Extent,
}

impl ContentSource for ImageContents {
    fn open(&self, path: &EntryPath) -> io::Result<Box<dyn ReadAt + '_>> {
        match &self.0 {
            Contents::Directory(directory) => directory.open(path),
            Contents::Extents { files, extents } => {
                let index = extents.binary_search_by(|(other, _)| other.cmp(path));
                let index = index.map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
                let extent = extents[index].1;
                Ok(Box::new(Content { file: &files[extent.file], offset: extent.offset, size: extent.size }))
            }
        }
    }
}

impl From<DirectoryContents> for ImageContents {
    fn from(directory: DirectoryContents) -> Self {
        Self(Contents::Directory(directory))
    }
}

/// One content: a part of a file.
struct Content<'a> {
    file: &'a File,
    offset: u64,
    size: u64,
}

impl ReadAt for Content<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        if count == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut buffer[..count], self.offset + offset)? {
            // The file was cut since the extent was made.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// Takes contents in as layers are read.
pub(crate) struct ContentStore {
    files: Vec<Arc<File>>,
    spool_directory: PathBuf,
    spool: Option<Spool>,
}

/// A file without a name that contents are appended to, each distinct one once.
struct Spool {
    index: usize,
    end: u64,
    known: HashMap<FileContent, Extent>,
}

/// Where a layer's contents go to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination {
    Spool,
    /// They stay where they are: `offset` bytes, and the position in the layer, into the file.
    InPlace {
        file: usize,
        offset: u64,
    },
}

/// Hashes a content as it is read, and spools it if it cannot stay where it is.
pub(crate) struct Writer<'a> {
    store: &'a mut ContentStore,
    /// Where the content begins in its file.
    extent: Extent,
    is_spooled: bool,
    hasher: Sha256,
}

impl ContentStore {
    pub(crate) fn new(spool_directory: &Path) -> Self {
        Self { files: Vec::new(), spool_directory: spool_directory.into(), spool: None }
    }

    /// Leaves contents where they are in a file.
    pub(crate) fn in_place(&mut self, blob: &Blob) -> Destination {
        let known = self.files.iter().position(|file| Arc::ptr_eq(file, &blob.file));
        let file = known.unwrap_or_else(|| {
            self.files.push(blob.file.clone());
            self.files.len() - 1
        });
        Destination::InPlace { file, offset: blob.offset }
    }

    /// Begins a content that stands at `position` in its layer; none where it has to be put together.
    pub(crate) fn begin(
        &mut self,
        destination: Destination,
        position: Option<u64>,
    ) -> Result<Writer<'_>, ImageError> {
        let (extent, is_spooled) = match (destination, position) {
            (Destination::InPlace { file, offset }, Some(position)) => {
                (Extent { file, offset: offset + position, size: 0 }, false)
            }
            _ => {
                let spool = self.spool()?;
                (Extent { file: spool.index, offset: spool.end, size: 0 }, true)
            }
        };
        Ok(Writer { store: self, extent, is_spooled, hasher: Sha256::new() })
    }

    /// The contents at these paths, which are in canonical order.
    pub(crate) fn finish(self, extents: Extents) -> ImageContents {
        ImageContents(Contents::Extents { files: self.files, extents })
    }

    fn spool(&mut self) -> Result<&mut Spool, ImageError> {
        if self.spool.is_none() {
            let failed = |source| ImageError::Io {
                op: "making a spool in",
                path: self.spool_directory.clone(),
                source,
            };
            let file = Arc::new(tempfile::tempfile_in(&self.spool_directory).map_err(failed)?);
            self.files.push(file);
            self.spool = Some(Spool { index: self.files.len() - 1, end: 0, known: HashMap::new() });
        }
        Ok(self.spool.as_mut().expect("because it was made where there was none"))
    }
}

impl Writer<'_> {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.hasher.update(bytes);
        if self.is_spooled {
            let failed = |source| ImageError::Io {
                op: "writing a spool in",
                path: self.store.spool_directory.clone(),
                source,
            };
            let file = &self.store.files[self.extent.file];
            file.write_all_at(bytes, self.extent.offset + self.extent.size).map_err(failed)?;
        }
        self.extent.size += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn finish(self) -> Stored {
        let digest = ContentDigest::from_bytes(self.hasher.finalize().into());
        let mut stored =
            Stored { content: FileContent { size: self.extent.size, digest }, extent: self.extent };
        if let Some(spool) = self.store.spool.as_mut().filter(|_| self.is_spooled) {
            // A content that is there already is written over by the next.
            stored.extent = *spool.known.entry(stored.content).or_insert_with(|| {
                spool.end += self.extent.size;
                self.extent
            });
        }
        stored
    }
}
