//! Deltas that break one rule each, and limits at their edges.

use std::{fmt, io};

use skiff_format::{Compression, Digest, Encoder, Event, FormatError, Header, Limits, Section, compress};

use crate::raw::{Raw, Row, varint};
use crate::{decode, error_of, samples};

/// How the decoding of a bad delta must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Corrupt, at exactly this byte.
    At(u64),
    /// Corrupt, anywhere in the header's body.
    Body,
    Unsupported,
    Limit,
}

use Expected::{At, Body, Limit, Unsupported};

impl Expected {
    pub(crate) fn matches(self, error: &FormatError, header_len: u64) -> bool {
        match (self, error) {
            (At(expected), FormatError::Corrupt { offset, .. }) => *offset == expected,
            (Body, FormatError::Corrupt { offset, .. }) => (52..=header_len).contains(offset),
            (Unsupported, FormatError::Unsupported { .. }) | (Limit, FormatError::LimitExceeded { .. }) => {
                true
            }
            _ => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At(offset) => writeln!(f, "corrupt at {offset}"),
            Body => writeln!(f, "corrupt in the header's body"),
            Unsupported => writeln!(f, "unsupported"),
            Limit => writeln!(f, "above a limit"),
        }
    }
}

/// A delta that breaks one rule, with a name that says which.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) raw: Raw,
    pub(crate) expected: Expected,
}

fn case(name: &'static str, expected: Expected, change: impl FnOnce(&mut Raw)) -> Case {
    let mut raw = Raw::small();
    change(&mut raw);
    Case { name, raw, expected }
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    [preamble(), fields(), table(), sections(), frames(), signatures()].into_iter().flatten().collect()
}

fn preamble() -> Vec<Case> {
    vec![
        case("corrupt-magic", At(0), |raw| raw.magic[1] = b's'),
        case("corrupt-text-transfer", At(0), |raw| raw.magic = *b"\x89SKF\n\x1a\n\0"),
        case("unsupported-version", Unsupported, |raw| raw.version = 2),
        case("unsupported-version-0", Unsupported, |raw| raw.version = 0),
        case("corrupt-reserved", At(10), |raw| raw.reserved = 0x8000),
        case("corrupt-bytes-after-table", Body, |raw| raw.after_table = vec![0]),
        case("corrupt-bytes-after-frames", At(FRAME + 4), |raw| raw.after_frames = vec![0]),
        case("corrupt-no-body", Body, |raw| {
            *raw = Raw { codecs: vec![], bases: vec![], target: vec![], facts: vec![], ..raw.clone() };
            (raw.count, raw.rows) = (Some(vec![]), vec![]);
        }),
    ]
}

