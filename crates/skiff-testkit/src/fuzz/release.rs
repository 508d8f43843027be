//! Small releases: a fixed one that deltas are told against, and any from a fuzzer's bytes.

use std::collections::BTreeMap;

use skiff_tree::{
    ConfigDigest, ContentSource as _, Device, Entry, EntryPath, FileContent, Kind, MemoryContents, Metadata,
    Mode, Mtime, Node, ReleaseId, Tree, read_all,
};

use super::input::Input;
use super::naive;

/// A tree and the contents of its files.
pub(crate) struct Release {
    pub(crate) tree: Tree,
    pub(crate) contents: MemoryContents,
    pub(crate) config: Option<Vec<u8>>,
}

impl Release {
    pub(crate) fn config_digest(&self) -> Option<ConfigDigest> {
        self.config.as_deref().map(ConfigDigest::of)
    }

    /// It as the naive decoder's base.
    pub(crate) fn naive(&self) -> naive::Base {
        let mut encoding = Vec::new();
        self.tree.encode(&mut encoding).expect("because a vector takes everything");
        let entries = naive::read_tree(&encoding).expect("because a tree in memory is sound");
        let content = |entry: &Entry| {
            let content = entry.as_file().and_then(|_| self.contents.open(&entry.path).ok());
            content.map_or(Vec::new(), |content| read_all(&content).expect("because it is in memory"))
        };
        let contents = self.tree.entries().iter().map(content).collect();
        let release = *ReleaseId::new(self.tree.digest(), self.config_digest()).as_bytes();
        naive::Base { release, tree: *self.tree.digest().as_bytes(), entries, contents }
    }

    /// It as one side of a delta.
    pub(crate) fn as_side(&self) -> skiff_diff::Release<'_> {
        skiff_diff::Release::new(&self.tree, &self.contents)
    }
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

/// A release of one file, `motd`.
pub(crate) fn of_one_file(content: &[u8]) -> Release {
    let mut builder = Builder::default();
    builder.add("", Kind::Directory);
    builder.file("motd", content);
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

/// Puts a release together; what it holds at any time is sound.
#[derive(Default, Clone)]
pub(crate) struct Builder {
    entries: BTreeMap<EntryPath, Entry>,
    contents: BTreeMap<EntryPath, Vec<u8>>,
}

impl Builder {
    fn add(&mut self, name: &str, kind: Kind) {
        let mode = Mode::new(0o755).expect("because it fits in twelve bits");
        let mut metadata =
            Metadata { mode, mtime: Mtime::from_seconds(1_700_000_000), ..Metadata::default() };
        if name == "bin/app" {
            metadata.xattrs.insert((*b"security.capability").into(), (*b"\x01\0\0\x02").into());
        }
        self.entries.insert(path(name), Entry::inode(path(name), metadata, kind));
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        self.add(name, Kind::File(FileContent::of(content)));
        self.contents.insert(path(name), content.to_vec());
    }

    fn link(&mut self, name: &str, owner: &str) {
        self.entries.insert(path(name), Entry::hard_link(path(name), path(owner)));
    }

    pub(crate) fn finish(self) -> Release {
        let tree = Tree::new(self.entries.into_values().collect()).expect("because this tree is sound");
        let mut contents = MemoryContents::default();
        for (path, bytes) in self.contents {
            contents.insert(path, bytes);
        }
        Release { tree, contents, config: None }
    }

    /// Changes the release as a fuzzer says, at most 40 times: two directories of seven names.
    pub(crate) fn edit(&mut self, input: &mut Input<'_>) {
        for directory in ["", "a", "b"] {
            self.entries
                .entry(path(directory))
                .or_insert_with(|| Entry::inode(path(directory), Metadata::default(), Kind::Directory));
        }
        for _ in 0..40 {
            if input.is_empty() {
                return;
            }
            let (what, where_to) = (input.byte(), input.byte());
            let name =
                format!("{}/{}", if where_to & 8 == 0 { "a" } else { "b" }, NAMES[usize::from(where_to % 7)]);
            self.remove(&path(&name));
            self.put(&name, what, input);
        }
    }

    fn put(&mut self, name: &str, what: u8, input: &mut Input<'_>) {
        match what % 9 {
            0 => {}
            1 => self.add(name, Kind::Symlink(format!("to/{}", input.byte()).into_bytes().into())),
            2 => self.add(name, Kind::CharDevice(Device { major: 1, minor: u32::from(input.byte()) })),
            3 => self.add(name, Kind::Fifo),
            4 => {
                let mut earlier =
                    self.entries.range(..path(name)).filter(|(_, entry)| entry.as_file().is_some());
                if let Some(owner) = earlier.next_back().map(|(owner, _)| owner.clone()) {
                    self.entries.insert(path(name), Entry::hard_link(path(name), owner));
                }
            }
            5 | 6 => {
                // Like another file, but for a few bytes.
                let from = usize::from(input.byte()) % self.contents.len().max(1);
                let mut content = self.contents.values().nth(from).cloned().unwrap_or_default();
                let at = usize::from(input.short()) % (content.len() + 1);
                content.splice(
                    at..(at + usize::from(input.byte() % 16)).min(content.len()),
                    input.few().iter().copied(),
                );
                self.file(name, &content);
            }
            _ => {
                // Repeated, so that there is something to find again.
                let piece = input.few();
                self.file(name, &piece.repeat(1 + usize::from(input.byte())));
            }
        }
    }

    /// Removes an entry, and the links to it.
    fn remove(&mut self, path: &EntryPath) {
        self.entries.remove(path);
        self.contents.remove(path);
        self.entries.retain(|_, entry| !matches!(&entry.node, Node::HardLink { owner } if owner == path));
    }
}

/// Names in an order that is not the one in which paths with a slash would sort as text.
const NAMES: [&str; 7] = ["app", "app-1.0", "app-1.1", "app.gz", "libx.so.1.0", "libx.so.1.1", "\u{fc}"];

fn path(name: &str) -> EntryPath {
    EntryPath::new(name).unwrap_or_else(|_| EntryPath::root())
}
