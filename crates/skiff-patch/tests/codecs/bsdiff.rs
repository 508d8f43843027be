//! The bsdiff codec against the `bsdiff` crate's own decoder, and against anything.

use std::borrow::Cow;
use std::io::Cursor;
use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;
use skiff_patch::bsdiff::{self, Options, Segment};
use skiff_patch::{Codec, Job, Limits, PatchError, Source, State, decode};

fn options(segment_bytes: u32, window_bytes: u32) -> Options {
    let bytes = |count| NonZeroU32::new(count).unwrap();
    Options { segment_bytes: bytes(segment_bytes), window_bytes: bytes(window_bytes), ..Options::default() }
}

fn decode_one(old: &[u8], payload: &[u8], output_len: u64) -> (Vec<u8>, Result<(), PatchError>) {
    let mut output = Vec::new();
    let mut source = Source::new(Cursor::new(old), old.len() as u64);
    let job = Job::new(Codec::Bsdiff, payload, output_len);
    let result = decode(&job, &mut source, &mut output, &Limits::default(), &mut State::new());
    (output, result)
}

fn decode_all(old: &[u8], segments: &[Segment]) -> Vec<u8> {
    let decode = |segment: &Segment| {
        let (output, result) = decode_one(old, &segment.payload, segment.output_len);
        result.unwrap();
        output
    };
    segments.iter().flat_map(decode).collect()
}

/// Two files that have something to do with each other: pieces of the first in any order, bytes changed, and new ones.
fn related() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let piece = (any::<prop::sample::Index>(), 0..400_usize, vec(any::<u8>(), 0..12), 1..40_usize);
    (vec(any::<u8>(), 1..3000), vec(piece, 0..8)).prop_map(|(old, pieces)| {
        let mut new = Vec::new();
        for (index, length, fresh, step) in pieces {
            let start = index.index(old.len());
            let mut piece = old[start..(start + length).min(old.len())].to_vec();
            piece.iter_mut().skip(step).step_by(97).for_each(|byte| *byte ^= 1);
            new.extend(piece);
            new.extend(fresh);
        }
        (old, new)
    })
}

proptest! {
    #[test]
    fn related_files_come_back((old, new) in related(), segment in 1..2000_u32, window in 1..4000_u32) {
        let segments = bsdiff::encode(&old, &new, &options(segment, window));
        prop_assert!(segments.iter().all(|part| part.output_len <= u64::from(segment)));
        prop_assert_eq!(decode_all(&old, &segments), new);
    }

    #[test]
    fn any_files_come_back(old in vec(any::<u8>(), 0..200), new in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode_all(&old, &bsdiff::encode(&old, &new, &Options::default())), new);
    }

    /// The crate's decoder reads the same controls and data, put into its own framing.
    #[test]
    fn the_reference_decoder_agrees((old, new) in related()) {
        let segments = bsdiff::encode(&old, &new, &Options::default());
        let mut output = Vec::new();
        for segment in &segments {
            ::bsdiff::patch(&old, &mut Cursor::new(reframe(&segment.payload)), &mut output).unwrap();
        }
        prop_assert_eq!(&output, &new);
    }

    /// And this decoder reads the crate's.
    #[test]
    fn the_reference_encoder_is_read((old, new) in related()) {
        let mut stream = Vec::new();
        ::bsdiff::diff(&old, &new, &mut stream).unwrap();
        let (output, result) = decode_one(&old, &unframe(&stream), new.len() as u64);
        result.unwrap();
        prop_assert_eq!(output, new);
    }

    #[test]
    fn damage_neither_panics_nor_writes_more(
        (old, new) in related(),
        flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for segment in bsdiff::encode(&old, &new, &Options::default()) {
            let mut payload = segment.payload;
            for (index, bit) in &flips {
                let index = index.index(payload.len());
                payload[index] ^= 1 << bit;
            }
            let (output, result) = decode_one(&old, &payload, segment.output_len);
            prop_assert_eq!(output.len() as u64, if result.is_ok() { segment.output_len } else { 0 });
            payload.truncate(cut.index(payload.len()));
            let (output, result) = decode_one(&old, &payload, segment.output_len);
            prop_assert!(result.is_err() && output.is_empty());
        }
    }

    #[test]
    fn anything_is_read_or_refused(old in vec(any::<u8>(), 0..50), payload in vec(0..20_u8, 0..40), length in 0..60_u64) {
        let (output, result) = decode_one(&old, &payload, length);
        prop_assert_eq!(output.len() as u64, if result.is_ok() { length } else { 0 });
    }
}

/// A payload as the crate's stream of 24-byte controls, each with its data behind it.
fn reframe(payload: &[u8]) -> Vec<u8> {
    let mut input = skiff_wire::Input::new(payload);
    let position = input.varint().unwrap();
    let count = input.varint().unwrap();
    let mut controls = vec![(0, 0, position as i64)];
    for index in 0..count {
        let (add, copy) = (input.varint().unwrap(), input.varint().unwrap());
        let seek = if index + 1 < count { skiff_wire::unzigzag(input.varint().unwrap()) } else { 0 };
        controls.push((add, copy, seek));
    }
    let mut stream = Vec::new();
    for (add, copy, seek) in controls {
        stream.extend(add.to_le_bytes());
        stream.extend(copy.to_le_bytes());
        stream.extend((seek.unsigned_abs() | u64::from(seek < 0) << 63).to_le_bytes());
        stream.extend(input.slice(add + copy).unwrap());
    }
    stream
}

