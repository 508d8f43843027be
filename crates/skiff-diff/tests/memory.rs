//! Replaying a delta holds no more than its header declares: counted by an allocator.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io;

use peak_alloc::PeakAlloc;
use skiff_diff::{Level, Options, Release, diff};
use skiff_replay::{Base, Limits, Prelude, Sink, Trust, replay};
use skiff_tree::*;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Keeps nothing.
struct Nothing;

impl Sink for Nothing {
    type Error = io::Error;
    type Content = Vec<u8>;

    fn begin(&mut self, _prelude: &Prelude) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, _number: u32, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn finish(&mut self, _number: u32, _digest: ContentDigest) -> io::Result<()> {
        Ok(())
    }
    fn open(&self, _number: u32) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A tree of so many entries, their names and one attribute of each of these lengths; files of a content each, unless there
/// are attributes.
struct Shape {
    count: usize,
    name: usize,
    attribute: usize,
}

impl Shape {
    fn image(&self) -> (Tree, MemoryContents) {
        let mut entries = vec![Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory)];
        let mut contents = MemoryContents::default();
        for index in 0..self.count {
            let path = EntryPath::new(format!("{index:0width$}", width = self.name)).unwrap();
            let mut metadata = Metadata::default();
            let kind = if self.attribute == 0 {
                let content = index.to_le_bytes();
                contents.insert(path.clone(), content);
                Kind::File(FileContent::of(&content))
            } else {
                metadata.xattrs.insert(b"user.a"[..].into(), vec![1; self.attribute].into());
                Kind::Directory
            };
            entries.push(Entry::inode(path, metadata, kind));
        }
        (Tree::from_unsorted(entries).unwrap(), contents)
    }
}

/// One test, so that no other allocates meanwhile.
#[test]
fn memory_is_as_declared() {
    let shape = |count, name, attribute| Shape { count, name, attribute };
    let cases = [
        ("equal", shape(5_000, 20, 0), shape(5_000, 20, 0)),
        ("all new", shape(1, 20, 0), shape(17_000, 20, 0)),
        ("long names", shape(15_000, 250, 0), shape(15_000, 250, 0)),
        ("small attributes", shape(15_000, 20, 1), shape(15_000, 20, 1)),
        ("large attributes", shape(300, 20, 50_000), shape(300, 20, 50_000)),
    ];
    for (what, base, target) in cases {
        let mut delta = Vec::new();
        let (target_tree, target_contents) = target.image();
        let (base_tree, base_contents) = base.image();
        let sides = [Release::new(&base_tree, &base_contents), Release::new(&target_tree, &target_contents)];
        let options = Options { level: Level::Fast, ..Options::default() };
        let declared = diff(&sides[0], &sides[1], &options, &mut delta).unwrap().decoder_memory;
        let release = sides[0].id();
        drop((target_tree, target_contents));

        // The base's tree is part of what is declared.
        let before = ALLOCATOR.current_usage();
        let base_tree = base_tree.clone();
        ALLOCATOR.reset_peak_usage();
        let base = Base { release, tree: &base_tree, contents: &base_contents, trust: Trust::Checked };
        replay(&delta[..], base, &mut Nothing, Limits::default()).unwrap();
        let held = (ALLOCATOR.peak_usage() - before) as u64;
        assert!(held <= declared, "{what}: {held} of {declared}");
    }
}
