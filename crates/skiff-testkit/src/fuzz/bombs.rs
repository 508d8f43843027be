//! Deltas that are small and ask for much, one for each compressor and whatever else grows.

use std::io::Read as _;
use std::path::Path;

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, Crc};
use skiff_apply::{InstallInput, Options, Store, StoreOptions};
use skiff_replay::Limits;
use skiff_tree::ReleaseId;

use super::golden;
use super::model::{Frame, How, Item, Model, Origin, Part, Payload, Record};
use super::release::{self, Release};
use super::sink;

/// A delta that asks for much, and the release it is for.
pub struct Bomb {
    /// What grows.
    pub name: &'static str,
    /// Whether it is as it says, and to be taken where the limits allow.
    pub is_honest: bool,
    /// The delta.
    pub delta: Vec<u8>,
    base: Release,
}

const MIB: usize = 1 << 20;
/// What a frame may have, less what stands before the bytes of a record.
const FRAME: usize = 8 * MIB - 32;
/// A plain text of more than any decoder opens.
const PLAIN: usize = 32 * MIB;
/// What of it is told: as long as an encoder lets a text be, and one more, as openings are told.
const TOLD: u32 = 4 << 20;
const OPENING: u64 = TOLD as u64 | 1;
/// As little as so much may be opened for.
const LEAST: u64 = TOLD as u64 / 64 + 1;

impl Bomb {
    /// Replays it, and keeps nothing of what comes out.
    ///
    /// # Errors
    /// The message of the replay's error.
    pub fn replay_to_nowhere(&self, limits: Limits) -> Result<(), String> {
        sink::replay_to_nowhere(&self.delta, &self.base, limits).map_err(|error| error.to_string())
    }

    /// Makes a store that has the release it is for.
    ///
    /// # Panics
    /// Where that cannot be made.
    pub fn install(&self, store: &Path) {
        let store = Store::create(store, &StoreOptions::default()).expect("making a store");
        let input = InstallInput::new(&self.base.tree, &self.base.contents);
        store.install(&input, &Options::rootless()).expect("installing a release");
    }
}

/// All of them.
///
/// # Panics
/// Where the golden files are not there.
#[must_use]
pub fn bombs() -> Vec<Bomb> {
    let mut bombs = vec![
        of_frame("LZMA", How::Lzma, FRAME),
        of_frame("Zstandard", How::Zstandard, FRAME),
        of_frame("mixed contexts", How::Mixed, MIB / 4),
        lying("LZMA that goes on", How::Lzma),
        lying("Zstandard that goes on", How::Zstandard),
        lying("mixed contexts that go on", How::Mixed),
        copies(),
        gzip("a text to be compressed", (FRAME - 64) as u64, FRAME - 64),
        gzip("a text said to be endless", 1 << 40, 100),
        opened_gzip(),
        opened_png(),
        opened_zip(),
        paths(),
    ];
    let endless = vec![Item::Byte(0), Item::Integer(1 << 50), Item::Raw(vec![0; 64])];
    bombs.push(of_record("copies without end", record(5, endless, 1 << 20), release::of_one_file(b"ahoy\n")));
    bombs
}

/// Content 0 from the file that the base has, by a codec.
fn record(codec: u64, payload: Vec<Item>, output: u64) -> Record {
    let home = Part { origin: Origin::Base(1), extent: 0, offset: 0 };
    let parts = if codec == 1 { Vec::new() } else { vec![home] };
    Record { codec, content: 0, output, parts, payload, lies: 0 }
}

/// The worked example, for a base with another content, with another record.
fn model(record: Record, base: &Release) -> Model {
    let mut model = golden::all()[0].model.clone();
    let tree = *base.tree.digest().as_bytes();
    model.bases = vec![(*ReleaseId::new(base.tree.digest(), None).as_bytes(), tree)];
    model.codecs = vec![(record.codec, 0)];
    model.frames.truncate(1);
    model.frames.push(Frame::new(4, Payload::Contents(vec![record])));
    model
}

