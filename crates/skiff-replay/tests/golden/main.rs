//! Golden deltas: what was written once leads from the same base to the same target for ever, and never anywhere else.
//!
//! `SKIFF_WRITE_GOLDEN=1 cargo test -p skiff-replay --test golden` writes images and deltas anew; it needs GNU gzip.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod damage;
mod document;
mod executables;
mod hostile;
mod images;
mod instructions;
mod lists;
mod signature;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, io};

use skiff_diff::{Idea, Ideas, Level, Options, diff, diff_against};
use skiff_format::Compressor;
use skiff_patch::Codec;
use skiff_replay::{Base, Limits, Prelude, ReplayError, Replayed, Sink, replay};
use skiff_signature::TreeSignature;
use skiff_tree::ContentDigest;

use images::Image;

/// A golden delta, and where it leads from and to.
struct Golden {
    name: &'static str,
    made: Made,
    base: &'static str,
    target: &'static str,
    /// The target's release id, as a script that shares nothing with this code computed it.
    release: &'static str,
}

/// What it was made of.
enum Made {
    OfImages(Level),
    /// Without codecs and compressors that learn.
    Plain(Level),
    /// By hand: the lists are copies of renewed ones, everything else is sent as it is.
    OfLists,
    /// The base's tree signature, `signature-BASE.sks`, with blocks of 100 bytes. Without the compressor that learns.
    OfSignature,
}

const GOLDEN: [Golden; 13] = [
    Golden {
        name: "delta-example",
        made: Made::Plain(Level::Default),
        base: "example-base",
        target: "example-target",
        release: "858835c6d2ee4fbe0a2c59f67e2f7850e59e3ef5b800a7679bdc8f26eecae2df",
    },
    Golden {
        name: "delta-small-block",
        made: Made::OfSignature,
        base: "small-base",
        target: "small-target",
        release: "89a9351b676baf6c0a5a52d6488ea517a6d1405de69cbc75f0acbf270bcce566",
    },
    Golden {
        name: "delta-small-learned",
        made: Made::OfImages(Level::Default),
        base: "small-base",
        target: "small-target",
        release: "89a9351b676baf6c0a5a52d6488ea517a6d1405de69cbc75f0acbf270bcce566",
    },
    Golden {
        name: "delta-small-xz",
        made: Made::Plain(Level::Best),
        base: "small-base",
        target: "small-target",
        release: "89a9351b676baf6c0a5a52d6488ea517a6d1405de69cbc75f0acbf270bcce566",
    },
    Golden {
        name: "delta-small-zstd",
        made: Made::Plain(Level::Fast),
        base: "small-base",
        target: "small-target",
        release: "89a9351b676baf6c0a5a52d6488ea517a6d1405de69cbc75f0acbf270bcce566",
    },
    Golden {
        name: "delta-archive-learned",
        made: Made::OfImages(Level::Default),
        base: "archive-base",
        target: "archive-target",
        release: "c7225ba98a0606106927d683addd264fe1bee8a8952985bdd0e8e356fc76322c",
    },
    Golden {
        name: "delta-lists",
        made: Made::OfLists,
        base: "lists-base",
        target: "lists-target",
        release: "cfb3551eba312c547df42bb532fd94033bb602f9d619bb17199e836eadbf8915",
    },
    Golden {
        name: "delta-lists-learned",
        made: Made::OfImages(Level::Default),
        base: "lists-base",
        target: "lists-target",
        release: "cfb3551eba312c547df42bb532fd94033bb602f9d619bb17199e836eadbf8915",
    },
    Golden {
        name: "delta-picture-learned",
        made: Made::OfImages(Level::Default),
        base: "picture-base",
        target: "picture-target",
        release: "51996ac2ffb6f1218c23fc08f601c4e6388778584702591fe5726a7bdc3a47af",
    },
    Golden {
        name: "delta-aarch64-learned",
        made: Made::OfImages(Level::Default),
        base: "aarch64-base",
        target: "aarch64-target",
        release: "489e39053da3989711adf029591df63af5789ce6d9ab4ef54454bba386b8cb98",
    },
    Golden {
        name: "delta-arm-learned",
        made: Made::OfImages(Level::Default),
        base: "arm-base",
        target: "arm-target",
        release: "a08c7d1b7c203beb684c1938c1915d82d8b56a713324a1b14bcaedff10d98aec",
    },
    Golden {
        name: "delta-headerless-learned",
        made: Made::OfImages(Level::Default),
        base: "headerless-base",
        target: "headerless-target",
        release: "432bd816812adffd9a71ab67e2f6508767e31780fa1c0b7067d5677699bd2045",
    },
    Golden {
        name: "delta-pie-learned",
        made: Made::OfImages(Level::Default),
        base: "pie-base",
        target: "pie-target",
        release: "5aa443ae50281628f103657f9af4558b41c6f1f8cbc3e00a0dc5bb647fb9001d",
    },
];

