use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use skiff_tree::{Mode, Mtime};

use crate::storage::{At, Removal, Rename, RestOfSync, Special, Storage, Sync};

/// What a [`FaultyStorage`] does at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call is not done and fails with this error number; later ones work again.
    Error(i32),
    /// A read, write or copy does half of what was asked for, as a full disk may; other calls work. Later ones work again.
    Short,
    /// The call is not done, and no later one: all fail with `EIO`, as for a process whose disk is gone. What is on
    /// the disk is what the calls before it left.
    Stop,
    /// The call is not done, and no later one: all fail with `EROFS`, as on a file system that found an error in itself
    /// and takes no more changes.
    ReadOnly,
    /// The process is killed before the call, by `SIGKILL`.
    Kill,
    /// The process is killed after the call, by `SIGKILL`.
    KillAfter,
}

impl Fault {
    /// The disk fails: `EIO`.
    pub const BROKEN: Self = Self::Error(Errno::IO.raw_os_error());
    /// The disk is full: `ENOSPC`.
    pub const NO_SPACE: Self = Self::Error(Errno::NOSPC.raw_os_error());
    /// The user has no right to more of it: `EDQUOT`.
    pub const NO_QUOTA: Self = Self::Error(Errno::DQUOT.raw_os_error());
    /// A signal came in between: `EINTR`.
    pub const INTERRUPTED: Self = Self::Error(Errno::INTR.raw_os_error());
}

/// A call that a [`FaultyStorage`] passes on, told of before it and once more after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passing {
    /// Its number, from 0 on.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// Whether it is yet to be done, or was.
    pub when: When,
}

/// On which side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before it.
    Before,
    /// After it, whether or not it failed. Of a sync that goes on beside other work, when it has begun.
    After,
}

/// A disk that numbers the calls that change it, from 0 on, and fails at a chosen one: for crash tests. Reads are numbered by
/// themselves.
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
pub struct FaultyStorage<S> {
    inner: S,
    fault: Option<(usize, Fault)>,
    read_fault: Option<(usize, Fault)>,
    watcher: Option<Box<Watcher>>,
    calls: Mutex<Vec<&'static str>>,
    reads: AtomicUsize,
}

type Watcher = dyn Fn(Passing) + Send + std::marker::Sync;

enum Verdict {
    Go,
    Half,
}

impl<S: Storage> FaultyStorage<S> {
    /// A disk that only counts.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            fault: None,
            read_fault: None,
            watcher: None,
            calls: Mutex::default(),
            reads: AtomicUsize::new(0),
        }
    }

    /// The same disk, with a fault at the call of this number.
    #[must_use]
    pub fn failing_at(mut self, call: usize, fault: Fault) -> Self {
        self.fault = Some((call, fault));
        self
    }

    /// The same disk, with a fault at the read of this number.
    #[must_use]
    pub fn failing_at_read(mut self, read: usize, fault: Fault) -> Self {
        self.read_fault = Some((read, fault));
        self
    }

    /// The same disk, on which this is called before and after every call but reads.
    #[must_use]
    pub fn watched_by(mut self, watcher: impl Fn(Passing) + Send + std::marker::Sync + 'static) -> Self {
        self.watcher = Some(Box::new(watcher));
        self
    }

    /// The names of the calls made so far, those that failed included.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many reads there were so far.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Numbers a call and does it, unless it is to fail.
    fn pass<T>(&self, name: &'static str, call: impl FnOnce(Verdict) -> io::Result<T>) -> io::Result<T> {
        let number = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.push(name);
            calls.len() - 1
        };
        self.tell(Passing { number, name, when: When::Before });
        let result = judge(self.fault, number).and_then(call);
        self.tell(Passing { number, name, when: When::After });
        if self.fault == Some((number, Fault::KillAfter)) {
            kill()?;
        }
        result
    }

    fn tell(&self, passing: Passing) {
        if let Some(watcher) = &self.watcher {
            watcher(passing);
        }
    }
}

fn judge(fault: Option<(usize, Fault)>, number: usize) -> io::Result<Verdict> {
    match fault {
        Some((at, Fault::Error(errno))) if number == at => Err(io::Error::from_raw_os_error(errno)),
        Some((at, Fault::Stop)) if number >= at => Err(Errno::IO.into()),
        Some((at, Fault::ReadOnly)) if number >= at => Err(Errno::ROFS.into()),
        Some((at, Fault::Short)) if number == at => Ok(Verdict::Half),
        Some((at, Fault::Kill)) if number == at => kill(),
        _ => Ok(Verdict::Go),
    }
}

fn kill() -> io::Result<Verdict> {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    // Until the signal is there.
    loop {
        std::thread::park();
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultyStorage<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStorage")
            .field("inner", &self.inner)
            .field("fault", &self.fault)
            .field("read_fault", &self.read_fault)
            .finish_non_exhaustive()
    }
}

