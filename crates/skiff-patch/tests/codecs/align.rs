//! Literals in a stream of their own, which a thread decodes.

use std::io::{self, Cursor, Write};

use skiff_patch::{Codec, Job, Limits, PatchError, Source, State, Stream, align, decode, decoder_memory};

/// The first byte of a payload whose literals are apart.
const APART: u8 = 2;

/// Lines with nothing in common.
fn lines(range: std::ops::Range<u64>) -> Vec<u8> {
    range.flat_map(|n| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes()).collect()
}

/// A file, and one with so many lines that are new, in several places.
fn pair(new_lines: u64) -> (Vec<u8>, Vec<u8>) {
    let old = lines(0..4_000);
    let third = old.len() / 3;
    let part = |number: u64| lines(1_000_000 * number..1_000_000 * number + new_lines / 4);
    let parts = [
        &part(1)[..],
        &old[..third],
        &part(2),
        &old[third..2 * third],
        &part(3),
        &old[2 * third..],
        &part(4),
    ];
    let new = parts.concat();
    (old, new)
}

fn payload(old: &[u8], new: &[u8]) -> Vec<u8> {
    let plan = align::Plan::new(old, new, &align::Options::default());
    let payload = plan.write_held(old, new, &mut State::new()).unwrap();
    let declared = decoder_memory(&Job::new(Codec::Align, &payload, new.len() as u64)).unwrap();
    assert_eq!(declared, plan.forecast().decoder_memory);
    payload
}

fn decode_to(output: &mut impl Write, old: &[u8], payload: &[u8], length: usize) -> Result<(), PatchError> {
    let mut source = Source::new(Cursor::new(old), old.len() as u64);
    let job = Job::new(Codec::Align, payload, length as u64);
    decode(&job, &mut source, output, &Limits::default(), &mut State::new())
}

fn decoded(old: &[u8], payload: &[u8], length: usize) -> Result<Vec<u8>, PatchError> {
    let mut output = Vec::new();
    decode_to(&mut output, old, payload, length).map(|()| output)
}

#[test]
fn many_literals_are_apart_and_few_are_not() {
    let (old, new) = pair(4_000);
    let payload_of_many = payload(&old, &new);
    assert_eq!(payload_of_many[0], APART);
    assert!(decoded(&old, &payload_of_many, new.len()).unwrap() == new);

    let (old, new) = pair(200);
    let payload_of_few = payload(&old, &new);
    assert_eq!(payload_of_few[0], 0);
    assert!(decoded(&old, &payload_of_few, new.len()).unwrap() == new);
}

#[test]
fn files_with_nothing_in_common_come_back() {
    let new = lines(0..4_000);
    let payload = payload(b"", &new);
    assert_eq!(payload[0], APART);
    assert!(decoded(b"", &payload, new.len()).unwrap() == new);
}

/// The models go on with the next payload, whichever thread had them.
#[test]
fn a_frame_goes_on_behind_them() {
    let (old, new) = pair(4_000);
    let (mut writing, mut reading) = (State::new(), State::new());
    let plan = align::Plan::new(&old, &new, &align::Options::default());
    let payloads = [(); 2].map(|()| plan.write_held(&old, &new, &mut writing).unwrap());
    assert!(payloads[1].len() * 2 < payloads[0].len(), "the second time it is known");
    for payload in payloads {
        let (mut source, mut output) = (Source::new(Cursor::new(&old), old.len() as u64), Vec::new());
        let job = Job::new(Codec::Align, &payload, new.len() as u64);
        decode(&job, &mut source, &mut output, &Limits::default(), &mut reading).unwrap();
        assert!(output == new);
    }
}

#[test]
fn every_cut_is_an_error_and_every_flip_of_the_head_one_or_another_file() {
    let (old, new) = pair(4_000);
    let mut payload = payload(&old, &new);
    // The last bytes are those of the literals, and they may be zeros' equals.
    for cut in (0..payload.len() - 16).step_by(397) {
        assert!(decoded(&old, &payload[..cut], new.len()).is_err(), "{cut}");
    }
    let mut caught = 0;
    for bit in 0..40 * 8 {
        payload[bit / 8] ^= 1 << (bit % 8);
        match decoded(&old, &payload, new.len()) {
            // Behind the head, that a byte differs by nothing is another way to say that it does not.
            Ok(other) => assert!(other != new || bit >= 5 * 8, "{bit}"),
            Err(PatchError::Io { .. }) => panic!("nothing fails here"),
            Err(_) => caught += 1,
        }
        payload[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(caught > 300, "{caught}");
}

/// A flag, a count of no copies, and literals that would begin before the payload does.
#[test]
fn a_stream_that_is_longer_than_the_payload_is_corrupt() {
    for payload in [&[APART, 0, 5, 1, 2][..], &[APART, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], &[APART, 0]] {
        let error = decoded(b"", payload, 10).unwrap_err();
        assert!(matches!(error, PatchError::Corrupt { .. }), "{error:?}");
    }
    assert!(matches!(decoded(b"", &[4, 0, 0], 10).unwrap_err(), PatchError::Corrupt { offset: 0, .. }));
}

/// A disk that is full after so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_fails_ends_both_threads() {
    let (old, new) = pair(40_000);
    let payload = payload(&old, &new);
    for room in [0, 100_000, new.len() - 1] {
        match decode_to(&mut Full(room), &old, &payload, new.len()) {
            Err(PatchError::Io { stream: Stream::Output, source }) => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            }
            other => panic!("{other:?}"),
        }
    }
    decode_to(&mut Full(new.len()), &old, &payload, new.len()).unwrap();
}

#[test]
fn a_source_that_shrank_is_told_whoever_reads_it() {
    let (old, new) = pair(4_000);
    let payload = payload(&old, &new);
    for there in [0, old.len() / 3 + 10, old.len() - 1] {
        let mut source = Source::new(Cursor::new(&old[..there]), old.len() as u64);
        let job = Job::new(Codec::Align, &payload, new.len() as u64);
        let result = decode(&job, &mut source, &mut io::sink(), &Limits::default(), &mut State::new());
        match result {
            Err(PatchError::Io { stream: Stream::Source, source }) => {
                assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
            }
            other => panic!("{other:?}"),
        }
    }
}
