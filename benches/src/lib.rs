//! Benches of the skiff workspace: criterion benches of the kernels under `benches/`, the runners `pairs`, `flatten` and `block`,
//! which compare the whole program with other tools on real and on large images, and those that measure its parts: `ablation`,
//! `references` and `matcher`.

pub mod changed;
mod failure;
pub mod layout;
pub mod measure;
pub mod program;

pub use failure::{Context, Failure, end};
use skiff_testkit::Random;
use skiff_tree::{Entry, EntryPath, FileContent, Kind, Metadata, Mode, Mtime, Tree};

/// Bytes in which a compressor finds something, as in a program: words drawn from a slowly changing table, the same on every run.
#[must_use]
pub fn program(length: usize) -> Vec<u8> {
    let mut random = Random::new(1);
    let mut table = [0_u32; 256];
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        let slot = random.below(table.len());
        if random.below(4) == 0 {
            table[slot] = random.word() as u32;
        }
        bytes.extend_from_slice(&table[slot].to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// What the next version of a program looks like: a piece inserted, and every 200 bytes or so an address moved.
#[must_use]
pub fn next_version(program: &[u8]) -> Vec<u8> {
    let mut random = Random::new(1);
    let mut bytes = program.to_vec();
    let mut at = 0;
    while let Some(byte) = bytes.get_mut(at) {
        *byte = byte.wrapping_add(8);
        at += 100 + random.below(200);
    }
    let middle = bytes.len() / 2;
    bytes.splice(middle..middle, (0..1000).map(|number: u16| number.to_le_bytes()[0]));
    bytes
}

/// A tree of so many files in directories of a hundred, as a distribution's image has them.
///
/// # Panics
/// Never: its paths are sound.
#[must_use]
pub fn tree(files: u32) -> Tree {
    let path = |path: String| EntryPath::new(path).expect("because the path is sound");
    let metadata = |seconds: u32| Metadata {
        mode: Mode::new(0o644).expect("because it fits in twelve bits"),
        mtime: Mtime::from_seconds(1_700_000_000 + i64::from(seconds)),
        ..Metadata::default()
    };
    let directory = |name: String| Entry::inode(path(name), metadata(0), Kind::Directory);
    let mut entries = vec![directory(String::new()), directory("usr".into()), directory("usr/share".into())];
    for number in 0..files {
        let parent = format!("usr/share/package-{:04}", number / 100);
        if number.is_multiple_of(100) {
            entries.push(directory(parent.clone()));
        }
        let content = FileContent::of(&number.to_le_bytes());
        entries.push(Entry::inode(
            path(format!("{parent}/file-{number}.txt")),
            metadata(number % 50),
            Kind::File(content),
        ));
    }
    Tree::from_unsorted(entries).expect("because the tree is sound")
}

/// The same tree a release later: every tenth file has another content and another time.
///
/// # Panics
/// Never: only files change.
#[must_use]
pub fn next_tree(tree: &Tree) -> Tree {
    let mut entries = tree.entries().to_vec();
    for (number, entry) in entries.iter_mut().enumerate().filter(|(number, _)| number.is_multiple_of(10)) {
        if let skiff_tree::Node::Inode(inode) = &mut entry.node
            && let Kind::File(content) = &mut inode.kind
        {
            *content = FileContent::of(format!("changed {number}").as_bytes());
            inode.metadata.mtime = Mtime::from_seconds(1_710_000_000);
        }
    }
    Tree::new(entries).expect("because only files changed")
}
