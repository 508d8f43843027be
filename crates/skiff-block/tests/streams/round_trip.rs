//! Whatever the files and the lengths: what is made of a delta is the new file.

use std::io::{Cursor, Read};
use std::num::NonZeroUsize;

use proptest::prelude::*;
use skiff_block::*;

use crate::common::noise;

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("a number of threads")
}

fn table(old: &[u8], params: &SignatureParams) -> Table {
    let mut written = Vec::new();
    let report = write_signature(old, params, threads(2), &mut written).expect("a signature");
    assert_eq!(report.signature_bytes, written.len() as u64);
    assert_eq!(written.len() as u64, params.signature_bytes(old.len() as u64));
    let signature = Signature::read(&written[..], &Limits::default()).expect("what was written");
    assert_eq!(signature, Signature::of(old, params, threads(1)).expect("a signature"));
    let mut again = Vec::new();
    signature.write(&mut again).expect("writing");
    assert!(again == written, "what was read is written again");
    Table::new(signature).expect("a table")
}

/// Patches, and checks what comes out and what the reports say.
fn check(old: &[u8], new: &[u8], delta: &[u8], report: &DeltaReport) {
    let mut made = Vec::new();
    let patched = patch(Cursor::new(old), delta, &mut made, &Limits::default()).expect("a file");
    assert!(made == new, "the result differs");
    assert_eq!(report.delta_bytes, delta.len() as u64);
    assert_eq!(report.new_bytes, new.len() as u64);
    assert_eq!(
        (
            patched.new_bytes,
            patched.literal_bytes,
            patched.copied_bytes,
            patched.commands,
            patched.delta_bytes
        ),
        (report.new_bytes, report.literal_bytes, report.copied_bytes, report.commands, report.delta_bytes)
    );
}

/// Makes a delta in every way, and returns its length without and with the old file.
fn round_trip(old: &[u8], new: &[u8], params: &SignatureParams) -> (u64, u64) {
    let table = table(old, params);
    let mut one = Vec::new();
    let report = delta(&table, new, threads(1), &mut one).expect("a delta");
    check(old, new, &one, &report);
    let mut extended = Vec::new();
    let with_old = delta_with_old(&table, Cursor::new(old), new, threads(2), &mut extended).expect("a delta");
    check(old, new, &extended, &with_old);
    assert!(with_old.delta_bytes <= report.delta_bytes);
    (report.delta_bytes, with_old.delta_bytes)
}

/// A few bytes, so that blocks repeat.
fn few_bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"aab\0"[..]), 0..length)
}

/// A file, and what edits make of it.
fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let old = prop_oneof![prop::collection::vec(any::<u8>(), 0..3000), few_bytes(3000)];
    let edit = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        few_bytes(40),
    );
    (old, prop::collection::vec(edit, 0..6)).prop_map(|(old, edits)| {
        let mut new = old.clone();
        for (at, from, to, insert) in edits {
            let at = at.index(new.len() + 1);
            let range = from.index(old.len() + 1)..to.index(old.len() + 1);
            let moved = old.get(range).unwrap_or_default().to_vec();
            new.splice(at..at, insert.into_iter().chain(moved));
            let cut = new.len().min(at + 30);
            new.drain(at..cut.min(at + at % 7));
        }
        (old, new)
    })
}

fn any_params() -> impl Strategy<Value = SignatureParams> {
    (
        prop::sample::select(&SignatureKind::ALL[..]),
        prop_oneof![1..80_u32, 1..4000_u32, Just(u32::MAX)],
        8..=16_u32,
    )
        .prop_map(|(kind, block_len, strong_len)| {
            SignatureParams::new(kind, block_len, strong_len).expect("params")
        })
}

