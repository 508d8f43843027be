//! The png codec on images that zlib 1.2.13 made (`png/draw.py`), and on others.

use std::io::{Cursor, Read as _, Write as _};

use proptest::collection::vec;
use proptest::prelude::*;
use skiff_patch::{Codec, Job, Limits, PatchError, Source, State, align, decode, decoder_memory, png};

/// The same two pictures, by compressors of several settings.
const PAIRS: [(&str, &[u8], &[u8]); 5] = [
    ("libpng", include_bytes!("../png/libpng.old.png"), include_bytes!("../png/libpng.new.png")),
    ("default", include_bytes!("../png/default.old.png"), include_bytes!("../png/default.new.png")),
    ("fast", include_bytes!("../png/fast.old.png"), include_bytes!("../png/fast.new.png")),
    ("optimised", include_bytes!("../png/optimised.old.png"), include_bytes!("../png/optimised.new.png")),
    ("told less", include_bytes!("../png/told-less.old.png"), include_bytes!("../png/told-less.new.png")),
];
const OLD: &[u8] = PAIRS[0].1;
const NEW: &[u8] = PAIRS[0].2;
/// What the pictures have in scanlines, and in other chunks.
const SCANLINES: u64 = 60 * (1 + 3 * 90);
const OUTLINE: u64 = 8 + 13 + 8 + 22 + 8 + 7 + 8;

fn over(bytes: &[u8]) -> Source<Cursor<&[u8]>> {
    Source::new(Cursor::new(bytes), bytes.len() as u64)
}

fn decode_within(
    old: &[u8],
    payload: &[u8],
    output_len: u64,
    limits: &Limits,
) -> Result<Vec<u8>, PatchError> {
    let mut output = Vec::new();
    let job = Job::new(Codec::Png, payload, output_len);
    let result = decode(&job, &mut over(old), &mut output, limits, &mut State::new());
    assert_eq!(output.len() as u64, if result.is_ok() { output_len } else { 0 }, "{result:?}");
    result.map(|()| output)
}

fn decode_one(old: &[u8], payload: &[u8], output_len: u64) -> Result<Vec<u8>, PatchError> {
    decode_within(old, payload, output_len, &Limits::default())
}

fn plan(old: Option<&[u8]>, new: &[u8]) -> Option<png::Plan> {
    png::Plan::new(old, new, &align::Options::default())
}

fn written(old: &[u8], new: &[u8]) -> Vec<u8> {
    plan(Some(old), new).unwrap().write(&mut over(old), new, &mut State::new()).unwrap()
}

/// What a payload has if the image comes back by it.
fn comes_back(old: Option<&[u8]>, new: &[u8]) -> usize {
    let plan = plan(old, new).unwrap();
    let old = if plan.forecast().reads_source { old.unwrap_or_default() } else { b"" };
    let payload = plan.write(&mut over(old), new, &mut State::new()).unwrap();
    let job = Job::new(Codec::Png, &payload, plan.forecast().output_len);
    assert!(decoder_memory(&job).unwrap() <= plan.forecast().decoder_memory);
    assert!(decode_one(old, &payload, plan.forecast().output_len).unwrap() == new);
    payload.len()
}

/// An image of these chunks, with right checksums.
fn image(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        let checked = [&kind[..], data].concat();
        image.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        image.extend(&checked);
        image.extend(crc32fast::hash(&checked).to_be_bytes());
    }
    image
}

/// The zlib stream of an image.
fn pixels(mut image: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::new();
    image = &image[8..];
    while !image.is_empty() {
        let length = u32::from_be_bytes(*image.first_chunk().unwrap()) as usize;
        if &image[4..8] == b"IDAT" {
            pixels.extend(&image[8..8 + length]);
        }
        image = &image[12 + length..];
    }
    pixels
}

/// An image whose pixels are cut to chunks of these lengths, and one with the rest.
fn cut(lengths: &[usize]) -> Vec<u8> {
    let pixels = pixels(NEW);
    let mut rest = &pixels[..];
    let mut chunks: Vec<(&[u8; 4], &[u8])> = vec![(b"IHDR", &[1; 13])];
    for &length in lengths {
        let (data, behind) = rest.split_at(length);
        chunks.push((b"IDAT", data));
        rest = behind;
    }
    chunks.extend([(b"IDAT", rest), (b"IEND", b"")]);
    image(&chunks)
}

