//! Deltas whose container is sound and whose tree leads elsewhere, is none, or cannot be made.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use skiff::apply::{InstallInput, Options, Store, StoreOptions};
use skiff::format::{Compression, Encoder, Event, HeaderFields, Limits, Reader, Section, compress};
use skiff::tree::{FileContent, MemoryContents, Tree};
use skiff_testkit::{Image, Layer, OciLayout, Picture, in_mount_namespace};

use crate::place::Place;

/// The columns of the tree section of [`target`], each with one entry's worth after the other.
struct Columns(Vec<Vec<u8>>);

const OPERATIONS: usize = 0;
const PREFIXES: usize = 2;
const NAMES: usize = 3;
const TYPES: usize = 4;
const MODES: usize = 5;
const OWNERS: usize = 6;
const ATTRIBUTES: usize = 9;
const SIZES: usize = 11;
const LINKS: usize = 12;
const DEVICES: usize = 13;
const HARD_LINKS: usize = 14;

const SYMLINK: u8 = 3;
const FIFO: u8 = 6;

/// What is inserted, in this order: the directory AA, AA/x, the link AB to AAAAAAAAAAAAAA, the device AC, the file BB, the hard link CC.
fn target() -> Layer {
    base()
        .directory("AA")
        .file("AA/x", b"12345")
        .symlink("AB", "AAAAAAAAAAAAAA")
        .character_device("AC", 1, 3)
        .file("BB", b"1234567")
        .xattr("trusted.x", "y")
        .hard_link("CC", "BB")
}

fn base() -> Layer {
    Layer::new().directory("./").file("zz", b"1")
}

impl Columns {
    fn take_apart(section: &[u8]) -> Self {
        let (lengths, mut rest) = section.split_at(15);
        Self(
            lengths
                .iter()
                .map(|&length| {
                    assert!(length < 0x80, "a tree as small as that has short columns");
                    rest.split_off(..usize::from(length)).unwrap().to_vec()
                })
                .collect(),
        )
    }

    fn put_together(&self) -> Vec<u8> {
        let lengths = self.0.iter().flat_map(|column| varint(column.len()));
        lengths.chain(self.0.iter().flatten().copied()).collect()
    }

    /// Replaces bytes that are there once.
    fn replace(&mut self, column: usize, from: &[u8], to: &[u8]) {
        let bytes = &mut self.0[column];
        let mut places = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
        let (at, _) = places.next().unwrap_or_else(|| panic!("{bytes:?} has no {from:?}"));
        assert!(places.next().is_none(), "{bytes:?} has {from:?} twice");
        bytes.splice(at..at + from.len(), to.iter().copied());
    }

