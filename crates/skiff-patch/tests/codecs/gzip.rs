//! The gzip codec on files made by GNU gzip (`gzip -9n`, version 1.12), by flate2, and by anyone.

use std::io::{Cursor, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::*;
use skiff_patch::{Codec, Effort, Job, Limits, PatchError, Source, State, decode, decoder_memory, gzip};

const OLD: &[u8] = include_bytes!("../gzip/old.gz");
const NEW: &[u8] = include_bytes!("../gzip/new.gz");

fn decode_one(old: &[u8], payload: &[u8], output_len: u64) -> (Vec<u8>, Result<(), PatchError>) {
    let mut output = Vec::new();
    let mut source = Source::new(Cursor::new(old), old.len() as u64);
    let result = decode(
        &Job::new(Codec::Gzip, payload, output_len),
        &mut source,
        &mut output,
        &Limits::default(),
        &mut State::new(),
    );
    (output, result)
}

fn comes_back(old: Option<&[u8]>, new: &[u8]) -> gzip::Encoded {
    let encoded = gzip::encode(old, new, Effort::Default).unwrap();
    let (output, result) = decode_one(old.unwrap_or_default(), &encoded.payload, new.len() as u64);
    result.unwrap();
    assert!(output == new);
    encoded
}

fn plain(file: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(file).read_to_end(&mut plain).unwrap();
    plain
}

fn nonzero(encoded: &gzip::Encoded) -> usize {
    encoded.payload.iter().filter(|&&byte| byte != 0).count()
}

#[test]
fn an_opened_source_leaves_only_the_change() {
    let encoded = comes_back(Some(OLD), NEW);
    assert!(encoded.reads_source);
    assert!(nonzero(&encoded) < 600, "{}", nonzero(&encoded));
}

#[test]
fn a_plain_source_serves_as_well() {
    let encoded = comes_back(Some(&plain(OLD)), NEW);
    assert!(encoded.reads_source);
    assert!(nonzero(&encoded) < 600, "{}", nonzero(&encoded));
}

#[test]
fn without_a_source_the_plain_text_is_sent() {
    for old in [None, Some(&[][..])] {
        let encoded = comes_back(old, NEW);
        assert!(!encoded.reads_source);
        assert_eq!(encoded.payload.len(), plain(NEW).len() + 16);
    }
}

#[test]
fn headers_of_every_kind_come_back() {
    let fields: [(u8, &[u8]); 5] = [
        (1, b""),
        (4, b"\x03\0abc"),
        (8, b"changelog\0"),
        (16, b"a comment\0"),
        (31, b"\x02\0\0\0name\0comment\0\x12\x34"),
    ];
    for (flags, fields) in fields {
        let header = [&[0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255], fields].concat();
        comes_back(Some(OLD), &[&header, &NEW[10..]].concat());
    }
}

#[test]
fn what_is_not_one_member_is_declined() {
    assert_eq!(gzip::encode(None, &[NEW, OLD].concat(), Effort::Default), None, "several members");
    assert_eq!(gzip::encode(None, &[NEW, b"\0"].concat(), Effort::Default), None, "trailing bytes");
    assert_eq!(gzip::encode(None, &NEW[..NEW.len() - 1], Effort::Default), None, "cut off");
    assert_eq!(gzip::encode(None, &plain(NEW), Effort::Default), None, "plain text");
    assert_eq!(gzip::encode(None, b"", Effort::Default), None, "nothing");
    for (index, byte) in [(0, 0), (2, 7), (3, 32), (3, 8), (NEW.len() - 1, 1), (NEW.len() - 8, 0), (1500, 0)]
    {
        let mut file = NEW.to_vec();
        assert_ne!(file[index], byte);
        file[index] = byte;
        let comes_back = gzip::encode(None, &file, Effort::Default)
            .is_none_or(|encoded| decode_one(b"", &encoded.payload, file.len() as u64).0 == file);
        assert!(comes_back);
    }
}

/// flate2's own compressors choose otherwise than zlib: whatever is not declined comes back.
#[test]
fn files_of_another_compressor_are_declined_or_come_back() {
    for level in 0..=9 {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(&plain(NEW)).unwrap();
        let file = encoder.finish().unwrap();
        if gzip::encode(Some(OLD), &file, Effort::Default).is_some() {
            comes_back(Some(OLD), &file);
        }
    }
}

#[test]
fn limits_are_kept_before_anything_is_written() {
    let encoded = gzip::encode(Some(OLD), NEW, Effort::Default).unwrap();
    let job = Job::new(Codec::Gzip, &encoded.payload, NEW.len() as u64);
    let needed = decoder_memory(&job).unwrap();
    let longest = plain(NEW).len() as u64;
    let decode = |limits: Limits| {
        let mut output = Vec::new();
        let mut source = Source::new(Cursor::new(OLD), OLD.len() as u64);
        let result = decode(&job, &mut source, &mut output, &limits, &mut State::new());
        assert_eq!(output.len(), if result.is_ok() { NEW.len() } else { 0 });
        result
    };
    let default = Limits::default();
    decode(Limits { memory_bytes: needed, plain_bytes: longest }).unwrap();
    let error = decode(Limits { memory_bytes: needed - 1, ..default }).unwrap_err();
    assert!(matches!(error, PatchError::LimitExceeded { wanted, .. } if wanted == needed));
    let error = decode(Limits { plain_bytes: longest - 1, ..default }).unwrap_err();
    assert!(matches!(error, PatchError::LimitExceeded { wanted, .. } if wanted == longest));
}

/// A gzip file of nothing, made of nothing from a source that holds much, as a payload of a few bytes.
#[test]
fn what_is_opened_is_bounded_by_what_comes_of_it() {
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    let empty = [&header[..], &[3, 0], &[0; 8]].concat();
    let most = 64 * empty.len() + (64 << 10);
    let opening = |length: usize, source: &[u8]| {
        let mut payload = [&[10][..], &header, &[9, 0]].concat();
        skiff_wire::put_varint(&mut payload, length as u64 + 1);
        // By bsdiff, from the source's start, without a control.
        payload.extend([2, 0, 0]);
        decode_one(source, &payload, empty.len() as u64)
    };
    let holding = |length: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(&vec![7; length]).unwrap();
        encoder.finish().unwrap()
    };
    let (output, result) = opening(most, &holding(most));
    result.unwrap();
    assert!(output == empty);
    // What is behind its end costs nothing, but whatever a source has may have to be read.
    let padded = |bytes: usize| [holding(9), vec![0; bytes - holding(9).len()]].concat();
    opening(9, &padded(most)).1.unwrap();
    for result in [opening(most + 1, &holding(most + 1)).1, opening(9, &padded(most + 1)).1] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("far more than comes of it"), "{error}");
    }
}