fn put(name: &'static str, mut model: Model, base: Release) -> Bomb {
    let naive = base.naive();
    model.mend(&naive);
    let before = model.tree;
    model.promise(&naive, &Limits::default());
    // Of what does not come out, at least as much is promised as is told: what stands before the contents is to be passed.
    let new = model.new_contents(&naive);
    model.facts[1] = new.iter().fold(0, |sum, new| sum.saturating_add(new.size));
    Bomb { name, is_honest: model.tree != before, delta: model.put(&naive), base }
}

fn of_record(name: &'static str, record: Record, base: Release) -> Bomb {
    let mut model = model(record, &base);
    model.frames[1].how = How::Lzma;
    put(name, model, base)
}

/// A frame of zeros.
fn of_frame(name: &'static str, how: How, size: usize) -> Bomb {
    let base = release::of_one_file(b"ahoy\n");
    let mut model = model(record(1, vec![Item::Raw(vec![0; size])], size as u64), &base);
    model.frames[1].how = how;
    put(name, model, base)
}

/// A frame that is said to have less than a hundredth of what it makes.
fn lying(name: &'static str, how: How) -> Bomb {
    let base = release::of_one_file(b"ahoy\n");
    let size = MIB / 4;
    let mut model = model(record(1, vec![Item::Raw(vec![0; size])], size as u64), &base);
    (model.frames[1].how, model.frames[1].lie) = (how, Some((5, 2_000)));
    Bomb { is_honest: false, ..put(name, model, base) }
}

/// 16 MiB of copies of a file of 1 MiB.
fn copies() -> Bomb {
    let mut items = vec![Item::Raw(vec![0x72, 0x73, 2, 0x36])];
    for _ in 0..16 {
        items.extend([Item::Byte(69 + 2), Item::Big(1, 0), Item::Big(4, MIB as u64)]);
    }
    items.push(Item::Byte(0));
    of_record("copies of a file", record(4, items, 16 << 20), release::of_one_file(&vec![7; MIB]))
}

/// A gzip file that is to be made of so many zeros.
fn gzip(name: &'static str, told: u64, zeros: usize) -> Bomb {
    let payload = vec![
        Item::Bytes(vec![0; 10]),
        Item::Integer(9),
        Item::Integer(told),
        Item::Integer(0),
        Item::Integer(1),
        Item::Raw(vec![0; zeros]),
    ];
    let mut bomb = of_record(name, record(3, payload, 128 << 10), release::of_one_file(b"ahoy\n"));
    bomb.is_honest = false;
    bomb
}

/// A source that unpacks to more than it is said to.
fn opened_gzip() -> Bomb {
    let source = zeros(GzEncoder::new(Vec::new(), Compression::best()), GzEncoder::finish);
    let payload = vec![
        Item::Bytes(vec![0; 10]),
        Item::Integer(9),
        Item::Integer(100),
        Item::Integer(OPENING),
        Item::Integer(2),
        Item::Raw(vec![0, 1, 100, 0]),
        Item::Raw(vec![0; 100]),
    ];
    of_record("a gzip source", record(3, payload, LEAST), release::of_one_file(&source))
}

/// So many zeros, compressed.
fn zeros<W: std::io::Write>(mut encoder: W, finish: fn(W) -> std::io::Result<Vec<u8>>) -> Vec<u8> {
    let copied = std::io::copy(&mut std::io::repeat(0).take(PLAIN as u64), &mut encoder);
    copied
        .and_then(|_| encoder.flush())
        .and_then(|()| finish(encoder))
        .expect("because a vector takes everything")
}

fn opened_png() -> Bomb {
    let data = zeros(ZlibEncoder::new(Vec::new(), Compression::best()), ZlibEncoder::finish);
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut checksum = Crc::new();
        checksum.update(kind);
        checksum.update(data);
        let length = u32::try_from(data.len()).expect("because it is small").to_be_bytes();
        [&length, &kind[..], data, &checksum.sum().to_be_bytes()].concat()
    };
    let source =
        [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &[0; 13]), &chunk(b"IDAT", &data), &chunk(b"IEND", b"")]
            .concat();
    let payload = vec![
        Item::Raw(vec![0x78, 0xda]),
        Item::Integer(25),
        Item::Bytes(Vec::new()),
        Item::Integer(100),
        Item::Integer(0),
        Item::Integer(0),
        Item::Integer(OPENING),
        Item::Integer(12 + 13 + 8 - 4),
        Item::Integer(2),
        Item::Raw(vec![0, 1, 100, 0]),
        Item::Raw(vec![0; 100]),
    ];
    of_record("a PNG source", record(7, payload, LEAST), release::of_one_file(&source))
}

