//! The zip codec on archives made by Info-ZIP 3.0, OpenJDK's jar and Python's zipfile, and by no one.

use std::io::Cursor;
use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;
use skiff_patch::{Codec, Job, Limits, PatchError, Source, State, decode, decoder_memory, zip};

#[path = "../common/archives.rs"]
mod archives;

use archives::{Form, Member, Shape, archive, members};

/// The same trees, before and after: a changed file, a moved one, a new one.
const PAIRS: [(&str, &[u8], &[u8]); 4] = [
    ("zip", include_bytes!("../zip/infozip.old.zip"), include_bytes!("../zip/infozip.new.zip")),
    ("jar", include_bytes!("../zip/jar.old.jar"), include_bytes!("../zip/jar.new.jar")),
    ("zipfile", include_bytes!("../zip/python.old.zip"), include_bytes!("../zip/python.new.zip")),
    ("a jar in a zip", include_bytes!("../zip/nested.old.zip"), include_bytes!("../zip/nested.new.zip")),
];

fn over(bytes: &[u8]) -> Source<Cursor<&[u8]>> {
    Source::new(Cursor::new(bytes), bytes.len() as u64)
}

fn decode_one(old: &[u8], payload: &[u8], output_len: u64) -> (Vec<u8>, Result<(), PatchError>) {
    let mut output = Vec::new();
    let job = Job::new(Codec::Zip, payload, output_len);
    let result = decode(&job, &mut over(old), &mut output, &Limits::default(), &mut State::new());
    (output, result)
}

/// By both encoders; the lengths of what they make.
fn comes_back(old: Option<&[u8]>, new: &[u8], options: &zip::Options) -> Option<(usize, usize)> {
    let segments = zip::encode(old, new, options);
    let plan = zip::Plan::new(old, new, options);
    assert_eq!(segments.is_some(), plan.is_some());
    let (segments, plan) = segments.zip(plan)?;
    let old = old.unwrap_or_default();

    let mut whole = Vec::new();
    for segment in &segments {
        let source = if segment.reads_source { old } else { b"" };
        let (output, result) = decode_one(source, &segment.payload, segment.output_len);
        result.unwrap();
        whole.extend(output);
    }
    assert!(whole == new);

    let source = if plan.forecast().reads_source { old } else { b"" };
    let payload = plan.write(&mut over(source), new, &mut State::new()).unwrap();
    let job = Job::new(Codec::Zip, &payload, plan.forecast().output_len);
    assert!(decoder_memory(&job).unwrap() <= plan.forecast().decoder_memory);
    let (output, result) = decode_one(source, &payload, plan.forecast().output_len);
    result.unwrap();
    assert!(output == new);
    Some((segments.iter().map(|segment| segment.payload.len()).sum(), payload.len()))
}

fn with_segments(bytes: u32) -> zip::Options {
    zip::Options { segment_bytes: NonZeroU32::new(bytes).unwrap(), ..zip::Options::default() }
}

#[test]
fn little_is_sent_of_what_changed() {
    for (program, old, new) in PAIRS {
        let planned = comes_back(Some(old), new, &zip::Options::default());
        let (_, planned) = planned.expect(program);
        // A new text of 1.6 KB, which they compress to 0.9 KB, and its name.
        assert!(planned < 1300, "{program}: {planned}");
    }
}

#[test]
fn nothing_is_sent_of_what_did_not() {
    for (program, old, _) in PAIRS {
        let (_, planned) = comes_back(Some(old), old, &zip::Options::default()).unwrap();
        assert!(planned < 100, "{program}: {planned}");
    }
}

#[test]
fn archives_come_back_without_a_base_and_from_any() {
    let pairs = PAIRS.iter().flat_map(|(.., new)| PAIRS.iter().map(move |(_, old, _)| (Some(*old), *new)));
    for (old, new) in pairs.chain([(None, PAIRS[0].2), (Some(&b"no archive"[..]), PAIRS[1].2)]) {
        comes_back(old, new, &zip::Options::default()).unwrap();
    }
}

