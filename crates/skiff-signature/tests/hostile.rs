//! Tree signatures that are none, and what reading them may cost.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::num::NonZeroUsize;

use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use skiff_block::{SignatureKind, SignatureParams, StrongHash, write_signature};
use skiff_signature::{Limits, Options, SignatureError, Signed, TreeSignature, sign_tree};
use skiff_tree::{
    ConfigDigest, Entry, EntryPath, FileContent, Kind, MemoryContents, Metadata, ReleaseId, Tree,
};
use skiff_wire::{digest::sha256, put_varint};

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

fn image(files: &[(&str, Vec<u8>)]) -> (Tree, MemoryContents) {
    let mut entries = vec![Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory)];
    let mut contents = MemoryContents::default();
    for (name, bytes) in files {
        let path = EntryPath::new(*name).unwrap();
        entries.push(Entry::inode(path.clone(), Metadata::default(), Kind::File(FileContent::of(bytes))));
        contents.insert(path, &bytes[..]);
    }
    (Tree::from_unsorted(entries).unwrap(), contents)
}

fn words(count: u32) -> Vec<u8> {
    (0..count).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// What stands before the files' signatures.
fn head(tree: &Tree) -> Vec<u8> {
    let mut encoding = Vec::new();
    tree.encode(&mut encoding).unwrap();
    let mut bytes = b"\x89SKS\r\n\x1a\n\x01\0\0\0\0".to_vec();
    put_varint(&mut bytes, encoding.len() as u64);
    bytes.extend(encoding);
    bytes
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = sha256(&bytes);
    bytes.extend(digest);
    bytes
}

fn blocks(content: &[u8], kind: SignatureKind, strong_len: u32) -> Vec<u8> {
    let params = SignatureParams::new(kind, 1000, strong_len).unwrap();
    let mut bytes = Vec::new();
    write_signature(content, &params, NonZeroUsize::MIN, &mut bytes).unwrap();
    bytes
}

fn refused(bytes: &[u8]) -> (u64, String) {
    match TreeSignature::read(bytes, &Limits::default()) {
        Err(SignatureError::Corrupt { offset, what }) => (offset, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_fault_is_told_with_its_place() {
    let content = words(2000);
    let (tree, contents) = image(&[("a", content.clone()), ("b", content.clone()), ("c", Vec::new())]);
    let head = head(&tree);
    let good = blocks(&content, SignatureKind::default(), 16);
    let mut expected = Vec::new();
    let signed = Signed { tree: &tree, contents: &contents, config: None };
    sign_tree(&signed, &Options::default().with_block_len(|_| 1000), &mut expected).unwrap();
    assert!(sealed([&head[..], &[2], &good, &[0]].concat()) == expected, "as it is written");

    let at = head.len() as u64;
    let md4 = SignatureKind { strong: StrongHash::Md4, ..SignatureKind::default() };
    let weak = blocks(&content, SignatureKind::default(), 15);
    let end = at + 1 + good.len() as u64;
    for (bytes, offset, what) in [
        ([&head[..], &[1], &good, &[0]].concat(), at, "no file"),
        ([&head[..], &[9], &good, &[0]].concat(), at, "no file"),
        ([&head[..], &[2], &weak, &[0]].concat(), at + 1, "too weak"),
        ([&head[..], &[2], &blocks(&content, md4, 16), &[0]].concat(), at + 1, "too weak"),
        ([&head[..], &[2], &good, &[1], &good, &[0]].concat(), end, "first path"),
        ([&head[..], &[4], &blocks(b"", SignatureKind::default(), 16), &[0]].concat(), at, "without content"),
        ([&head[..], &[3], &good, &[0]].concat(), at, "first path"),
    ] {
        let (found, said) = refused(&sealed(bytes));
        assert!(found == offset && said.contains(what), "{what}: {found} {said}");
    }
    // Cut off, and sealed again: whatever the digest's bytes are taken for, it is told at or behind the file's signature.
    for bytes in [[&head[..], &[2], &good[..100]].concat(), [&head[..], &[2, 0, 0, 0, 0]].concat()] {
        let (found, said) = refused(&sealed(bytes));
        assert!(found > at, "{found} {said}");
    }
    let mut damaged = expected.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&damaged).0, damaged.len() as u64 - 32);
    assert!(refused(&[&expected[..], b"x"].concat()).1.contains("follow"));
    assert!(refused(b"#!/bin/sh\necho no").1.contains("does not begin"));
    let mut later = expected;
    later[8] = 2;
    let error = TreeSignature::read(&later[..], &Limits::default()).unwrap_err();
    assert!(matches!(error, SignatureError::Unsupported { version: 2 }), "{error}");
}

/// A fuzzer found the blocks of one file told as those of another.
#[test]
fn a_content_has_one_size() {
    let content = words(900);
    let honest = FileContent::of(&content);
    for size in [0, honest.size - 1, honest.size] {
        let file = |path: &str, content| {
            Entry::inode(EntryPath::new(path).unwrap(), Metadata::default(), Kind::File(content))
        };
        let root = Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory);
        let entries = vec![root, file("a", honest), file("b", FileContent { size, ..honest })];
        let head = head(&Tree::new(entries).unwrap());
        let bytes = sealed([&head[..], &[2], &blocks(&content, SignatureKind::default(), 16), &[0]].concat());
        if size == honest.size {
            TreeSignature::read(&bytes[..], &Limits::default()).unwrap();
        } else {
            assert_eq!(refused(&bytes), (head.len() as u64, "its tree has one content in two sizes".into()));
        }
    }
}

#[test]
fn limits_hold_and_lies_cost_nothing() {
    let (tree, contents) = image(&[("a", words(50_000))]);
    let mut bytes = Vec::new();
    sign_tree(&Signed { tree: &tree, contents: &contents, config: None }, &Options::default(), &mut bytes)
        .unwrap();
    let mut limits = Limits::default();
    limits.block = limits.block.with_signature_bytes(500);
    let error = TreeSignature::read(&bytes[..], &limits).unwrap_err();
    assert!(matches!(error, SignatureError::LimitExceeded { limit: 500, .. }), "{error}");

    // A tree of a file of 2^60 bytes, and the first of its blocks.
    let kind = Kind::File(FileContent { size: 1 << 60, ..FileContent::of(b"") });
    let entries = vec![
        Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory),
        Entry::inode(EntryPath::new("a").unwrap(), Metadata::default(), kind),
    ];
    let signed = blocks(&words(900), SignatureKind::default(), 16);
    let bytes = sealed([&head(&Tree::new(entries).unwrap())[..], &[2], &signed].concat());
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let error = TreeSignature::read(&bytes[..], &Limits::default()).unwrap_err();
    assert!(matches!(error, SignatureError::LimitExceeded { .. }), "{error}");
    assert!(PEAK.peak_usage() - before < 1 << 20, "memory is taken as bytes arrive");
}