impl Golden {
    fn file(&self) -> PathBuf {
        images::folder().join("valid").join(format!("{}.skiff", self.name))
    }

    fn read(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap()
    }
}

/// New contents in memory.
#[derive(Default)]
struct Memory {
    prelude: Option<Prelude>,
    contents: BTreeMap<u32, Vec<u8>>,
    finished: BTreeSet<u32>,
}

impl Sink for Memory {
    type Error = io::Error;
    type Content = Vec<u8>;

    fn begin(&mut self, prelude: &Prelude) -> io::Result<()> {
        self.prelude = Some(prelude.clone());
        Ok(())
    }
    fn write(&mut self, number: u32, bytes: &[u8]) -> io::Result<()> {
        self.contents.entry(number).or_default().extend_from_slice(bytes);
        Ok(())
    }
    fn finish(&mut self, number: u32, digest: ContentDigest) -> io::Result<()> {
        assert_eq!(ContentDigest::of(self.contents.entry(number).or_default()), digest);
        assert!(self.finished.insert(number), "a content is finished once");
        Ok(())
    }
    fn open(&self, number: u32) -> io::Result<Vec<u8>> {
        Ok(self.contents[&number].clone())
    }
}

type Outcome = Result<Replayed, ReplayError<io::Error>>;

fn follow(delta: &[u8], base: Base<'_>) -> (Outcome, Memory) {
    let mut sink = Memory::default();
    (replay(delta, base, &mut sink, Limits::default()), sink)
}

/// Once for all tests, whichever is first: they run side by side.
fn write_anew() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if !images::is_written_anew() {
        return;
    }
    ONCE.call_once(|| {
        for (name, image) in images::make() {
            image.write(name);
        }
        for golden in &GOLDEN {
            let (base, target) = (Image::read(golden.base), Image::read(golden.target));
            let options = Options { pull_bytes: Some(4096), ..Options::default() };
            let mut delta = Vec::new();
            fs::create_dir_all(images::folder().join("valid")).unwrap();
            match golden.made {
                Made::OfImages(level) | Made::Plain(level) => {
                    let ideas = match golden.made {
                        Made::Plain(_) => Ideas::ALL.without(Idea::Align).without(Idea::Mixed),
                        _ => Ideas::ALL,
                    };
                    let options = Options { level, ideas, ..options };
                    diff(&base.release(), &target.release(), &options, &mut delta).unwrap();
                }
                Made::OfLists => delta = lists::make(&base, &target),
                Made::OfSignature => {
                    let bytes = signature::make(&base);
                    fs::write(signature::file(golden.base), &bytes).unwrap();
                    let signature = TreeSignature::read(&bytes[..], &Default::default()).unwrap();
                    let options = Options { ideas: Ideas::ALL.without(Idea::Mixed), ..options };
                    diff_against(&signature, &target.release(), &options, &mut delta).unwrap();
                }
            }
            fs::write(golden.file(), delta).unwrap();
        }
    });
}

