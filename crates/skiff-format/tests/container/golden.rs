//! Golden files: deltas that stay decodable, and deltas that stay refused, for the right reason.
//!
//! Beside each `NAME.skiff` stands a `NAME.txt` that says in words what decoding gives. `SKIFF_WRITE_GOLDEN=1 cargo test -p
//! skiff-format golden` writes what is not there yet; what is there stays as it is.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiff_format::{Compression, DetachedSignature, Digest, Event, Facts, Header, Limits, Section};

use crate::raw::{Raw, Row, varint};
use crate::samples::{self, ZSTD};
use crate::{decode, error_of, hostile};

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(kind)
}

fn is_written_anew() -> bool {
    std::env::var_os("SKIFF_WRITE_GOLDEN").is_some()
}

/// The container's files of a folder: name, bytes and what is expected. Others keep theirs there too.
fn files(kind: &str) -> Vec<(String, Vec<u8>, String)> {
    let mut files: Vec<_> = fs::read_dir(folder(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "skiff"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let expected = fs::read_to_string(path.with_extension("txt"));
            (name, fs::read(path).unwrap(), expected)
        })
        .filter(|(name, ..)| name.starts_with("container-"))
        .map(|(name, bytes, expected)| (name, bytes, expected.expect("each file says what it decodes to")))
        .collect();
    files.sort();
    files
}

fn write(kind: &str, name: &str, (bytes, expected): (&[u8], &str)) {
    fs::create_dir_all(folder(kind)).unwrap();
    let path = folder(kind).join(format!("container-{name}.skiff"));
    if path.exists() {
        return;
    }
    fs::write(&path, bytes).unwrap();
    fs::write(path.with_extension("txt"), expected).unwrap();
}

fn valid() -> Vec<(&'static str, Vec<u8>)> {
    let (config, contents) = (samples::text(20), samples::text(400));
    let (front, back) = contents.split_at(3_000);
    let mut fields = samples::fields(&[]);
    fields.codecs.clear();
    fields.bases.truncate(1);
    fields.facts = Facts::default();
    let properties = Compression::Xz { literal_context_bits: 0, literal_position_bits: 2, position_bits: 0 };
    vec![
        ("smallest", samples::write_with(&fields, &[(Section::Tree, b"t", Compression::Stored)])),
        ("all-compressors", samples::all_compressors()),
        ("signed", samples::signed(&samples::write(&[(Section::Tree, front, Compression::XZ)]))),
        (
            "sections-of-several-frames",
            samples::write(&[
                (Section::Config, &config[..100], Compression::Stored),
                (Section::Config, &config[100..], Compression::XZ),
                (Section::Tree, front, ZSTD),
                (Section::Tree, back, Compression::XZ),
                (Section::Contents, back, Compression::XZ),
                (Section::Contents, front, properties),
            ]),
        ),
        (
            "sections-of-a-later-version",
            samples::write(&[
                (Section::Unknown(1_005), b"before all", Compression::Stored),
                (Section::Tree, &config, ZSTD),
                (Section::Unknown(1 << 40), &config, Compression::XZ),
                (Section::Tree, b"more of the tree", Compression::Stored),
                (Section::Unknown(1_000), b"at the end", Compression::Stored),
            ]),
        ),
        ("additions-of-a-later-version", additions()),
    ]
}

/// An extension of the header, and a frame whose compressor and sizes say nothing to who leaves it out.
fn additions() -> Vec<u8> {
    let frame = |kind, decoded| Row::compressed(kind, (1_099, 1 << 50), b"of another time".to_vec(), decoded);
    let mut raw = Raw::new(vec![frame(1_005, 3), Row::stored(3, b"tree"), frame(1 << 40, 1 << 60)]);
    raw.extensions =
        [vec![2], varint(1_007), vec![0, 5], b"seven".to_vec(), varint(1 << 50), vec![0, 0]].concat();
    raw.bytes()
}