    /// Gives the directory AA another name.
    fn rename(&mut self, name: &[u8]) {
        self.replace(NAMES, b"\x02AA", &[&varint(name.len())[..], name].concat());
    }
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// What is done to the tree, and what the message says.
type Crafted = (&'static str, fn(&mut Columns), &'static str);

const CRAFTED: [Crafted; 32] = [
    ("a path upwards", |columns| columns.rename(b".."), "component `.` or `..`"),
    (
        "a path upwards and on",
        |columns| columns.rename(b"../../media/canary/secret"),
        "component `.` or `..`",
    ),
    ("an absolute path", |columns| columns.rename(b"/media/canary/secret"), "empty"),
    ("a path of a dot", |columns| columns.rename(b"."), "\".\""),
    ("a path that ends with a slash", |columns| columns.rename(b"AA/"), "empty"),
    ("a path of two slashes", |columns| columns.rename(b"A//A"), "empty"),
    ("a path with a NUL byte", |columns| columns.rename(b"A\0"), "NUL"),
    ("a path without a byte", |columns| columns.rename(b""), ""),
    ("a name of 256 bytes", |columns| columns.rename(&[b'A'; 256]), "255"),
    ("a path of 5,000 bytes", |columns| columns.rename(&b"A/".repeat(2500)[..4999]), "4095"),
    ("a path of 10,000 levels", |columns| columns.rename(&b"A/".repeat(10_000)[..19_999]), "4095"),
    ("a path of which more was there than that", |columns| columns.0[PREFIXES][1] = 100, ""),
    ("a path twice", |columns| columns.replace(NAMES, b"\x02BB", b"\x02AC"), "order"),
    ("a path out of order", |columns| columns.replace(NAMES, b"\x02BB", b"\x01A"), "order"),
    (
        "a path in a symbolic link",
        |columns| (columns.0[TYPES][0], columns.0[TYPES][2]) = (SYMLINK, 1),
        "directory",
    ),
    ("a path in a pipe", |columns| columns.0[TYPES][0] = FIFO, "directory"),
    ("a path in what is not there", |columns| columns.replace(NAMES, b"\x02/x", b"\x03x/x"), "directory"),
    (
        "a path beneath a file of the base",
        |columns| columns.replace(NAMES, b"\x02CC", b"\x04zz/c"),
        "directory",
    ),
    ("a link with a NUL byte", |columns| columns.0[LINKS][3] = 0, ""),
    ("a link to nothing", |columns| columns.0[LINKS] = vec![0], ""),
    ("a link of 4,096 bytes", |columns| columns.0[LINKS] = [varint(4096), vec![b'A'; 4096]].concat(), ""),
    ("a hard link to itself", |columns| columns.0[HARD_LINKS] = vec![0], ""),
    ("a hard link to a directory", |columns| columns.0[HARD_LINKS] = vec![5], ""),
    ("a hard link before all", |columns| columns.0[HARD_LINKS] = vec![100], ""),
    (
        "a hard link forward",
        |columns| columns.0[HARD_LINKS] = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        "",
    ),
    ("a type that is none", |columns| columns.0[TYPES][3] = 9, "type"),
    (
        "a mode of 13 bits",
        |columns| columns.0[MODES] = [&[0x80, 0x40][..], &columns.0[MODES][2..]].concat(),
        "",
    ),
    (
        "an owner of 33 bits",
        |columns| {
            columns.0[OWNERS].splice(..1, [0x80, 0x80, 0x80, 0x80, 0x20]);
        },
        "",
    ),
    (
        "an attribute with a NUL byte in its name",
        |columns| columns.replace(ATTRIBUTES, b"trusted.x", b"trusted.\0"),
        "",
    ),
    (
        "a device of 33 bits",
        |columns| {
            columns.0[DEVICES].splice(..1, [0x80, 0x80, 0x80, 0x80, 0x20]);
        },
        "",
    ),
    (
        "a size that no disk has",
        |columns| {
            columns.0[SIZES] =
                [&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..], &columns.0[SIZES][1..]]
                    .concat()
        },
        "",
    ),
    ("more kept than there is", |columns| columns.0[OPERATIONS] = vec![0xfc, 0xff, 0x7f], ""),
];

