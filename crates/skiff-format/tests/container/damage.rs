//! Every truncation and every flipped bit of a small delta.

use skiff_format::{Compressor, Event, FormatError, Header, Limits};

use crate::raw::{Raw, Row};
use crate::{decode, samples};

/// The delta, what it decodes to, and its header.
fn sound() -> (Vec<u8>, Vec<Event>, Header) {
    let delta = samples::all_compressors();
    let (events, end) = decode(&delta, Limits::default());
    end.unwrap();
    let Event::Header(header) = &events[0] else { panic!("the first event is the header") };
    let header = Header::clone(header);
    let used = |wanted: fn(&Compressor) -> bool| header.frames().iter().any(|f| wanted(&f.compressor));
    assert!(used(|c| matches!(c, Compressor::Stored)));
    assert!(used(|c| matches!(c, Compressor::Xz { .. })) && used(|c| matches!(c, Compressor::Zstd { .. })));
    (delta, events, header)
}

/// Checks that damage at this byte was told of the right part, and that nothing of this part or a later one came out.
fn check(damaged: &[u8], at: usize, sound: &(Vec<u8>, Vec<Event>, Header)) {
    let (_, events, header) = sound;
    let (seen, end) = decode(damaged, Limits::default());
    let error = end.expect_err("damage must be an error");
    assert!(seen.len() <= events.len() && seen == events[..seen.len()], "byte {at}: other events came out");
    let hit = header.frames().iter().position(|frame| (at as u64) < frame.offset + frame.encoded_size);
    let hit = hit.expect("because the damage is within the delta");
    let frame = &header.frames()[hit];
    if at < header.bytes().len() {
        assert!(seen.is_empty(), "byte {at}: an event came out of a damaged header");
        match error {
            FormatError::Corrupt { offset, .. } => assert!(offset < header.bytes().len() as u64),
            // The version was hit, or the length.
            FormatError::Unsupported { .. } => assert!((8..10).contains(&at)),
            FormatError::LimitExceeded { .. } => assert!((12..16).contains(&at)),
            other => panic!("byte {at}: {other:?}"),
        }
    } else {
        // The header, and the frames before the one that was hit.
        assert_eq!(seen.len(), hit + 1, "byte {at}");
        assert!(
            matches!(error, FormatError::Corrupt { offset, .. } if offset == frame.offset),
            "byte {at}: {error:?} does not name the frame at {}",
            frame.offset
        );
    }
}

#[test]
fn every_truncation_names_the_part_it_cuts() {
    let sound = sound();
    for length in 0..sound.0.len() {
        check(&sound.0[..length], length, &sound);
    }
}

#[test]
fn every_flipped_bit_names_the_part_it_hits() {
    let sound = sound();
    for bit in 0..sound.0.len() * 8 {
        let mut damaged = sound.0.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        check(&damaged, bit / 8, &sound);
    }
}

/// Digests do not stop an attacker, who writes them: a damaged stream with the right digest must fail in the compressor
/// or give as many bytes as were declared.
#[test]
fn streams_damaged_before_they_were_hashed_end_in_order() {
    let (delta, _, header) = sound();
    let mut refused = 0;
    for frame in &header.frames()[4..] {
        let numbers = match frame.compressor {
            Compressor::Stored => panic!("these are compressed"),
            Compressor::Xz { properties, dictionary } => {
                (1, u64::from(dictionary) << 8 | u64::from(properties))
            }
            Compressor::Zstd { window_log } => (2, u64::from(window_log)),
            Compressor::Mixed => (3, 0),
        };
        let start = usize::try_from(frame.offset).unwrap();
        let stream = &delta[start..start + usize::try_from(frame.encoded_size).unwrap()];
        let flips = (0..stream.len() * 8).map(|bit| {
            let mut damaged = stream.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        });
        let cuts = (1..stream.len()).map(|length| stream[..length].to_vec());
        for damaged in flips.chain(cuts) {
            let raw = Raw::new(vec![
                Row::stored(3, b"tree"),
                Row::compressed(4, numbers, damaged, frame.decoded_size),
            ]);
            let (seen, end) = decode(&raw.bytes(), Limits::default());
            match (end, seen.last()) {
                (Ok(()), Some(Event::Frame(last))) => {
                    assert_eq!(last.payload.len() as u64, frame.decoded_size);
                }
                (Err(FormatError::Corrupt { offset, .. }), Some(Event::Frame(last))) => {
                    assert_eq!((offset, last.index), (raw.header().len() as u64 + 4, 0));
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(refused > 100, "hardly any damage was noticed: {refused}");
}
