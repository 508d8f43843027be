use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::io::Errno;
use skiff_tree::{Mode, Mtime};

use crate::storage::{At, Removal, Rename, Special, Storage, Sync};

/// What a [`FaultyStorage`] does at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call is not done and fails with this error number; later ones work again.
    Error(i32),
    /// A write or copy does half of what was asked for, as a full disk may; other calls work. Later ones work again.
    ShortWrite,
    /// The call is not done, and no later one: all fail with `EIO`, as for a process whose disk is gone. What is on
    /// the disk is what the calls before it left.
    Stop,
}

impl Fault {
    /// The disk fails: `EIO`.
    pub const BROKEN: Self = Self::Error(Errno::IO.raw_os_error());
    /// The disk is full: `ENOSPC`.
    pub const NO_SPACE: Self = Self::Error(Errno::NOSPC.raw_os_error());
}

/// A disk that numbers the calls that change it, from 0 on, and fails at a chosen one: for crash tests.
///
/// ```
/// use std::sync::Arc;
/// use skiff_fs::*;
/// use skiff_tree::EntryPath;
/// # let directory = tempfile::tempdir()?;
///
/// let disk = Arc::new(FaultyStorage::new(DiskStorage).failing_at(1, Fault::NO_SPACE));
/// let options = RootOptions::default().with_storage(disk.clone());
/// let root = Root::open_with(directory.path(), options)?;
/// root.make_directory(&EntryPath::new("a")?)?;
/// assert!(root.make_directory(&EntryPath::new("b")?).unwrap_err().is_no_space());
/// assert_eq!(disk.calls(), ["make_directory", "make_directory"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FaultyStorage<S> {
    inner: S,
    fault: Option<(usize, Fault)>,
    calls: Mutex<Vec<&'static str>>,
}

enum Verdict {
    Go,
    Half,
}

impl<S: Storage> FaultyStorage<S> {
    /// A disk that only counts.
    pub fn new(inner: S) -> Self {
        Self { inner, fault: None, calls: Mutex::default() }
    }

    /// The same disk, with a fault at the call of this number.
    #[must_use]
    pub fn failing_at(mut self, call: usize, fault: Fault) -> Self {
        self.fault = Some((call, fault));
        self
    }

    /// The names of the calls made so far, those that failed included.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn enter(&self, name: &'static str) -> io::Result<Verdict> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let number = calls.len();
        calls.push(name);
        match self.fault {
            Some((at, Fault::Error(errno))) if number == at => Err(io::Error::from_raw_os_error(errno)),
            Some((at, Fault::Stop)) if number >= at => Err(Errno::IO.into()),
            Some((at, Fault::ShortWrite)) if number == at => Ok(Verdict::Half),
            _ => Ok(Verdict::Go),
        }
    }
}

macro_rules! pass_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self, $($argument: $kind),*) -> io::Result<$result> {
            self.enter(stringify!($name))?;
            self.inner.$name($($argument),*)
        }
    )*};
}

impl<S: Storage> Storage for FaultyStorage<S> {
    pass_on! {
        make_directory(at: At<'_>) -> ();
        create_file(at: At<'_>) -> OwnedFd;
        symlink(at: At<'_>, target: &[u8]) -> ();
        make_special(at: At<'_>, special: Special) -> ();
        hard_link(from: At<'_>, to: At<'_>) -> ();
        rename(from: At<'_>, to: At<'_>, rename: Rename) -> ();
        remove(at: At<'_>, removal: Removal) -> ();
        set_length(file: BorrowedFd<'_>, length: u64) -> ();
        clone_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> ();
        set_owner(at: At<'_>, uid: u32, gid: u32) -> ();
        set_mode(at: At<'_>, mode: Mode) -> ();
        set_xattr(at: At<'_>, name: &[u8], value: &[u8]) -> ();
        remove_xattr(at: At<'_>, name: &[u8]) -> ();
        set_mtime(at: At<'_>, mtime: Mtime) -> ();
        sync(file: BorrowedFd<'_>, sync: Sync) -> ();
    }

    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let bytes = match self.enter("write")? {
            Verdict::Go => bytes,
            Verdict::Half => &bytes[..bytes.len().div_ceil(2)],
        };
        self.inner.write(file, bytes, offset)
    }

    fn copy_range(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, range: Range<u64>) -> io::Result<usize> {
        let length = range.end.saturating_sub(range.start);
        let end = match self.enter("copy_range")? {
            Verdict::Go => range.end,
            Verdict::Half => range.start.saturating_add(length.div_ceil(2)),
        };
        self.inner.copy_range(from, to, range.start..end)
    }
}
