//! Signatures and deltas made by hand: what readers of these formats have stumbled over.
//!
//! rdiff 2.3.2 takes and refuses the same, as `rdiff.rs` shows, but for these headers and ends of signatures: it refuses
//! blocks of 2³¹ bytes or more, and takes strong hashes of 0 bytes and a last block with a part of its weak hash.

use std::io::Cursor;
use std::num::NonZeroUsize;

use skiff_block::*;

const OLD: &[u8] = b"0123456789abcdef";

fn signature(header: [u32; 3], rest: &[u8]) -> Result<Signature, BlockError> {
    let header = header.map(u32::to_be_bytes).concat();
    Signature::read(&[&header[..], rest].concat()[..], &Limits::default())
}

/// A delta with these bytes after what it begins with.
fn delta_of(rest: &[u8]) -> Vec<u8> {
    [b"rs\x02\x36", rest].concat()
}

fn patched(rest: &[u8]) -> Result<Vec<u8>, BlockError> {
    patched_within(rest, &Limits::default())
}

fn patched_within(rest: &[u8], limits: &Limits) -> Result<Vec<u8>, BlockError> {
    let mut made = Vec::new();
    let result = patch(Cursor::new(OLD), &delta_of(rest)[..], &mut made, limits);
    assert!(made.len() as u64 <= limits.output_bytes);
    result.map(|report| {
        assert_eq!(report.new_bytes, made.len() as u64);
        made
    })
}

#[track_caller]
fn assert_corrupt<T: std::fmt::Debug>(result: Result<T, BlockError>, at: u64, words: &str) {
    match result {
        Err(BlockError::Corrupt { offset, what, .. }) => {
            assert!(offset == at && what.contains(words), "byte {offset}: {what}");
        }
        other => panic!("{other:?}"),
    }
}

const BLAKE2: u32 = 0x7273_0147;
const MD4: u32 = 0x7273_0136;

#[test]
fn lengths_in_a_signatures_header() {
    assert_corrupt(signature([BLAKE2, 0, 32], &[]), 4, "0 bytes");
    assert_corrupt(signature([BLAKE2, 2048, 0], &[]), 4, "not 0");
    assert_corrupt(signature([BLAKE2, 2048, 33], &[]), 4, "not 33");
    assert_corrupt(signature([BLAKE2, 2048, u32::MAX], &[]), 4, "not 4294967295");
    assert_corrupt(signature([MD4, 2048, 17], &[]), 4, "not 17");
    for block_len in [1, u32::MAX] {
        for strong_len in [1, 32] {
            let read = signature([BLAKE2, block_len, strong_len], &[]).unwrap();
            assert_eq!((read.params().block_len(), read.blocks()), (block_len, 0));
        }
    }
}

#[test]
fn a_signature_that_ends_anywhere() {
    let whole = [[BLAKE2, 2048, 8].map(u32::to_be_bytes).concat(), vec![7; 2 * 12]].concat();
    for length in 0..=whole.len() {
        let read = Signature::read(&whole[..length], &Limits::default());
        match length {
            12 | 24 | 36 => assert_eq!(read.unwrap().blocks(), length / 12 - 1),
            0..12 => assert_corrupt(read, length as u64, "header"),
            _ => assert_corrupt(read, length as u64, "within the hashes"),
        }
    }
    for magic in [0, 0x7273_0138, 0x7273_0145, 0x7273_0148] {
        assert_corrupt(signature([magic, 2048, 8], &[]), 0, "no signature");
    }
    assert_corrupt(signature([0x7273_0236, 2048, 8], &[]), 0, "it is a delta");
}

#[test]
fn blocks_of_any_length_are_searched_for() {
    let one = NonZeroUsize::MIN;
    for block_len in [1, 15, 16, 17, u32::MAX] {
        for (kind, strong_len) in SignatureKind::ALL.into_iter().flat_map(|kind| [(kind, 1), (kind, 16)]) {
            let params = SignatureParams::new(kind, block_len, strong_len).unwrap();
            let table = Table::new(Signature::of(OLD, &params, one).unwrap()).unwrap();
            let mut made = Vec::new();
            let report = delta(&table, OLD, one, &mut made).unwrap();
            assert_eq!(report.literal_bytes, 0);
            let mut again = Vec::new();
            patch(Cursor::new(OLD), &made[..], &mut again, &Limits::default()).unwrap();
            assert_eq!(again, OLD);
        }
    }
}

/// A command with numbers of these widths, as bytes.
fn command(code: u8, numbers: &[(u64, usize)]) -> Vec<u8> {
    let mut bytes = vec![code];
    for &(number, width) in numbers {
        bytes.extend_from_slice(&number.to_be_bytes()[8 - width..]);
    }
    bytes
}

const WIDTHS: [usize; 4] = [1, 2, 4, 8];

