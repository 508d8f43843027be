use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use skiff_tree::{EntryPath, ReadAt as _};

use crate::listing::list_names;
use crate::resolve::{LISTING, LOOKUP};
use crate::storage::{At, DiskStorage, Storage};
use crate::{FsError, OpenFile, Resolution};

/// A directory beneath which entries are read and made. No path leads out of it and no symbolic link is followed, whatever
/// stands on the disk or is put there meanwhile.
///
/// The directory itself is held open: renaming it does not disturb. So is the directory that the last entry lay in, which
/// makes its neighbours cheap: renames and removals through this handle are minded, but what is moved or
/// removed behind its back may still be written into where it went. A root can be shared between threads.
#[derive(Debug)]
pub struct Root {
    /// Open for reading, since `syncfs` tells a handle only of errors that came after it was opened.
    pub(crate) directory: Arc<OwnedFd>,
    path: PathBuf,
    pub(crate) resolution: Resolution,
    pub(crate) storage: Arc<dyn Storage>,
    /// Entries are made directory by directory, so that the last parent is nearly always the next one too.
    last_parent: Mutex<Option<Parent>>,
    /// Set once the file system was seen to have no reflinks, to spare every further file the attempt.
    pub(crate) reflink_refused: AtomicBool,
}

/// A path beneath a root, and the directory it leads to.
type Parent = (Box<[u8]>, Arc<OwnedFd>);

/// How a [`Root`] works. The default is the real disk, and the kernel's resolution where it has one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RootOptions {
    /// What every change goes through.
    pub storage: Arc<dyn Storage>,
    /// How paths are kept beneath the root.
    pub resolution: Resolution,
}

impl Default for RootOptions {
    fn default() -> Self {
        Self { storage: Arc::new(DiskStorage), resolution: Resolution::detect() }
    }
}

impl RootOptions {
    /// These options, with another implementation of the disk.
    #[must_use]
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// These options, with another way of resolving paths.
    #[must_use]
    pub fn with_resolution(mut self, resolution: Resolution) -> Self {
        self.resolution = resolution;
        self
    }
}

/// What a name leads to, without following it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A device, a named pipe or a socket.
    Other,
}

impl From<FileType> for EntryType {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

impl Root {
    /// Opens a directory on the real disk as a root. Symbolic links in `path` itself are followed: the caller names it.
    ///
    /// # Errors
    /// [`FsError::Io`] where it cannot be opened as a directory.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FsError> {
        Self::open_with(path, RootOptions::default())
    }

    /// Opens a directory as a root, with options.
    ///
    /// # Errors
    /// [`FsError::Io`] where it cannot be opened as a directory.
    pub fn open_with(path: impl Into<PathBuf>, options: RootOptions) -> Result<Self, FsError> {
        let path = path.into();
        match rustix::fs::open(&path, LISTING | OFlags::CLOEXEC, Mode::empty()) {
            Ok(directory) => Ok(Self::from_directory(directory, path, options)),
            Err(error) => Err(FsError::Io { op: "opening directory", path, source: error.into() }),
        }
    }

    /// A directory beneath this root as a root of its own, on the same storage.
    ///
    /// # Errors
    /// [`FsError::Io`], and [`FsError::Refused`] where a symbolic link is in the way.
    pub fn descend(&self, path: &EntryPath) -> Result<Self, FsError> {
        let directory = self.open_directory(path)?;
        let options = RootOptions { storage: Arc::clone(&self.storage), resolution: self.resolution };
        Ok(Self::from_directory(directory, self.display(path), options))
    }

    /// The same root with a memory of its own of where the last entry lay, for a thread that works elsewhere in it.
    pub(crate) fn again(&self) -> Self {
        Self {
            directory: Arc::clone(&self.directory),
            path: self.path.clone(),
            resolution: self.resolution,
            storage: Arc::clone(&self.storage),
            last_parent: Mutex::new(None),
            reflink_refused: AtomicBool::new(self.reflink_refused.load(Ordering::Relaxed)),
        }
    }

