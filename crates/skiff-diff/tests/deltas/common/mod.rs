//! What tests of this crate share.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use skiff_diff::{Options, Release, diff};
use skiff_replay::{Base, Checkpoint, Prelude, Sink, Trust};
pub(crate) use skiff_testkit::noise;
use skiff_tree::*;

/// A sink that keeps everything in memory, and the checkpoints with what was there at the time.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) contents: BTreeMap<u32, Vec<u8>>,
    pub(crate) digests: BTreeMap<u32, ContentDigest>,
    pub(crate) prelude: Option<Prelude>,
    pub(crate) checkpoints: Vec<(Checkpoint, BTreeMap<u32, Vec<u8>>)>,
}

impl Sink for Memory {
    type Error = io::Error;
    type Content = Vec<u8>;

    fn begin(&mut self, prelude: &Prelude) -> io::Result<()> {
        assert!(self.prelude.replace(prelude.clone()).is_none(), "begin comes once");
        Ok(())
    }
    fn write(&mut self, number: u32, bytes: &[u8]) -> io::Result<()> {
        self.contents.entry(number).or_default().extend_from_slice(bytes);
        Ok(())
    }
    fn finish(&mut self, number: u32, digest: ContentDigest) -> io::Result<()> {
        assert_eq!(ContentDigest::of(self.contents.entry(number).or_default()), digest);
        assert!(self.digests.insert(number, digest).is_none(), "a content is finished once");
        Ok(())
    }
    fn open(&self, number: u32) -> io::Result<Vec<u8>> {
        Ok(self.contents[&number].clone())
    }
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        self.checkpoints.push((checkpoint.clone(), self.contents.clone()));
        Ok(())
    }
}

pub(crate) struct Image {
    pub(crate) tree: Tree,
    pub(crate) contents: MemoryContents,
    pub(crate) config: Option<Vec<u8>>,
}

impl Image {
    pub(crate) fn new(files: &BTreeMap<String, Vec<u8>>, config: Option<Vec<u8>>) -> Self {
        let parents = |name: &String| {
            let ends = name.match_indices('/').map(|(end, _)| end).collect::<Vec<_>>();
            ends.into_iter().map(|end| name[..end].to_owned()).collect::<Vec<_>>()
        };
        let directories: BTreeSet<String> = files.keys().flat_map(parents).chain([String::new()]).collect();
        let directory =
            |name: String| Entry::inode(EntryPath::new(name).unwrap(), Metadata::default(), Kind::Directory);
        let mut entries: Vec<Entry> = directories.into_iter().map(directory).collect();
        let mut contents = MemoryContents::default();
        for (name, bytes) in files {
            let path = EntryPath::new(name.as_bytes()).unwrap();
            let metadata = Metadata { mtime: Mtime::from_seconds(bytes.len() as i64), ..Metadata::default() };
            entries.push(Entry::inode(path.clone(), metadata, Kind::File(FileContent::of(bytes))));
            contents.insert(path, bytes.clone());
        }
        Self { tree: Tree::from_unsorted(entries).unwrap(), contents, config }
    }

    pub(crate) fn release(&self) -> Release<'_> {
        Release { config: self.config.as_deref(), ..Release::new(&self.tree, &self.contents) }
    }

    pub(crate) fn base(&self) -> Base<'_> {
        Base {
            release: self.release().id(),
            tree: &self.tree,
            contents: &self.contents,
            trust: Trust::Checked,
        }
    }
}

pub(crate) fn made(base: &Image, target: &Image, options: &Options<'_>) -> Vec<u8> {
    let mut delta = Vec::new();
    let report = diff(&base.release(), &target.release(), options, &mut delta).unwrap();
    assert_eq!(report.delta_bytes, delta.len() as u64);
    delta
}

pub(crate) fn check_result(sink: &Memory, target: &Image) {
    let skeleton = &sink.prelude.as_ref().unwrap().skeleton;
    for (number, new) in skeleton.new_contents().iter().enumerate() {
        let path = &skeleton.entries()[new.entry as usize].path;
        let expected = read_all(&*target.contents.open(path).unwrap()).unwrap();
        assert_eq!(sink.contents[&(number as u32)], expected, "{path}");
    }
}

/// Bytes with long stretches in common between any two of them.
pub(crate) fn content() -> impl Strategy<Value = Vec<u8>> {
    vec((0..6_u8, 0..400_usize, any::<u8>()), 0..6).prop_map(|pieces| {
        let stretch = |(seed, length, odd): (u8, usize, u8)| {
            let mut bytes: Vec<u8> =
                (0..length).map(|i| ((i * (usize::from(seed) * 2 + 1)) >> 2) as u8).collect();
            bytes.push(odd);
            bytes
        };
        pieces.into_iter().flat_map(stretch).collect()
    })
}

pub(crate) fn files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    btree_map("(lib|app|etc)[-.]?[0-3]", content(), 0..6)
}

/// Two images whose contents fill several frames, with one file that spans them.
pub(crate) fn large() -> (Image, Image) {
    images_of(1 << 20)
}

/// Two images: a file of nine times so many bytes that was changed in a few places, one that was kept, and a new one, twice.
pub(crate) fn images_of(unit: usize) -> (Image, Image) {
    let mut old = BTreeMap::new();
    old.insert("a".to_owned(), noise(1, 9 * unit));
    old.insert("kept".to_owned(), noise(2, unit));
    let mut new = old.clone();
    let a = new.get_mut("a").unwrap();
    a.splice(4000..4000, *b"inserted");
    for index in (0..a.len()).step_by(50_000) {
        a[index] ^= 0x55;
    }
    new.insert("new".to_owned(), noise(3, 10 * unit));
    new.insert("empty".to_owned(), Vec::new());
    new.insert("again".to_owned(), noise(3, 10 * unit));
    (Image::new(&old, Some(b"{}".to_vec())), Image::new(&new, Some(b"{\"a\":1}".to_vec())))
}
