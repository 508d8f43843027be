//! What the fuzzer starts from: inputs that reach deep, made by the encoders, and such inputs damaged.

use std::io::{Cursor, Write as _};
use std::num::NonZeroUsize;

use skiff_diff::{Level, Options, diff};
use skiff_format::{
    BaseInfo, Compression, DetachedSignature, Digest, Encoder, Event, Facts, FormatError, Header,
    HeaderFields, Limits, Reader, Section, Signatures, TargetInfo, compress, replace_signatures,
};
use skiff_patch::{Codec, Effort, Source, State, align, bsdiff, gzip, png, zip};
use skiff_signature::{Signed, sign_tree};
use skiff_tree::{Tree, section};

use super::block_seeds;
use super::changed;
use super::executable::executable;
use super::input::join;
use super::release::{self, Release};
use crate::{Layer, SparseFormat};

/// An input to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The target it is for.
    pub target: &'static str,
    /// Its file name. What begins with `ok-` must be [accepted](super::Reached::Accepted).
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All seeds, made anew from the formats as they are.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds =
        [format_decode(), apply_delta(), patch_codecs(), tree_decode(), tar_flatten(), roundtrip()].concat();
    seeds.extend([block_seeds::block_patch(), block_seeds::block_delta()].concat());
    let broken: Vec<Seed> = seeds.iter().map(damaged).collect();
    seeds.extend(broken);
    seeds.extend(changed_deltas());
    seeds
}

fn changed_deltas() -> impl Iterator<Item = Seed> {
    let of = |target| changed::programs().into_iter().map(move |(name, bytes)| Seed { target, name, bytes });
    ["delta_structure", "apply_store"].into_iter().flat_map(of)
}

pub(super) fn seed(target: &'static str, name: &str, bytes: Vec<u8>) -> Seed {
    Seed { target, name: format!("ok-{name}"), bytes }
}

/// A seed with one byte changed in its second half and its end cut off.
fn damaged(seed: &Seed) -> Seed {
    let mut bytes = seed.bytes.clone();
    let at = bytes.len() * 2 / 3;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x11;
    }
    bytes.truncate(bytes.len().saturating_sub(bytes.len() / 8 + 1));
    Seed { target: seed.target, name: seed.name.replacen("ok-", "damaged-", 1), bytes }
}

fn format_decode() -> Vec<Seed> {
    let payload = b"a frame of a delta, a frame of the same delta".repeat(6);
    let compressions =
        [("stored", Compression::Stored), ("xz", Compression::XZ), ("zstd", Compression::Zstd { level: 3 })];
    let one = compressions.iter().map(|(name, compression)| (*name, vec![*compression]));
    let all = ("mixed", compressions.iter().map(|(_, compression)| *compression).collect());
    let signed = [0, 1].map(|mend_digests| {
        let delta = signed(&container(&[Compression::Stored], &payload));
        seed("format_decode", &format!("signed-{mend_digests}"), [vec![mend_digests, 7], delta].concat())
    });
    one.chain([all])
        .enumerate()
        .map(|(index, (name, frames))| {
            let piece = u8::try_from(index * 40).unwrap_or(1);
            let mut delta = container(&frames, &payload);
            // Every other one has wrong digests, which the body mends.
            let mend_digests = index % 2 == 1;
            delta[16] ^= u8::from(mend_digests);
            seed("format_decode", name, [vec![u8::from(mend_digests), piece], delta].concat())
        })
        .chain(signed)
        .collect()
}

/// The same delta under two signatures, of an algorithm that is known and one that is not.
fn signed(delta: &[u8]) -> Vec<u8> {
    let mut signatures = Signatures::default();
    for (algorithm, length) in [(DetachedSignature::ED25519, 64), (300, 200)] {
        let (key, bytes) = (Digest::of(b"key"), vec![0x5a; length]);
        signatures.add(DetachedSignature { algorithm, key, bytes }).expect("because there is room for both");
    }
    let mut signed = Vec::new();
    let choose = |_: &Header| Ok::<_, FormatError>(signatures);
    replace_signatures(delta, Limits::default(), &mut signed, choose).expect("because the delta is sound");
    signed
}

