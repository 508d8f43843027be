//! The `block` codec: what is encoded comes back, and nothing else does any harm.

use std::io::Cursor;
use std::num::NonZeroUsize;

use proptest::prelude::*;
use skiff_block::{Signature, SignatureKind, SignatureParams, Table};
use skiff_patch::{Codec, Job, Limits, PatchError, Source, State, block, decode};

fn table(old: &[u8], block_len: u32) -> Table {
    let params = SignatureParams::new(SignatureKind::default(), block_len, 16).expect("params");
    Table::new(Signature::of(old, &params, NonZeroUsize::MIN).expect("a signature")).expect("a table")
}

fn decoded(old: &[u8], payload: &[u8], output_len: u64) -> Result<Vec<u8>, PatchError> {
    let mut output = Vec::new();
    let mut source = Source::new(Cursor::new(old), old.len() as u64);
    let result = decode(
        &Job::new(Codec::Block, payload, output_len),
        &mut source,
        &mut output,
        &Limits::default(),
        &mut State::new(),
    );
    assert!(result.is_ok() || output.is_empty(), "something of a bad payload was written");
    result.map(|()| output)
}

fn joined(old: &[u8], segments: &[block::Segment]) -> Vec<u8> {
    let part =
        |segment: &block::Segment| decoded(old, &segment.payload, segment.output_len).expect("a segment");
    segments.iter().flat_map(part).collect()
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(old in prop::collection::vec(0..3_u8, 0..600), new in prop::collection::vec(0..3_u8, 0..600), block_len in 1..60_u32) {
        let table = table(&old, block_len);
        prop_assert_eq!(&joined(&old, &block::encode(&table, &new[..]).unwrap()), &new);
        prop_assert_eq!(&joined(&old, &block::encode_with_old(&table, Cursor::new(&old), &new[..]).unwrap()), &new);
    }

    #[test]
    fn hostile_payloads_write_nothing(payload in prop::collection::vec(any::<u8>(), 0..50), old in prop::collection::vec(any::<u8>(), 0..50), output_len in 0..300_u64) {
        let payload = [&[0x72, 0x73, 0x02, 0x36][..], &payload].concat();
        if let Ok(output) = decoded(&old, &payload, output_len) {
            prop_assert_eq!(output.len() as u64, output_len);
        }
    }
}

#[test]
fn long_files_are_cut_into_segments() {
    let words = |count: u32, factor: u32| -> Vec<u8> {
        (0..count).flat_map(|number| number.wrapping_mul(number).wrapping_mul(factor).to_le_bytes()).collect()
    };
    let old = words(500_000, 2_654_435_761);
    let new = [words(2_500_000, 2_246_822_519), old.clone()].concat();
    let segments = block::encode(&table(&old, 1000), &new[..]).expect("segments");
    let lengths: Vec<usize> = segments.iter().map(|segment| segment.payload.len()).collect();
    assert_eq!(lengths.len(), 3, "{lengths:?}");
    assert!(lengths.iter().all(|&length| length <= (4 << 20) + 32), "{lengths:?}");
    assert!(lengths[2] < 2_000_000, "the old file is copied: {lengths:?}");
    assert!(joined(&old, &segments) == new);
}

#[test]
fn no_segment_makes_more_than_a_device_should_do_at_once() {
    let old = vec![7; 21 << 20];
    let segments = block::encode(&table(&old, 4096), &old[..]).expect("segments");
    let lengths: Vec<u64> = segments.iter().map(|segment| segment.output_len >> 20).collect();
    assert_eq!(lengths, [8, 8, 5]);
    assert!(joined(&old, &segments) == old);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let old = b"0123456789";
    let payload = |commands: &[u8]| [&[0x72, 0x73, 0x02, 0x36][..], commands].concat();
    let copy_and_two = payload(&[0x45, 2, 3, 2, b'a', b'b', 0]);
    assert_eq!(decoded(old, &copy_and_two, 5).unwrap(), b"234ab");
    for (commands, output_len, at, what) in [
        (&[0x45, 2, 3, 2, b'a', b'b', 0][..], 4, 7, "more than the output"),
        (&[0x45, 2, 3, 2, b'a', b'b', 0], 6, 11, "less than the output"),
        (&[0x45, 2, 3, 0, 0], 3, 8, "bytes follow"),
        (&[0x45, 8, 3, 0], 3, 4, "the source does not have"),
        (&[0x45, 2, 3], 3, 7, "should stand"),
        (&[0x55], 3, 4, "no command"),
        (&[3, b'a'], 3, 6, "before the end of new bytes"),
    ] {
        let error = decoded(old, &payload(commands), output_len).unwrap_err();
        let expected = matches!(&error, PatchError::Corrupt { offset, what: found } if *offset == at && found.contains(what));
        assert!(expected, "{what}: {error}");
    }
}
