use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::AtFlags;
use skiff_fs::{At, DiskStorage, Removal, Rename, RestOfSync, Special, Storage, Sync};
use skiff_tree::{Mode, Mtime};

use super::disk::{Identity, OWN};
use super::files::{Body, Files, Inode, InodeId, ROOT};
use super::log::{Barrier, Effect, Event, Log};

/// What a disk writes whole or not at all. Newer ones have more, and pretend to have this.
const SECTOR: usize = 512;
/// How far a file grows at once: file systems count in blocks of this size.
const BLOCK: usize = 4096;

/// A disk that keeps a log of what is done to it. It is not synced: what it works on is best in memory.
///
/// ```
/// use std::collections::BTreeSet;
/// use std::sync::Arc;
/// use skiff_fs::{Root, RootOptions};
/// use skiff_testkit::crash::{Effort, Recorder};
/// use skiff_tree::EntryPath;
/// # let directory = tempfile::tempdir().unwrap();
///
/// let disk = Arc::new(Recorder::new(directory.path()));
/// let root = Root::open_with(directory.path(), RootOptions::default().with_storage(disk.clone())).unwrap();
/// let file = root.create_file(&EntryPath::new("f").unwrap()).unwrap();
/// file.write_all_at(b"ahoy", 0).unwrap();
/// root.sync_directory(&EntryPath::root()).unwrap();
///
/// // Its name is on the disk, its length and its bytes may be.
/// let moments = disk.log().moments(None);
/// let end = moments.last().unwrap();
/// let choices = end.choices(&Effort::default());
/// let found = choices.all.iter().map(|choice| end.files(choice).content("f").unwrap());
/// let found: BTreeSet<Vec<u8>> = found.collect();
/// assert_eq!(found, BTreeSet::from([b"".to_vec(), vec![0; 4], b"ahoy".to_vec()]));
/// ```
#[derive(Debug)]
pub struct Recorder {
    state: Mutex<State>,
    waits_before: Option<&'static str>,
}

#[derive(Debug)]
struct State {
    log: Log,
    /// As it is with all changes.
    live: Files,
    numbers: HashMap<Identity, InodeId>,
    /// The newest path of each inode.
    paths: Vec<String>,
    /// Syncs that have begun, and whether they are over.
    running: Vec<(usize, Arc<AtomicBool>)>,
}

impl Recorder {
    /// A disk that begins with what is in a directory.
    ///
    /// # Panics
    /// Where that cannot be read.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let (live, numbers) = Files::read_with_identities(directory);
        let mut paths = vec![String::new(); live.inodes.len()];
        for reached in live.reached().iter().filter(|reached| !reached.is_again) {
            paths[reached.inode] = String::from_utf8_lossy(&reached.path).into_owned();
        }
        let log = Log { base: live.clone(), events: Vec::new(), barriers: Vec::new() };
        let state = State { log, live, numbers, paths, running: Vec::new() };
        Self { state: Mutex::new(state), waits_before: None }
    }

    /// The same disk, for a program that waits for every sync that it began before it does anything with this name.
    ///
    /// Such a sync is over earlier, but nobody can tell when; so it counts as over from the first call with this name on, if it is by then.
    #[must_use]
    pub fn waiting_before(self, name: &'static str) -> Self {
        Self { waits_before: Some(name), ..self }
    }

    /// Notes that what was asked for so far was reported as done.
    pub fn mark(&self) {
        self.state().log.events.push(Event::Mark);
    }

    /// What was done so far.
    #[must_use]
    pub fn log(&self) -> Log {
        self.state().log.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("because nothing panics while it is locked")
    }

    /// To be called at the beginning of each call.
    fn enter(&self, at: At<'_>) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if self.waits_before.is_some_and(|name| name.as_bytes() == at.name) {
            let (over, running) = std::mem::take(&mut state.running)
                .into_iter()
                .partition(|(_, is_over)| is_over.load(Ordering::SeqCst));
            state.running = running;
            state.log.events.extend(over.into_iter().map(|(number, _)| Event::Done(number)));
        }
        state
    }

    /// Makes an entry, and notes it.
    fn make<T>(&self, at: At<'_>, body: Body, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut state = self.enter(at);
        let made = make()?;
        let inode = Arc::new(Inode::new(body, *OWN));
        let number = state.live.inodes.len();
        state.log.base.inodes.push(Arc::clone(&inode));
        state.live.inodes.push(inode);
        state.numbers.insert(identity(at)?, number);
        state.paths.push(String::new());
        state.name(at, "make", Some(number));
        Ok(made)
    }

    fn attribute(
        &self,
        (at, name): (At<'_>, &str),
        set: impl FnOnce() -> io::Result<()>,
        effect: impl FnOnce(InodeId) -> Effect,
    ) -> io::Result<()> {
        let mut state = self.enter(at);
        set()?;
        let inode = state.numbers[&identity(at)?];
        let label = format!("{name} of {}", state.paths[inode]);
        state.change(effect(inode), label);
        Ok(())
    }
}

