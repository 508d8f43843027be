//! Trees to test with.
#![allow(dead_code, unreachable_pub)] // each test binary uses some of it

use skiff_fs::*;
use skiff_tree::*;

pub fn path(path: impl Into<Vec<u8>>) -> EntryPath {
    EntryPath::new(path).expect("a path")
}

/// Metadata of this process's own, so that they can be applied without root.
pub fn metadata(mode: u32) -> Metadata {
    Metadata {
        mode: Mode::new(mode).expect("a mode"),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Mtime::new(1_700_000_000, 123_456_789).expect("a time"),
        xattrs: Xattrs::new(),
    }
}

pub fn symlink(target: &str) -> Kind {
    Kind::Symlink(target.as_bytes().into())
}

/// A tree that is put together entry by entry.
pub struct Sample {
    pub entries: Vec<Entry>,
    pub contents: MemoryContents,
}

impl Sample {
    pub fn new() -> Self {
        let root = Entry::inode(EntryPath::root(), metadata(0o755), Kind::Directory);
        Self { entries: vec![root], contents: MemoryContents::default() }
    }

    pub fn add(&mut self, name: impl Into<Vec<u8>>, metadata: Metadata, kind: Kind) -> &mut Self {
        self.entries.push(Entry::inode(path(name), metadata, kind));
        self
    }

    pub fn directory(&mut self, name: impl Into<Vec<u8>>) -> &mut Self {
        self.add(name, metadata(0o755), Kind::Directory)
    }

    pub fn file(&mut self, name: impl Into<Vec<u8>>, content: &[u8]) -> &mut Self {
        let name = name.into();
        self.contents.insert(path(name.clone()), content);
        self.add(name, metadata(0o644), Kind::File(FileContent::of(content)))
    }

    pub fn link(&mut self, name: &str, owner: &str) -> &mut Self {
        self.entries.push(Entry::hard_link(path(name), path(owner)));
        self
    }

    pub fn tree(&self) -> Tree {
        Tree::from_unsorted(self.entries.clone()).expect("a tree")
    }

    /// An entry of every kind that an ordinary user can make.
    pub fn of_every_kind() -> Self {
        let mut sample = Self::new();
        sample.directory("bin").file("bin/busybox", b"\x7fELF").link("bin/sh", "bin/busybox");
        sample.directory("etc").file("etc/empty", b"").file("etc/motd", b"ahoy\n");
        sample.add("etc/absolute", metadata(0o777), symlink("/etc/motd"));
        sample.add("etc/dangling", metadata(0o777), symlink("../nowhere/\u{e9}"));
        sample.add("etc/queue", metadata(0o620), Kind::Fifo);
        sample.add("etc/tight", metadata(0o500), Kind::Directory).file("etc/tight/inside", b"in");
        sample.file(&b"etc/\xff\xfe not utf-8\n"[..], b"bytes");
        sample.file("large", &vec![0xa5; 700_001]).link("zz", "large").link("zzz", "large");
        let before = Metadata { mtime: Mtime::new(-5, 999_999_999).expect("a time"), ..metadata(0o600) };
        sample.contents.insert(path("old"), *b"old");
        sample.add("old", before, Kind::File(FileContent::of(b"old")));
        sample
    }
}

/// A new directory, opened as a root.
pub fn fresh() -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Root::open(directory.path()).expect("a root");
    (directory, root)
}

/// What can be applied by whoever runs the tests.
pub fn ownership() -> Ownership {
    Ownership::of_this_process()
}

pub fn verify(root: &Root, tree: &Tree) -> Vec<Mismatch> {
    verify_tree(root, tree, &VerifyOptions::default().with_ownership(ownership())).expect("verifying")
}

pub fn write(root: &Root, sample: &Sample) -> Result<(), FsError> {
    let options = WriteOptions::default().with_ownership(ownership());
    write_tree(root, &sample.tree(), &sample.contents, &options)
}