/// The reverse. A control that adds nothing is joined with the one before it, as this codec wants it.
fn unframe(stream: &[u8]) -> Vec<u8> {
    let mut input = skiff_wire::Input::new(stream);
    let (mut controls, mut data) = (Vec::<(u64, u64, i64)>::new(), Vec::<u8>::new());
    let mut start = 0;
    while !input.is_at_end().unwrap() {
        let mut field = || u64::from_le_bytes(input.array().unwrap());
        let (add, copy, seek) = (field(), field(), field());
        let magnitude = (seek & !(1 << 63)) as i64;
        let seek = if seek >> 63 == 1 { -magnitude } else { magnitude };
        data.extend(input.slice(add + copy).unwrap());
        match controls.last_mut() {
            Some(last) if add == 0 => (last.1, last.2) = (last.1 + copy, last.2 + seek),
            None if add == 0 && copy == 0 => start = seek as u64,
            _ => controls.push((add, copy, seek)),
        }
    }
    let mut payload = Vec::new();
    skiff_wire::put_varint(&mut payload, start);
    skiff_wire::put_varint(&mut payload, controls.len() as u64);
    for (index, &(add, copy, seek)) in controls.iter().enumerate() {
        skiff_wire::put_varint(&mut payload, add);
        skiff_wire::put_varint(&mut payload, copy);
        if index + 1 < controls.len() {
            skiff_wire::put_varint(&mut payload, skiff_wire::zigzag(seek));
        }
    }
    payload.extend(data);
    payload
}

fn refused(payload: &[u8], output_len: u64) -> (u64, &'static str) {
    match decode_one(b"0123456789", payload, output_len) {
        (output, Err(PatchError::Corrupt { offset, what: Cow::Borrowed(what) })) => {
            assert!(output.is_empty());
            (offset, what)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_layout_is_as_documented() {
    // From position 2: add 3, copy 1, back by 4; add 1, copy 0.
    let (output, result) = decode_one(b"0123456789", &[2, 2, 3, 1, 7, 1, 0, 0, 1, 0, b'x', 0], 5);
    result.unwrap();
    assert_eq!(output, b"244x1");
    let (output, result) = decode_one(b"", &[0, 0], 0);
    result.unwrap();
    assert_eq!(output, b"");
}

#[test]
fn each_fault_has_its_message() {
    assert_eq!(refused(&[], 0), (0, "the payload ends too early"));
    assert_eq!(refused(&[0x80, 0, 0], 0).1, "an integer is not in its shortest form or too large");
    assert_eq!(refused(&[11, 0], 0), (0, "the payload begins beyond the source"));
    assert_eq!(refused(&[9, 1, 2, 0, 0, 0], 2), (2, "a control reads beyond the source"));
    assert_eq!(refused(&[0, 2, 1, 0, 3, 1, 0, 0, 0], 2), (2, "a control leaves the source"));
    assert_eq!(refused(&[0, 1, 0, 0], 0), (2, "a control adds nothing"));
    assert_eq!(refused(&[0, 2, 1, 0, 0, 0, 1, 0, 0], 2), (5, "a control adds nothing"));
    assert_eq!(refused(&[0, 1, 2, 0, 0, 0], 1), (4, "the controls make more than the output"));
    assert_eq!(refused(&[0, 1, 2, 0, 0, 0], 3), (4, "the controls make less than the output"));
    assert_eq!(refused(&[0, 1, 2, 0, 0], 2), (4, "the data is not as long as the output"));
    assert_eq!(refused(&[0, 1, 2, 0, 0, 0, 0], 2), (4, "the data is not as long as the output"));
    assert_eq!(refused(&[0, 0, 7], 0), (2, "the data is not as long as the output"));
}

#[test]
fn windows_find_what_stayed_in_place() {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let old: Vec<u8> = (0..200_000).map(|_| noise()).collect();
    let mut new = old.clone();
    new.splice(1000..1000, *b"some new bytes at the front");
    new.splice(150_000..150_100, []);
    new[199_000] ^= 1;
    let segments = bsdiff::encode(&old, &new, &options(50_000, 40_000));
    assert_eq!(segments.len(), 4);
    assert_eq!(decode_all(&old, &segments), new);
    let nonzero = |segment: &Segment| segment.payload.iter().filter(|&&byte| byte != 0).count();
    assert!(segments.iter().map(nonzero).sum::<usize>() < 200);
}

#[test]
fn repetitive_files_take_little_time() {
    let zeros = vec![0; 3 << 20];
    let mut spotted = zeros.clone();
    spotted.iter_mut().step_by(70_000).for_each(|byte| *byte = 1);
    let periodic: Vec<u8> = (0..3 << 20).map(|index| (index % 997 % 251) as u8).collect();
    let start = std::time::Instant::now();
    for (old, new) in
        [(&zeros[..], &spotted[..]), (&spotted, &zeros), (&periodic, &periodic[3..]), (&zeros, &periodic)]
    {
        assert!(decode_all(old, &bsdiff::encode(old, new, &Options::default())) == new);
    }
    // Without the guard, minutes.
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}