macro_rules! pass_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self, $($argument: $kind),*) -> io::Result<$result> {
            self.pass(stringify!($name), |_| self.inner.$name($($argument),*))
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

    fn begin_sync(&self, file: Arc<OwnedFd>, sync: Sync) -> io::Result<RestOfSync> {
        // What is lost is known when it is waited for.
        self.pass("sync", |_| self.inner.begin_sync(file, sync)).or_else(|error| {
            let rest: RestOfSync = Box::new(|| Err(error));
            Ok(rest)
        })
    }

    fn read(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst);
        let length = match judge(self.read_fault, number)? {
            Verdict::Go => buffer.len(),
            Verdict::Half => buffer.len().div_ceil(2),
        };
        self.inner.read(file, &mut buffer[..length], offset)
    }

    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.pass("write", |verdict| {
            let length = match verdict {
                Verdict::Go => bytes.len(),
                Verdict::Half => bytes.len().div_ceil(2),
            };
            self.inner.write(file, &bytes[..length], offset)
        })
    }

    fn copy_range(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, range: Range<u64>) -> io::Result<usize> {
        let length = range.end.saturating_sub(range.start);
        self.pass("copy_range", |verdict| {
            let end = match verdict {
                Verdict::Go => range.end,
                Verdict::Half => range.start.saturating_add(length.div_ceil(2)),
            };
            self.inner.copy_range(from, to, range.start..end)
        })
    }
}

#[cfg(test)]
mod tests {
    use skiff_tree::{
        Entry, EntryPath, FileContent, Kind, MemoryContents, Metadata, Mode, ReadAt as _, Tree, read_all,
    };

    use super::*;
    use crate::*;

    fn path(path: &str) -> EntryPath {
        EntryPath::new(path).unwrap()
    }

    /// Makes one of everything, shares, swaps, syncs and removes.
    fn everything(root: &Root) -> Result<(), FsError> {
        let metadata = || Metadata { mode: Mode::from_st_mode(0o755), ..Metadata::default() };
        let entries = vec![
            Entry::inode(EntryPath::root(), metadata(), Kind::Directory),
            Entry::inode(path("d"), metadata(), Kind::Directory),
            Entry::inode(path("d/f"), metadata(), Kind::File(FileContent::of(b"content"))),
            Entry::hard_link(path("d/h"), path("d/f")),
            Entry::inode(path("p"), metadata(), Kind::Fifo),
            Entry::inode(path("s"), metadata(), Kind::Symlink((*b"d").into())),
        ];
        let tree = Tree::new(entries).unwrap();
        let mut contents = MemoryContents::default();
        contents.insert(path("d/f"), *b"content");
        let options = WriteOptions::default().with_ownership(Ownership::Record);
        write_tree(root, &tree, &contents, &options)?;
        root.share_file((root, &path("d/f")), &path("copy"), &ShareOptions::new(ShareMode::Copy))?;
        root.share_file((root, &path("d/f")), &path("hard"), &ShareOptions::new(ShareMode::HardLink))?;
        assert_eq!(read_all(&root.open_file(&path("copy"))?).unwrap(), b"content");
        root.replace_symlink(&path("current"), b"d")?;
        root.replace_file(&path("state"), b"{}")?;
        root.sync_all(SyncStrategy::EachFile, &Control::default())?;
        root.remove(&path("d"), &Control::default())?;
        Ok(())
    }

    fn run(fault: Option<(usize, Fault)>) -> (tempfile::TempDir, Vec<&'static str>, Result<(), FsError>) {
        let directory = tempfile::tempdir().unwrap();
        let mut disk = FaultyStorage::new(DiskStorage);
        disk.fault = fault;
        let disk = Arc::new(disk);
        let options = RootOptions::default().with_storage(disk.clone());
        let result = everything(&Root::open_with(directory.path(), options).unwrap());
        (directory, disk.calls(), result)
    }

    #[test]
    fn every_call_can_fail_and_none_goes_unheard() {
        let (_keep, calls, result) = run(None);
        result.unwrap();
        for name in ["make_directory", "create_file", "write", "set_mode", "set_mtime", "hard_link", "rename"]
        {
            assert!(calls.contains(&name), "{name} was not called: {calls:?}");
        }
        for at in 0..calls.len() {
            for fault in [Fault::BROKEN, Fault::NO_SPACE, Fault::Stop] {
                let (_keep, after, result) = run(Some((at, fault)));
                let error = result.expect_err("because a call failed");
                assert_eq!(error.is_no_space(), fault == Fault::NO_SPACE, "{error}");
                assert_eq!(after[..=at], calls[..=at]);
            }
            let (_keep, _, result) = run(Some((at, Fault::Short)));
            result.unwrap_or_else(|error| panic!("a short {} at {at}: {error}", calls[at]));
        }
    }