fn fields() -> Vec<Case> {
    let bases = |count: u8| {
        let named = (0..count).flat_map(|number| [[number; 32], [9; 32]].concat());
        [count].into_iter().chain(named).collect::<Vec<u8>>()
    };
    vec![
        case("corrupt-varint-padded", Body, |raw| raw.codecs = vec![0x80, 0]),
        case("corrupt-varint-of-eleven-bytes", Body, |raw| {
            raw.facts.splice(..1, [0x80; 10].into_iter().chain([1]));
        }),
        case("corrupt-varint-past-64-bits", Body, |raw| {
            raw.facts.splice(..1, [0xff; 9].into_iter().chain([2]));
        }),
        case("corrupt-codec-count", Body, |raw| raw.codecs = varint(1 << 60)),
        case("corrupt-codec-twice", Body, |raw| raw.codecs = vec![2, 7, 0, 7, 1]),
        case("corrupt-codecs-descending", Body, |raw| raw.codecs = vec![2, 7, 0, 6, 0]),
        case("corrupt-codec-number", Body, |raw| raw.codecs = [vec![1], varint(1 << 16), vec![0]].concat()),
        case("corrupt-no-base", Body, |raw| raw.bases = bases(0)),
        case("corrupt-bases", Body, |raw| raw.bases = bases(17)),
        case("corrupt-base-count", Body, |raw| raw.bases = varint(1 << 60)),
        case("corrupt-bases-of-different-trees", Body, |raw| {
            raw.bases = [&[2][..], &[1; 64], &[2; 32], &[3; 32]].concat();
        }),
        case("corrupt-base-twice", Body, |raw| raw.bases = [&[2][..], &[1; 64], &[1; 64]].concat()),
        case("corrupt-digest-presence", Body, |raw| raw.target[64] = 2),
        case("corrupt-extensions", Body, |raw| raw.extensions = varint(257)),
        case("corrupt-extension-zero", Body, |raw| raw.extensions = vec![1, 0, 0, 0]),
        case("corrupt-extension-twice", Body, |raw| raw.extensions = vec![2, 7, 0, 0, 7, 0, 0]),
        case("corrupt-extension-flag", Body, |raw| raw.extensions = vec![1, 7, 2, 0]),
        case("corrupt-extension-without-end", Body, |raw| {
            raw.extensions = [vec![1, 7, 0], varint(u64::MAX)].concat();
        }),
        case("unsupported-extension", Unsupported, |raw| {
            raw.extensions = [vec![2, 7, 0, 1, b'x'], varint(1_009), vec![1, 0]].concat();
        }),
        case("limit-memory", Limit, |raw| raw.facts.splice(7.., varint(1 << 40)).for_each(drop)),
    ]
}

fn table() -> Vec<Case> {
    let row = |name, expected, change: fn(&mut Row)| case(name, expected, |raw| change(&mut raw.rows[0]));
    vec![
        case("corrupt-frame-count", Body, |raw| raw.count = Some(varint(1 << 60))),
        case("corrupt-frame-count-short", Body, |raw| raw.count = Some(vec![0])),
        case("corrupt-frame-count-long", Body, |raw| raw.count = Some(vec![2])),
        row("corrupt-flags", Body, |row| row.flags = 2),
        row("unsupported-compressor", Unsupported, |row| row.compressor = 1_004),
        row("corrupt-stored-parameter", Body, |row| row.parameter = 1),
        row("corrupt-stored-sizes", Body, |row| row.decoded = 5),
        row("corrupt-empty-frame", Body, |row| (row.encoded, row.decoded) = (0, 0)),
        row("corrupt-grown-frame", Body, |row| (row.compressor, row.parameter, row.decoded) = (2, 10, 3)),
        row("corrupt-compressed-in-vain", Body, |row| (row.compressor, row.parameter) = (2, 10)),
        row("corrupt-lzma-properties", Body, |row| {
            // Literal bits 3 and 2, five together.
            (row.compressor, row.parameter, row.decoded) = (1, 3 + 9 * 2, 9);
        }),
        row("corrupt-lzma-dictionary", Body, |row| {
            (row.compressor, row.parameter, row.decoded) = (1, 40 << 8 | 93, 9);
        }),
        row("corrupt-lzma-dictionary-smaller", Body, |row| {
            (row.compressor, row.parameter, row.decoded) = (1, 93, (4 << 10) + 1);
        }),
        row("corrupt-zstd-window", Body, |row| (row.compressor, row.parameter, row.decoded) = (2, 32, 9)),
        row("corrupt-parameter", Body, |row| (row.compressor, row.parameter, row.decoded) = (2, 1 << 40, 9)),
        row("limit-lzma-dictionary", Limit, |row| {
            (row.compressor, row.parameter, row.decoded) = (1, 39 << 8 | 93, 9);
        }),
        row("limit-zstd-window", Limit, |row| (row.compressor, row.parameter, row.decoded) = (2, 31, 9)),
        row("limit-frame", Limit, |row| {
            (row.compressor, row.parameter, row.decoded) = (2, 20, (8 << 20) + 1);
        }),
        case("corrupt-larger-than-any-file", Body, |raw| {
            raw.rows.push(Row { encoded: u64::MAX, decoded: u64::MAX, ..Row::stored(4, b"x") });
        }),
    ]
}

