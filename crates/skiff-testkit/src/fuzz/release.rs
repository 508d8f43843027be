//! Small releases: a fixed one that deltas are told against, and any from a fuzzer's bytes.

use skiff_tree::{Device, Entry, EntryPath, FileContent, Kind, MemoryContents, Metadata, Mode, Mtime, Tree};

/// A tree and the contents of its files.
#[allow(dead_code, reason = "contents are for targets to come")]
pub(crate) struct Release {
    pub(crate) tree: Tree,
    pub(crate) contents: MemoryContents,
}

/// The base of every delta and section that a fuzzer makes up: one entry of every kind, and content to copy from.
///
/// Seeds are told against it: after a change here, write them again.
pub(crate) fn base() -> Release {
    let mut builder = Builder::default();
    builder.add("", Kind::Directory);
    builder.add("bin", Kind::Directory);
    builder.file(
        "bin/app",
        &(0..4096_u32).flat_map(|number| (number * number).to_le_bytes()).collect::<Vec<u8>>(),
    );
    builder.add("dev", Kind::Directory);
    builder.add("dev/null", Kind::CharDevice(Device { major: 1, minor: 3 }));
    builder.add("etc", Kind::Directory);
    builder.file("etc/empty", b"");
    builder.file("etc/motd", &b"Ahoy, sailor! ".repeat(40));
    builder.add("etc/pipe", Kind::Fifo);
    builder.link("etc/sailors", "etc/motd");
    builder.add("lib", Kind::Symlink((*b"usr/lib").into()));
    builder.finish()
}

/// What a seed leads to from the base: entries kept, changed, deleted and inserted, contents kept, changed and new.
pub(crate) fn target() -> Release {
    let mut builder = Builder::default();
    builder.add("", Kind::Directory);
    builder.add("bin", Kind::Directory);
    builder.file(
        "bin/app",
        &(1..4096_u32).flat_map(|number| (number * number).to_le_bytes()).collect::<Vec<u8>>(),
    );
    builder.file("bin/helper", &b"Ahoy, sailor! ".repeat(40));
    builder.add("dev", Kind::Directory);
    builder.add("dev/null", Kind::CharDevice(Device { major: 1, minor: 5 }));
    builder.add("etc", Kind::Directory);
    builder.file("etc/motd", &b"Ahoy, captain! ".repeat(40));
    builder.file("etc/motd.old", b"");
    builder.link("etc/sailors", "etc/motd");
    builder.add("lib", Kind::Symlink((*b"usr/lib64").into()));
    builder.file("notes", b"nothing like anything before");
    builder.finish()
}

#[derive(Default)]
struct Builder {
    entries: Vec<Entry>,
    contents: MemoryContents,
}

impl Builder {
    fn add(&mut self, name: &str, kind: Kind) {
        let mode = Mode::new(0o755).expect("because it fits in twelve bits");
        let mut metadata =
            Metadata { mode, mtime: Mtime::from_seconds(1_700_000_000), ..Metadata::default() };
        if name == "bin/app" {
            metadata.xattrs.insert((*b"security.capability").into(), (*b"\x01\0\0\x02").into());
        }
        self.entries.push(Entry::inode(path(name), metadata, kind));
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        self.add(name, Kind::File(FileContent::of(content)));
        self.contents.insert(path(name), content);
    }

    fn link(&mut self, name: &str, owner: &str) {
        self.entries.push(Entry::hard_link(path(name), path(owner)));
    }

    fn finish(self) -> Release {
        let tree = Tree::from_unsorted(self.entries).expect("because this tree is sound");
        Release { tree, contents: self.contents }
    }
}

fn path(name: &str) -> EntryPath {
    EntryPath::new(name).unwrap_or_else(|_| EntryPath::root())
}
