//! Deltas whose container is sound and whose sections are not: `tests/golden/errors/delta-*.skiff`, all for `example-base`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use skiff_format::{CodecInfo, Digest, HeaderFields, Section};
use skiff_replay::ReplayError;

use crate::damage::{put_together, take_apart};
use skiff_tree::{ConfigDigest, ReleaseId, TreeDigest};

use crate::images::{self, Image};
use crate::{CORRUPT, GOLDEN, UNSUPPORTED, follow, stranger, write_missing};

/// Why a delta is refused; the first word of its file's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// The header contradicts itself.
    Header,
    /// The config or the tree section is not what the header says of it.
    Prelude,
    /// The tree section.
    Tree,
    /// A frame of contents.
    Contents,
    /// A payload of a codec, in the frame of contents.
    Payload,
    /// Contents are missing at the end.
    End,
    /// What came out is not what the header names.
    Result,
    /// A codec is not known.
    Codec,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_lowercase())
    }
}

impl Expected {
    /// Whether an error is of this kind and names the right offset, in a delta of this size with contents from there.
    fn matches(self, error: &ReplayError<std::io::Error>, size: u64, contents: u64) -> bool {
        match (self, error) {
            (Self::Header, ReplayError::Corrupt { offset: 0, .. })
            | (Self::Tree, ReplayError::Tree(_))
            | (Self::Result, ReplayError::WrongResult { .. })
            | (Self::Codec, ReplayError::Codec(_)) => true,
            (Self::Prelude, ReplayError::Corrupt { offset, .. }) => (1..contents).contains(offset),
            (Self::Contents, ReplayError::Corrupt { offset, .. })
            | (Self::Payload, ReplayError::Patch { offset, .. }) => *offset == contents,
            (Self::End, ReplayError::Corrupt { offset, .. }) => *offset == size,
            _ => false,
        }
    }
}

/// What the worked example consists of, to be changed.
struct Parts {
    fields: HeaderFields,
    config: Vec<u8>,
    columns: [Vec<u8>; 15],
    contents: Vec<u8>,
}

impl Parts {
    fn sound() -> Self {
        let (fields, frames) = take_apart(&GOLDEN[0].read());
        let mut columns: [Vec<u8>; 15] = Default::default();
        columns[OPERATIONS] = vec![run(1, KEEP), run(1, CHANGE)];
        columns[CHANGES] = vec![32];
        columns[CONTENTS] = vec![0];
        columns[SIZES] = vec![10];
        let sound = Self { fields, config: Vec::new(), columns, contents: with_source(&[0]) };
        assert_eq!(sound.frames(), frames, "these are the example's");
        sound
    }

    fn frames(&self) -> Vec<(Section, Vec<u8>)> {
        let lengths = self.columns.iter().map(|column| u8::try_from(column.len()).unwrap());
        let tree = lengths.chain(self.columns.iter().flatten().copied()).collect();
        let frames = [
            (Section::Config, self.config.clone()),
            (Section::Tree, tree),
            (Section::Contents, self.contents.clone()),
        ];
        frames.into_iter().filter(|(_, payload)| !payload.is_empty()).collect()
    }

    /// Tells an inserted entry with its whole node, and of what its type holds nothing.
    fn insert(&mut self, path: &[u8], kind: u8) {
        self.columns[OPERATIONS].push(run(1, INSERT));
        self.columns[PREFIXES].push(0);
        self.columns[NAMES].push(u8::try_from(path.len()).unwrap());
        self.columns[NAMES].extend_from_slice(path);
        self.columns[TYPES].push(kind);
        if kind != HARD_LINK {
            self.columns[MODES].push(0);
            self.columns[OWNERS].extend([0, 0]);
            self.columns[TIMES] = vec![0, 0];
            self.columns[TIME_INDICES].push(0);
            self.columns[ATTRIBUTES].push(0);
        }
    }

    /// A second new content, of one byte.
    fn insert_file(&mut self) {
        self.insert(b"n", 2);
        self.columns[CONTENTS].push(0);
        self.columns[SIZES].push(2);
        self.fields.facts.new_bytes += 1;
    }
}

