//! What the fuzzer starts from: inputs that reach deep, made by the encoders, and such inputs damaged.

use std::io::Cursor;

use skiff_format::{
    BaseInfo, Compression, Digest, Encoder, Facts, HeaderFields, Section, TargetInfo, compress,
};
use skiff_patch::{Codec, bsdiff};
use skiff_tree::{Tree, section};

use super::input::join;
use super::release;

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
    let mut seeds = [format_decode(), patch_codecs(), tree_decode()].concat();
    let broken: Vec<Seed> = seeds.iter().map(damaged).collect();
    seeds.extend(broken);
    seeds
}

fn seed(target: &'static str, name: &str, bytes: Vec<u8>) -> Seed {
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
        .collect()
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

fn patch_codecs() -> Vec<Seed> {
    let old: Vec<u8> = (0..600_u32).flat_map(|number| (number * 77).to_le_bytes()).collect();
    let mut new = old.clone();
    new.splice(500..520, *b"something else, longer than before");
    new.iter_mut().skip(40).step_by(97).for_each(|byte| *byte = byte.wrapping_add(3));
    let codec = |codec: Codec| {
        let index =
            Codec::ALL.iter().position(|&known| known == codec).and_then(|index| u8::try_from(index).ok());
        index.expect("because there are few codecs")
    };
    let hostile = |name: Codec, output_len: u64, payload: &[u8]| {
        let output_len = u16::try_from(output_len).expect("because the seed is small").to_le_bytes();
        join(&[[0, codec(name)], output_len].concat(), &[&old, payload])
    };
    let segments = bsdiff::encode(&old, &new, &bsdiff::Options::default());
    let round_trip = |segment: u16, window: u16| {
        let head = [&[1][..], &segment.to_le_bytes(), &window.to_le_bytes()].concat();
        join(&head, &[&old, &new])
    };
    vec![
        seed("patch_codecs", "data", hostile(Codec::Data, 5, b"hello")),
        seed("patch_codecs", "bsdiff", hostile(Codec::Bsdiff, segments[0].output_len, &segments[0].payload)),
        seed("patch_codecs", "round-trip-whole", round_trip(u16::MAX, u16::MAX)),
        seed("patch_codecs", "round-trip-windows", round_trip(300, 700)),
        seed("patch_codecs", "round-trip-empty", join(&[1, 0, 0, 0, 0], &[&[], &[]])),
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
    trees
        .into_iter()
        .flat_map(|(name, tree)| {
            [
                seed("tree_decode", &format!("canonical-{name}"), canonical(tree)),
                seed("tree_decode", &format!("section-{name}"), told(tree)),
            ]
        })
        .collect()
}