/// A directory in another segment than the members knows less of them.
#[test]
fn segments_of_any_length_come_back() {
    for (_, old, new) in PAIRS {
        for bytes in [1, 100, 1000, 3000, 5000] {
            let options = with_segments(bytes);
            comes_back(Some(old), new, &options).unwrap();
            comes_back(None, new, &options).unwrap();
        }
    }
}

/// A byte, for which a directory of so many entries is read.
#[test]
fn directories_are_bounded_by_what_comes_of_them() {
    const ENTRY: usize = 46;
    let most = (64 + (64 << 10)) / ENTRY;
    for (entries, is_allowed) in [(most, true), (most + 1, false)] {
        let mut source = vec![0; entries];
        for entry in 0..entries {
            let mut central = [0; ENTRY];
            central[..4].copy_from_slice(b"PK\x01\x02");
            central[42..].copy_from_slice(&(entry as u32).to_le_bytes());
            source.extend(central);
        }
        let mut payload = vec![1];
        for number in [0, entries, entries * ENTRY, entries, 0, 1, 0, 0, 0] {
            skiff_wire::put_varint(&mut payload, number as u64);
        }
        // A group of one byte, and that byte as it is.
        payload.extend([2, 0, 4, 4, 1, 1, 1, 1, b'x']);
        let (output, result) = decode_one(&source, &payload, 1);
        match result {
            Ok(()) => assert!(is_allowed && output == b"x"),
            Err(error) => assert!(!is_allowed && error.to_string().contains("far more"), "{error}"),
        }
    }
}

/// A member that says of itself how long it is, packed and plain, wanted so many times for some bytes by a group each.
#[test]
fn old_texts_are_bounded_by_what_comes_of_them() {
    const OUTPUT: usize = 4;
    let most = 64 * OUTPUT + (64 << 10);
    let refused = |packed: usize, groups: usize| {
        let header = |signature: &[u8], fields: usize| {
            let mut header = [signature, &vec![0; fields - 4]].concat();
            header[if fields == 30 { 8 } else { 10 }] = 8;
            header
        };
        // A deflate stream of nothing, and what is behind it, which is not looked at.
        let mut source = [header(b"PK\x03\x04", 30), vec![3, 0], vec![0; packed - 2]].concat();
        let directory = source.len();
        let mut central = header(b"PK\x01\x02", 46);
        central[20..24].copy_from_slice(&(packed as u32).to_le_bytes());
        source.extend(central);
        let mut payload = vec![1];
        for number in [0, directory, 46, 1, 0, 30, 30, 0, 9] {
            skiff_wire::put_varint(&mut payload, number as u64);
        }
        // Each group makes nothing of the member, by bsdiff without a control; a header that is opaque takes its text.
        let kinds: Vec<u8> = std::iter::repeat_n([0, 0x87], groups).flatten().collect();
        let numbers: Vec<u8> = (0..groups).flat_map(|group| [2, 0, 2, u8::from(group > 0), 0]).collect();
        skiff_wire::put_bytes(&mut payload, &kinds);
        skiff_wire::put_bytes(&mut payload, &numbers);
        payload.extend([0, 0].repeat(groups));
        decode_one(&source, &payload, OUTPUT as u64).1.unwrap_err().to_string().contains("far more")
    };
    assert!(!refused(most - 30, 1));
    assert!(refused(most - 29, 1));
    assert!(!refused(most / 2 - 30, 2));
    assert!(refused(most / 2 - 29, 2));
}

/// A member of zeros, which compress to next to nothing, of a text that is sent as it is.
#[test]
fn texts_are_bounded_by_what_comes_of_them() {
    const OUTPUT: usize = 200;
    let most = 64 * OUTPUT + (64 << 10);
    for (length, is_allowed) in [(most, true), (most + 1, false)] {
        let mut text = vec![0; length];
        text[..4].copy_from_slice(b"PK\x03\x04");
        text[8] = 8;
        let (mut payload, mut numbers) = (vec![0], Vec::new());
        for number in [0, length, 0, length, 0] {
            skiff_wire::put_varint(&mut payload, number as u64);
        }
        for number in [1, length, length, 9, length - 30] {
            skiff_wire::put_varint(&mut numbers, number as u64);
        }
        // A group, a compressor, and a member that is made.
        skiff_wire::put_bytes(&mut payload, &[0, 2, 6]);
        skiff_wire::put_bytes(&mut payload, &numbers);
        payload.extend(text);
        let error = decode_one(b"", &payload, OUTPUT as u64).1.unwrap_err().to_string();
        assert_eq!(error.contains("far more than comes of it"), !is_allowed, "{error}");
    }
}

