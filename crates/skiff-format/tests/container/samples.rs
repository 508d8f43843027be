//! Small deltas that the encoder wrote.

use std::io::Cursor;

use skiff_format::{
    BaseInfo, CodecInfo, Compression, DetachedSignature, Digest, Encoder, Facts, FormatError, HeaderFields,
    Limits, Section, Signatures, TargetInfo, compress, replace_signatures,
};

pub(crate) const ZSTD: Compression = Compression::Zstd { level: 19 };

/// What a header says of a target with the config and manifest among these frames.
pub(crate) fn fields(frames: &[(Section, &[u8], Compression)]) -> HeaderFields {
    let digest_of = |section| {
        let payload: Vec<u8> =
            frames.iter().filter(|frame| frame.0 == section).flat_map(|frame| frame.1).copied().collect();
        (!payload.is_empty()).then(|| Digest::of(&payload))
    };
    HeaderFields {
        codecs: vec![CodecInfo { id: 1, version: 0 }, CodecInfo { id: 300, version: 2 }],
        bases: vec![
            BaseInfo { release: Digest::of(b"base"), tree: Digest::of(b"base's tree") },
            BaseInfo { release: Digest::of(b"base with another config"), tree: Digest::of(b"base's tree") },
        ],
        target: TargetInfo {
            release: Digest::of(b"target"),
            tree: Digest::of(b"target's tree"),
            config: digest_of(Section::Config),
            manifest: digest_of(Section::Manifest),
        },
        facts: Facts {
            target_bytes: 70_000,
            new_bytes: 5_000,
            unchanged_bytes: 65_000,
            entries: 12,
            inodes: 11,
            unchanged_inodes: 7,
            pull_bytes: Some(30_000),
            decoder_memory: 3 << 20,
        },
    }
}

pub(crate) fn write(frames: &[(Section, &[u8], Compression)]) -> Vec<u8> {
    write_with(&fields(frames), frames)
}

pub(crate) fn write_with(fields: &HeaderFields, frames: &[(Section, &[u8], Compression)]) -> Vec<u8> {
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    for (section, payload, compression) in frames {
        encoder.add(compress(*section, payload, compression).unwrap()).unwrap();
    }
    let mut delta = Vec::new();
    let summary = encoder.finish(fields, &mut delta).unwrap();
    assert_eq!((summary.delta_size, summary.frames), (delta.len() as u64, frames.len()));
    delta
}

/// Something that compresses: each line is a little different from the one before.
pub(crate) fn text(lines: u32) -> Vec<u8> {
    (0..lines).flat_map(|line| format!("line {line} of {lines}, {}\n", line * line).into_bytes()).collect()
}

/// A delta of about a kilobyte with every section and every compressor.
pub(crate) fn all_compressors() -> Vec<u8> {
    let (config, contents) = (text(8), text(12));
    write(&[
        (Section::Config, &config, Compression::XZ),
        (Section::Manifest, &text(6), ZSTD),
        (Section::Tree, b"a tree that is stored", Compression::Stored),
        (Section::Unknown(9), &text(5), ZSTD),
        (Section::Contents, &contents, ZSTD),
        (Section::Contents, &contents, Compression::XZ),
    ])
}

/// Signatures of two algorithms, one of which is not known. The container does not know whether they hold.
pub(crate) fn signatures() -> Signatures {
    let mut signatures = Signatures::default();
    for (algorithm, key, length) in [(300, 3, 200), (DetachedSignature::ED25519, 9, 64), (1, 2, 64)] {
        let (key, bytes) = (Digest::from_bytes([key; 32]), vec![key; length]);
        signatures.add(DetachedSignature { algorithm, key, bytes }).unwrap();
    }
    signatures
}

/// How many bytes these take.
pub(crate) const SIGNATURES_LEN: u64 = 1 + 2 * (1 + 32 + 1 + 64) + (2 + 32 + 2 + 200);

/// The same delta under them.
pub(crate) fn signed(delta: &[u8]) -> Vec<u8> {
    let mut signed = Vec::new();
    replace_signatures::<FormatError>(delta, Limits::default(), &mut signed, |_| Ok(signatures())).unwrap();
    signed
}

/// The bytes of a compressed frame, as they stand in a delta.
pub(crate) fn bytes_of(frame: skiff_format::CompressedFrame) -> Vec<u8> {
    let size = usize::try_from(frame.encoded_size()).unwrap();
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    encoder.add(frame).unwrap();
    let mut delta = Vec::new();
    encoder.finish(&fields(&[]), &mut delta).unwrap();
    delta.split_off(delta.len() - size)
}