proptest! {
    #[test]
    fn any_edit((old, new) in edited(), params in any_params()) {
        round_trip(&old, &new, &params);
    }

    #[test]
    fn any_two_files(old in few_bytes(500), new in few_bytes(500), params in any_params()) {
        round_trip(&old, &new, &params);
    }

    #[test]
    fn anything_else_is_an_error_and_writes_no_more_than_allowed(delta in prop::collection::vec(any::<u8>(), 0..60), old in few_bytes(50)) {
        let delta = [&[0x72, 0x73, 0x02, 0x36][..], &delta].concat();
        let mut made = Vec::new();
        let limits = Limits::default().with_output_bytes(100);
        let result = patch(Cursor::new(&old), &delta[..], &mut made, &limits);
        prop_assert!(made.len() <= 100);
        prop_assert!(result.is_err() || made.len() as u64 == result.unwrap().new_bytes);
    }
}

/// Large enough for several batches and threads: insertions that shift what follows, moved parts, zeros.
fn large() -> (Vec<u8>, Vec<u8>) {
    let old = [noise(1, 9_000_000), vec![0; 3_000_000], noise(2, 9_000_000)].concat();
    let mut new = Vec::new();
    for (index, piece) in old.chunks(700_001).enumerate() {
        new.extend_from_slice(&noise(index as u64 + 9, index * 37 % 3000));
        new.extend_from_slice(piece);
    }
    new.extend_from_slice(&old[4_000_000..8_000_000]);
    (old, new)
}

#[test]
fn any_number_of_threads_finds_the_same() {
    let (old, new) = large();
    for (kind, block_len) in SignatureKind::ALL.into_iter().zip([700, 4096, 100_000, 3000]) {
        let params = SignatureParams::new(kind, block_len, 16).expect("params");
        let table = table(&old, &params);
        let deltas = [1, 2, 3, 7].map(|count| {
            let mut bytes = Vec::new();
            let report = delta(&table, &new[..], threads(count), &mut bytes).expect("a delta");
            (bytes, report)
        });
        check(&old, &new, &deltas[0].0, &deltas[0].1);
        assert!(deltas.iter().all(|delta| *delta == deltas[0]), "{kind}, blocks of {block_len}");
    }
}

/// Reads what it has byte by byte, or in pieces of odd lengths.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

#[test]
fn however_the_input_comes_the_output_is_the_same() {
    let (old, new) = (noise(3, 100_000), [noise(4, 1000), noise(3, 100_000)].concat());
    let params = SignatureParams::new(SignatureKind::default(), 512, 16).expect("params");
    let whole = Signature::of(&old[..], &params, threads(2)).expect("a signature");
    for piece in [1, 7, 4093] {
        assert_eq!(Signature::of(Dribble(&old, piece), &params, threads(2)).expect("a signature"), whole);
    }
    let table = Table::new(whole).expect("a table");
    let mut expected = Vec::new();
    delta(&table, &new[..], threads(2), &mut expected).expect("a delta");
    for piece in [1, 7, 4093] {
        let mut bytes = Vec::new();
        delta(&table, Dribble(&new, piece), threads(2), &mut bytes).expect("a delta");
        assert!(bytes == expected);
        let mut made = Vec::new();
        patch(Cursor::new(&old), Dribble(&bytes, piece), &mut made, &Limits::default()).expect("a file");
        assert!(made == new);
    }
}

#[test]
fn another_old_file_than_the_signed_one_is_refused() {
    let (old, new) = (noise(5, 50_000), [noise(6, 100), noise(5, 50_000)].concat());
    let params = SignatureParams::new(SignatureKind::default(), 1000, 16).expect("params");
    let table = table(&old, &params);
    let mut changed = old.clone();
    changed[20_500] ^= 1;
    for (other, block) in [(&changed[..], 20), (&old[..49_000], 49), (&new[..], 0), (&[][..], 0)] {
        let mut bytes = Vec::new();
        let result = delta_with_old(&table, Cursor::new(other), &new[..], threads(2), &mut bytes);
        assert!(matches!(result, Err(BlockError::WrongOld { block: found }) if found == block), "{result:?}");
        assert!(bytes.is_empty());
    }
    let longer = [&old[..], &old[..10]].concat();
    let result = delta_with_old(&table, Cursor::new(longer), &new[..], threads(2), Vec::new());
    assert!(matches!(result, Err(BlockError::WrongOld { block: 50 })), "{result:?}");
}