/// The delta with another tree section, and all digests as they should be for that.
fn with_tree(delta: &[u8], change: impl Fn(&mut Columns)) -> Vec<u8> {
    let mut reader = Reader::new(delta, Limits::default());
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    let mut fields = None;
    while let Some(event) = reader.next_event().unwrap() {
        match event {
            Event::Header(header) => fields = Some(HeaderFields::from(&*header)),
            Event::Frame(frame) => {
                let mut payload = frame.payload;
                if frame.section == Section::Tree {
                    let mut columns = Columns::take_apart(&payload);
                    change(&mut columns);
                    payload = columns.put_together();
                }
                encoder.add(compress(frame.section, &payload, &Compression::Stored).unwrap()).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    let mut out = Vec::new();
    encoder.finish(&fields.unwrap(), &mut out).unwrap();
    out
}

#[test]
#[ignore = "needs root"]
fn deltas_with_hostile_trees_are_refused_before_anything_is_written() {
    in_mount_namespace(
        "deltas::deltas_with_hostile_trees_are_refused_before_anything_is_written",
        |scratch| {
            let mut place = Place::new(scratch);
            let image = |layer| Image::new().layer(layer);
            OciLayout::new()
                .image("1", image(base()))
                .image("2", image(target()))
                .write_directory(&place.path("images"));
            place.succeeds(&["install", "oci:images:1", "--store", "store"]);
            place.succeeds(&["diff", "oci:images:1", "oci:images:2", "-o", "honest"]);
            let honest = fs::read(place.path("honest")).unwrap();
            let store = place.path("store");
            let looked = || ["releases", "staging"].map(|name| Picture::of_directory(&store.join(name)));
            let before = looked();
            let mut found = Vec::new();
            for (name, change, words) in CRAFTED {
                fs::write(place.path("delta"), with_tree(&honest, change)).unwrap();
                let run = place.skiff(&["apply", "delta", "--store", "store", "--trust-delta"]);
                if run.code != 4 || !run.said.contains(words) {
                    found.push(format!("{name} ended with {}: {}", run.code, run.said));
                }
                assert_eq!(looked(), before, "{name}");
                place.canary.assert_untouched(name);
            }
            assert!(found.is_empty(), "{}", found.join("\n"));
            println!("{} hostile trees; outside is {}", CRAFTED.len(), place.canary.digest());
            // What they were made of is sound.
            fs::write(place.path("delta"), with_tree(&honest, |_| {})).unwrap();
            place.succeeds(&["apply", "delta", "--store", "store", "--trust-delta"]);
            place.canary.assert_untouched("an honest delta");
        },
    );
}

#[test]
#[ignore = "needs root"]
fn deltas_of_the_golden_errors_change_nothing() {
    in_mount_namespace("deltas::deltas_of_the_golden_errors_change_nothing", |scratch| {
        let mut place = Place::new(scratch);
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let base = golden.join("images/example-base");
        let tree = Tree::decode(&fs::read(base.join("tree")).unwrap()[..], &Default::default()).unwrap();
        let mut contents = MemoryContents::default();
        for (_, entry, content) in tree.files() {
            let bytes = fs::read(base.join("contents").join(content.digest.to_string())).unwrap();
            assert_eq!(FileContent::of(&bytes), content);
            contents.insert(entry.path.clone(), bytes);
        }
        let (config, manifest) =
            (fs::read(base.join("config.json")).ok(), fs::read(base.join("manifest.json")).ok());
        let input = InstallInput {
            config: config.as_deref(),
            manifest: manifest.as_deref(),
            ..InstallInput::new(&tree, &contents)
        };
        let store = Store::create(place.path("store"), &StoreOptions::default()).unwrap();
        store.install(&input, &Options::default()).unwrap();
        let sound = golden.join("valid/delta-example.skiff");
        let key = golden.join("keys/one.key.pub");
        let before = Picture::of_directory(&place.path("store/releases"));
        let mut count = 0;
        for file in fs::read_dir(golden.join("errors")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "skiff") {
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap();
            // Those are sound, and signed by nobody whom this key's owner believes.
            let is_sound = name.starts_with("untrusted-");
            let trust = if is_sound {
                vec!["--require-signature", key.to_str().unwrap()]
            } else {
                vec!["--trust-delta"]
            };
            let words = [&["apply", path.to_str().unwrap(), "--store", "store"], &trust[..]].concat();
            let run = place.skiff(&words);
            place.canary.assert_untouched(name);
            let is_refused = if is_sound { run.code == 10 } else { matches!(run.code, 3 | 4) };
            assert!(is_refused, "{name} ended with {}: {}", run.code, run.said);
            place.succeeds(&["recover", "--store", "store"]);
            assert_eq!(Picture::of_directory(&place.path("store/releases")), before, "{name}");
            // What is cut off may go on later.
            let left = Picture::of_directory(&place.path("store/staging"));
            assert!(left.is_empty() || run.said.contains("cut off"), "{name}: {left}");
            count += 1;
        }
        println!("{count} golden errors; outside is {}", place.canary.digest());
        assert!(count > 100);
        place.succeeds(&["apply", sound.to_str().unwrap(), "--store", "store", "--trust-delta"]);
    });
}
