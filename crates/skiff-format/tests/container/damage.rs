//! Every truncation and every flipped bit of a small delta.

use skiff_format::{
    Compressor, DetachedSignature, Digest, Event, FormatError, Header, Limits, Signatures, replace_signatures,
};

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

/// Where the length of the signatures stands.
const SIGNATURES_LEN: std::ops::Range<usize> = 48..52;

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
            FormatError::Corrupt { offset, .. } => {
                assert!(offset < header.bytes().len() as u64 || SIGNATURES_LEN.contains(&at));
            }
            // The version was hit, or the length.
            FormatError::Unsupported { .. } => assert!((8..10).contains(&at)),
            FormatError::LimitExceeded { .. } => {
                assert!((12..16).contains(&at) || SIGNATURES_LEN.contains(&at));
            }
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

/// The digest does not cover signatures, which whoever carries a delta may change or leave out: nothing else of it changes with them.
#[test]
fn signatures_change_nothing_but_themselves() {
    let (unsigned, events, header) = sound();
    let signed = samples::signed(&unsigned);
    let block = header.bytes().len()..header.bytes().len() + samples::SIGNATURES_LEN as usize;
    let mut taken = 0;
    for bit in SIGNATURES_LEN.chain(block).flat_map(|at| at * 8..at * 8 + 8) {
        let mut damaged = signed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (seen, end) = decode(&damaged, Limits::default());
        let Some(Event::Header(other)) = seen.first() else {
            end.expect_err("nothing comes out of a delta that is refused, and of no other");
            continue;
        };
        end.unwrap();
        taken += 1;
        assert_ne!(other.signatures(), &samples::signatures());
        assert_eq!((other.digest(), other.target()), (header.digest(), header.target()));
        assert_eq!(other.delta_size(), header.delta_size() + samples::SIGNATURES_LEN);
        assert!(payloads(&seen).eq(payloads(&events)));
    }
    assert!(taken > 2000, "{taken}");
}

fn payloads(events: &[Event]) -> impl Iterator<Item = Option<&[u8]>> {
    events[1..].iter().map(|event| match event {
        Event::Frame(frame) => Some(&frame.payload[..]),
        _ => None,
    })
}

#[test]
fn what_is_damaged_is_not_signed() {
    let (delta, _, header) = sound();
    let resign = |delta: &[u8]| {
        let choose = |_: &Header| Ok::<_, FormatError>(samples::signatures());
        replace_signatures(delta, Limits::default(), Vec::new(), choose)
    };
    resign(&delta).unwrap();
    resign(&samples::signed(&delta)).unwrap();
    for frame in header.frames() {
        let at = usize::try_from(frame.offset).unwrap();
        for damaged in [delta[..=at].to_vec(), [&delta[..at], &[!delta[at]], &delta[at + 1..]].concat()] {
            let refused = resign(&damaged);
            assert!(matches!(refused, Err(FormatError::Corrupt { offset, .. }) if offset == frame.offset));
        }
    }
    let longer = resign(&[&delta[..], b"x"].concat());
    assert!(matches!(longer, Err(FormatError::Corrupt { offset, .. }) if offset == delta.len() as u64));
}

#[test]
fn signatures_come_and_go() {
    let (delta, ..) = sound();
    let signed = samples::signed(&delta);
    assert_eq!(signed.len() as u64, delta.len() as u64 + samples::SIGNATURES_LEN);
    assert_eq!(samples::signed(&signed), signed, "the same signatures are the same delta");
    let mut unsigned = Vec::new();
    let none = |_: &Header| Ok::<_, FormatError>(Signatures::default());
    replace_signatures(&signed[..], Limits::default(), &mut unsigned, none).unwrap();
    assert_eq!(unsigned, delta);
    // As many as there may be, and no more.
    let mut signatures = Signatures::default();
    let by = |key| DetachedSignature { algorithm: 9, key: Digest::of(&[key]), bytes: vec![key] };
    (0..16).for_each(|key| signatures.add(by(key)).unwrap());
    signatures.add(by(3)).unwrap();
    assert!(matches!(signatures.add(by(16)), Err(FormatError::LimitExceeded { .. })));
    let short = DetachedSignature { algorithm: DetachedSignature::ED25519, ..by(0) };
    assert!(matches!(Signatures::default().add(short), Err(FormatError::Corrupt { .. })));
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
            _ => panic!("no frame is left out"),
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
