//! Replaying a delta holds no more than its header declares: counted by an allocator.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io;

use peak_alloc::PeakAlloc;
use skiff_diff::{DiffError, Level, Options, Release, diff};
use skiff_replay::{Base, Limits, Prelude, Sink, Trust, replay};
use skiff_tree::*;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Keeps nothing: what was written is read from the target, if that is there.
#[derive(Default)]
struct Nothing<'a> {
    target: Option<&'a MemoryContents>,
    paths: Vec<EntryPath>,
}

impl<'a> Sink for Nothing<'a> {
    type Error = io::Error;
    type Content = Box<dyn ReadAt + 'a>;

    fn begin(&mut self, prelude: &Prelude) -> io::Result<()> {
        if self.target.is_some() {
            let new = prelude.skeleton.new_contents().iter();
            self.paths = new.map(|new| prelude.skeleton.entries()[new.entry as usize].path.clone()).collect();
        }
        Ok(())
    }
    fn write(&mut self, _number: u32, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn finish(&mut self, _number: u32, _digest: ContentDigest) -> io::Result<()> {
        Ok(())
    }
    fn open(&self, number: u32) -> io::Result<Self::Content> {
        self.target.ok_or(io::ErrorKind::NotFound)?.open(&self.paths[number as usize])
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
    as_declared_for_trees();
    as_granted_for_contents();
}

fn as_declared_for_trees() {
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
        replay(&delta[..], base, &mut Nothing::default(), Limits::default()).unwrap();
        let held = (ALLOCATOR.peak_usage() - before) as u64;
        assert!(held <= declared, "{what}: {held} of {declared}");
    }
}

/// A text of so many lines, most of which are those of any other.
fn text(lines: usize, seed: usize) -> Vec<u8> {
    let line = |index: usize| match index % 7 {
        0 => format!("{seed} {index} {}\n", index * seed % 8191),
        _ => format!("line {index} of {}\n", index % 31),
    };
    (0..lines).flat_map(|index| line(index).into_bytes()).collect()
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    io::Write::write_all(&mut encoder, text).unwrap();
    encoder.finish().unwrap()
}

/// Files that every codec has a use for.
fn mixed(seed: usize) -> (Tree, MemoryContents) {
    let noise =
        |length: u32| (0..length).map(|i| ((i ^ seed as u32).wrapping_mul(2_654_435_761) >> 23) as u8);
    let mut like = text(30_000, 3);
    like.splice(99_999..99_999, text(100, seed));
    let files = [
        ("like", like),
        ("new", text(20_000, seed)),
        ("noise", noise(1 << 20).collect()),
        ("z.gz", gzipped(&text(9_000, seed))),
    ];
    let mut entries = vec![Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory)];
    let mut contents = MemoryContents::default();
    for (name, bytes) in files {
        let path = EntryPath::new(name).unwrap();
        entries.push(Entry::inode(path.clone(), Metadata::default(), Kind::File(FileContent::of(&bytes))));
        contents.insert(path, bytes);
    }
    (Tree::from_unsorted(entries).unwrap(), contents)
}

/// Whatever a device has to spare, decoding takes no more, or there is no delta.
fn as_granted_for_contents() {
    let ((base_tree, base_contents), (target_tree, target_contents)) = (mixed(1), mixed(2));
    let sides = [Release::new(&base_tree, &base_contents), Release::new(&target_tree, &target_contents)];
    let mut sizes = Vec::new();
    for (level, others) in [(Level::Fast, &[10 << 20, 16 << 20, 64 << 20][..]), (Level::Default, &[])] {
        let made = |granted: Option<u64>, delta: &mut Vec<u8>| {
            let options = Options { level, max_decoder_memory: granted, ..Options::default() };
            diff(&sides[0], &sides[1], &options, delta)
        };
        let Err(DiffError::DecoderMemory { granted: 1, least }) = made(Some(1), &mut Vec::new()) else {
            panic!("nothing is decoded in a byte")
        };
        assert!(made(Some(least - 1), &mut Vec::new()).is_err());
        let others = others.iter().copied().map(Some);
        for granted in [Some(least)].into_iter().chain(others).chain([None]) {
            let mut delta = Vec::new();
            let report = made(granted, &mut delta).unwrap();
            assert!(report.decoder_memory <= granted.unwrap_or(u64::MAX), "{granted:?}: {report:?}");
            sizes.push((level, granted, delta.len()));

            let mut written = Nothing { target: Some(&target_contents), ..Nothing::default() };
            let before = ALLOCATOR.current_usage();
            let tree = base_tree.clone();
            ALLOCATOR.reset_peak_usage();
            let base =
                Base { release: sides[0].id(), tree: &tree, contents: &base_contents, trust: Trust::Checked };
            let limits = Limits::default();
            replay(&delta[..], base, &mut written, limits).unwrap();
            let held = (ALLOCATOR.peak_usage() - before) as u64;
            assert!(held <= report.decoder_memory, "{granted:?}: {held} of {}", report.decoder_memory);
        }
    }
    // Memory is what small deltas are paid with.
    for level in [Level::Fast, Level::Default] {
        let sizes: Vec<_> = sizes.iter().filter(|made| made.0 == level).map(|made| made.2).collect();
        assert!(sizes.is_sorted_by(|&less, &more| less as f64 > more as f64 * 0.98), "{sizes:?}");
    }
}
