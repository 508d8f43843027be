//! The seeds of the targets for block deltas.

use std::num::NonZeroUsize;

use skiff_block::{Signature, SignatureKind, SignatureParams, Table, delta};

use super::input::join;
use super::seeds::{Seed, seed};

fn old() -> Vec<u8> {
    (0..300_u32).flat_map(|number| (number * number).to_le_bytes()).chain([0; 200]).collect()
}

pub(super) fn block_patch() -> Vec<Seed> {
    let old = old();
    let new = [&old[100..700], b"something new", &old[500..], &old[..64]].concat();
    let params =
        SignatureParams::new(SignatureKind::default(), 32, 16).expect("because the lengths are in range");
    let signature = Signature::of(&old[..], &params, NonZeroUsize::MIN).expect("because memory is read");
    let table = Table::new(signature).expect("because it has few blocks");
    let mut made = Vec::new();
    delta(&table, &new[..], NonZeroUsize::MIN, &mut made).expect("because memory is read");
    // Every width of a copy's numbers.
    let widths = (0x45_u8..=0x54).flat_map(|code| {
        let zeros = |index: u8| vec![0; (1 << (index % 4)) - 1];
        [vec![code], zeros((code - 0x45) / 4), vec![7], zeros(code - 0x45), vec![9]].concat()
    });
    let literals = [&b"\x01a\x41\x02bc\x42\0\x01d\x43\0\0\0\x01e\x44"[..], &[0; 7], b"\x01f\0"].concat();
    let widths: Vec<u8> = widths.chain(literals).collect();
    vec![
        seed("block_patch", "made", join(&[0], &[&old, &made])),
        seed("block_patch", "widths", join(&[1], &[&old, &widths])),
        seed("block_patch", "empty", join(&[1], &[&[], &[0]])),
    ]
}

pub(super) fn block_delta() -> Vec<Seed> {
    let old = old();
    let copy = |from: u16, count: u16| [&[1][..], &from.to_le_bytes(), &count.to_le_bytes()].concat();
    let edits =
        [&copy(100, 700)[..], &[0, 5], b"fresh", &copy(90, 600), &copy(0, 64), &copy(1100, 300)].concat();
    let whole = |flags: u8, block_len: u16, old: &[u8]| {
        join(&[&[flags][..], &block_len.to_le_bytes()].concat(), &[old, &edits])
    };
    vec![
        seed("block_delta", "edits", whole(0x1f, 31, &old)),
        seed("block_delta", "single-bytes", whole(0x04, 0, &old[..300])),
        seed("block_delta", "zeros", whole(0x03, 63, &[0; 900])),
        seed("block_delta", "repeated", whole(0x9e, 99, &old)),
        seed("block_delta", "one-block", whole(0x01, u16::MAX, &old)),
    ]
}
