//! Decoding holds no more than it says beforehand: counted by an allocator.

#![allow(clippy::unwrap_used)]

use std::io::{self, Cursor};

use peak_alloc::PeakAlloc;
use skiff_patch::{
    Codec, Effort, Job, Limits, Source, State, align, bsdiff, decode, decoder_memory, gzip, png, zip,
};
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

/// An x86-64 executable of nothing but calls, cut into as many parts as `order` has, in that order.
fn program(order: impl Iterator<Item = usize>) -> Vec<u8> {
    const PART: usize = 64;
    let part = |index: usize| {
        let call = |call: usize| {
            [&[0xe8, (call * 7) as u8, index as u8, (index >> 8) as u8, 0][..], &[0x90; 3]].concat()
        };
        (0..PART / 8).flat_map(call).collect::<Vec<_>>()
    };
    let code: Vec<u8> = order.flat_map(part).collect();
    let mut file = vec![0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..20].copy_from_slice(&[3, 0, 62, 0]);
    file[40..48].copy_from_slice(&(64 + code.len() as u64).to_le_bytes());
    file[58..64].copy_from_slice(&[64, 0, 2, 0, 0, 0]);
    file.extend_from_slice(&code);
    file.resize(file.len() + 64, 0);
    let fields = [1 << 32, 6, 64, 64, code.len() as u64, 0, 1, 0];
    fields.iter().for_each(|field: &u64| file.extend_from_slice(&field.to_le_bytes()));
    file
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

    let count = 1_000;
    let (old, new) = (program(0..count), program((0..count).map(|index| index * 237 % count)));
    let payload =
        align::Plan::new(&old, &new, &align::Options::default()).write_held(&old, &new, &mut State::new());
    let payload = payload.unwrap();
    assert_eq!(payload[0], 1, "references are predicted");
    let job = Job::new(Codec::Align, &payload, new.len() as u64);
    let (declared, held) = (decoder_memory(&job).unwrap(), peak(&old, &job));
    assert!(held <= declared && declared < held + held / 4, "align: {held} of {declared}");

    let new = noise(1 << 20);
    let payload = align::Plan::new(b"", &new, &align::Options::default());
    let payload = payload.write_held(b"", &new, &mut State::new()).unwrap();
    assert_eq!(payload[0], 2, "literals are apart");
    let job = Job::new(Codec::Align, &payload, new.len() as u64);
    let (declared, held) = (decoder_memory(&job).unwrap(), peak(b"", &job));
    assert!(held <= declared && declared < held + held / 4, "literals apart: {held} of {declared}");

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
    let encoded = gzip::encode(Some(old), new, Effort::Default).unwrap();
    let job = Job::new(Codec::Gzip, &encoded.payload, new.len() as u64);
    let declared = decoder_memory(&job).unwrap();
    let held = peak(old, &job);
    assert!(held <= declared, "opened: {held} of {declared}");

    for (old, new) in [
        (&include_bytes!("zip/jar.old.jar")[..], &include_bytes!("zip/jar.new.jar")[..]),
        (include_bytes!("zip/nested.old.zip"), include_bytes!("zip/nested.new.zip")),
    ] {
        let segments = zip::encode(Some(old), new, &zip::Options::default()).unwrap();
        let plan = zip::Plan::new(Some(old), new, &zip::Options::default()).unwrap();
        let mut source = Source::new(Cursor::new(old), old.len() as u64);
        let planned = plan.write(&mut source, new, &mut State::new()).unwrap();
        drop(source);
        for payload in [&segments[0].payload, &planned] {
            let job = Job::new(Codec::Zip, payload, new.len() as u64);
            let declared = decoder_memory(&job).unwrap();
            let held = peak(old, &job);
            assert!(held <= declared, "archive: {held} of {declared}");
        }
    }

    // A picture that hardly compresses, by the compressor that holds most, beside as many bytes of other chunks.
    let (old, new) = (include_bytes!("png/libpng.old.png"), include_bytes!("png/libpng.new.png"));
    let plan = png::Plan::new(Some(old), new, &align::Options::default()).unwrap();
    let mut source = Source::new(Cursor::new(old), old.len() as u64);
    let planned = plan.write(&mut source, &new[..], &mut State::new()).unwrap();
    drop(source);
    let (plain, outline) =
        (noise(1 << 20), [&(1_u32 << 20).to_be_bytes(), &b"test"[..], &noise(1 << 20)].concat());
    let mut payload = vec![0x78, 0xda, 41, 0];
    for number in [plain.len(), outline.len(), 0, 0, 1] {
        put_varint(&mut payload, number as u64);
    }
    payload.extend([plain, outline].concat());
    for (old, payload, length, least) in
        [(&old[..], &planned, new.len(), 0), (b"", &payload, 3 << 20, 3 << 20)]
    {
        let job = Job::new(Codec::Png, payload, length as u64);
        let declared = decoder_memory(&job).unwrap();
        let held = peak(old, &job);
        assert!(held <= declared && held > least, "picture: {held} of {declared}");
    }

    // Members that hardly compress, by the compressor that holds most.
    let plain = noise(1 << 20);
    let header = [&b"PK\x03\x04\x14\0\0\0\x08\0"[..], &[0; 20]].concat();
    let text = [header, plain.clone()].concat();
    let mut numbers = vec![33];
    for number in [1, text.len(), text.len(), plain.len()] {
        put_varint(&mut numbers, number as u64);
    }
    let mut payload = vec![0, 0];
    for number in [text.len(), 0, plain.len(), 0, 3] {
        put_varint(&mut payload, number as u64);
    }
    payload.extend([2, 0, 6]);
    put_varint(&mut payload, numbers.len() as u64);
    payload.extend(numbers);
    payload.extend(text);
    let job = Job::new(Codec::Zip, &payload, 2 << 20);
    let declared = decoder_memory(&job).unwrap();
    let held = peak(b"", &job);
    assert!(held <= declared && held > 2 << 20, "a member: {held} of {declared}");

    // The head says that decoding takes much, and what is behind it holds nothing: nothing is taken.
    let mut payload = vec![0, 9];
    put_varint(&mut payload, 8 << 20);
    payload.extend([0, 1]);
    let held = peak(b"", &Job::new(Codec::Gzip, &payload, 8 << 20));
    assert!(held < 4 << 10, "an empty promise: {held}");
}