#[test]
fn what_would_open_too_much_is_encoded_otherwise() {
    let compressed = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let much = vec![7; 1 << 20];
    comes_back(Some(&compressed(&much)), NEW);
    let old = plain(NEW).repeat(1 + (64 * NEW.len() + (64 << 10)) / plain(NEW).len());
    comes_back(Some(&compressed(&old)), NEW);
    assert_eq!(gzip::encode(None, &compressed(&much), Effort::Default), None);
    assert_eq!(gzip::Plan::new(None, &compressed(&much), &skiff_patch::align::Options::default()), None);
}

#[test]
fn a_wrong_source_is_corrupt() {
    let encoded = gzip::encode(Some(OLD), NEW, Effort::Default).unwrap();
    for source in [NEW, &OLD[..OLD.len() - 1], &plain(OLD), b""] {
        let (output, result) = decode_one(source, &encoded.payload, NEW.len() as u64);
        assert!(matches!(result, Err(PatchError::Corrupt { .. })) && output.is_empty(), "{result:?}");
    }
}

#[test]
fn a_promise_of_another_length_is_corrupt() {
    let encoded = gzip::encode(Some(OLD), NEW, Effort::Default).unwrap();
    for length in [0, 17, NEW.len() as u64 - 1, NEW.len() as u64 + 1, u64::MAX] {
        let (output, result) = decode_one(OLD, &encoded.payload, length);
        assert!(matches!(result, Err(PatchError::Corrupt { .. })), "{result:?}");
        assert!(output.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn damage_neither_panics_nor_writes_more(
        flips in vec((0..60_usize, 0..8_u8), 1..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut payload = gzip::encode(Some(OLD), NEW, Effort::Default).unwrap().payload;
        for (index, bit) in &flips {
            payload[*index] ^= 1 << bit;
        }
        let (output, result) = decode_one(OLD, &payload, NEW.len() as u64);
        prop_assert_eq!(output.len(), if result.is_ok() { NEW.len() } else { 0 });
        payload.truncate(cut.index(payload.len()));
        let (output, result) = decode_one(OLD, &payload, NEW.len() as u64);
        prop_assert!(result.is_err() && output.is_empty());
    }

    #[test]
    fn anything_is_read_or_refused(
        header in vec(any::<u8>(), 0..4),
        numbers in (0..48_u8, 0..40_u8, 0..3_u8, 0..4_u8),
        inner in vec(0..20_u8, 0..40),
        length in 0..80_u64,
    ) {
        let (compressor, plain_length, opened, codec) = numbers;
        let payload = [&[header.len() as u8], &header[..], &[compressor, plain_length, opened, codec], &inner].concat();
        let (output, result) = decode_one(OLD, &payload, length);
        prop_assert_eq!(output.len() as u64, if result.is_ok() { length } else { 0 });
    }
}

/// Every level of the gzip there is, with and without a name in the header.
#[test]
#[ignore = "needs gzip"]
fn files_of_the_system_gzip_come_back() {
    let directory = std::env::temp_dir().join(format!("skiff-patch-gzip-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("some name");
    std::fs::write(&path, plain(NEW).repeat(20)).unwrap();
    for level in 1..=9 {
        for options in ["n", "N"] {
            let gzip = std::process::Command::new("gzip")
                .arg(format!("-{level}{options}c"))
                .arg(&path)
                .output()
                .unwrap();
            assert!(gzip.status.success());
            comes_back(Some(OLD), &gzip.stdout);
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// The compressors as doc/format.md defines them, written in another language from that alone, against zlib and gzip.
#[test]
#[ignore = "needs python3 and gzip"]
fn the_document_is_enough_to_do_it_again() {
    let path = std::env::temp_dir().join(format!("skiff-patch-stranger-{}", std::process::id()));
    let noise: Vec<u8> = NEW.iter().zip(OLD.iter().cycle()).map(|(left, right)| left ^ right).collect();
    std::fs::write(&path, [&plain(NEW).repeat(9)[..], &noise, &plain(OLD)].concat()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/stranger");
    let status = std::process::Command::new("python3")
        .args([script, "--compressors", "1,3,4,6,9,17,20,22,25,33,41,86,105,401,854"])
        .arg(&path)
        .status();
    assert!(status.unwrap().success());
    std::fs::remove_file(&path).unwrap();
}