fn sections() -> Vec<Case> {
    let config = |raw: &mut Raw| {
        raw.target.splice(64..65, [&[1][..], Digest::of(b"config").as_bytes()].concat());
    };
    vec![
        case("corrupt-no-frames", Body, |raw| raw.rows.clear()),
        case("corrupt-no-tree", Body, |raw| raw.rows[0].kind = 4),
        case("corrupt-sections-out-of-order", Body, |raw| raw.rows.insert(0, Row::stored(4, b"contents"))),
        case("corrupt-config-not-told", Body, |raw| raw.rows.insert(0, Row::stored(1, b"config"))),
        case("corrupt-config-missing", Body, config),
        case("corrupt-manifest-missing", Body, |raw| {
            raw.target.splice(65.., [&[1][..], Digest::of(b"manifest").as_bytes()].concat());
        }),
        case("corrupt-skippable-tree", Body, |raw| raw.rows[0].flags = 1),
        case("unsupported-section", Unsupported, |raw| {
            raw.rows.push(Row { flags: 0, ..Row::stored(1_005, b"of a later version") });
        }),
        case("unsupported-section-zero", Unsupported, |raw| raw.rows.insert(0, Row::stored(0, b"nothing"))),
    ]
}

/// The offset of the frame of [`Raw::small`].
const FRAME: u64 = 52 + 1 + 65 + 66 + 8 + 1 + 1 + 38;

fn frames() -> Vec<Case> {
    let text = samples::text(5);
    let encoded = |compression| {
        let frame = compress(Section::Tree, &text, &compression).unwrap();
        samples::bytes_of(frame)
    };
    let (xz, zstd) = (encoded(Compression::XZ), encoded(samples::ZSTD));
    let (lzma, window) = ((1, 93), (2, 10));
    let size = text.len() as u64;
    let framed = |name, compressor, bytes: &[u8], decoded| {
        let raw = Raw::new(vec![Row::compressed(3, compressor, bytes.to_vec(), decoded)]);
        let expected = At(raw.header().len() as u64);
        Case { name, raw, expected }
    };
    // Says that it looks back 2 MiB: no content size, window exponent 11; then a last block of 99 times the same byte.
    let far = [0x28, 0xb5, 0x2f, 0xfd, 0, 11 << 3, 0x1b, 0x03, 0, b'x'];
    // A single segment of 1200 bytes, which it states as 944, 256 less.
    let segment = [0x28, 0xb5, 0x2f, 0xfd, 0x60, 0xb0, 0x03, 0x83, 0x25, 0, b'x'];
    // A window of 1 KiB, and blocks of 1000 and 200 times the same byte.
    let near = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0x42, 0x1f, 0, b'x', 0x43, 0x06, 0, b'x'];
    vec![
        case("corrupt-frame-digest", At(FRAME), |raw| raw.rows[0].bytes[2] ^= 4),
        case("corrupt-cut", At(FRAME), |raw| raw.rows[0].bytes.truncate(3)),
        framed("corrupt-xz-longer", lzma, &xz, size - 1),
        framed("corrupt-xz-shorter", lzma, &xz, size + 1),
        framed("corrupt-xz-cut", lzma, &xz[..xz.len() - 1], size),
        framed("corrupt-xz-bytes-after", lzma, &[&xz[..], b"\0"].concat(), size),
        framed("corrupt-zstd-longer", window, &zstd, size - 1),
        framed("corrupt-zstd-shorter", window, &zstd, size + 1),
        framed("corrupt-zstd-cut", window, &zstd[..zstd.len() - 1], size),
        framed("corrupt-zstd-bytes-after", window, &[&zstd[..], b"\0"].concat(), size),
        framed("corrupt-zstd-two-frames", window, &[&zstd[..], &zstd].concat(), 2 * size),
        framed("corrupt-zstd-skippable", window, &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], 99),
        framed("corrupt-zstd-window-larger", (2, 20), &far, 99),
        framed("corrupt-zstd-segment-larger", window, &segment, 1200),
        framed("corrupt-zstd-window-smaller", window, &near, 1200),
        framed("corrupt-zstd-empty", window, &zstd[..3], 99),
    ]
}