#[test]
fn what_is_not_an_archive_is_declined() {
    let (_, old, new) = PAIRS[0];
    for other in [&new[..new.len() - 1], &new[1..], b"", b"PK\x05\x06", &new[new.len() - 22..]] {
        assert!(comes_back(Some(old), other, &zip::Options::default()).is_none(), "{} bytes", other.len());
    }
}

#[test]
fn members_of_strange_forms_come_back() {
    let (_, old, new) = PAIRS[2];
    let fancy = |archive_of: &[u8], shape| {
        let forms = members(archive_of).into_iter().enumerate().map(|(index, member)| {
            let descriptor = (index % 4) as u8;
            (member, Form { descriptor, gap: (index % 3) as u8, extra: 4, ..Form::default() })
        });
        archive(&forms.collect::<Vec<_>>(), shape)
    };
    for is_reversed in [false, true] {
        for (prefix, is_apart) in [(0, false), (9, false), (9, true)] {
            let shape = Shape { prefix, is_apart, is_reversed, comment: 5 };
            comes_back(Some(old), &fancy(new, shape), &zip::Options::default()).unwrap();
            comes_back(Some(&fancy(old, shape)), &fancy(new, shape), &zip::Options::default()).unwrap();
        }
    }
}

#[test]
fn a_member_may_be_encrypted_or_of_an_unknown_method_or_damaged() {
    let (_, old, new) = PAIRS[2];
    let mut all = members(new);
    all[0].method = 12;
    let last = all.len() - 1;
    all[last].packed.fill(0xff);
    let all: Vec<_> = all.into_iter().map(|member| (member, Form::default())).collect();
    let mut bytes = archive(&all, Shape::default());
    // The flag of encryption, in the header and in the directory.
    let at = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    bytes[at + 8] |= 1;
    comes_back(Some(old), &bytes, &zip::Options::default()).unwrap();
    comes_back(Some(&bytes), new, &zip::Options::default()).unwrap();
}

#[test]
fn a_wrong_source_is_corrupt_or_makes_something_else() {
    let (_, old, new) = PAIRS[1];
    let segment = &zip::encode(Some(old), new, &zip::Options::default()).unwrap()[0];
    for source in [new, &old[..old.len() - 1], &old[1..], b""] {
        let (output, result) = decode_one(source, &segment.payload, segment.output_len);
        assert!(output.len() as u64 <= segment.output_len);
        assert!(matches!(result, Err(PatchError::Corrupt { .. })) || output != new, "{result:?}");
    }
}

#[test]
fn a_promise_of_another_length_is_corrupt() {
    let (_, old, new) = PAIRS[0];
    let segment = &zip::encode(Some(old), new, &zip::Options::default()).unwrap()[0];
    for length in [0, 17, new.len() as u64 - 1, new.len() as u64 + 1, u64::MAX] {
        let (output, result) = decode_one(old, &segment.payload, length);
        assert!(matches!(result, Err(PatchError::Corrupt { .. })), "{result:?}");
        assert!(output.len() as u64 <= length);
    }
}

#[test]
fn limits_are_kept_before_anything_is_written() {
    let (_, old, new) = PAIRS[0];
    let segment = &zip::encode(Some(old), new, &zip::Options::default()).unwrap()[0];
    let job = Job::new(Codec::Zip, &segment.payload, segment.output_len);
    let needed = decoder_memory(&job).unwrap();
    let decode = |limits: Limits| {
        let mut output = Vec::new();
        let result = decode(&job, &mut over(old), &mut output, &limits, &mut State::new());
        assert_eq!(output.len(), if result.is_ok() { new.len() } else { 0 });
        result
    };
    decode(Limits { memory_bytes: needed, ..Limits::default() }).unwrap();
    let error = decode(Limits { memory_bytes: needed - 1, ..Limits::default() }).unwrap_err();
    assert!(matches!(error, PatchError::LimitExceeded { wanted, .. } if wanted == needed));
    let error = decode(Limits { plain_bytes: 1000, ..Limits::default() }).unwrap_err();
    assert!(matches!(error, PatchError::LimitExceeded { wanted, limit: 1000, .. } if wanted > 1000));
}