#[test]
fn an_opened_source_leaves_only_the_change() {
    for (name, old, new) in PAIRS {
        let length = comes_back(Some(old), new);
        assert!(length < 900, "{name}: {length}");
        assert!(length * 4 < new.len(), "{name}: {length}");
    }
}

#[test]
fn images_of_other_compressors_are_as_good_a_source() {
    for (name, old, _) in PAIRS {
        let length = comes_back(Some(old), NEW);
        assert!(length < 900, "{name}: {length}");
    }
}

#[test]
fn without_a_source_or_with_another_file_the_picture_is_sent() {
    for old in [None, Some(&b""[..]), Some(b"GIF89a"), Some(&OLD[..OLD.len() - 13])] {
        comes_back(old, NEW);
    }
}

/// An image that is far larger than the new one is no source to be opened, and one that unpacks to far more is not opened itself.
#[test]
fn what_would_open_too_much_is_encoded_otherwise() {
    let of = |scanlines: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(9));
        encoder.write_all(scanlines).unwrap();
        image(&[(b"IHDR", &[1; 13]), (b"IDAT", &encoder.finish().unwrap()), (b"IEND", b"")])
    };
    let most = 64 * NEW.len() + (64 << 10);
    let payload = written(OLD, NEW);
    let mut scanlines = Vec::new();
    flate2::read::ZlibDecoder::new(&pixels(NEW)[..]).read_to_end(&mut scanlines).unwrap();
    let long = scanlines.repeat(1 + most / scanlines.len());
    // What is in both is not told again, where it may be opened.
    assert!(comes_back(Some(&of(&scanlines)), NEW) * 2 < comes_back(Some(&of(&long)), NEW));
    assert!(plan(None, &of(&vec![7; 1 << 20])).is_none());
    // Whatever a source has may have to be read.
    let padded = [OLD, &vec![0; most]].concat();
    let error = decode_one(&padded, &payload, NEW.len() as u64).unwrap_err();
    assert!(error.to_string().contains("far more than comes of it"), "{error}");
}

#[test]
fn chunks_of_any_length_come_back() {
    for lengths in
        [&[][..], &[1], &[1000], &[1000, 1000, 1000], &[10, 10, 2000], &[2000, 7, 7], &[1, 2, 3, 4]]
    {
        comes_back(Some(OLD), &cut(lengths));
    }
}

#[test]
fn what_is_not_one_whole_image_is_declined() {
    let data = &pixels(NEW)[..];
    let with = |kind: &[u8; 4], data: &[u8]| image(&[(b"IHDR", &[1; 13]), (kind, data), (b"IEND", b"")]);
    assert!(plan(None, &with(b"IDAT", data)).is_some(), "an image");
    let damaged = |index: usize| {
        let mut file = NEW.to_vec();
        file[index] ^= 4;
        file
    };
    let cases = [
        ("nothing", Vec::new()),
        ("a signature", NEW[..8].to_vec()),
        ("cut off", NEW[..NEW.len() - 1].to_vec()),
        ("trailing bytes", [NEW, b"\0\0\0\0\0\0\0"].concat()),
        ("an empty chunk of pixels", cut(&[0])),
        ("and one at the end", cut(&[data.len()])),
        ("no pixels", with(b"IDAx", data)),
        ("a longer stream", with(b"IDAT", &[data, b"\0"].concat())),
        ("a shorter stream", with(b"IDAT", &data[..data.len() - 1])),
        ("a wrong checksum of the pixels", with(b"IDAT", &[&data[..data.len() - 1], b"!"].concat())),
        ("a stream that is none", with(b"IDAT", b"no deflate stream")),
        ("pixels here and there", image(&[(b"IDAT", &data[..9]), (b"tEXt", b"x"), (b"IDAT", &data[9..])])),
        ("a wrong checksum of a chunk", damaged(30)),
        ("a wrong signature", damaged(4)),
        ("a chunk without an end", damaged(8)),
    ];
    for (name, file) in cases {
        assert_eq!(plan(None, &file), None, "{name}");
    }
}