/// An archive with a member that unpacks to more than it is said to.
fn opened_zip() -> Bomb {
    let data = zeros(DeflateEncoder::new(Vec::new(), Compression::best()), DeflateEncoder::finish);
    // Of old texts a decoder takes no more than that for the little which is made of it.
    let told = TOLD;
    let number = |value: usize| u32::try_from(value).expect("because it is small").to_le_bytes();
    let sums = [&[0; 4][..], &number(data.len()), &told.to_le_bytes()].concat();
    let local = [&b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0"[..], &sums, b"\x01\0\0\0a"].concat();
    let entry = [&b"PK\x01\x02\x14\0\x14\0\0\0\x08\0\0\0\0\0"[..], &sums, b"\x01\0", &[0; 16], b"a"].concat();
    let at = local.len() + data.len();
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &number(entry.len()), &number(at), &[0; 2]].concat();
    let source = [&local[..], &data, &entry, &end].concat();
    let length = |bytes: &[u8]| Item::Integer(bytes.len() as u64);
    let numbers: Vec<Item> = vec![
        // A group by bsdiff: its text and its payload.
        Item::Integer(2),
        Item::Integer(100),
        Item::Integer(104),
        // An opaque member, like unit 0.
        Item::Integer(0),
        Item::Integer(100),
    ];
    let mut told_numbers = Vec::new();
    numbers.iter().for_each(|number| number.put(&mut told_numbers));
    let payload = vec![
        Item::Integer(1),
        Item::Integer(0),
        Item::Integer(at as u64),
        Item::Integer((entry.len() + end.len()) as u64),
        Item::Integer(1),
        Item::Integer(0),
        length(&[0; 100]),
        Item::Integer(u64::from(told) + 100),
        Item::Integer(u64::from(told)),
        Item::Integer(2),
        Item::Bytes(vec![0, 0x87]),
        Item::Bytes(told_numbers),
        Item::Raw([&[0, 1, 100, 0][..], &[0; 100]].concat()),
    ];
    of_record("an archive as a source", record(6, payload, LEAST), release::of_one_file(&source))
}

/// Paths of almost 4 KiB, each of which goes on from the one before and takes a few bytes.
fn paths() -> Bomb {
    let base = release::of_one_file(b"ahoy\n");
    let mut model = model(record(1, vec![Item::Raw(b"x".to_vec())], 1), &base);
    let Payload::Tree(columns) = &mut model.frames[0].payload else { panic!("the tree comes first") };
    let (deep, wide) = (15, 4_000_u64);
    columns[0].push(Item::Integer((deep + wide) * 4 + 3));
    let mut entry = |shared: u64, name: Vec<u8>, kind: u8| {
        columns[2].push(Item::Integer(shared));
        columns[3].push(Item::Bytes(name));
        columns[4].push(Item::Byte(kind));
        columns[5].push(Item::Integer(0o755));
        columns[6].extend([Item::Integer(0), Item::Integer(0)]);
        columns[8].push(Item::Integer(0));
        columns[9].push(Item::Integer(0));
    };
    let name = vec![b'n'; 250];
    for level in 0..deep {
        // The path before the first is that of a file at the root.
        let (shared, name) =
            if level == 0 { (0, name.clone()) } else { (level * 251 - 1, [b"/", &name[..]].concat()) };
        entry(shared, name, 1);
    }
    for number in 0..wide {
        let name = format!("{number:06}").into_bytes();
        let shared = if number == 0 { deep * 251 - 1 } else { deep * 251 };
        entry(shared, if number == 0 { [b"/", &name[..]].concat() } else { name }, 6);
    }
    columns[7] = vec![Item::Integer(0), Item::Integer(0)];
    model.frames[0].how = How::Lzma;
    put("long paths", model, base)
}
