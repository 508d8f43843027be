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

const SPOOL_BUFFER: usize = 256 << 10;

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

/// Where contents are, by the paths that own them.
#[derive(Debug, Default)]
pub(crate) struct Extents(Vec<(PathKey, Extent)>);

/// Half of a path's SHA-256. The tree holds the paths; to hold them again here would take as much memory as all else. To find
/// two paths that have the same takes some 2⁶⁴ attempts, and then the two contents do not fit their digests.
type PathKey = [u8; 16];

/// A part of one of the files that contents are in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    file: u32,
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
                let Extent { file, offset, size } =
                    extents.find(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                Ok(Box::new(Content { file: &files[file as usize], offset, size }))
            }
        }
    }
}

impl From<DirectoryContents> for ImageContents {
    fn from(directory: DirectoryContents) -> Self {
        Self(Contents::Directory(directory))
    }
}

impl Extents {
    /// Each path is to be added once.
    pub(crate) fn add(&mut self, path: &EntryPath, extent: Extent) {
        self.0.push((path_key(path), extent));
    }

    fn sort(&mut self) {
        self.0.sort_unstable_by_key(|&(key, _)| key);
    }

    fn find(&self, path: &EntryPath) -> Option<Extent> {
        let key = path_key(path);
        self.0.binary_search_by_key(&key, |&(other, _)| other).ok().map(|index| self.0[index].1)
    }
}

fn path_key(path: &EntryPath) -> PathKey {
    let digest: [u8; 32] = Sha256::digest(path.as_bytes()).into();
    *digest.first_chunk().expect("because a digest is longer than its half")
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
    contents: Vec<Stored>,
}

/// A content that a store took in: where it stands among them. There are fewer than 2³², as there are of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentId(u32);

/// A file without a name that contents are appended to, each distinct one once.
struct Spool {
    file: u32,
    /// Where the next content begins.
    end: u64,
    /// How many bytes are in the file, and those that follow: small files by the thousand are worth few writes.
    written: u64,
    buffer: Vec<u8>,
    /// The contents that are there, by the first bytes of their digests; of several that begin alike, one.
    known: HashMap<u64, ContentId>,
}

/// Where a layer's contents go to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination {
    Spool,
    /// They stay where they are: `offset` bytes, and the position in the layer, into the file.
    InPlace {
        file: u32,
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
        let spool_directory = spool_directory.into();
        Self { files: Vec::new(), spool_directory, spool: None, contents: Vec::new() }
    }

    /// Leaves contents where they are in a file.
    pub(crate) fn in_place(&mut self, blob: &Blob) -> Destination {
        let known = self.files.iter().position(|file| Arc::ptr_eq(file, &blob.file));
        let file = known.map_or_else(|| self.add_file(blob.file.clone()), index);
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
                spool.begin();
                (Extent { file: spool.file, offset: spool.end, size: 0 }, true)
            }
        };
        Ok(Writer { store: self, extent, is_spooled, hasher: Sha256::new() })
    }

    /// Brings all contents to where they are read from, and forgets what only taking in takes.
    pub(crate) fn seal(mut self) -> Result<SealedStore, ImageError> {
        if let Some(spool) = &mut self.spool {
            spool.flush(&self.files).map_err(write_failed(&self.spool_directory))?;
        }
        Ok(SealedStore { files: self.files, contents: self.contents })
    }

    fn add_file(&mut self, file: Arc<File>) -> u32 {
        self.files.push(file);
        index(self.files.len() - 1)
    }

    fn spool(&mut self) -> Result<&mut Spool, ImageError> {
        if self.spool.is_none() {
            let failed = |source| ImageError::Io {
                op: "making a spool in",
                path: self.spool_directory.clone(),
                source,
            };
            let file = tempfile::tempfile_in(&self.spool_directory).map_err(failed)?;
            let file = self.add_file(Arc::new(file));
            let buffer = Vec::with_capacity(SPOOL_BUFFER);
            self.spool = Some(Spool { file, end: 0, written: 0, buffer, known: HashMap::new() });
        }
        Ok(self.spool.as_mut().expect("because it was made where there was none"))
    }
}

/// All contents of an image.
pub(crate) struct SealedStore {
    files: Vec<Arc<File>>,
    contents: Vec<Stored>,
}

impl SealedStore {
    pub(crate) fn content(&self, id: ContentId) -> Stored {
        self.contents[id.0 as usize]
    }

    /// The contents of these paths.
    pub(crate) fn finish(self, mut extents: Extents) -> ImageContents {
        extents.sort();
        ImageContents(Contents::Extents { files: self.files, extents })
    }
}

impl Spool {
    /// Takes back what was written of a content that was there already: the next one is written over it.
    fn begin(&mut self) {
        let kept = self.end.checked_sub(self.written).and_then(|count| usize::try_from(count).ok());
        self.buffer.truncate(kept.unwrap_or(0));
        self.written = self.written.min(self.end);
    }

    fn write(&mut self, bytes: &[u8], files: &[Arc<File>]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > SPOOL_BUFFER {
            self.flush(files)?;
        }
        if bytes.len() < SPOOL_BUFFER {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        files[self.file as usize].write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self, files: &[Arc<File>]) -> io::Result<()> {
        files[self.file as usize].write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Writer<'_> {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.hasher.update(bytes);
        if let Some(spool) = self.store.spool.as_mut().filter(|_| self.is_spooled) {
            spool.write(bytes, &self.store.files).map_err(write_failed(&self.store.spool_directory))?;
        }
        self.extent.size += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn finish(self) -> ContentId {
        let digest: [u8; 32] = self.hasher.finalize().into();
        let prefix = u64::from_ne_bytes(*digest.first_chunk().expect("because a digest is longer"));
        let content = FileContent { size: self.extent.size, digest: ContentDigest::from_bytes(digest) };
        let ContentStore { spool, contents, .. } = self.store;
        let id = ContentId(index(contents.len()));
        if let Some(spool) = spool.as_mut().filter(|_| self.is_spooled) {
            let known = *spool.known.entry(prefix).or_insert(id);
            if contents.get(known.0 as usize).is_some_and(|stored| stored.content == content) {
                return known;
            }
            spool.end += self.extent.size;
        }
        contents.push(Stored { content, extent: self.extent });
        id
    }
}

fn write_failed(directory: &Path) -> impl FnOnce(io::Error) -> ImageError {
    |source| ImageError::Io { op: "writing a spool in", path: directory.into(), source }
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("because there are no more contents and files than entries are allowed")
}