/// What decoding gave, in words that other decoders can say too.
fn describe(events: &[Event]) -> String {
    let mut text = String::new();
    let Event::Header(header) = &events[0] else { panic!("the first event is the header") };
    describe_header(header, &mut text);
    for event in &events[1..] {
        match event {
            Event::Frame(frame) => writeln!(
                text,
                "frame {} at {}: {} of {} bytes, sha256 {}",
                frame.index,
                frame.offset,
                format!("{:?}", frame.section).to_lowercase(),
                frame.payload.len(),
                Digest::of(&frame.payload)
            ),
            Event::Skipped { index } => writeln!(text, "frame {index} skipped"),
            other => panic!("{other:?}"),
        }
        .unwrap();
    }
    text
}

fn describe_header(header: &Header, text: &mut String) {
    let or_none = |digest: Option<Digest>| digest.map_or("none".to_owned(), |digest| digest.to_string());
    writeln!(text, "delta of {} bytes, header {}", header.delta_size(), header.digest()).unwrap();
    for codec in header.codecs() {
        writeln!(text, "codec {} version {}", codec.id, codec.version).unwrap();
    }
    for base in header.bases() {
        writeln!(text, "base {} tree {}", base.release, base.tree).unwrap();
    }
    let target = header.target();
    writeln!(text, "target {} tree {}", target.release, target.tree).unwrap();
    writeln!(text, "config {}", or_none(target.config)).unwrap();
    writeln!(text, "manifest {}", or_none(target.manifest)).unwrap();
    let facts = header.facts();
    let pull = facts.pull_bytes.map_or("unknown".to_owned(), |bytes| bytes.to_string());
    writeln!(
        text,
        "facts {} {} {} {} {} {} {pull} {}",
        facts.target_bytes,
        facts.new_bytes,
        facts.unchanged_bytes,
        facts.entries,
        facts.inodes,
        facts.unchanged_inodes,
        facts.decoder_memory
    )
    .unwrap();
    for DetachedSignature { algorithm, key, bytes } in header.signatures().all() {
        writeln!(text, "signature of algorithm {algorithm} by {key}: {} bytes", bytes.len()).unwrap();
    }
}

#[test]
fn golden_deltas_decode() {
    if is_written_anew() {
        for (name, bytes) in valid() {
            write("valid", name, (&bytes, &describe(&decode(&bytes, Limits::default()).0)));
        }
    }
    let files = files("valid");
    assert_eq!(files.len(), valid().len());
    for (name, bytes, expected) in files {
        let (events, end) = decode(&bytes, Limits::default());
        end.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(describe(&events), expected, "{name}");
    }
}

#[test]
fn golden_errors_are_refused() {
    if is_written_anew() {
        for case in hostile::cases() {
            write("errors", case.name, (&case.raw.bytes(), &case.expected.to_string()));
        }
    }
    let files = files("errors");
    assert_eq!(files.len(), hostile::cases().len());
    for case in hostile::cases() {
        let name = format!("container-{}", case.name);
        let Some((_, bytes, expected)) = files.iter().find(|file| file.0 == name) else {
            panic!("{name} is missing")
        };
        assert_eq!(expected, &case.expected.to_string(), "{name}");
        let error = error_of(bytes);
        assert!(case.expected.matches(&error, case.raw.header().len() as u64), "{name}: {error:?}");
    }
}

/// A decoder written from `doc/format.md` alone, in another language, on other libraries.
#[test]
#[ignore = "needs python3 and zstd"]
fn a_stranger_decodes_the_same() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/stranger");
    let run = |kind: &str, name: &str| {
        let delta = folder(kind).join(format!("{name}.skiff"));
        Command::new("python3").arg(&script).arg("--container").arg(delta).output().unwrap()
    };
    for (name, _, expected) in files("valid") {
        let output = run("valid", &name);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{name}");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for (name, _, expected) in files("errors") {
        let output = run("errors", &name);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{name}: {complaint}");
        assert_eq!(complaint.lines().next(), Some(expected.trim_end()), "{name}: {complaint}");
    }
}
