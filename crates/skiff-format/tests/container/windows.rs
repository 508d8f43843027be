//! Zstandard frames that look further back than their window lets them.

use std::io::Write as _;

use skiff_format::{Compression, Limits, Section, compress};

use crate::raw::{Raw, Row};
use crate::{decode, error_of, samples};

/// Noise, other noise, and the first again, in blocks of at most so many bytes; the window is then said to be 1 KiB.
fn frame(block: usize) -> (Vec<u8>, u64) {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let first: Vec<u8> = (0..2000).map(|_| noise()).collect();
    let second: Vec<u8> = (0..4000).map(|_| noise()).collect();
    let payload = [&first[..], &second, &first].concat();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(13).unwrap();
    for piece in payload.chunks(block) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    let mut bytes = encoder.finish().unwrap();
    assert_eq!(bytes[4] & 0x20, 0, "it has a window");
    assert_eq!(bytes[5], 3 << 3, "of 8 KiB");
    bytes[5] = 0;
    (bytes, payload.len() as u64)
}

#[test]
fn a_zstandard_frame_may_not_look_beyond_its_window() {
    for block in [500, 1900] {
        let (bytes, size) = frame(block);
        assert!(zstd::stream::decode_all(&bytes[..]).is_err(), "another decoder, whose memory is the window");
        let row = Row::compressed(3, (2, 10), bytes, size);
        assert!(row.encoded < size, "a match is what makes it smaller");
        let error = error_of(&Raw::new(vec![row]).bytes());
        assert!(error.to_string().contains("window is smaller"), "{error}");
    }
}

#[test]
fn a_large_payload_gets_a_window_that_holds_it() {
    let noise =
        |seed: u64| (0..600_000_u64).map(move |at| (at.wrapping_mul(seed | 1).wrapping_mul(at) >> 17) as u8);
    let payload: Vec<u8> = noise(0x9e37_79b9).chain(noise(0x85eb_ca6b)).chain(noise(0x9e37_79b9)).collect();
    for level in [-5, 1, 3, 19] {
        let frame = compress(Section::Tree, &payload, &Compression::Zstd { level }).unwrap();
        assert!(frame.encoded_size() < payload.len() as u64, "a match far back is found at level {level}");
        let bytes = samples::bytes_of(frame);
        let row = Row::compressed(3, (2, 21), bytes, payload.len() as u64);
        decode(&Raw::new(vec![row]).bytes(), Limits::default()).1.unwrap();
    }
}
