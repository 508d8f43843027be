//! Golden deltas, damaged everywhere: by accident, and by somebody who mends the digests.

use std::io::Cursor;

use skiff_format::{Compression, Decoder, Encoder, Event, Frame, HeaderFields, Section, compress};
use skiff_replay::ReplayError;
use skiff_tree::{EntryPath, ReleaseId};

use crate::images::Image;
use crate::{GOLDEN, follow, write_missing};

#[test]
fn a_delta_cut_anywhere_is_an_error() {
    write_missing();
    for golden in &GOLDEN {
        let (delta, base) = (golden.read(), Image::read(golden.base));
        for length in 0..delta.len() {
            assert!(follow(&delta[..length], base.base()).0.is_err(), "{}: {length} bytes", golden.name);
        }
        assert!(follow(&[&delta[..], &[0]].concat(), base.base()).0.is_err(), "{}: one more", golden.name);
    }
}

#[test]
fn a_delta_with_any_bit_flipped_is_an_error() {
    write_missing();
    for golden in &GOLDEN {
        let (mut delta, base) = (golden.read(), Image::read(golden.base));
        for bit in 0..delta.len() * 8 {
            delta[bit / 8] ^= 1 << (bit % 8);
            assert!(follow(&delta, base.base()).0.is_err(), "{}: bit {bit}", golden.name);
            delta[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// The header's fields and the frames, decompressed.
pub(crate) fn take_apart(delta: &[u8]) -> (HeaderFields, Vec<(Section, Vec<u8>)>) {
    let mut decoder = Decoder::new(skiff_format::Limits::default());
    let mut input = delta;
    let Some(Event::Header(header)) = decoder.push(&mut input).unwrap() else { panic!("no header") };
    let mut frames = Vec::new();
    while let Some(event) = decoder.push(&mut input).unwrap() {
        let Event::Frame(Frame { section, payload, .. }) = event else { panic!("no frame") };
        frames.push((section, payload));
    }
    (HeaderFields::from(&*header), frames)
}

pub(crate) fn put_together(fields: &HeaderFields, frames: &[(Section, Vec<u8>)]) -> Vec<u8> {
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    for (section, payload) in frames {
        encoder.add(compress(*section, payload, &Compression::Stored).unwrap()).unwrap();
    }
    let mut delta = Vec::new();
    encoder.finish(fields, &mut delta).unwrap();
    delta
}

/// Digests do not stop an attacker, who computes them. Whatever a payload says then, nothing passes for the target that
/// is not the target.
#[test]
fn a_payload_damaged_before_it_was_hashed_never_leads_elsewhere() {
    write_missing();
    // The last has the payloads of the one before, compressed otherwise.
    for golden in &GOLDEN[..2] {
        let base = Image::read(golden.base);
        let (fields, mut frames) = take_apart(&golden.read());
        let expected = ReleaseId::from_bytes(*fields.target.release.as_bytes());
        assert!(follow(&put_together(&fields, &frames), base.base()).0.is_ok(), "{}", golden.name);
        for frame in 0..frames.len() {
            for bit in 0..frames[frame].1.len() * 8 {
                frames[frame].1[bit / 8] ^= 1 << (bit % 8);
                // A few bits say the same in two ways: a changed directory "holds" nothing, either way.
                if let Ok(replayed) = follow(&put_together(&fields, &frames), base.base()).0 {
                    assert_eq!(replayed.release, expected, "{}: frame {frame}, bit {bit}", golden.name);
                    assert_eq!(replayed.tree.digest().as_bytes(), fields.target.tree.as_bytes());
                }
                frames[frame].1[bit / 8] ^= 1 << (bit % 8);
            }
            let whole = frames[frame].1.clone();
            for length in 1..whole.len() {
                frames[frame].1.truncate(length);
                let outcome = follow(&put_together(&fields, &frames), base.base()).0;
                assert!(outcome.is_err(), "{}: frame {frame}, {length} bytes", golden.name);
                frames[frame].1.clone_from(&whole);
            }
        }
    }
}

#[test]
fn a_delta_for_another_base_is_refused_before_anything_is_written() {
    write_missing();
    for golden in &GOLDEN {
        let target = Image::read(golden.target);
        let (outcome, sink) = follow(&golden.read(), target.base());
        assert!(
            matches!(outcome, Err(ReplayError::WrongBase { found, .. }) if found == target.release().id())
        );
        assert!(sink.prelude.is_none() && sink.contents.is_empty());
    }
}

#[test]
fn a_base_that_was_changed_is_refused() {
    write_missing();
    let golden = &GOLDEN[1];
    let mut base = Image::read(golden.base);
    let path = EntryPath::new("bin/tool").unwrap();
    let mut bytes = base.content(&path);
    bytes[5] ^= 1;
    base.contents.insert(path.clone(), bytes);
    let (outcome, _) = follow(&golden.read(), base.base());
    assert!(matches!(outcome, Err(ReplayError::BaseDamaged { path: found, .. }) if found == path));
}
