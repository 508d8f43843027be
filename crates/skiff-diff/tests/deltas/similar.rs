//! New files are made from what they are like, wherever that is and whatever it is called.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroUsize;

use crate::common::*;
use proptest::prelude::*;
use skiff_diff::{Idea, Ideas, Level, Options, SourceFile, diff};
use skiff_replay::{Limits, replay};
use skiff_tree::EntryPath;

type Files = BTreeMap<String, Vec<u8>>;

fn files(files: &[(&str, &[u8])]) -> Files {
    files.iter().map(|&(path, bytes)| (path.to_owned(), bytes.to_vec())).collect()
}

/// Lines of words that no other seed has in this order.
fn text(seed: u64, lines: usize) -> Vec<u8> {
    let word = |byte: &u8| format!("word{:02x}", byte);
    let line = |bytes: &[u8]| bytes.iter().map(word).collect::<Vec<_>>().join(" ") + ".\n";
    noise(seed, lines * 8).chunks(8).map(line).collect::<String>().into_bytes()
}

/// What looks like a program: in every `step` bytes there are four that another build has otherwise.
fn program(seed: u64, build: u64, length: usize) -> Vec<u8> {
    let mut bytes = noise(seed, length);
    for (call, operand) in bytes.chunks_mut(32).zip(noise(build, length / 8).chunks(4)) {
        call[..4].copy_from_slice(operand);
    }
    let head = [&b"\x7fELF\x02\x01\x01"[..], &[0; 9], &[3, 0, 62, 0]].concat();
    bytes[..head.len()].copy_from_slice(&head);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// How large the delta is, and what each new file is made from; seen to lead to the target, and to be the same on any number of threads.
struct Told {
    delta: usize,
    sources: BTreeMap<String, Vec<SourceFile>>,
}

impl Told {
    fn at(old: &Files, new: &Files, options: &Options<'_>) -> Self {
        let (base, target) = (Image::new(old, None), Image::new(new, None));
        let one = Options { threads: NonZeroUsize::new(1), explain: true, ..*options };
        let mut delta = Vec::new();
        let report = diff(&base.release(), &target.release(), &one, &mut delta).unwrap();
        let many = Options { threads: NonZeroUsize::new(3), ..*options };
        assert_eq!(delta, made(&base, &target, &many));
        let mut sink = Memory::default();
        replay(&delta[..], base.base(), &mut sink, Limits::default()).unwrap();
        check_result(&sink, &target);
        let shares = report.explanation.unwrap().files.into_iter();
        let sources = shares.map(|share| (share.path.to_string(), share.sources)).collect();
        Self { delta: delta.len(), sources }
    }

    fn of(old: &Files, new: &Files) -> Self {
        let told = Self::at(old, new, &Options::default());
        let without = Ideas::ALL.without(Idea::Similar);
        let plain = Self::at(old, new, &Options { ideas: without, ..Options::default() });
        assert!(told.delta <= plain.delta, "{} and {} without", told.delta, plain.delta);
        told
    }

    fn is_from(&self, path: &str, sources: &[SourceFile]) -> bool {
        self.sources[path] == sources
    }
}

fn base(path: &str) -> SourceFile {
    SourceFile::Base(EntryPath::new(path.as_bytes()).unwrap())
}

fn target(path: &str) -> SourceFile {
    SourceFile::Target(EntryPath::new(path.as_bytes()).unwrap())
}

/// Noise that a few bytes were changed in, and lengthened.
fn changed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3].copy_from_slice(b"new");
    [&bytes[..middle / 2], b"and this", &bytes[middle / 2..]].concat()
}

#[test]
fn a_file_is_found_again_under_another_name() {
    let (words, code) = (text(1, 900), program(2, 3, 60_000));
    // Made by GNU gzip, as archives of distributions are.
    let logs: [&[u8]; 2] = [
        include_bytes!("../../../skiff-patch/tests/gzip/old.gz"),
        include_bytes!("../../../skiff-patch/tests/gzip/new.gz"),
    ];
    let old = files(&[("words", &words), ("code", &code), ("log.gz", logs[0]), ("other", &text(9, 900))]);
    let new = files(&[
        ("novel", &changed(&words)),
        ("executable", &program(2, 5, 60_000)),
        ("history.gz", logs[1]),
    ]);
    let told = Told::of(&old, &new);
    assert!(told.is_from("/novel", &[base("words")]), "{:?}", told.sources);
    assert!(told.is_from("/executable", &[base("code")]), "{:?}", told.sources);
    assert!(told.is_from("/history.gz", &[base("log.gz")]), "{:?}", told.sources);
    assert!(told.delta < 60_000 / 8 + 1_500, "{}", told.delta);

    let fast = Told::at(&old, &new, &Options { level: Level::Fast, ..Options::default() });
    assert_eq!(fast.sources, told.sources);
    let without = Options { ideas: Ideas::ALL.without(Idea::Similar), ..Options::default() };
    let plain = Told::at(&old, &new, &without);
    assert!(plain.sources.values().all(Vec::is_empty) && plain.delta > 4 * told.delta, "{}", plain.delta);
}

#[test]
fn one_file_serves_several() {
    let shared = noise(1, 30_000);
    let new = files(&[("left", &changed(&shared)), ("right", &[&shared[9_000..], b"more"].concat())]);
    let told = Told::of(&files(&[("one", &shared)]), &new);
    assert!(told.delta < 700, "{}", told.delta);
    assert!(told.is_from("/left", &[base("one")]) && told.is_from("/right", &[base("one")]));
}

