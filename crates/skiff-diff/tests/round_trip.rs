//! What the encoder writes, the decoder turns into the target; on any number of threads, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use skiff_diff::{Level, Options, Release, diff};
use skiff_replay::{Base, Checkpoint, Limits, Prelude, Replay, ReplayError, SavedPrelude, Sink, replay};
use skiff_tree::*;

/// A sink that keeps everything in memory, and the checkpoints with what was there at the time.
#[derive(Clone, Default)]
struct Memory {
    contents: BTreeMap<u32, Vec<u8>>,
    digests: BTreeMap<u32, ContentDigest>,
    prelude: Option<Prelude>,
    checkpoints: Vec<(Checkpoint, BTreeMap<u32, Vec<u8>>)>,
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

struct Image {
    tree: Tree,
    contents: MemoryContents,
    config: Option<Vec<u8>>,
}

impl Image {
    fn new(files: &BTreeMap<String, Vec<u8>>, config: Option<Vec<u8>>) -> Self {
        let mut entries = vec![Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory)];
        let mut contents = MemoryContents::default();
        for (name, bytes) in files {
            let path = EntryPath::new(name.as_bytes()).unwrap();
            let metadata = Metadata { mtime: Mtime::from_seconds(bytes.len() as i64), ..Metadata::default() };
            entries.push(Entry::inode(path.clone(), metadata, Kind::File(FileContent::of(bytes))));
            contents.insert(path, bytes.clone());
        }
        Self { tree: Tree::from_unsorted(entries).unwrap(), contents, config }
    }

    fn release(&self) -> Release<'_> {
        Release { config: self.config.as_deref(), ..Release::new(&self.tree, &self.contents) }
    }

    fn base(&self) -> Base<'_> {
        Base { release: self.release().id(), tree: &self.tree, contents: &self.contents }
    }
}

fn made(base: &Image, target: &Image, options: &Options<'_>) -> Vec<u8> {
    let mut delta = Vec::new();
    let report = diff(&base.release(), &target.release(), options, &mut delta).unwrap();
    assert_eq!(report.delta_bytes, delta.len() as u64);
    delta
}

fn check_result(sink: &Memory, target: &Image) {
    let skeleton = &sink.prelude.as_ref().unwrap().skeleton;
    for (number, new) in skeleton.new_contents().iter().enumerate() {
        let path = &skeleton.entries()[new.entry as usize].path;
        let expected = read_all(&*target.contents.open(path).unwrap()).unwrap();
        assert_eq!(sink.contents[&(number as u32)], expected, "{path}");
    }
}