const OPERATIONS: usize = 0;
const CHANGES: usize = 1;
const PREFIXES: usize = 2;
const NAMES: usize = 3;
const TYPES: usize = 4;
const MODES: usize = 5;
const OWNERS: usize = 6;
const TIMES: usize = 7;
const TIME_INDICES: usize = 8;
const ATTRIBUTES: usize = 9;
const CONTENTS: usize = 10;
const SIZES: usize = 11;
const LINKS: usize = 12;
const DEVICES: usize = 13;
const HARD_LINKS: usize = 14;

const KEEP: u8 = 0;
const CHANGE: u8 = 1;
const DELETE: u8 = 2;
const INSERT: u8 = 3;
const HARD_LINK: u8 = 7;

fn run(length: u8, operation: u8) -> u8 {
    4 * length + operation
}

/// What a record of codec `data` begins with: nothing is as mostly, or some is.
const DATA: u8 = 1 << 3;
const NEXT: u8 = 1;
const ALL: u8 = 2;
const HOME: u8 = 4;

/// A byte of the content by a codec that makes more at once.
fn of_codec(parts: &mut Parts, codec: u16) {
    parts.fields.codecs.push(CodecInfo { id: codec, version: 0 });
    parts.contents = records(&[1, (codec as u8) << 3 | NEXT, 1, 0, 1], b"x");
}

/// The whole content by this payload, from the file of the base.
fn opening(parts: &mut Parts, codec: u16, payload: &[u8]) {
    parts.fields.codecs.push(CodecInfo { id: codec, version: 0 });
    let heads = [1, (codec as u8) << 3 | NEXT | ALL | HOME, payload.len() as u8];
    parts.contents = records(&heads, payload);
}

fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    skiff_wire::put_varint(&mut bytes, value);
    bytes
}

/// A frame of these heads with their payload.
fn records(heads: &[u8], payload: &[u8]) -> Vec<u8> {
    [heads, payload].concat()
}

/// A frame of the example's record with a source that it does not need.
fn with_source(source: &[u8]) -> Vec<u8> {
    records(&[&[1, DATA | NEXT | ALL], source, &[10]].concat(), b"land ahoy\n")
}

struct Case {
    name: String,
    expected: Expected,
    delta: Vec<u8>,
}

impl Case {
    fn file(&self) -> PathBuf {
        images::folder().join("errors").join(format!("{}.skiff", self.name))
    }
}

fn case(expected: Expected, name: &str, change: impl FnOnce(&mut Parts)) -> Case {
    let mut parts = Parts::sound();
    change(&mut parts);
    let name = format!("delta-{expected}-{name}");
    Case { name, expected, delta: put_together(&parts.fields, &parts.frames()) }
}

fn of_header() -> Vec<Case> {
    let header = |name, change: fn(&mut Parts)| case(Expected::Header, name, change);
    vec![
        header("other-tree-named", |parts| parts.fields.target.tree = Digest::of(b"")),
        header("other-tree-of-the-base", |parts| parts.fields.bases[0].tree = Digest::of(b"")),
        header("other-release-named", |parts| parts.fields.target.release = Digest::of(b"")),
        case(Expected::Prelude, "other-config", |parts| {
            let target = &mut parts.fields.target;
            target.config = Some(Digest::of(b"{}"));
            let tree = TreeDigest::from_bytes(*target.tree.as_bytes());
            let release = ReleaseId::new(tree, Some(ConfigDigest::of(b"{}")));
            target.release = Digest::from_bytes(*release.as_bytes());
            parts.config = b"[]".to_vec();
        }),
        case(Expected::Prelude, "new-bytes", |parts| parts.fields.facts.new_bytes = 9),
        case(Expected::Codec, "unknown", |parts| {
            parts.fields.codecs.push(CodecInfo { id: u16::MAX, version: 0 });
        }),
        case(Expected::Codec, "unknown-version", |parts| parts.fields.codecs[0].version = 1_001),
        case(Expected::Result, "other-content", |parts| parts.contents.make_ascii_uppercase()),
        case(Expected::Result, "other-mode", |parts| {
            parts.columns[CHANGES] = vec![32 | 2];
            parts.columns[MODES] = vec![0];
        }),
    ]
}

