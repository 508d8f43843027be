//! A delta cannot make a device read far more of the base than it writes.

#![allow(clippy::unwrap_used)] // helpers outside of test functions unwrap too

use std::io::{self, Cursor};
use std::sync::atomic::{AtomicU64, Ordering};

use skiff_format::{Compression, Encoder, Event, HeaderFields, Reader, Section, compress};
use skiff_replay::record::{self, Extent, Known, Origin, Part, Record};
use skiff_replay::{Base, Limits, ReplayError, Trust, replay};
use skiff_testkit::Nowhere;
use skiff_tree::{
    ContentSource, Entry, EntryPath, FileContent, Kind, MemoryContents, Metadata, NewContent, ReadAt,
    ReleaseId, Tree,
};

/// One file, whose bytes read are counted.
struct Counted {
    bytes: Vec<u8>,
    read: AtomicU64,
}

struct CountedContent<'a>(&'a Counted);

impl ReadAt for CountedContent<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.0.bytes.read_at(buffer, offset)?;
        self.0.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn size(&self) -> u64 {
        self.0.bytes.len() as u64
    }
}

impl ContentSource for Counted {
    fn open(&self, _path: &EntryPath) -> io::Result<Box<dyn ReadAt + '_>> {
        Ok(Box::new(CountedContent(self)))
    }
}

fn tree(content: &[u8]) -> Tree {
    let entry = |at: &str, kind| Entry::inode(EntryPath::new(at).unwrap(), Metadata::default(), kind);
    let file = Kind::File(FileContent::of(content));
    Tree::new(vec![entry("", Kind::Directory), entry("file", file)]).unwrap()
}

fn contents(content: &[u8]) -> MemoryContents {
    let mut contents = MemoryContents::default();
    contents.insert(EntryPath::new("file").unwrap(), content);
    contents
}

/// The release that a delta leads from, and the delta.
fn made(old: (&Tree, &MemoryContents), new: (&Tree, &MemoryContents)) -> (ReleaseId, Vec<u8>) {
    let sides = [old, new].map(|(tree, contents)| skiff_diff::Release::new(tree, contents));
    let mut delta = Vec::new();
    skiff_diff::diff(&sides[0], &sides[1], &skiff_diff::Options::default(), &mut delta).unwrap();
    (sides[0].id(), delta)
}

/// A delta whose contents are told by these records instead.
fn with_records(delta: &[u8], records: &[Record], known: &Known) -> Vec<u8> {
    let mut reader = Reader::new(delta, skiff_format::Limits::default());
    let Some(Event::Header(header)) = reader.next_event().unwrap() else { panic!("no header") };
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    while let Some(Event::Frame(frame)) = reader.next_event().unwrap() {
        if frame.section != Section::Contents {
            encoder.add(compress(frame.section, &frame.payload, &Compression::Stored).unwrap()).unwrap();
        }
    }
    let contents = compress(Section::Contents, &record::encode(records, known), &Compression::XZ).unwrap();
    encoder.add(contents).unwrap();
    let fields = HeaderFields {
        codecs: vec![skiff_format::CodecInfo { id: CODEC.id(), version: CODEC.version() }],
        ..HeaderFields::from(&*header)
    };
    let mut out = Vec::new();
    encoder.finish(&fields, &mut out).unwrap();
    out
}

const CODEC: skiff_patch::Codec = skiff_patch::Codec::Bsdiff;

#[test]
fn a_byte_from_a_large_file_does_not_read_all_of_it() {
    let old = vec![7; 3 << 20];
    let new: Vec<u8> = (0..1_000_u32).flat_map(u32::to_le_bytes).collect();
    let (old_tree, new_tree) = (tree(&old), tree(&new));
    let (old_contents, new_contents) = (contents(&old), contents(&new));
    let (release, delta) = made((&old_tree, &old_contents), (&new_tree, &new_contents));
    let source = vec![Part { origin: Origin::Base(1), extent: Extent::Range { offset: 0, length: 1 } }];
    let parts = skiff_patch::bsdiff::encode(&old[..1], b"x", &skiff_patch::bsdiff::Options::default());
    let one =
        Record { codec: CODEC.id(), content: 0, output_len: 1, source, payload: parts[0].payload.clone() };
    let delta = with_records(&delta, &vec![one; new.len()], &Known::default());
    let counted = Counted { bytes: old, read: AtomicU64::new(0) };
    let base = Base { release, tree: &old_tree, contents: &counted, trust: Trust::Checked };
    let error = replay(&delta[..], base, &mut Nowhere, Limits::default()).unwrap_err();
    assert!(matches!(error, ReplayError::WrongResult { .. }), "{error}");
    // Once to check it, and then little.
    let read = counted.read.load(Ordering::Relaxed);
    assert!(read < 2 * counted.bytes.len() as u64, "{read} bytes read for {} written", new.len());
}

#[test]
fn a_long_list_is_not_renewed_for_a_byte() {
    for length in [2, 3] {
        let (old, new) = (vec![b'\n'; length], b"x".to_vec());
        let (old_tree, new_tree) = (tree(&old), tree(&new));
        let (old_contents, new_contents) = (contents(&old), contents(&new));
        let (release, delta) = made((&old_tree, &old_contents), (&new_tree, &new_contents));
        let source = vec![Part { origin: Origin::Base(1), extent: Extent::Renewed }];
        let parts = skiff_patch::bsdiff::encode(&old, &new, &skiff_patch::bsdiff::Options::default());
        let payload = parts[0].payload.clone();
        let record = Record { codec: CODEC.id(), content: 0, output_len: 1, source, payload };
        let delta = with_records(
            &delta,
            &[record],
            &Known::new(&old_tree, new_tree.entries(), &[NewContent { size: 1, entry: 1 }]),
        );
        let base = Base { release, tree: &old_tree, contents: &old_contents, trust: Trust::Checked };
        let outcome = replay(&delta[..], base, &mut Nowhere, Limits::default());
        match outcome {
            Ok(_) => assert_eq!(length, 2),
            Err(error) => {
                assert!(
                    matches!(&error, ReplayError::Corrupt { what, .. } if what.contains("too long")),
                    "{error}"
                );
                assert_eq!(length, 3);
            }
        }
    }
}