fn pool() -> Vec<Member> {
    PAIRS.iter().flat_map(|(_, old, new)| [members(old), members(new)].concat()).collect()
}

fn form() -> impl Strategy<Value = Form> {
    (0..3_u16, 0..4_u8, 0..3_u8, 0..3_u8, prop::bool::weighted(0.05))
        .prop_map(|(time, descriptor, gap, extra, lies)| Form { time, descriptor, gap, extra, lies })
}

fn shape() -> impl Strategy<Value = Shape> {
    (0..3_u8, any::<bool>(), prop::bool::weighted(0.1), 0..3_u8)
        .prop_map(|(prefix, is_apart, is_reversed, comment)| Shape { prefix, is_apart, is_reversed, comment })
}

fn any_archive() -> impl Strategy<Value = Vec<u8>> {
    let pool = pool();
    (vec((0..pool.len(), form()), 0..12), shape()).prop_map(move |(chosen, shape)| {
        let chosen: Vec<_> = chosen.into_iter().map(|(index, form)| (pool[index].clone(), form)).collect();
        archive(&chosen, shape)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_archive_comes_back_or_is_declined(
        old in any_archive(),
        new in any_archive(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        segment_bytes in 1..8000_u32,
    ) {
        let mut new = new;
        for (index, byte) in damage {
            let at = index.index(new.len());
            new[at] = byte;
        }
        comes_back(Some(&old), &new, &with_segments(segment_bytes));
    }

    #[test]
    fn damage_neither_panics_nor_writes_more(
        pair in 0..PAIRS.len(),
        is_plan: bool,
        flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let (_, old, new) = PAIRS[pair];
        let mut payload = if is_plan {
            let plan = zip::Plan::new(Some(old), new, &zip::Options::default()).unwrap();
            plan.write(&mut over(old), new, &mut State::new()).unwrap()
        } else {
            zip::encode(Some(old), new, &zip::Options::default()).unwrap().remove(0).payload
        };
        for (index, bit) in &flips {
            let at = index.index(payload.len());
            payload[at] ^= 1 << bit;
        }
        let (output, result) = decode_one(old, &payload, new.len() as u64);
        prop_assert!(output.len() <= new.len() && (result.is_err() || output.len() == new.len()));
        payload.truncate(cut.index(payload.len()));
        let (output, result) = decode_one(old, &payload, new.len() as u64);
        prop_assert!(result.is_err() && output.len() <= new.len());
    }

    #[test]
    fn anything_is_read_or_refused(
        head in vec(0..200_u8, 6),
        kinds in vec(prop_oneof![0..9_u8, Just(0x85), Just(0x96), Just(0xa6), Just(0x88)], 0..12),
        numbers in vec(0..40_u8, 0..40),
        rest in vec(any::<u8>(), 0..60),
        length in 0..9000_u64,
    ) {
        let (_, old, _) = PAIRS[0];
        let directory = old.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        let mut payload = vec![1, 0];
        for number in [directory, old.len() - directory, 6] {
            skiff_wire::put_varint(&mut payload, number as u64);
        }
        payload.push(0);
        for number in head {
            skiff_wire::put_varint(&mut payload, u64::from(number) * 40);
        }
        payload.truncate(payload.len() - 2);
        skiff_wire::put_bytes(&mut payload, &kinds);
        skiff_wire::put_bytes(&mut payload, &numbers);
        payload.extend(rest);
        let (output, result) = decode_one(old, &payload, length);
        prop_assert!(output.len() as u64 <= length && (result.is_err() || output.len() as u64 == length));
    }
}