fn container(frames: &[Compression], payload: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    for (section, compression) in
        [Section::Tree, Section::Contents, Section::Contents].into_iter().zip(frames)
    {
        let frame = compress(section, payload, compression).expect("because the payload is small");
        encoder.add(frame).expect("because a vector takes everything");
    }
    let (release, tree) = (Digest::of(b"release"), Digest::of(b"tree"));
    let fields = HeaderFields {
        codecs: Vec::new(),
        bases: vec![BaseInfo { release, tree }],
        target: TargetInfo { release: tree, tree: release, config: None, manifest: None },
        facts: Facts { decoder_memory: 1 << 20, ..Facts::default() },
    };
    let mut delta = Vec::new();
    encoder.finish(&fields, &mut delta).expect("because a vector takes everything");
    delta
}

fn apply_delta() -> Vec<Seed> {
    let (base, target) = (release::base(), release::target());
    let delta = |target: &Release, level: Level| {
        let options = Options { level, threads: NonZeroUsize::new(1), ..Options::default() };
        let mut delta = Vec::new();
        diff(&base.as_side(), &target.as_side(), &options, &mut delta)
            .expect("because both sides are in memory");
        delta
    };
    // The payloads of a delta's sections, as its own decoder gives them.
    let sections = |delta: &[u8]| {
        let mut reader = Reader::new(delta, Limits::default());
        let mut payloads = Vec::new();
        while let Some(event) = reader.next_event().expect("because the encoder wrote it") {
            if let Event::Frame(frame) = event {
                payloads.push(frame.payload);
            }
        }
        // What a compressor makes smaller, and what a code that learns wrote.
        let [tree, plain, learned] =
            [0, 1, 2].map(|index| payloads.get(index).map_or(&[][..], |payload| payload));
        join(&[1], &[tree, plain, learned])
    };
    let (xz, zstd, same) =
        (delta(&target, Level::Default), delta(&target, Level::Fast), delta(&base, Level::Fast));
    vec![
        seed("apply_delta", "sections", sections(&xz)),
        seed("apply_delta", "xz", [&[0][..], &xz].concat()),
        seed("apply_delta", "zstd", [&[0][..], &zstd].concat()),
        seed("apply_delta", "nothing-new", [&[0][..], &same].concat()),
    ]
}

fn tar_flatten() -> Vec<Seed> {
    let lower = Layer::new()
        .directory("etc")
        .file("etc/motd", "ahoy\n")
        .mtime(1_700_000_000, 5)
        .file("etc/issue", "skiff\n")
        .owner(5_000_000, 7)
        .symlink("lib", "usr/lib")
        .hard_link("etc/sailors", "etc/motd")
        .character_device("dev/null", 1, 3)
        .fifo("run/pipe")
        .file("bin/ping", "\x7fELF")
        .mode(0o4755)
        .xattr("security.capability", b"\x01\0\0\x02");
    let long = format!("{}/{}", "directory".repeat(12), "name".repeat(40));
    let upper = Layer::new().whiteout("etc/issue").opaque("run").file("lib/x.so", "code").file(&long, "deep");
    let gnu = Layer::new().file(&long, "deep").gnu_names().symlink("link", &long).gnu_names();
    let pieces = [(0, &[b'x'; 512][..]), (1024, b"end"), (1027, b"")];
    let sparse = SparseFormat::ALL
        .into_iter()
        .fold(Layer::new(), |layer, format| layer.sparse_file(format!("{format:?}"), format, &pieces, 1027));
    let binary =
        Layer::new().file("Gnu", "plain").mtime(-5, 0).binary_numbers().pax("uid", "7").pax("uid", "");
    let two = |head: u8, lower: &Layer, upper: &Layer| join(&[head], &[&lower.to_tar(), &upper.to_tar()]);
    let mut wrong_checksums = two(128, &lower, &upper);
    wrong_checksums[3 + 150] ^= 1;
    vec![
        seed("tar_flatten", "plain", two(0, &lower, &upper)),
        seed("tar_flatten", "gzip", two(1, &lower, &Layer::new())),
        seed("tar_flatten", "zstd-frames-gnu-names", two(4, &upper, &gnu)),
        seed("tar_flatten", "xz-streams", two(6, &lower, &upper)),
        seed("tar_flatten", "sparse", two(0, &sparse, &binary)),
        seed("tar_flatten", "mended", wrong_checksums),
    ]
}

