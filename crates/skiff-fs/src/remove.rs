//! Removing a subtree of any depth, with a handful of open directories and no recursion.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode as RawMode, OFlags};
use rustix::io::Errno;
use skiff_tree::{EntryPath, Mode};

use crate::listing::{Identity, Status, list_names};
use crate::resolve::LISTING;
use crate::storage::{At, Removal};
use crate::{Control, FsError, Interrupted, Root};

/// How many directories on the way down are held open. Those above are found again through `..`.
const HELD_OPEN: usize = 32;

/// Whether there was anything to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It was there, and is not any more.
    Removed,
    /// It was not there.
    WasAbsent,
}

impl Root {
    /// Removes whatever stands at a path: a directory with everything beneath it. No symbolic link is followed; directories
    /// of any depth and without the right to enter them are removed; what another file system is mounted on is not.
    ///
    /// # Errors
    /// [`FsError::Io`], and [`FsError::Refused`] for a mount point, for a directory that is moved meanwhile and for the root
    /// itself; [`FsError::Interrupted`]. Part of the subtree may be gone then, and removing it again goes on.
    pub fn remove(&self, path: &EntryPath, control: &Control<'_>) -> Result<Removed, FsError> {
        if path.is_root() {
            let what = "the root itself is not removed through its own handle";
            return Err(FsError::Refused { path: self.path().into(), what });
        }
        let place = match self.place("removing", path) {
            Ok(place) => place,
            Err(error) if error.is_not_found() => return Ok(Removed::WasAbsent),
            Err(error) => return Err(error),
        };
        let at = place.at();
        let done = match self.storage.remove(at, Removal::File) {
            Err(error) if is(&error, Errno::NOENT) => return Ok(Removed::WasAbsent),
            Err(error) if is(&error, Errno::ISDIR) => {
                self.forget_parent();
                Descent { root: self, control, levels: Vec::new() }.run(at)
            }
            other => other.map_err(Failure::Disk),
        };
        match done {
            Ok(()) => Ok(Removed::Removed),
            Err(Failure::Stopped(interrupted)) => Err(interrupted.into()),
            Err(Failure::Disk(error)) => Err(match Errno::from_io_error(&error) {
                Some(Errno::XDEV) => {
                    let what = "another file system is mounted in it; unmount that first";
                    FsError::Refused { path: self.display(path), what }
                }
                Some(Errno::STALE) => {
                    let what = "a directory in it was moved while it was being removed";
                    FsError::Refused { path: self.display(path), what }
                }
                _ => self.failed("removing", path)(error),
            }),
        }
    }
}

/// A directory that is being emptied.
struct Level {
    name: Box<[u8]>,
    identity: Identity,
    /// None while it is too far up to be held open.
    directory: Option<OwnedFd>,
    /// Directories in it that are yet to be emptied.
    subdirectories: Vec<Box<[u8]>>,
}

struct Descent<'a> {
    root: &'a Root,
    control: &'a Control<'a>,
    levels: Vec<Level>,
}

impl Descent<'_> {
    fn run(mut self, top: At<'_>) -> Result<(), Failure> {
        let level = self.enter(top)?;
        self.levels.push(level);
        while let Some(level) = self.levels.last_mut() {
            if let Some(name) = level.subdirectories.pop() {
                let directory = level.directory.take().ok_or(Errno::STALE)?;
                let entered = self.enter(At { directory: directory.as_fd(), name: &name });
                level_of(&mut self.levels)?.directory = Some(directory);
                self.levels.push(entered?);
                if let Some(far) = self.levels.len().checked_sub(HELD_OPEN + 1) {
                    self.levels[far].directory = None;
                }
                continue;
            }
            let Some(empty) = self.levels.pop() else { break };
            let Some(parent) = self.levels.last_mut() else {
                return Ok(self.root.storage.remove(top, Removal::Directory)?);
            };
            if parent.directory.is_none() {
                let below = empty.directory.as_ref().ok_or(Errno::STALE)?;
                parent.directory = Some(ascend(below.as_fd(), parent.identity)?);
            }
            let directory = parent.directory.as_ref().ok_or(Errno::STALE)?.as_fd();
            self.root.storage.remove(At { directory, name: &empty.name }, Removal::Directory)?;
        }
        Ok(())
    }

    /// Opens a directory and removes everything in it but directories.
    fn enter(&self, at: At<'_>) -> Result<Level, Failure> {
        let resolution = self.root.resolution;
        let status = Status::at(at)?;
        if status.mode.bits() & 0o700 != 0o700 && !crate::can_apply_ownership() {
            self.root.storage.set_mode(at, Mode::from_st_mode(0o700))?;
        }
        let directory = resolution.open_same_mount(at.directory, at.name)?;
        let identity = Status::of(directory.as_fd())?.identity;
        let mut subdirectories = Vec::new();
        for name in list_names(directory.as_fd())? {
            self.control.check()?;
            match self.root.storage.remove(At { directory: directory.as_fd(), name: &name }, Removal::File) {
                Err(error) if is(&error, Errno::ISDIR) => subdirectories.push(name),
                Err(error) if is(&error, Errno::NOENT) => {}
                other => other?,
            }
        }
        Ok(Level { name: at.name.into(), identity, directory: Some(directory), subdirectories })
    }
}

enum Failure {
    Disk(io::Error),
    Stopped(Interrupted),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Disk(error.into())
    }
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Self {
        Self::Stopped(interrupted)
    }
}

fn level_of(levels: &mut [Level]) -> io::Result<&mut Level> {
    levels.last_mut().ok_or_else(|| Errno::STALE.into())
}

/// Opens the directory above, which must be the one that was come down from: it is not, where somebody moved what is
/// being removed.
fn ascend(below: BorrowedFd<'_>, expected: Identity) -> io::Result<OwnedFd> {
    let flags = LISTING | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let above = rustix::fs::openat(below, "..", flags, RawMode::empty())?;
    if Status::of(above.as_fd())?.identity == expected { Ok(above) } else { Err(Errno::STALE.into()) }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}