impl State {
    fn change(&mut self, effect: Effect, label: String) {
        self.log.events.push(Event::Change { effect: effect.clone(), label });
        effect.apply(&mut self.live, self.log.events.len());
    }

    /// Lets a name lead to an inode, or to nothing.
    fn name(&mut self, at: At<'_>, verb: &str, inode: Option<InodeId>) {
        let directory = self.directory(at);
        let path = self.path(at);
        if let Some(inode) = inode {
            self.paths[inode].clone_from(&path);
        }
        self.change(Effect::Names(vec![(directory, at.name.into(), inode)]), format!("{verb} {path}"));
    }

    fn directory(&self, at: At<'_>) -> InodeId {
        self.numbers[&of(at.directory).expect("an open directory has a status")]
    }

    fn path(&self, at: At<'_>) -> String {
        let name = String::from_utf8_lossy(at.name);
        match self.paths[self.directory(at)].as_str() {
            "" => name.into_owned(),
            directory => format!("{directory}/{name}"),
        }
    }

    /// What a name leads to.
    fn named(&self, at: At<'_>) -> InodeId {
        match &self.live.inodes[self.directory(at)].body {
            Body::Directory(names) => names[at.name].inode,
            other => unreachable!("no directory: {other:?}"),
        }
    }

    /// Notes bytes that were written to a file.
    fn written(&mut self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<()> {
        let inode = self.numbers[&of(file)?];
        let path = self.paths[inode].clone();
        let offset = usize::try_from(offset).expect("test files are small");
        let end = offset + bytes.len();
        for piece in pieces(offset..end, SECTOR) {
            let label = format!("bytes {piece:?} of {path}");
            let bytes = bytes[piece.start - offset..piece.end - offset].into();
            self.change(Effect::Bytes { inode, offset: piece.start, bytes }, label);
        }
        let Body::File { length, .. } = self.live.inodes[inode].body else { unreachable!("no file: {path}") };
        for piece in pieces(length.min(end)..end, BLOCK) {
            self.change(
                Effect::Grown { inode, length: piece.end },
                format!("length {} of {path}", piece.end),
            );
        }
        Ok(())
    }

    /// Notes that a sync begins.
    fn begin(&mut self, file: BorrowedFd<'_>, sync: Sync) -> io::Result<usize> {
        let inode = self.numbers[&of(file)?];
        let path = if inode == ROOT { "." } else { &self.paths[inode] };
        let (covers, label) = match sync {
            Sync::File => (Some(inode), format!("fsync of {path}")),
            Sync::FileSystem => (None, "syncfs".to_owned()),
        };
        let number = self.log.barriers.len();
        self.log.barriers.push(Barrier { covers, label });
        self.log.events.push(Event::Begun(number));
        Ok(number)
    }
}

impl Storage for Recorder {
    fn make_directory(&self, at: At<'_>) -> io::Result<()> {
        self.make(at, Body::Directory(Default::default()), || DiskStorage.make_directory(at))
    }

    fn create_file(&self, at: At<'_>) -> io::Result<OwnedFd> {
        self.make(at, Body::File { bytes: Vec::new(), length: 0 }, || DiskStorage.create_file(at))
    }

    fn symlink(&self, at: At<'_>, target: &[u8]) -> io::Result<()> {
        self.make(at, Body::Symlink(target.into()), || DiskStorage.symlink(at, target))
    }

    fn make_special(&self, at: At<'_>, special: Special) -> io::Result<()> {
        self.make(at, Body::Special(special), || DiskStorage.make_special(at, special))
    }

    fn hard_link(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let mut state = self.enter(to);
        DiskStorage.hard_link(from, to)?;
        let inode = state.named(from);
        state.name(to, "link", Some(inode));
        Ok(())
    }