#[test]
fn commands_of_every_width() {
    for (first, offset_width) in (0..).zip(WIDTHS) {
        for (second, length_width) in (0..).zip(WIDTHS) {
            let copy = command(0x45 + 4 * first + second, &[(3, offset_width), (5, length_width)]);
            assert_eq!(patched(&[&copy[..], b"\0"].concat()).unwrap(), b"34567");
            // Cut anywhere, it says where.
            for length in 0..copy.len() {
                let at = if length == 0 {
                    4
                } else {
                    5 + (if length > offset_width { offset_width } else { 0 }) as u64
                };
                assert_corrupt(patched(&copy[..length]), at, "cut off");
            }
        }
    }
    for (index, width) in (0..).zip(WIDTHS) {
        let literal = [command(0x41 + index, &[(2, width)]), b"xy\0".to_vec()].concat();
        assert_eq!(patched(&literal).unwrap(), b"xy");
    }
    for length in 1..=64_u8 {
        let literal = [vec![length], vec![b'z'; usize::from(length)], vec![0]].concat();
        assert_eq!(patched(&literal).unwrap(), vec![b'z'; usize::from(length)]);
    }
}

#[test]
fn commands_that_are_none() {
    for code in 0x55..=0xff {
        assert_corrupt(patched(&[1, b'a', code, 0, 0, 0]), 6, "no command");
    }
}

#[test]
fn commands_that_make_nothing() {
    for (index, width) in (0..).zip(WIDTHS) {
        let literal = [command(0x41 + index, &[(0, width)]), vec![0]].concat();
        assert_corrupt(patched(&literal), 4, "no bytes");
        let copy = [command(0x45 + index, &[(3, 1), (0, width)]), vec![0]].concat();
        assert_corrupt(patched(&copy), 4, "no bytes");
    }
}

#[test]
fn the_end_of_a_delta() {
    assert_eq!(patched(&[0]).unwrap(), b"");
    assert_corrupt(patched(&[]), 4, "cut off");
    assert_corrupt(patched(&[2, b'a', b'b']), 7, "cut off");
    for length in 0..4 {
        let result = patch(Cursor::new(OLD), &delta_of(&[])[..length], Vec::new(), &Limits::default());
        assert_corrupt(result, 0, "cut off");
    }
    // What follows the end is left for whoever reads on: so does rdiff.
    let bytes = delta_of(b"\x01a\0more");
    let mut rest = &bytes[..];
    let report = patch(Cursor::new(OLD), &mut rest, Vec::new(), &Limits::default()).unwrap();
    assert_eq!((rest, report.delta_bytes), (&b"more"[..], 7));
    assert_corrupt(
        patch(Cursor::new(OLD), &b"rs\x01\x36\0"[..], Vec::new(), &Limits::default()),
        0,
        "it is a signature",
    );
    assert_corrupt(
        patch(Cursor::new(OLD), &b"rs\x03\x36\0"[..], Vec::new(), &Limits::default()),
        0,
        "no delta",
    );
}

#[test]
fn copies_of_what_is_not_there() {
    for (offset, length) in [
        (0, 17),
        (16, 1),
        (15, 2),
        (17, 1),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
        (1 << 63, 1 << 63),
        (0, 1 << 63),
        (i64::MAX as u64, 1),
    ] {
        let limits = Limits::default().with_output_bytes(u64::MAX);
        let copy = [command(0x54, &[(offset, 8), (length, 8)]), vec![0]].concat();
        let result = patched_within(&copy, &limits);
        let expected_end = offset.saturating_add(length);
        match result {
            Err(BlockError::WrongBase { offset: 4, start, end, size: 16 }) => {
                assert_eq!((start, end), (offset, expected_end));
            }
            other => panic!("{offset} {length}: {other:?}"),
        }
    }
}

#[test]
fn lengths_that_no_file_has() {
    for length in [3, 1 << 32, 1 << 40, i64::MAX as u64, 1 << 63, u64::MAX] {
        let literal = [command(0x44, &[(length, 8)]), b"ab".to_vec()].concat();
        let limits = Limits::default().with_output_bytes(u64::MAX);
        let end = 4 + 9 + 2;
        assert_corrupt(patched_within(&literal, &limits), end, "before the end of new bytes");
        let limits = Limits::default().with_output_bytes(2);
        match patched_within(&literal, &limits) {
            Err(BlockError::LimitExceeded { wanted, limit: 2, .. }) => assert_eq!(wanted, length),
            other => panic!("{length}: {other:?}"),
        }
    }
    // Several that add up to more than there are numbers for.
    let copies = [command(0x48, &[(0, 1), (16, 8)]), command(0x48, &[(0, 1), (u64::MAX, 8)])].concat();
    assert!(matches!(patched(&copies), Err(BlockError::LimitExceeded { wanted: u64::MAX, .. })));
}

#[test]
fn a_small_delta_of_a_large_file_is_stopped_in_time() {
    let copies = command(0x45, &[(0, 1), (16, 1)]).repeat(1000);
    for limit in [0, 1, 15, 16, 17, 15_999] {
        let result = patched_within(&copies, &Limits::default().with_output_bytes(limit));
        assert!(matches!(result, Err(BlockError::LimitExceeded { .. })), "{limit}");
    }
    let whole = [copies, vec![0]].concat();
    assert_eq!(patched_within(&whole, &Limits::default().with_output_bytes(16_000)).unwrap().len(), 16_000);
}
