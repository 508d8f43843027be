//! Giving a file of one tree to another without writing its bytes, where the file system can.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use skiff_tree::{EntryPath, ReadAt as _};

use crate::storage::Removal;
use crate::{Control, FsError, OpenFile, Root, WritableFile};

/// A large file is copied in parts, so that a call never takes long.
const COPY_PART: u64 = 16 << 20;
const COPY_BUFFER: usize = 256 << 10;

/// How a file may be shared. What the file system refuses gives way to the next, copying last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareMode {
    /// The bytes are written again.
    Copy,
    /// The blocks are shared, until one of the two is written to; else copied.
    Reflink,
    /// The inode is shared, metadata included; else copied.
    HardLink,
    /// The blocks are shared; else the inode; else copied.
    ReflinkOrHardLink,
}

/// How a file is shared, and how that is watched.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ShareOptions<'a> {
    /// In what ways.
    pub mode: ShareMode,
    /// Watches and stops it; progress counts the bytes that are copied. Default: neither.
    pub control: Control<'a>,
}

impl<'a> ShareOptions<'a> {
    /// These ways, neither watched nor stopped.
    #[must_use]
    pub fn new(mode: ShareMode) -> Self {
        Self { mode, control: Control::default() }
    }

    /// These options, watched and stopped by `control`.
    #[must_use]
    pub fn with_control(self, control: Control<'a>) -> Self {
        Self { control, ..self }
    }
}

/// How a file was shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// So many bytes were written again. The new file's metadata are yet to be set.
    Copied(u64),
    /// The blocks are shared. The new file's metadata are yet to be set.
    Reflinked,
    /// It is the same inode under a second name, with the metadata it had.
    HardLinked,
}

impl Root {
    /// Makes a file at `to` out of the one at `path` beneath `from`, which may be this root.
    ///
    /// # Errors
    /// [`FsError::Io`]; [`FsError::Refused`] where something other than a regular file stands at `path`;
    /// [`FsError::Interrupted`]. Part of a copy may be there then.
    pub fn share_file(
        &self,
        (from, path): (&Root, &EntryPath),
        to: &EntryPath,
        options: &ShareOptions<'_>,
    ) -> Result<Shared, FsError> {
        let mode = options.mode;
        if mode == ShareMode::HardLink
            && let Some(shared) = self.try_hard_link((from, path), to)?
        {
            return Ok(shared);
        }
        let source = from.open_file(path)?;
        if matches!(mode, ShareMode::Reflink | ShareMode::ReflinkOrHardLink)
            && let Some(shared) = self.try_reflink(&source, to)?
        {
            return Ok(shared);
        }
        if mode == ShareMode::ReflinkOrHardLink
            && let Some(shared) = self.try_hard_link((from, path), to)?
        {
            return Ok(shared);
        }
        self.copy_file(&source, to, &options.control).map(Shared::Copied)
    }

    /// None where the file system, or a limit of it, makes another way necessary.
    fn try_hard_link(
        &self,
        (from, path): (&Root, &EntryPath),
        to: &EntryPath,
    ) -> Result<Option<Shared>, FsError> {
        let op = "making hard link";
        let (source, place) = (from.place(op, path)?, self.place(op, to)?);
        // Only a regular file is shared by name; open_file looks before the other ways.
        drop(from.open_file(path)?);
        match self.storage.hard_link(source.at(), place.at()) {
            Ok(()) => Ok(Some(Shared::HardLinked)),
            // Too many links; another file system; none at all there; not one's own file (protected_hardlinks).
            Err(error)
                if is_any(
                    &error,
                    &[Errno::MLINK, Errno::XDEV, Errno::OPNOTSUPP, Errno::PERM, Errno::ACCESS],
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.failed(op, to)(error)),
        }
    }

    fn try_reflink(&self, source: &OpenFile, to: &EntryPath) -> Result<Option<Shared>, FsError> {
        if self.reflink_refused.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let file = self.create_file(to)?;
        match self.storage.clone_file(source.as_fd(), file.as_fd()) {
            Ok(()) => return Ok(Some(Shared::Reflinked)),
            // These say something of the file system. EINVAL, ETXTBSY and EPERM are said of the one file.
            Err(error) if is_any(&error, &[Errno::OPNOTSUPP, Errno::NOTTY, Errno::XDEV, Errno::NOSYS]) => {
                self.reflink_refused.store(true, Ordering::Relaxed);
            }
            Err(error) if is_any(&error, &[Errno::INVAL, Errno::TXTBSY, Errno::PERM]) => {}
            Err(error) => return Err(self.failed("reflinking", to)(error)),
        }
        drop(file);
        let place = self.place("removing", to)?;
        self.storage.remove(place.at(), Removal::File).map_err(self.failed("removing", to))?;
        Ok(None)
    }

    fn copy_file(&self, source: &OpenFile, to: &EntryPath, control: &Control<'_>) -> Result<u64, FsError> {
        let file = self.create_file(to)?;
        let size = source.size();
        let mut done = 0;
        while done < size {
            control.check()?;
            let range = done..size.min(done.saturating_add(COPY_PART));
            match self.storage.copy_range(source.as_fd(), file.as_fd(), range) {
                Ok(0) => break,
                Ok(count) => {
                    done += count as u64;
                    control.advance(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Kernels and file systems differ in what they say where they cannot.
                Err(error)
                    if is_any(
                        &error,
                        &[Errno::XDEV, Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::PERM],
                    ) =>
                {
                    break;
                }
                Err(error) => return Err(self.failed("copying to", to)(error)),
            }
        }
        let copied = copy_rest((source, done), &file, control)?;
        file.start_writing(copied);
        Ok(copied)
    }
}

/// Copies what `copy_file_range` left, through memory, to the end as it is now.
fn copy_rest(
    (source, mut done): (&OpenFile, u64),
    file: &WritableFile,
    control: &Control<'_>,
) -> Result<u64, FsError> {
    let mut buffer = Vec::new();
    while done < source.size() {
        control.check()?;
        buffer.resize(COPY_BUFFER, 0);
        match source.read_at(&mut buffer, done) {
            Ok(0) => break,
            Ok(count) => {
                file.write_all_at(&buffer[..count], done)?;
                done += count as u64;
                control.advance(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(FsError::Io { op: "reading", path: source.path().into(), source: error });
            }
        }
    }
    Ok(done)
}

fn is_any(error: &io::Error, expected: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| expected.contains(&errno))
}