fn roundtrip() -> Vec<Seed> {
    // What to do, where, and what it takes: see `Builder::edit`.
    let first =
        [&[7, 0, 20][..], b"ahoy, sailor! ahoy! ", &[200, 7, 4, 9], b"some text", &[3, 4, 5, 3, 9, 2, 10, 5]]
            .concat();
    let edits =
        [&[5, 1, 0, 100, 1, 3, 4][..], b"land", &[5, 2, 1, 7, 0, 0, 2], b"!!", &[0, 3, 1, 4, 7]].concat();
    let whole = |flags: u8, edits: &[u8]| join(&[flags], &[&first, edits]);
    vec![
        seed("roundtrip", "edits", whole(0, &edits)),
        seed("roundtrip", "edits-zstd-threads", whole(3, &edits)),
        seed("roundtrip", "same", whole(1, &[])),
        seed("roundtrip", "from-nothing", join(&[1], &[&[], &first])),
    ]
}

/// An old file and a new one that is much like it, for codecs that take any.
fn like() -> (Vec<u8>, Vec<u8>) {
    let old: Vec<u8> = (0..600_u32).flat_map(|number| (number * 77).to_le_bytes()).collect();
    let mut new = old.clone();
    new.splice(500..520, *b"something else, longer than before");
    new.iter_mut().skip(40).step_by(97).for_each(|byte| *byte = byte.wrapping_add(3));
    (old, new)
}

const TEXT: &[u8] = b"Mary had a little lamb, its fleece was white as snow. ";
const JARS: [&[u8]; 2] = [
    include_bytes!("../../../skiff-patch/tests/zip/nested.old.zip"),
    include_bytes!("../../../skiff-patch/tests/zip/nested.new.zip"),
];
const PNGS: [&[u8]; 2] = [
    include_bytes!("../../../skiff-patch/tests/png/optimised.old.png"),
    include_bytes!("../../../skiff-patch/tests/png/optimised.new.png"),
];

fn patch_codecs() -> Vec<Seed> {
    [payloads(), round_trips()].concat()
}

/// What each codec makes, for its decoder.
fn payloads() -> Vec<Seed> {
    let (old, new) = like();
    let payload = |codec: Codec, output_len: usize, (old, payload): (&[u8], &[u8])| {
        let index = Codec::ALL.iter().position(|&known| known == codec);
        let index = index.and_then(|index| u8::try_from(index).ok()).expect("because there are few codecs");
        let output_len = u16::try_from(output_len).expect("because the seed is small").to_le_bytes();
        seed("patch_codecs", codec.name(), join(&[[0, index], output_len].concat(), &[old, payload]))
    };
    let bsdiff = &bsdiff::encode(&old, &new, &bsdiff::Options::default())[0];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    let compressed = encoder.write_all(&TEXT.repeat(9)).and_then(|()| encoder.finish());
    let compressed = compressed.expect("because a vector takes everything");
    let gz = gzip::encode(None, &compressed, Effort::Default).expect("because zlib made it");
    let jar = zip::encode(Some(JARS[0]), JARS[1], &zip::Options::default());
    let jar = &jar.expect("because it is an archive")[0];
    let picture = png::Plan::new(Some(PNGS[0]), PNGS[1], &align::Options::default()).and_then(|plan| {
        let mut source = Source::new(Cursor::new(PNGS[0]), PNGS[0].len() as u64);
        plan.write(&mut source, PNGS[1], &mut State::new()).ok()
    });
    let [old_program, new_program] = [16, 48].map(executable);
    let aligned = align::Plan::new(&old_program, &new_program, &align::Options::default())
        .write_held(&old_program, &new_program, &mut State::new())
        .expect("because both are in memory");
    assert_eq!(aligned.first(), Some(&1), "references of an executable are predicted");
    vec![
        payload(Codec::Data, 5, (&old, b"hello")),
        payload(Codec::Bsdiff, bsdiff.output_len as usize, (&old, &bsdiff.payload)),
        payload(Codec::Gzip, compressed.len(), (&old, &gz.payload)),
        payload(Codec::Zip, jar.output_len as usize, (JARS[0], &jar.payload)),
        payload(Codec::Png, PNGS[1].len(), (PNGS[0], &picture.expect("because zlib made it"))),
        payload(Codec::Align, new_program.len(), (&old_program, &aligned)),
    ]
}