/// A signature: its algorithm, a byte of its key's id, and how many bytes it has.
fn signature((algorithm, key, length): (u64, u8, usize)) -> Vec<u8> {
    [varint(algorithm), vec![key; 32], varint(length as u64), vec![0x5a; length]].concat()
}

fn signatures() -> Vec<Case> {
    let signed = |name, expected, count: u8, signatures: &[(u64, u8, usize)]| {
        let block = signatures.iter().flat_map(|&told| signature(told));
        let block: Vec<u8> = [count].into_iter().chain(block).collect();
        case(name, expected, |raw| raw.signatures = block)
    };
    // The block begins where the first frame does where there is none.
    let (first, second) = (At(FRAME + 1), At(FRAME + 1 + 1 + 32 + 1 + 64));
    let many: Vec<(u64, u8, usize)> = (0..17).map(|key| (7, key, 1)).collect();
    let seventeen = many.len() as u8;
    vec![
        signed("corrupt-signatures-none", At(FRAME), 0, &[]),
        signed("corrupt-signatures-too-many", At(FRAME), seventeen, &many),
        signed("corrupt-signature-twice", second, 2, &[(1, 5, 64), (1, 5, 64)]),
        signed("corrupt-signatures-keys-descending", second, 2, &[(1, 5, 64), (1, 4, 64)]),
        signed("corrupt-signatures-algorithms-descending", At(FRAME + 1 + 35), 2, &[(2, 5, 1), (1, 6, 64)]),
        signed("corrupt-signature-algorithm-zero", first, 1, &[(0, 5, 64)]),
        signed("corrupt-signature-algorithm", first, 1, &[(1 << 16, 5, 64)]),
        signed("corrupt-signature-shorter", first, 1, &[(1, 5, 63)]),
        signed("corrupt-signature-longer", first, 1, &[(1, 5, 65)]),
        signed("corrupt-signature-empty", first, 1, &[(300, 5, 0)]),
        signed("corrupt-signatures-short-count", second, 1, &[(1, 5, 64), (1, 6, 64)]),
        signed("corrupt-signatures-long-count", second, 2, &[(1, 5, 64)]),
        case("corrupt-signature-cut", At(FRAME + 1 + 1 + 32 + 1), |raw| {
            raw.signatures = [&[1][..], &signature((1, 5, 64))[..90]].concat();
        }),
        case("corrupt-signatures-cut", At(0), |raw| raw.signatures_len = Some(5)),
        case("limit-signatures", Limit, |raw| raw.signatures_len = Some((64 << 10) + 1)),
    ]
}

#[test]
fn what_breaks_no_rule_decodes() {
    decode(&Raw::small().bytes(), Limits::default()).1.unwrap();
    // As many signatures as there may be, of an algorithm that is not known here.
    let mut raw = Raw::small();
    let block = (0..16).flat_map(|key| signature((7, key, 1)));
    raw.signatures = [16].into_iter().chain(block).collect();
    decode(&raw.bytes(), Limits::default()).1.unwrap();
    // The frames that look back too far, with the window they ask for.
    for (name, window, size) in
        [("corrupt-zstd-window-larger", 21, 99), ("corrupt-zstd-segment-larger", 11, 1200)]
    {
        let mut raw = frames().into_iter().find(|case| case.name == name).unwrap().raw;
        raw.rows[0].parameter = window;
        let (events, end) = decode(&raw.bytes(), Limits::default());
        end.unwrap();
        assert!(matches!(&events[1], Event::Frame(frame) if frame.payload == vec![b'x'; size]));
    }
}