fn of_operations() -> Vec<Case> {
    let tree = |name, change: fn(&mut Parts)| case(Expected::Tree, name, change);
    vec![
        tree("run-of-none", |parts| parts.columns[OPERATIONS].push(DELETE)),
        tree("runs-that-are-one", |parts| parts.columns[OPERATIONS] = vec![run(1, KEEP), run(1, KEEP)]),
        tree("run-beyond-the-base", |parts| parts.columns[OPERATIONS] = vec![run(1, KEEP), run(2, CHANGE)]),
        tree("run-without-end", |parts| {
            parts.columns[OPERATIONS] = vec![0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        }),
        tree("base-not-told", |parts| parts.columns[OPERATIONS] = vec![run(1, KEEP)]),
        tree("no-root", |parts| parts.columns[OPERATIONS] = vec![run(1, DELETE), run(1, CHANGE)]),
        tree("no-changes", |parts| parts.columns[CHANGES] = vec![0]),
        tree("reserved-change", |parts| parts.columns[CHANGES] = vec![32 | 64]),
        tree("whole-and-more", |parts| parts.columns[CHANGES] = vec![32 | 1]),
        tree("changes-end-early", |parts| parts.columns[CHANGES].clear()),
        tree("bytes-left-over", |parts| parts.columns[LINKS] = vec![0]),
        tree("integer-padded", |parts| {
            parts.columns[OPERATIONS] = vec![run(1, KEEP), run(1, CHANGE) | 0x80, 0]
        }),
        tree("times-of-nobody", |parts| parts.columns[TIMES] = vec![0, 0]),
        tree("times-out-of-order", |parts| {
            parts.insert(b"n", 1);
            parts.columns[TIMES] = vec![2, 0, 1, 0];
        }),
        tree("nanoseconds", |parts| {
            parts.insert(b"n", 1);
            parts.columns[TIMES] = vec![0, 0x80, 0x94, 0xeb, 0xdc, 3];
        }),
        tree("time-index", |parts| {
            parts.insert(b"n", 1);
            parts.columns[TIME_INDICES] = vec![1];
        }),
    ]
}

fn of_entries() -> Vec<Case> {
    let tree = |name, change: fn(&mut Parts)| case(Expected::Tree, name, change);
    vec![
        tree("prefix-too-long", |parts| {
            parts.insert(b"n", 1);
            parts.columns[PREFIXES] = vec![5];
        }),
        tree("path-out-of-the-tree", |parts| parts.insert(b"..", 1)),
        tree("path-absolute", |parts| parts.insert(b"/n", 1)),
        tree("path-twice", |parts| parts.insert(b"motd", 1)),
        tree("path-out-of-order", |parts| parts.insert(b"a", 1)),
        tree("path-in-a-file", |parts| parts.insert(b"motd/n", 1)),
        tree("path-in-nothing", |parts| parts.insert(b"n/n", 1)),
        tree("type-unknown", |parts| parts.insert(b"n", 8)),
        tree("mode-too-large", |parts| {
            parts.insert(b"n", 1);
            parts.columns[MODES] = vec![0x80, 0x20];
        }),
        tree("user-too-large", |parts| {
            parts.insert(b"n", 1);
            parts.columns[OWNERS] = vec![0x80, 0x80, 0x80, 0x80, 0x10, 0];
        }),
        tree("attributes-out-of-order", |parts| {
            parts.insert(b"n", 1);
            parts.columns[ATTRIBUTES] = vec![2, 1, b'b', 0, 1, b'a', 0];
        }),
        tree("attribute-without-name", |parts| {
            parts.insert(b"n", 1);
            parts.columns[ATTRIBUTES] = vec![1, 0, 0];
        }),
        tree("symlink-to-nothing", |parts| {
            parts.insert(b"n", 3);
            parts.columns[LINKS] = vec![0];
        }),
        tree("symlink-with-nul", |parts| {
            parts.insert(b"n", 3);
            parts.columns[LINKS] = vec![1, 0];
        }),
        tree("device-too-large", |parts| {
            parts.insert(b"n", 4);
            parts.columns[DEVICES] = vec![0, 0x80, 0x80, 0x80, 0x80, 0x10];
        }),
        tree("hard-link-to-itself", |parts| {
            parts.insert(b"n", HARD_LINK);
            parts.columns[HARD_LINKS] = vec![0];
        }),
        tree("hard-link-to-a-directory", |parts| {
            parts.insert(b"n", HARD_LINK);
            parts.columns[HARD_LINKS] = vec![2];
        }),
        tree("hard-link-before-all", |parts| {
            parts.insert(b"n", HARD_LINK);
            parts.columns[HARD_LINKS] = vec![3];
        }),
        tree("content-repeats-none", |parts| parts.columns[CONTENTS] = vec![3]),
        tree("content-of-a-directory", |parts| parts.columns[CONTENTS] = vec![2]),
        tree("content-beyond-the-base", |parts| parts.columns[CONTENTS] = vec![2 + 2 * 4]),
    ]
}

fn of_contents() -> Vec<Case> {
    let contents = |name, change: fn(&mut Parts)| case(Expected::Contents, name, change);
    vec![
        contents("no-records", |parts| parts.contents = vec![0]),
        contents("records-without-end", |parts| parts.contents[0] = 0x7f),
        contents("bytes-after", |parts| parts.contents.push(0)),
        contents("record-of-nothing", |parts| parts.contents = vec![1, DATA | NEXT, 0, 0, 0]),
        contents("codec-not-named", |parts| parts.contents[1] += 1 << 3),
        contents("content-unknown", |parts| {
            parts.contents = records(&[1, DATA, 4, 10, 0, 10], b"land ahoy\n");
        }),
        contents("whole-content-unknown", |parts| {
            parts.contents = records(&[1, DATA | ALL, 4, 0, 10], b"land ahoy\n");
        }),
        contents("content-below-zero", |parts| {
            parts.contents = records(&[1, DATA, 0, 10, 0, 10], b"land ahoy\n");
        }),
        contents("content-too-long", |parts| {
            parts.contents = records(&[1, DATA | NEXT, 11, 0, 11], b"land ahoy!\n");
        }),
        contents("content-twice", |parts| {
            let heads = [2, DATA | NEXT | ALL, 0, 10, DATA | ALL, 0, 0, 10];
            parts.contents = records(&heads, b"land ahoy\nland ahoy\n");
        }),
        contents("contents-in-turns", |parts| {
            parts.insert_file();
            let heads = [2, DATA | NEXT, 9, 0, 9, DATA | NEXT | ALL, 0, 1];
            parts.contents = records(&heads, b"land ahoyn");
        }),
        contents("next-told-in-full", |parts| {
            parts.contents = records(&[1, DATA | ALL, 2, 0, 10], b"land ahoy\n");
        }),
        contents("size-told-in-full", |parts| {
            parts.contents = records(&[1, DATA | NEXT, 10, 0, 10], b"land ahoy\n");
        }),
        contents("file-at-its-path-told-in-full", |parts| parts.contents = with_source(&[1, 4, 0])),
        contents("no-file-at-its-path", |parts| {
            parts.insert_file();
            let heads = [2, DATA | NEXT | ALL, 0, 10, DATA | NEXT | ALL | HOME, 1];
            parts.contents = records(&heads, b"land ahoy\nn");
        }),
        contents("gzip-in-part", |parts| of_codec(parts, 3)),
        contents("zip-in-small-part", |parts| of_codec(parts, 6)),
        contents("png-in-part", |parts| of_codec(parts, 7)),
        contents("payload-cut", |parts| parts.contents[3] = 11),
        contents("source-of-many-parts", |parts| {
            parts.contents = with_source(&[&[17][..], &[4, 0].repeat(17)].concat());
        }),
        contents("source-is-a-directory", |parts| parts.contents = with_source(&[1, 0, 0])),
        contents("source-beyond-the-base", |parts| parts.contents = with_source(&[1, 8, 0])),
        contents("source-before-the-base", |parts| parts.contents = with_source(&[1, 2, 0])),
        contents("source-range", |parts| parts.contents = with_source(&[1, 4, 6, 1])),
        contents("source-range-without-end", |parts| {
            let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
            parts.contents = with_source(&[&[1, 4][..], &most, &most].concat());
        }),
        contents("source-is-not-made-yet", |parts| parts.contents = with_source(&[1, 1, 0])),
        contents("renewed-beside-others", |parts| parts.contents = with_source(&[2, 4, 1, 0, 0])),
        contents("source-is-new-and-renewed", |parts| parts.contents = with_source(&[1, 1, 1])),
        contents("source-is-unknown", |parts| parts.contents = with_source(&[1, 3, 0])),
        // 64 times the ten bytes of the content, and 64 KiB, and one more, and one as openings are told.
        case(Expected::Payload, "gzip-opens-far-more", |parts| {
            opening(parts, 3, &[&[0, 9, 0][..], &varint(66_178), &[2, 0, 0]].concat());
        }),
        case(Expected::Payload, "png-opens-far-more", |parts| {
            opening(parts, 7, &[&[0x78, 0xda, 25, 0, 0, 0, 0][..], &varint(66_178), &[0, 2, 0, 0]].concat());
        }),
        case(Expected::Payload, "zip-makes-far-more", |parts| {
            let length = varint(66_177);
            let numbers = [&[1][..], &length, &[0]].concat();
            opening(parts, 6, &[&[0, 0][..], &length, &[0, 0, 0, 1, 0, 5], &numbers].concat());
        }),
        case(Expected::Payload, "too-short", |parts| {
            parts.contents = records(&[1, DATA | NEXT | ALL, 0, 9], b"land ahoy");
        }),
        case(Expected::Payload, "too-long", |parts| {
            parts.contents = records(&[1, DATA | NEXT | ALL, 0, 11], b"land ahoy!\n");
        }),
        case(Expected::End, "no-contents", |parts| parts.contents.clear()),
        case(Expected::End, "content-not-whole", |parts| {
            parts.contents = records(&[1, DATA | NEXT, 9, 0, 9], b"land ahoy");
        }),
        case(Expected::End, "content-missing", |parts| parts.insert_file()),
    ]
}

fn cases() -> Vec<Case> {
    [of_header(), of_operations(), of_entries(), of_contents()].into_iter().flatten().collect()
}

fn write_cases_anew() {
    write_missing();
    static ONCE: std::sync::Once = std::sync::Once::new();
    if images::is_written_anew() {
        ONCE.call_once(|| {
            for case in cases().iter().filter(|case| !case.file().exists()) {
                fs::write(case.file(), &case.delta).unwrap();
            }
        });
    }
}

#[test]
fn each_broken_rule_is_refused_for_what_it_is() {
    write_cases_anew();
    let base = Image::read(GOLDEN[0].base);
    for case in cases() {
        let delta = fs::read(case.file()).unwrap();
        let (_, frames) = take_apart(&delta);
        let contents = frames.iter().filter(|(section, _)| *section == Section::Contents);
        let size = delta.len() as u64;
        let start = size - contents.map(|(_, payload)| payload.len() as u64).sum::<u64>();
        let (outcome, sink) = follow(&delta, base.base());
        let error = outcome.expect_err(&case.name);
        assert!(case.expected.matches(&error, size, start), "{}: {error:?}", case.name);
        let is_early =
            matches!(case.expected, Expected::Header | Expected::Prelude | Expected::Tree | Expected::Codec);
        assert!(!is_early || sink.prelude.is_none(), "{}: it was begun", case.name);
    }
}

#[test]
fn each_error_file_is_expected() {
    write_cases_anew();
    let found: BTreeSet<PathBuf> = fs::read_dir(images::folder().join("errors"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("delta-"))
        .collect();
    assert_eq!(found, cases().iter().map(Case::file).collect());
}

#[test]
#[ignore = "needs python3 and zstd"]
fn a_stranger_refuses_the_same() {
    write_cases_anew();
    for case in cases() {
        let output = stranger(&case.file(), GOLDEN[0].base);
        let expected = if case.expected == Expected::Codec { UNSUPPORTED } else { CORRUPT };
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{}: {complaint}", case.name);
    }
}