/// Two files each, for an encoder and its decoder.
fn round_trips() -> Vec<Seed> {
    let (old, new) = like();
    let text = TEXT.repeat(9);
    let programs = [16, 48].map(executable);
    let round_trip = |name: &str, head: &[u8], files: [&[u8]; 2]| {
        let name = format!("round-trip-{name}");
        seed("patch_codecs", &name, join(head, &files))
    };
    let windows = [&[1][..], &300_u16.to_le_bytes(), &700_u16.to_le_bytes()].concat();
    vec![
        round_trip("whole", &[1, 0xff, 0xff, 0xff, 0xff], [&old, &new]),
        round_trip("windows", &windows, [&old, &new]),
        round_trip("gzip", &[2, 9, 0], [&old, &new]),
        round_trip("gzip-of-text", &[2, 9, 0], [&text, &text[7..]]),
        round_trip("png", &[4, 0, 1, 0, 0], PNGS),
        round_trip("png-in-chunks", &[4, 6, 0, 9, 0], [b"rows rows", b"rows rows rows"]),
        round_trip("zip", &[3, 0xff, 0x7f], JARS),
        round_trip("zip-in-segments", &[3, 200, 3], JARS),
        round_trip("executable", &[1, 0xff, 0xff, 0xff, 0xff], [&programs[0], &programs[1]]),
        round_trip("empty", &[1, 0, 0, 0, 0], [&[], &[]]),
    ]
}

fn tree_decode() -> Vec<Seed> {
    let base = release::base().tree;
    let target = release::target().tree;
    let bare = Tree::new(base.entries()[..1].to_vec()).expect("because a root alone is a tree");
    let canonical = |tree: &Tree| {
        let mut bytes = vec![0];
        tree.encode(&mut bytes).expect("because a vector takes everything");
        bytes
    };
    let told = |tree: &Tree| [vec![1], section::encode(&base, tree).bytes].concat();
    let trees = [("base", &base), ("target", &target), ("bare", &bare)];
    let signed = seed("tree_decode", "signature", [vec![2], signature()].concat());
    trees
        .into_iter()
        .flat_map(|(name, tree)| {
            [
                seed("tree_decode", &format!("canonical-{name}"), canonical(tree)),
                seed("tree_decode", &format!("section-{name}"), told(tree)),
            ]
        })
        .chain([signed])
        .collect()
}

/// A tree signature without the digest at its end, which the body computes.
fn signature() -> Vec<u8> {
    let Release { tree, contents, .. } = release::base();
    let options = skiff_signature::Options::default().with_block_len(|_| 20);
    let mut bytes = Vec::new();
    sign_tree(&Signed { tree: &tree, contents: &contents, config: None }, &options, &mut bytes)
        .expect("because contents and signature are in memory");
    bytes.truncate(bytes.len() - 32);
    bytes
}
