use std::io::{self, Cursor, Write};
use std::num::NonZeroU32;

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Crc};
use skiff_patch::{
    Codec, Effort, Job, Limits, PatchError, Source, State, align, bsdiff, decode, decoder_memory, gzip, png,
    zip,
};

use super::Reached;
use super::input::Input;

/// More than a decoder may hold here.
const MEMORY: u64 = 48 << 20;

/// The codecs: the first byte chooses between decoding a payload of the codec that the second byte names, and encoding the
/// parts that follow as the old and the new file, as they are or gzipped, or as archives or
/// pictures.
///
/// What an encoder makes decodes to what it was given. Whatever a payload holds: no byte more than promised is written, and
/// none where the payload is at fault, unless its codec writes as it goes; all promised bytes are there where the decoder says that it is
/// done; and it asked for no more memory than allowed.
///
/// # Panics
/// Where one of these does not hold.
pub fn patch_codecs(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    match input.byte() % 5 {
        0 => hostile(input),
        1 => bsdiff_round_trip(input),
        2 => gzip_round_trip(input),
        3 => zip_round_trip(input),
        _ => png_round_trip(input),
    }
}

fn hostile(mut input: Input<'_>) -> Reached {
    let codec = Codec::ALL[usize::from(input.byte()) % Codec::ALL.len()];
    let output_len = u64::from(input.short());
    let source = input.part();
    let job = Job::new(codec, input.rest(), output_len);
    let limits = Limits { memory_bytes: MEMORY, ..Limits::default() };
    let mut output = Capped { left: output_len };
    match decode(&job, &mut over(source), &mut output, &limits, &mut State::new()) {
        Ok(()) => {
            assert_eq!(output.left, 0, "the decoder is done before the promised length");
            assert!(decoder_memory(&job).is_ok_and(|memory| memory <= MEMORY), "more memory than allowed");
            Reached::Accepted
        }
        Err(PatchError::Io { stream, source, .. }) => {
            panic!("nothing fails here, and {stream:?} did: {source}")
        }
        Err(_) => {
            // A long archive is not held until its last member is known to be right, nor a coded stream until its last bit.
            if !matches!(codec, Codec::Zip | Codec::Align) {
                assert_eq!(output.left, output_len, "something of a bad payload was written");
            }
            Reached::Refused
        }
    }
}

fn bsdiff_round_trip(mut input: Input<'_>) -> Reached {
    let segment_bytes =
        NonZeroU32::from(std::num::NonZeroU16::new(input.short()).unwrap_or(std::num::NonZeroU16::MIN));
    let window_bytes = NonZeroU32::MIN.saturating_add(u32::from(input.short()));
    let old = input.part();
    let new = input.rest();
    // A segment a byte is slow and teaches nothing.
    let segment_bytes =
        segment_bytes.max(NonZeroU32::MIN.saturating_add(u32::try_from(new.len() / 64).unwrap_or(u32::MAX)));
    let mut options = bsdiff::Options::default();
    (options.segment_bytes, options.window_bytes) = (segment_bytes, window_bytes);

    let mut output = Vec::new();
    for segment in bsdiff::encode(old, new, &options) {
        assert!(segment.output_len <= u64::from(segment_bytes.get()), "a segment longer than asked for");
        let before = output.len() as u64;
        let job = Job::new(Codec::Bsdiff, &segment.payload, segment.output_len);
        decode(&job, &mut over(old), &mut output, &Limits::default(), &mut State::new())
            .expect("because the encoder wrote it");
        assert_eq!(output.len() as u64 - before, segment.output_len);
    }
    assert!(output == new, "the segments together are not the new file");
    align_round_trip(old, new);
    Reached::Accepted
}

/// The file twice, so that the second time goes by what the first taught.
fn align_round_trip(old: &[u8], new: &[u8]) {
    let plan = align::Plan::new(old, new, &align::Options::default());
    let (mut encoder, mut decoder) = (State::new(), State::new());
    for _ in 0..2 {
        let payload = plan.write_held(old, new, &mut encoder).expect("because both are in memory");
        let mut output = Vec::new();
        let job = Job::new(Codec::Align, &payload, new.len() as u64);
        decode(&job, &mut over(old), &mut output, &Limits::default(), &mut decoder)
            .expect("because the encoder wrote it");
        assert!(output == new, "what was aligned is not the new file");
    }
}