#[test]
fn a_cancelled_signing_ends() {
    let (tree, contents) = image(&[("a", words(50_000))]);
    let cancel = true.into();
    let control = skiff_fs::Control { cancel: Some(&cancel), ..Default::default() };
    let signed = Signed { tree: &tree, contents: &contents, config: None };
    let result = sign_tree(&signed, &Options::default().with_control(control), Vec::new());
    assert!(matches!(result, Err(SignatureError::Interrupted(_))), "{result:?}");
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(start in prop::sample::select(vec![0_usize, 13, 60, 90]), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let (tree, _) = image(&[("a", words(900))]);
        let head = head(&tree);
        let _ = TreeSignature::read(&sealed([&head[..start.min(head.len())], &bytes].concat())[..], &Limits::default());
    }

    #[test]
    fn what_is_written_is_read(sizes in prop::collection::vec(0..5000_u32, 0..6), config in prop::option::of(any::<[u8; 32]>()), threads in 1..4_usize) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let files: Vec<_> = names.into_iter().zip(&sizes).map(|(name, &size)| (name, words(size))).collect();
        let (tree, contents) = image(&files);
        let config = config.map(ConfigDigest::from_bytes);
        let signed = Signed { tree: &tree, contents: &contents, config };
        let options = Options::default().with_threads(NonZeroUsize::new(threads).unwrap());
        let mut bytes = Vec::new();
        let report = sign_tree(&signed, &options, &mut bytes).unwrap();
        prop_assert_eq!(report.signature_bytes, bytes.len() as u64);
        let read = TreeSignature::read(&bytes[..], &Limits::default()).unwrap();
        prop_assert_eq!(read.tree(), &tree);
        prop_assert_eq!(read.release_id(), ReleaseId::new(tree.digest(), config));
        for (index, _, content) in tree.files() {
            let blocks = read.of_file(index).map(|signature| signature.blocks() as u64);
            prop_assert_eq!(blocks, (content.size > 8192).then(|| content.size.div_ceil(4096)));
        }
    }
}