    #[test]
    fn sharing_falls_back_whatever_the_file_system_refuses() {
        let refusals = [
            (
                ShareMode::HardLink,
                "hard_link",
                vec![Errno::MLINK, Errno::XDEV, Errno::OPNOTSUPP, Errno::PERM],
            ),
            (
                ShareMode::Reflink,
                "clone_file",
                vec![Errno::OPNOTSUPP, Errno::NOTTY, Errno::XDEV, Errno::INVAL],
            ),
            (ShareMode::Copy, "copy_range", vec![Errno::XDEV, Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL]),
        ];
        for (mode, call, errnos) in refusals {
            for errno in errnos {
                let directory = tempfile::tempdir().unwrap();
                let root = Root::open(directory.path()).unwrap();
                root.create_file(&path("from")).unwrap().write_all_at(b"content", 0).unwrap();
                // Everything before the call that is to fail is one call, if any: making the file.
                let at = usize::from(call != "hard_link");
                let fault = Fault::Error(errno.raw_os_error());
                let disk = Arc::new(FaultyStorage::new(DiskStorage).failing_at(at, fault));
                let options = RootOptions::default().with_storage(disk.clone());
                let root = Root::open_with(directory.path(), options).unwrap();
                let shared =
                    root.share_file((&root, &path("from")), &path("to"), &ShareOptions::new(mode)).unwrap();
                assert_eq!(disk.calls()[at], call);
                assert_eq!(shared, Shared::Copied(7), "{mode:?} {errno:?}");
                assert_eq!(read_all(&root.open_file(&path("to")).unwrap()).unwrap(), b"content");
            }
        }
    }

    #[test]
    fn every_read_can_fail_and_goes_on_after_a_signal_or_half_of_it() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let read = |fault: Option<(usize, Fault)>| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("f"), &bytes).unwrap();
            let mut disk = FaultyStorage::new(DiskStorage);
            disk.read_fault = fault;
            let disk = Arc::new(disk);
            let root =
                Root::open_with(directory.path(), RootOptions::default().with_storage(disk.clone())).unwrap();
            let whole = root.read_file(&path("f"), 1 << 20);
            let tree = read_tree(&root, &ReadOptions::default());
            let content = tree.as_ref().ok().map(|tree| *tree.entries()[1].as_file().unwrap());
            (disk.reads(), whole.ok(), content)
        };
        let whole = (Some(bytes.clone()), Some(FileContent::of(&bytes)));
        let (reads, contents, hashed) = read(None);
        assert_eq!((contents, hashed), whole);
        assert!(reads > 3, "{reads}");
        for at in 0..reads {
            for fault in [Fault::INTERRUPTED, Fault::Short] {
                let (_, contents, hashed) = read(Some((at, fault)));
                assert_eq!((contents, hashed), whole, "{fault:?} at read {at}");
            }
            let (_, contents, hashed) = read(Some((at, Fault::BROKEN)));
            assert!(contents.is_none() || hashed.is_none(), "a failure at read {at} went unheard");
        }
    }

    #[test]
    fn a_read_that_a_signal_came_into_is_done_again() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyStorage::new(DiskStorage).failing_at_read(0, Fault::INTERRUPTED));
        let root =
            Root::open_with(directory.path(), RootOptions::default().with_storage(disk.clone())).unwrap();
        root.create_file(&path("f")).unwrap().write_all_at(b"content", 0).unwrap();
        let mut buffer = [0; 9];
        assert_eq!(root.open_file(&path("f")).unwrap().read_at(&mut buffer, 0).unwrap(), 7);
        assert_eq!(disk.reads(), 2);
    }

    /// After any last call, the name that is swapped leads to nothing, yet, or to what it should.
    #[test]
    fn a_swap_that_is_cut_leaves_the_old_or_the_new() {
        for at in 0..16 {
            let directory = tempfile::tempdir().unwrap();
            let before = Root::open(directory.path()).unwrap();
            before.replace_symlink(&path("current"), b"old").unwrap();
            before.replace_file(&path("state"), b"old").unwrap();
            let disk = Arc::new(FaultyStorage::new(DiskStorage).failing_at(at, Fault::Stop));
            let options = RootOptions::default().with_storage(disk);
            let root = Root::open_with(directory.path(), options).unwrap();
            let done = root.replace_symlink(&path("current"), b"new").is_ok()
                && root.replace_file(&path("state"), b"new").is_ok();
            let current = before.read_link(&path("current")).unwrap();
            let state = read_all(&before.open_file(&path("state")).unwrap()).unwrap();
            for found in [current, state] {
                assert!(found == b"new" || (found == b"old" && !done), "{at}: {found:?}");
            }
            before.replace_symlink(&path("current"), b"newer").unwrap();
            assert_eq!(before.read_link(&path("current")).unwrap(), b"newer");
        }
    }
}