#[test]
fn limits_are_kept_before_anything_is_written() {
    let payload = written(OLD, NEW);
    let needed = decoder_memory(&Job::new(Codec::Png, &payload, NEW.len() as u64)).unwrap();
    let longest = SCANLINES + OUTLINE;
    let decode = |limits: Limits| decode_within(OLD, &payload, NEW.len() as u64, &limits);
    decode(Limits { memory_bytes: needed, plain_bytes: longest }).unwrap();
    let error = decode(Limits { memory_bytes: needed - 1, ..Limits::default() }).unwrap_err();
    assert!(matches!(error, PatchError::LimitExceeded { wanted, .. } if wanted == needed), "{error:?}");
    let error = decode(Limits { plain_bytes: longest - 1, ..Limits::default() }).unwrap_err();
    assert!(matches!(error, PatchError::LimitExceeded { wanted, .. } if wanted == longest), "{error:?}");
}

#[test]
fn a_wrong_source_is_corrupt() {
    let payload = written(OLD, NEW);
    let more = image(&[(b"IDAT", &pixels(OLD)), (b"tEXt", &[0; 200])]);
    let less = image(&[(b"IDAT", &pixels(OLD))]);
    for source in [&more[..], &less, &OLD[..OLD.len() - 1], b""] {
        let error = decode_one(source, &payload, NEW.len() as u64).unwrap_err();
        assert!(matches!(error, PatchError::Corrupt { .. }), "{error:?}");
    }
}

#[test]
fn a_promise_of_another_length_is_corrupt() {
    let payload = written(OLD, NEW);
    for length in [0, 17, NEW.len() as u64 - 1, NEW.len() as u64 + 1, u64::MAX] {
        let error = decode_one(OLD, &payload, length).unwrap_err();
        assert!(matches!(error, PatchError::Corrupt { .. }), "{error:?}");
    }
}

/// Of each payload, every cut and every flip of a bit that a digest would have to catch.
#[test]
fn every_truncation_and_every_flip_is_an_error_or_another_image() {
    let (_, old, new) = PAIRS[3];
    let mut payload = written(old, new);
    let length = new.len() as u64;
    let refused = |result: Result<_, PatchError>| match result {
        Ok(_) => false,
        Err(PatchError::Io { .. }) => panic!("nothing fails here"),
        Err(_) => true,
    };
    // A coder reads eight bytes ahead, and behind a cut there are zeros: where what these decode to takes fewer bytes than what was
    // cut, it makes an image all the same, but another one. No more than the last few bytes can tell so little.
    for cut in 0..payload.len() {
        match decode_one(old, &payload[..cut], length) {
            Ok(image) => assert!(cut + 16 >= payload.len() && image != new, "{cut} of {}", payload.len()),
            result => assert!(refused(result), "{cut}"),
        }
    }
    let mut caught = 0;
    // What the head says, and where the coded bits begin.
    for index in 0..payload.len().min(60) {
        for bit in 0..8 {
            payload[index] ^= 1 << bit;
            caught += usize::from(refused(decode_one(old, &payload, length)));
            payload[index] ^= 1 << bit;
        }
    }
    assert!(caught > 100, "{caught}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn damage_neither_panics_nor_writes_more(flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..4)) {
        let mut payload = written(OLD, NEW);
        for (index, bit) in &flips {
            let index = index.index(payload.len());
            payload[index] ^= 1 << bit;
        }
        // Whether it comes out well or ill, the helper looks at what was written.
        let _ = decode_one(OLD, &payload, NEW.len() as u64);
    }

    #[test]
    fn anything_is_read_or_refused(
        numbers in (0..48_u8, 0..3_u8, 0..40_u8, 0..12_u8, 0..12_u8, 0..3_u8, 0..6_u8),
        cuts in vec(0..9_u8, 0..3),
        inner in vec(0..20_u8, 0..60),
        length in 0..120_u64,
    ) {
        let (compressor, smaller, scanlines, before, behind, opened, codec) = numbers;
        let mut payload = vec![0x78, 0x9c, compressor | 0x80, smaller, cuts.len() as u8];
        payload.extend(cuts);
        payload.extend([scanlines, before, behind, opened]);
        payload.extend((opened > 0).then_some(40).into_iter().chain([codec]));
        payload.extend(inner);
        let _ = decode_one(OLD, &payload, length);
    }

    /// An outline of any bytes is no image, or one.
    #[test]
    fn outlines_are_walked_within_their_bounds(
        outline in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..60),
        before in any::<prop::sample::Index>(),
        length in 60..120_u64,
    ) {
        let before = before.index(outline.len() + 1);
        let head = [0x78, 0x9c, 22, 0, 0, before as u8, (outline.len() - before) as u8, 0, 1];
        let payload = [&head[..], &outline].concat();
        let _ = decode_one(b"", &payload, length);
    }
}