/// Bytes with long stretches in common between any two of them.
fn content() -> impl Strategy<Value = Vec<u8>> {
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

fn files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    btree_map("(lib|app|etc)[-.]?[0-3]", content(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_two_images((old, new, config) in (files(), files(), prop::option::of(vec(any::<u8>(), 0..50))), fast: bool) {
        let (base, target) = (Image::new(&old, None), Image::new(&new, config));
        let level = if fast { Level::Fast } else { Level::Default };
        let one = Options { level, threads: NonZeroUsize::new(1), ..Options::default() };
        let many = Options { threads: NonZeroUsize::new(3), ..one };
        let delta = made(&base, &target, &one);
        prop_assert_eq!(&delta, &made(&base, &target, &many));

        let mut sink = Memory::default();
        let replayed = replay(&delta[..], base.base(), &mut sink, Limits::default()).unwrap();
        prop_assert_eq!(replayed.release, target.release().id());
        prop_assert_eq!(&replayed.tree, &target.tree);
        prop_assert_eq!(&replayed.config, &target.config);
        check_result(&sink, &target);
    }
}

/// Two images whose contents fill several frames, with one file that spans them.
fn large() -> (Image, Image) {
    let noise = |mut state: u64, length: usize| -> Vec<u8> {
        let step = |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        (0..length).map(step).collect()
    };
    let mut old = BTreeMap::new();
    old.insert("a".to_owned(), noise(1, 9 << 20));
    old.insert("kept".to_owned(), noise(2, 1 << 20));
    let mut new = old.clone();
    let a = new.get_mut("a").unwrap();
    a.splice(4000..4000, *b"inserted");
    for index in (0..a.len()).step_by(50_000) {
        a[index] ^= 0x55;
    }
    new.insert("new".to_owned(), noise(3, 10 << 20));
    new.insert("empty".to_owned(), Vec::new());
    new.insert("again".to_owned(), noise(3, 10 << 20));
    (Image::new(&old, Some(b"{}".to_vec())), Image::new(&new, Some(b"{\"a\":1}".to_vec())))
}

#[test]
fn a_replay_goes_on_from_every_checkpoint() {
    let (base, target) = large();
    let delta = made(&base, &target, &Options { level: Level::Fast, ..Options::default() });
    let mut whole = Memory::default();
    replay(&delta[..], base.base(), &mut whole, Limits::default()).unwrap();
    check_result(&whole, &target);
    assert!(
        whole.checkpoints.len() > 2
            && whole.checkpoints.iter().any(|(checkpoint, _)| checkpoint.open.is_some())
    );

    for (checkpoint, contents) in &whole.checkpoints {
        let mut sink =
            Memory { contents: contents.clone(), prelude: whole.prelude.clone(), ..Memory::default() };
        let prelude = whole.prelude.clone().unwrap();
        let saved = SavedPrelude {
            header: prelude.header.clone(),
            config: prelude.config,
            manifest: prelude.manifest,
            tree_section: prelude.tree_section,
        };
        let next = checkpoint.next_frame as usize;
        let offset = prelude.header.frames().get(next).map_or(delta.len() as u64, |frame| frame.offset);
        let limits = Limits::default();
        let mut reader =
            skiff_format::Reader::resume(&delta[offset as usize..], prelude.header, next, limits.format)
                .unwrap();
        let mut damaged = sink.clone();
        let first = damaged.contents.values_mut().find(|bytes| !bytes.is_empty()).unwrap();
        first[0] ^= 1;
        let refused = Replay::resume(base.base(), saved.clone(), checkpoint, &damaged, limits.clone());
        assert!(
            matches!(refused, Err(ReplayError::Checkpoint { .. })),
            "damage is found before the rest is read"
        );
        let mut replay = Replay::resume(base.base(), saved, checkpoint, &sink, limits).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            replay.event(event, &mut sink).unwrap();
        }
        assert_eq!(replay.finish(&mut sink).unwrap().release, target.release().id());
        check_result(&sink, &target);
    }
}

#[test]
fn a_wrong_or_changed_base_is_refused() {
    let (base, target) = large();
    let delta = made(&base, &target, &Options { level: Level::Fast, ..Options::default() });
    let mut sink = Memory::default();
    let wrong = replay(&delta[..], target.base(), &mut sink, Limits::default());
    assert!(matches!(wrong, Err(ReplayError::WrongBase { .. })), "{wrong:?}");
    assert!(sink.prelude.is_none(), "nothing was begun");

    let mut changed = base.contents.clone();
    let path = EntryPath::new("a").unwrap();
    let mut bytes = read_all(&*base.contents.open(&path).unwrap()).unwrap();
    bytes[5 << 20] ^= 1;
    changed.insert(path.clone(), bytes);
    let damaged = Base { contents: &changed, ..base.base() };
    let refused = replay(&delta[..], damaged, &mut Memory::default(), Limits::default());
    assert!(
        matches!(&refused, Err(ReplayError::BaseDamaged { path: named, .. }) if *named == path),
        "{refused:?}"
    );
}

#[test]
fn a_cut_off_delta_is_an_error_wherever_it_is_cut() {
    let old = BTreeMap::from([("a".to_owned(), b"one two three".repeat(40))]);
    let new =
        BTreeMap::from([("a".to_owned(), b"one two three".repeat(41)), ("b".to_owned(), b"b".to_vec())]);
    let (base, target) = (Image::new(&old, None), Image::new(&new, None));
    let delta = made(&base, &target, &Options::default());
    for length in 0..delta.len() {
        let cut = replay(&delta[..length], base.base(), &mut Memory::default(), Limits::default());
        assert!(matches!(cut, Err(ReplayError::Format(_))), "{length}: {cut:?}");
    }
    for bit in 0..delta.len() * 8 {
        let mut flipped = delta.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            replay(&flipped[..], base.base(), &mut Memory::default(), Limits::default()).is_err(),
            "{bit}"
        );
    }
}