    fn rename(&self, from: At<'_>, to: At<'_>, rename: Rename) -> io::Result<()> {
        let mut state = self.enter(from);
        DiskStorage.rename(from, to, rename)?;
        let moved = state.named(from);
        if rename == Rename::Exchange {
            let names = vec![
                (state.directory(to), to.name.into(), Some(moved)),
                (state.directory(from), from.name.into(), Some(state.named(to))),
            ];
            let label = format!("exchange {} and {}", state.path(from), state.path(to));
            state.change(Effect::Names(names), label);
        } else {
            let verb = format!("rename {} to", state.path(from));
            state.name(to, &verb, Some(moved));
            state.name(from, "end of the renamed", None);
        }
        Ok(())
    }

    fn remove(&self, at: At<'_>, removal: Removal) -> io::Result<()> {
        let mut state = self.enter(at);
        DiskStorage.remove(at, removal)?;
        state.name(at, "remove", None);
        Ok(())
    }

    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        let count = DiskStorage.write(file, bytes, offset)?;
        state.written(file, &bytes[..count], offset)?;
        Ok(count)
    }

    fn set_length(&self, file: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        let mut state = self.state();
        DiskStorage.set_length(file, length)?;
        let inode = state.numbers[&of(file)?];
        let length = usize::try_from(length).expect("test files are small");
        let label = format!("length {length} of {}", state.paths[inode]);
        state.change(Effect::Length { inode, length }, label);
        Ok(())
    }

    fn clone_file(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.state();
        DiskStorage.clone_file(from, to)?;
        state.written(to, &read(from, 0..u64::MAX)?, 0)
    }

    fn copy_range(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, range: Range<u64>) -> io::Result<usize> {
        let mut state = self.state();
        let start = range.start;
        let count = DiskStorage.copy_range(from, to, range)?;
        state.written(to, &read(from, start..start + count as u64)?, start)?;
        Ok(count)
    }

    fn set_owner(&self, at: At<'_>, uid: u32, gid: u32) -> io::Result<()> {
        let set = || DiskStorage.set_owner(at, uid, gid);
        self.attribute((at, "owner"), set, |inode| Effect::Owner(inode, uid, gid))
    }

    fn set_mode(&self, at: At<'_>, mode: Mode) -> io::Result<()> {
        self.attribute((at, "mode"), || DiskStorage.set_mode(at, mode), |inode| Effect::Mode(inode, mode))
    }

    fn set_xattr(&self, at: At<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
        let set = || DiskStorage.set_xattr(at, name, value);
        self.attribute((at, "xattr"), set, |inode| Effect::Xattr(inode, name.into(), Some(value.into())))
    }

    fn remove_xattr(&self, at: At<'_>, name: &[u8]) -> io::Result<()> {
        let remove = || DiskStorage.remove_xattr(at, name);
        self.attribute((at, "xattr"), remove, |inode| Effect::Xattr(inode, name.into(), None))
    }

    fn set_mtime(&self, at: At<'_>, mtime: Mtime) -> io::Result<()> {
        self.attribute((at, "time"), || DiskStorage.set_mtime(at, mtime), |inode| Effect::Time(inode, mtime))
    }

    fn sync(&self, file: BorrowedFd<'_>, sync: Sync) -> io::Result<()> {
        let mut state = self.state();
        let number = state.begin(file, sync)?;
        state.log.events.push(Event::Done(number));
        Ok(())
    }

    fn begin_sync(&self, file: Arc<OwnedFd>, sync: Sync) -> io::Result<RestOfSync> {
        let mut state = self.state();
        let number = state.begin(file.as_fd(), sync)?;
        let is_over = Arc::new(AtomicBool::new(false));
        state.running.push((number, Arc::clone(&is_over)));
        Ok(Box::new(move || {
            is_over.store(true, Ordering::SeqCst);
            Ok(())
        }))
    }
}

fn identity(at: At<'_>) -> io::Result<Identity> {
    let status = rustix::fs::statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((status.st_dev, status.st_ino))
}

fn of(file: BorrowedFd<'_>) -> io::Result<Identity> {
    let status = rustix::fs::fstat(file)?;
    Ok((status.st_dev, status.st_ino))
}

/// A range, cut at the multiples of a size.
fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let end = range.end.min((at / size + 1) * size);
        let piece = at..end;
        at = end;
        (!piece.is_empty()).then_some(piece)
    })
}

fn read(file: BorrowedFd<'_>, range: Range<u64>) -> io::Result<Vec<u8>> {
    let length = range.end.min(rustix::fs::fstat(file)?.st_size.unsigned_abs()).saturating_sub(range.start);
    let mut bytes = vec![0; usize::try_from(length).expect("test files are small")];
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pread(file, &mut bytes[done..], range.start + done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(bytes)
}
