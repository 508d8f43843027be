//! Decoding holds no more than it says beforehand: counted by an allocator.

#![allow(clippy::unwrap_used)]

use std::io::{self, Cursor};

use peak_alloc::PeakAlloc;
use skiff_patch::{Codec, Job, Limits, Source, State, bsdiff, decode, decoder_memory, gzip};
use skiff_wire::put_varint;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most bytes that decoding holds at once, whatever it ends with.
fn peak(old: &[u8], job: &Job<'_>) -> u64 {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let mut source = Source::new(Cursor::new(old), old.len() as u64);
    let _ = decode(job, &mut source, &mut io::sink(), &Limits::default(), &mut State::new());
    (ALLOCATOR.peak_usage() - before) as u64
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 60) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// One test, so that no other allocates meanwhile.
#[test]
fn memory_is_as_declared() {
    let old = noise(3 << 20);
    let new = [&old[1 << 20..], &old[..1 << 20], b"end"].concat();
    let segments = bsdiff::encode(&old, &new, &bsdiff::Options::default());
    let job = Job::new(Codec::Bsdiff, &segments[0].payload, segments[0].output_len);
    let declared = decoder_memory(&job).unwrap();
    let held = peak(&old, &job);
    assert!(held <= declared && declared < held + (64 << 10), "bsdiff: {held} of {declared}");

    // Plain text that hardly compresses, by several compressors.
    for (length, compressor) in [(1 << 20, 9_u8), (1 << 20, 33), (1 << 20, 17), (1000, 6)] {
        let plain = noise(length);
        let mut payload = vec![0, compressor];
        put_varint(&mut payload, plain.len() as u64);
        payload.extend([0, 1]);
        payload.extend(&plain);
        // No file is so long: it is compressed to the end and then refused.
        let job = Job::new(Codec::Gzip, &payload, 2 * length as u64);
        let declared = decoder_memory(&job).unwrap();
        let held = peak(b"", &job);
        assert!(held <= declared, "compressor {compressor}: {held} of {declared}");
    }

    let (old, new) = (include_bytes!("gzip/old.gz"), include_bytes!("gzip/new.gz"));
    let encoded = gzip::encode(Some(old), new).unwrap();
    let job = Job::new(Codec::Gzip, &encoded.payload, new.len() as u64);
    let declared = decoder_memory(&job).unwrap();
    let held = peak(old, &job);
    assert!(held <= declared, "opened: {held} of {declared}");

    // The head says that decoding takes much, and what is behind it holds nothing: nothing is taken.
    let mut payload = vec![0, 9];
    put_varint(&mut payload, 8 << 20);
    payload.extend([0, 1]);
    let held = peak(b"", &Job::new(Codec::Gzip, &payload, 8 << 20));
    assert!(held < 4 << 10, "an empty promise: {held}");
}