#[test]
fn each_broken_rule_is_told() {
    for Case { name, raw, expected } in cases() {
        let header_len = raw.header().len() as u64;
        let error = error_of(&raw.bytes());
        println!("{name}: {error}");
        assert!(expected.matches(&error, header_len), "{name}: {error:?}, not {expected}");
        // A header that is kept and parsed again is under the same rules.
        if matches!(expected, Body | Unsupported) {
            assert!(Header::parse(&raw.header()).is_err(), "{name}");
        }
    }
}

#[test]
fn limits_hold_at_their_edges() {
    let delta = samples::signed(&samples::all_compressors());
    let (events, _) = decode(&delta, Limits::default());
    let Event::Header(header) = &events[0] else { panic!("the first event is the header") };
    // What is left out is held to none but that of the delta.
    let frames = || header.frames().iter().filter(|frame| !matches!(frame.section, Section::Unknown(_)));
    let sizes = || frames().map(|frame| frame.decoded_size);
    let dictionaries = frames().map(|frame| frame.compressor.dictionary_bytes());
    type Field = fn(&mut Limits) -> &mut u64;
    let edges: [(&str, Field, u64); 7] = [
        ("bytes of header", |limits| &mut limits.header_bytes, header.bytes().len() as u64),
        ("bytes of signatures", |limits| &mut limits.signature_bytes, samples::SIGNATURES_LEN),
        ("bytes in one frame", |limits| &mut limits.frame_bytes, sizes().max().unwrap()),
        ("bytes of delta", |limits| &mut limits.delta_bytes, delta.len() as u64),
        ("bytes of payload", |limits| &mut limits.payload_bytes, sizes().sum()),
        ("bytes of dictionary", |limits| &mut limits.dictionary_bytes, dictionaries.max().unwrap()),
        ("bytes of memory", |limits| &mut limits.decoder_memory, header.facts().decoder_memory),
    ];
    for (name, field, needed) in edges {
        let mut limits = Limits::default();
        *field(&mut limits) = needed;
        decode(&delta, limits).1.unwrap();
        *field(&mut limits) = needed - 1;
        let (seen, end) = decode(&delta, limits);
        assert!(seen.is_empty(), "{name}: told before anything came out");
        match end {
            Err(FormatError::LimitExceeded { what, .. }) => assert_eq!(what, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn the_encoder_refuses_what_the_decoder_would() {
    assert!(compress(Section::Tree, b"", &Compression::XZ).is_err());
    let wrong = Compression::Xz { literal_context_bits: 255, literal_position_bits: 255, position_bits: 255 };
    assert!(matches!(compress(Section::Tree, b"tree", &wrong), Err(FormatError::Io { .. })));
    let mut fields = samples::fields(&[]);
    let finish = |fields: &_, sections: &[Section]| {
        let mut encoder = Encoder::new(io::Cursor::new(Vec::new()));
        for &section in sections {
            encoder.add(compress(section, b"payload", &Compression::Stored).unwrap()).unwrap();
        }
        encoder.finish(fields, Vec::new())
    };
    finish(&fields, &[Section::Tree]).unwrap();
    assert!(finish(&fields, &[]).is_err());
    assert!(finish(&fields, &[Section::Contents, Section::Tree]).is_err());
    assert!(finish(&fields, &[Section::Config, Section::Tree]).is_err());
    fields.codecs.reverse();
    assert!(finish(&fields, &[Section::Tree]).is_err());
    fields.bases.clear();
    assert!(finish(&fields, &[Section::Tree]).is_err());
}

/// Takes what is written, and has nothing when it is read.
struct Forgetful;

impl io::Write for Forgetful {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for Forgetful {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl io::Seek for Forgetful {
    fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

#[test]
fn the_encoder_notices_a_spool_that_loses_bytes() {
    let mut encoder = Encoder::new(Forgetful);
    encoder.add(compress(Section::Tree, b"tree", &Compression::Stored).unwrap()).unwrap();
    let end = encoder.finish(&samples::fields(&[]), Vec::new());
    assert!(matches!(&end, Err(FormatError::Io { .. })), "{end:?}");
}
