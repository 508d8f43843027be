use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FileType};
use skiff_tree::{ContentSource, EntryPath, ReadAt};

use crate::listing::Status;
use crate::storage::{Storage, Sync};
use crate::{FsError, Root};

/// Files of at least so many bytes begin to be written to the disk at once.
const START_WRITING: u64 = 256 << 10;

/// A regular file open for reading.
#[derive(Debug)]
pub struct OpenFile {
    file: OwnedFd,
    size: u64,
    path: PathBuf,
    storage: Arc<dyn Storage>,
}

impl OpenFile {
    pub(crate) fn new(file: OwnedFd, path: PathBuf, storage: Arc<dyn Storage>) -> Result<Self, FsError> {
        let op = "looking at";
        let status = match Status::of(file.as_fd()) {
            Ok(status) => status,
            Err(source) => return Err(FsError::Io { op, path, source }),
        };
        if status.file_type != FileType::RegularFile {
            return Err(FsError::Refused { path, what: "it is not a regular file" });
        }
        Ok(Self { file, size: status.size, path, storage })
    }

    /// Asks the kernel to forget what it holds of the file, so that what is read next comes from the disk. Only what was
    /// synced can be forgotten, and a kernel may refuse: a best effort, without an answer.
    pub fn drop_cache(&self) {
        drop_cache(self.file.as_fd());
    }

    /// Has what it holds of the file dropped, and read from the disk again while something else is done.
    pub(crate) fn read_anew(&self) {
        self.drop_cache();
        // As above: without it the disk is only waited for.
        let _ = rustix::fs::fadvise(self.file.as_fd(), 0, None, Advice::WillNeed);
    }

    /// The file's path on the disk, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl ReadAt for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read(&*self.storage, (self.file.as_fd(), offset), buffer)
    }

    /// As it was when the file was opened.
    fn size(&self) -> u64 {
        self.size
    }
}

/// A file that was made or reopened for writing, whose every change goes through its root's [`Storage`].
///
/// As an [`io::Write`] it writes from the start on, or from where [`seek_to`](Self::seek_to) put it; that trait's errors are
/// the storage's own, without the path.
#[derive(Debug)]
pub struct WritableFile {
    file: OwnedFd,
    position: u64,
    path: PathBuf,
    storage: Arc<dyn Storage>,
}

impl WritableFile {
    pub(crate) fn new(file: OwnedFd, path: PathBuf, storage: Arc<dyn Storage>) -> Self {
        Self { file, position: 0, path, storage }
    }

    /// Writes all of `bytes` from `offset` on. The position of the [`io::Write`] side stays.
    ///
    /// # Errors
    /// [`FsError::Io`]; some of the bytes may have been written then.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), FsError> {
        while !bytes.is_empty() {
            match self.storage.write(self.file.as_fd(), bytes, offset) {
                Ok(0) => return Err(self.failed("writing", io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    bytes = &bytes[count.min(bytes.len())..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("writing", error)),
            }
        }
        Ok(())
    }

    /// Where the [`io::Write`] side goes on.
    pub fn seek_to(&mut self, position: u64) {
        self.position = position;
    }

    /// How many bytes the file has.
    ///
    /// # Errors
    /// [`FsError::Io`] where the system does not say.
    pub fn size(&self) -> Result<u64, FsError> {
        Ok(Status::of(self.file.as_fd()).map_err(|error| self.failed("looking at", error))?.size)
    }

    /// Cuts the file off, or extends it by a hole.
    ///
    /// # Errors
    /// [`FsError::Io`].
    pub fn set_length(&self, length: u64) -> Result<(), FsError> {
        let done = self.storage.set_length(self.file.as_fd(), length);
        done.map_err(|error| self.failed("setting the length of", error))
    }

    /// Waits until the file's content and metadata are on the disk.
    ///
    /// # Errors
    /// [`FsError::Io`], which is final: what could not be written is lost, and the next call would not tell.
    pub fn sync(&self) -> Result<(), FsError> {
        let done = self.storage.sync(self.file.as_fd(), Sync::File);
        done.map_err(|error| self.failed("syncing", error))
    }

    /// Asks the kernel to forget what it holds of the file; see [`OpenFile::drop_cache`].
    pub fn drop_cache(&self) {
        drop_cache(self.file.as_fd());
    }

    /// Has the kernel begin to bring the file, to which so many bytes were written, to the disk, so that a sync later finds less to
    /// do. Small files are left alone: the disk writes them faster together. Nothing depends on it: a best effort, without an answer.
    pub fn start_writing(&self, written: u64) {
        if written >= START_WRITING {
            // Linux begins to write before it drops what it can, which is nothing yet.
            drop_cache(self.file.as_fd());
        }
    }

    /// Reads back what was written; may return fewer bytes than asked for, 0 at the end.
    ///
    /// # Errors
    /// [`FsError::Io`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
        let count = read(&*self.storage, (self.file.as_fd(), offset), buffer);
        count.map_err(|error| self.failed("reading", error))
    }

    /// The file's path on the disk, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, op: &'static str, source: io::Error) -> FsError {
        FsError::Io { op, path: self.path.clone(), source }
    }
}

impl AsFd for WritableFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Write for WritableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.storage.write(self.file.as_fd(), bytes, self.position)?;
        self.position += count as u64;
        Ok(count)
    }

    /// Nothing is held back; to bring it to the disk, [`sync`](WritableFile::sync).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The files beneath a directory as the contents of a tree.
#[derive(Debug)]
pub struct DirectoryContents {
    root: Root,
}

impl DirectoryContents {
    /// The files beneath a directory.
    ///
    /// # Errors
    /// [`FsError::Io`] where it cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FsError> {
        Ok(Self { root: Root::open(path)? })
    }

    /// The files beneath a root that is open already.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self { root }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }
}

impl ContentSource for DirectoryContents {
    fn open(&self, path: &EntryPath) -> io::Result<Box<dyn ReadAt + '_>> {
        Ok(Box::new(self.root.open_file(path)?))
    }
}

/// A signal that comes in between changes nothing: nobody above has to mind it.
fn read(
    storage: &dyn Storage,
    (file, offset): (BorrowedFd<'_>, u64),
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        match storage.read(file, buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn drop_cache(file: BorrowedFd<'_>) {
    // A kernel that refuses reads from its cache, which is what is asked for anyway where it cannot be dropped.
    let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
}