    /// The path that the root was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where on the disk an entry lies, for messages and for handing to other programs.
    #[must_use]
    pub fn display(&self, path: &EntryPath) -> PathBuf {
        if path.is_root() { self.path.clone() } else { self.path.join(OsStr::from_bytes(path.as_bytes())) }
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// [`FsError::Io`], and [`FsError::Refused`] where something other than a regular file stands there.
    pub fn open_file(&self, path: &EntryPath) -> Result<OpenFile, FsError> {
        // Without O_NONBLOCK, opening a named pipe that was put there would wait for its writer.
        let file = self.open_beneath("opening", path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        OpenFile::new(file, self.display(path), Arc::clone(&self.storage))
    }

    /// Reads a whole file of `limit` bytes at most.
    ///
    /// # Errors
    /// As for [`open_file`](Self::open_file), and [`FsError::LimitExceeded`] for a larger one.
    pub fn read_file(&self, path: &EntryPath, limit: u64) -> Result<Vec<u8>, FsError> {
        let file = self.open_file(path)?;
        if file.size() > limit {
            return Err(FsError::LimitExceeded { path: self.display(path), wanted: file.size(), limit });
        }
        skiff_tree::read_all(&file).map_err(self.failed("reading", path))
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// [`FsError::Io`] where there is none, and [`FsError::Refused`] where a symbolic link is in the way to it.
    pub fn read_link(&self, path: &EntryPath) -> Result<Vec<u8>, FsError> {
        let place = self.place("reading link", path)?;
        match rustix::fs::readlinkat(place.directory.as_fd(), place.name, Vec::new()) {
            Ok(target) => Ok(target.into_bytes()),
            Err(error) => Err(self.failed("reading link", path)(error.into())),
        }
    }

    /// What stands at a path; none where nothing does.
    ///
    /// # Errors
    /// [`FsError::Io`], and [`FsError::Refused`] where a symbolic link is in the way to it.
    pub fn entry_type(&self, path: &EntryPath) -> Result<Option<EntryType>, FsError> {
        let place = match self.place("looking for", path) {
            Ok(place) => place,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::statat(place.directory.as_fd(), place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(FileType::from_raw_mode(status.st_mode).into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("looking for", path)(error.into())),
        }
    }

    /// The names in a directory, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// [`FsError::Io`], and [`FsError::Refused`] where a symbolic link is in the way.
    pub fn list(&self, path: &EntryPath) -> Result<Vec<Box<[u8]>>, FsError> {
        let directory = self.open_directory(path)?;
        let mut names = list_names(directory.as_fd()).map_err(self.failed("listing", path))?;
        names.sort();
        Ok(names)
    }

    pub(crate) fn open_directory(&self, path: &EntryPath) -> Result<OwnedFd, FsError> {
        self.open_beneath("opening directory", path, LISTING)
    }

    pub(crate) fn open_beneath(
        &self,
        op: &'static str,
        path: &EntryPath,
        flags: OFlags,
    ) -> Result<OwnedFd, FsError> {
        let opened = match (self.resolution, path.is_root()) {
            (Resolution::Kernel, false) => self.resolution.open(self.as_fd(), path.as_bytes(), flags),
            // One component after the other is worth beginning at the last parent.
            _ => {
                let place = self.place(op, path)?;
                self.resolution.open(place.directory.as_fd(), place.name, flags)
            }
        };
        opened.map_err(|error| self.refuse_links(op, path, error))
    }

    /// The open directory that an entry lies in, and its name there.
    pub(crate) fn place<'p>(&self, op: &'static str, path: &'p EntryPath) -> Result<Place<'p>, FsError> {
        let Some(name) = path.name() else {
            return Ok(Place { directory: Arc::clone(&self.directory), name: b"." });
        };
        let bytes = path.as_bytes();
        let parent = &bytes[..bytes.len().saturating_sub(name.len() + 1)];
        if parent.is_empty() {
            return Ok(Place { directory: Arc::clone(&self.directory), name });
        }
        let mut last = self.last_parent.lock().unwrap_or_else(PoisonError::into_inner);
        let (base, rest) = match &*last {
            Some((known, directory)) if **known == *parent => {
                return Ok(Place { directory: Arc::clone(directory), name });
            }
            Some((known, directory)) if is_beneath(parent, known) => {
                (Arc::clone(directory), &parent[known.len() + 1..])
            }
            _ => (Arc::clone(&self.directory), parent),
        };
        let opened = self.resolution.open(base.as_fd(), rest, LOOKUP);
        let directory = Arc::new(opened.map_err(|error| self.refuse_links(op, path, error))?);
        *last = Some((parent.into(), Arc::clone(&directory)));
        Ok(Place { directory, name })
    }

    /// To be called whenever a directory's path may have come to mean another directory.
    pub(crate) fn forget_parent(&self) {
        *self.last_parent.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn failed(&self, op: &'static str, path: &EntryPath) -> impl FnOnce(io::Error) -> FsError {
        move |source| FsError::Io { op, path: self.display(path), source }
    }

    fn refuse_links(&self, op: &'static str, path: &EntryPath, error: io::Error) -> FsError {
        let what = match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => "a symbolic link is in the way",
            Some(Errno::XDEV) => "it leads out of its root",
            _ => return self.failed(op, path)(error),
        };
        FsError::Refused { path: self.display(path), what }
    }

    fn from_directory(directory: OwnedFd, path: PathBuf, options: RootOptions) -> Self {
        Self {
            directory: Arc::new(directory),
            path,
            resolution: options.resolution,
            storage: options.storage,
            last_parent: Mutex::new(None),
            reflink_refused: AtomicBool::new(false),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// An open directory and a name in it.
pub(crate) struct Place<'p> {
    pub(crate) directory: Arc<OwnedFd>,
    pub(crate) name: &'p [u8],
}

impl Place<'_> {
    pub(crate) fn at(&self) -> At<'_> {
        At { directory: self.directory.as_fd(), name: self.name }
    }
}

fn is_beneath(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}