#[test]
fn golden_deltas_lead_to_their_targets() {
    write_anew();
    for golden in &GOLDEN {
        let name = golden.name;
        let (base, target) = (Image::read(golden.base), Image::read(golden.target));
        let (outcome, sink) = follow(&golden.read(), base.base());
        let replayed = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(replayed.release.to_string(), golden.release, "{name}");
        assert_eq!(replayed.tree, target.tree, "{name}");
        assert_eq!(replayed.config, target.config, "{name}");
        assert_eq!(replayed.manifest, target.manifest, "{name}");
        let skeleton = sink.prelude.unwrap().skeleton;
        assert_eq!(skeleton.new_contents().len(), sink.finished.len(), "{name}");
        for (number, new) in (0..).zip(skeleton.new_contents()) {
            let path = &skeleton.entries()[new.entry as usize].path;
            assert_eq!(sink.contents[&number], target.content(path), "{name}: {path}");
        }
    }
}

#[test]
fn each_golden_delta_is_expected() {
    write_anew();
    let found: BTreeSet<String> = fs::read_dir(images::folder().join("valid"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "skiff"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name.starts_with("delta-"))
        .collect();
    assert_eq!(found, GOLDEN.iter().map(|golden| golden.name.to_owned()).collect());
}

#[test]
fn golden_deltas_use_every_codec_and_compressor() {
    write_anew();
    let mut codecs = BTreeSet::new();
    let mut compressors = BTreeSet::new();
    for golden in &GOLDEN {
        let (outcome, sink) = follow(&golden.read(), Image::read(golden.base).base());
        outcome.unwrap();
        let header = sink.prelude.unwrap().header;
        codecs.extend(header.codecs().iter().map(|codec| (codec.id, codec.version)));
        compressors.extend(header.frames().iter().map(|frame| match frame.compressor {
            Compressor::Stored => 0,
            Compressor::Xz { .. } => 1,
            Compressor::Zstd { .. } => 2,
            Compressor::Mixed => 3,
        }));
    }
    assert_eq!(codecs, Codec::ALL.iter().map(|codec| (codec.id(), codec.version())).collect());
    assert_eq!(compressors, BTreeSet::from([0, 1, 2, 3]));
}

/// What a decoder written from `doc/format.md` alone, in another language, exits with where it refuses a delta.
const CORRUPT: i32 = 11;
const UNSUPPORTED: i32 = 12;
const OF_ANOTHER_BASE: i32 = 14;

/// Runs that decoder.
fn stranger(delta: &Path, base: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/stranger");
    let base = images::folder().join("images").join(base);
    Command::new("python3").arg(&script).arg(delta).arg(base).output().unwrap()
}

#[test]
#[ignore = "needs python3 and zstd"]
fn a_stranger_reaches_the_same_targets() {
    write_anew();
    for golden in &GOLDEN {
        let output = stranger(&golden.file(), golden.base);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {complaint}", golden.name);
        let tree = Image::read(golden.target).tree.digest();
        let expected = format!("{}\n{tree}\n", golden.release);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{}", golden.name);
        let refused = stranger(&golden.file(), golden.target);
        assert_eq!(refused.status.code(), Some(OF_ANOTHER_BASE), "{}: a wrong base", golden.name);
    }
    let signed = stranger(&images::folder().join("valid/signed-example.skiff"), "example-base");
    let plain = stranger(&GOLDEN[0].file(), "example-base");
    assert_eq!((signed.status.code(), signed.stdout), (Some(0), plain.stdout));
}

/// Signatures stand between the header and the frames, and change nothing of where a delta leads.
#[test]
fn a_signed_delta_leads_where_it_led_before() {
    let signed = fs::read(images::folder().join("valid/signed-example.skiff")).unwrap();
    let (outcome, sink) = follow(&signed, Image::read("example-base").base());
    assert_eq!(outcome.unwrap().release.to_string(), GOLDEN[0].release);
    assert_eq!(sink.prelude.unwrap().header.signatures().all().len(), 3);
}