#[test]
fn one_file_is_made_from_several() {
    let (first, second) = (noise(1, 30_000), noise(2, 20_000));
    let old = files(&[("first", &first), ("second", &second), ("third", &noise(3, 25_000))]);
    for joined in [[&first[..], &second].concat(), [&second[..5_000], &first, &second[5_000..]].concat()] {
        let told = Told::of(&old, &files(&[("joined", &joined)]));
        assert!(told.delta < 700, "{}", told.delta);
        assert!(told.is_from("/joined", &[base("first"), base("second")]), "{:?}", told.sources);
    }
    // The file at its path has the larger part.
    let told = Told::of(&old, &files(&[("first", &[&first[..], &second].concat())]));
    assert!(told.delta < 700 && told.is_from("/first", &[base("first"), base("second")]), "{}", told.delta);
}

#[test]
fn a_new_file_is_made_from_a_new_one_before_it() {
    let shared = noise(1, 30_000);
    // The zeros tell what both are, and that decides which comes first.
    let part = [b"\0", &noise(3, 2_000)[..]].concat();
    let bundle = [b"\0", &noise(2, 9_000)[..], &part, &noise(4, 9_000)].concat();
    let new = files(&[
        ("a", &shared),
        ("b", &changed(&shared)),
        ("bundle", &bundle),
        ("part", &part),
        ("program", &program(5, 6, 40_000)),
        ("sister", &program(5, 7, 40_000)),
    ]);
    let told = Told::of(&files(&[]), &new);
    assert!(told.is_from("/a", &[]) && told.is_from("/b", &[target("a")]), "{:?}", told.sources);
    assert!(told.is_from("/part", &[target("bundle")]), "{:?}", told.sources);
    assert!(told.is_from("/sister", &[target("program")]), "{:?}", told.sources);
    let once = 30_000 + 20_000 + 40_000;
    assert!(told.delta < once + 40_000 / 7 + 1_000, "{}", told.delta);
}

#[test]
fn names_that_mislead_lose_to_what_files_are_like() {
    let (one, two) = (noise(1, 20_000), noise(2, 20_000));
    // At each path stands what is nearly the content of the other.
    let swapped = files(&[("one", &changed(&two)), ("two", &changed(&one))]);
    let told = Told::of(&files(&[("one", &one), ("two", &two)]), &swapped);
    assert!(told.delta < 700, "{}", told.delta);
    assert!(told.is_from("/one", &[base("two")]) && told.is_from("/two", &[base("one")]));

    // Without what looks like a version both are called the same.
    let old = files(&[("libpcre2.so.0", &one), ("blob", &two)]);
    let told = Told::of(&old, &files(&[("libsqlite3.so.1", &changed(&two))]));
    assert!(told.delta < 600 && told.is_from("/libsqlite3.so.1", &[base("blob")]));
}

#[test]
fn what_stayed_in_its_place_is_made_from_that() {
    let (one, two) = (noise(1, 20_000), text(2, 500));
    let old = files(&[("one", &one), ("two", &two), ("copy", &[&one[..], b"!"].concat())]);
    let told = Told::of(&old, &files(&[("one", &changed(&one)), ("two", &changed(&two))]));
    assert!(told.is_from("/one", &[base("one")]) && told.is_from("/two", &[base("two")]));
}

#[test]
fn without_room_for_files_nothing_is_looked_for() {
    let shared = noise(1, 60_000);
    let options = Options { memory: 100_000, ..Options::default() };
    let told = Told::at(&files(&[("a", &shared)]), &files(&[("b", &changed(&shared))]), &options);
    assert!(told.is_from("/b", &[]) && told.delta > 60_000);
}

/// Every file has nearly every feature of every other one.
#[test]
fn thousands_of_files_that_are_nearly_the_same() {
    let numbered = |count: u32, mark: &str| -> Files {
        let content =
            |number: u32| format!("{mark} {number:08}: what every file has in it, again and again\n");
        (0..count).map(|number| (format!("{mark}{number}"), content(number).into_bytes())).collect()
    };
    // A compressor that sees them together needs nothing else.
    let told = Told::of(&numbered(2_000, "x"), &numbered(2_000, "yy"));
    assert!(told.delta < 2_000 * 6, "{}", told.delta);
}

#[test]
fn zeros_and_nothing_are_like_nothing() {
    let zeros = |length: usize| vec![0; length];
    let old = files(&[("a", &zeros(100_000)), ("b", &zeros(300)), ("c", b"")]);
    let new: Files = (1..400).map(|number| (format!("z{number}"), zeros(number * number))).collect();
    let told =
        Told::at(&old, &[new, files(&[("empty", b"")])].into_iter().flatten().collect(), &Options::default());
    assert!(told.delta < 8_000, "{}", told.delta);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Files made of a few pieces, so that each has something of several others, on both sides.
    #[test]
    fn files_of_the_same_pieces(
        old in prop::collection::btree_map("[a-d]{1,2}([.]gz)?", prop::collection::vec(0..9_u64, 0..5), 0..6),
        new in prop::collection::btree_map("[a-f]{1,2}([.]gz)?", prop::collection::vec(0..9_u64, 0..5), 0..8),
        fast: bool,
    ) {
        let piece = |&seed: &u64| match seed % 3 {
            0 => noise(seed, 700),
            1 => text(seed, 20),
            _ => program(seed, seed, 900),
        };
        let files = |pieces: BTreeMap<String, Vec<u64>>| -> Files {
            let content = |(name, pieces): (String, Vec<u64>)| {
                let bytes: Vec<u8> = pieces.iter().flat_map(piece).collect();
                let bytes = if name.ends_with(".gz") { gzip(&bytes) } else { bytes };
                (name, bytes)
            };
            pieces.into_iter().map(content).collect()
        };
        let level = if fast { Level::Fast } else { Level::Default };
        Told::at(&files(old), &files(new), &Options { level, ..Options::default() });
    }
}