fn gzip_round_trip(mut input: Input<'_>) -> Reached {
    let level = Compression::new(u32::from(input.byte() % 10));
    let as_they_are = input.byte() % 2 == 1;
    let compress = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        let done = encoder.write_all(plain).and_then(|()| encoder.finish());
        done.expect("because a vector takes everything")
    };
    let (old, new) = (input.part(), input.rest());
    let [old, new] = if as_they_are { [old.to_vec(), new.to_vec()] } else { [compress(old), compress(new)] };
    let Some(encoded) = gzip::encode(Some(&old), &new, Effort::Default) else { return Reached::Refused };

    let mut output = Vec::new();
    let job = Job::new(Codec::Gzip, &encoded.payload, new.len() as u64);
    let mut source = over(if encoded.reads_source { &old } else { &[] });
    decode(&job, &mut source, &mut output, &Limits::default(), &mut State::new())
        .expect("because the encoder wrote it");
    assert!(output == new, "the file was not rebuilt bit for bit");
    Reached::Accepted
}

fn zip_round_trip(mut input: Input<'_>) -> Reached {
    let segment_bytes =
        NonZeroU32::from(std::num::NonZeroU16::new(input.short()).unwrap_or(std::num::NonZeroU16::MIN));
    let options = zip::Options { segment_bytes, ..zip::Options::default() };
    let (old, new) = (input.part(), input.rest());
    let Some(segments) = zip::encode(Some(old), new, &options) else { return Reached::Refused };

    let mut output = Vec::new();
    for segment in segments {
        let job = Job::new(Codec::Zip, &segment.payload, segment.output_len);
        let mut source = over(if segment.reads_source { old } else { &[] });
        decode(&job, &mut source, &mut output, &Limits::default(), &mut State::new())
            .expect("because the encoder wrote it");
    }
    assert!(output == new, "the segments together are not the archive");
    let plan = zip::Plan::new(Some(old), new, &options).expect("because it was encoded");
    let payload = plan.write(&mut over(old), new, &mut State::new()).expect("because it was planned");
    output.clear();
    let job = Job::new(Codec::Zip, &payload, plan.forecast().output_len);
    decode(&job, &mut over(old), &mut output, &Limits::default(), &mut State::new())
        .expect("because the encoder wrote it");
    assert!(output == new, "what was planned is not the archive");
    Reached::Accepted
}

fn png_round_trip(mut input: Input<'_>) -> Reached {
    let level = Compression::new(u32::from(input.byte() % 10));
    let as_they_are = input.byte() % 2 == 1;
    let cut = usize::from(input.short()).max(1);
    let (old, new) = (input.part(), input.rest());
    let picture = |plain: &[u8]| if as_they_are { plain.to_vec() } else { picture(plain, level, cut) };
    let (old, new) = (picture(old), picture(new));
    let Some(plan) = png::Plan::new(Some(&old), &new, &align::Options::default()) else {
        return Reached::Refused;
    };

    let mut source = over(if plan.forecast().reads_source { &old } else { &[] });
    let payload = plan.write(&mut source, &new[..], &mut State::new()).expect("because it was planned");
    let mut output = Vec::new();
    let job = Job::new(Codec::Png, &payload, plan.forecast().output_len);
    decode(&job, &mut source, &mut output, &Limits::default(), &mut State::new())
        .expect("because the encoder wrote it");
    assert!(output == new, "the picture was not rebuilt bit for bit");
    Reached::Accepted
}

/// A file of these scanlines, in chunks of `cut` bytes.
fn picture(plain: &[u8], level: Compression, cut: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), level);
    let data = encoder.write_all(plain).and_then(|()| encoder.finish());
    let data = data.expect("because a vector takes everything");
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut checksum = Crc::new();
        checksum.update(kind);
        checksum.update(data);
        let length = u32::try_from(data.len()).expect("because it is small");
        file.extend([&length.to_be_bytes(), &kind[..], data, &checksum.sum().to_be_bytes()].concat());
    };
    chunk(b"IHDR", &plain[..plain.len().min(13)]);
    data.chunks(cut).for_each(|data| chunk(b"IDAT", data));
    chunk(b"IEND", b"");
    file
}

fn over(bytes: &[u8]) -> Source<Cursor<&[u8]>> {
    Source::new(Cursor::new(bytes), bytes.len() as u64)
}

/// Takes so many bytes and panics at the next.
struct Capped {
    left: u64,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.expect("because a decoder never writes more than was promised");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
