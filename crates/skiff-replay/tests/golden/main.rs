//! Golden deltas: what was written once leads from the same base to the same target for ever, and never anywhere else.
//!
//! `SKIFF_WRITE_GOLDEN=1 cargo test -p skiff-replay --test golden` writes images and deltas that are not there yet; it needs GNU
//! gzip. What is there stays as it is: `tests/golden/SHA256SUMS` names it.
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
use skiff_replay::{Base, Checkpoint, Limits, Prelude, ReplayError, Replayed, Sink, replay};
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
        release: "6f8e10bebf4a294f99df127d2b276e5093158dcdef2c06055626a327d3571a7e",
    },
    Golden {
        name: "delta-small-block",
        made: Made::OfSignature,
        base: "small-base",
        target: "small-target",
        release: "dac64c4c0fbeaf2606fa1bdabf42b2937175b99fa795de8e22098a4ec913f2c3",
    },
    Golden {
        name: "delta-small-learned",
        made: Made::OfImages(Level::Default),
        base: "small-base",
        target: "small-target",
        release: "dac64c4c0fbeaf2606fa1bdabf42b2937175b99fa795de8e22098a4ec913f2c3",
    },
    Golden {
        name: "delta-small-xz",
        made: Made::Plain(Level::Best),
        base: "small-base",
        target: "small-target",
        release: "dac64c4c0fbeaf2606fa1bdabf42b2937175b99fa795de8e22098a4ec913f2c3",
    },
    Golden {
        name: "delta-small-zstd",
        made: Made::Plain(Level::Fast),
        base: "small-base",
        target: "small-target",
        release: "dac64c4c0fbeaf2606fa1bdabf42b2937175b99fa795de8e22098a4ec913f2c3",
    },
    Golden {
        name: "delta-archive-learned",
        made: Made::OfImages(Level::Default),
        base: "archive-base",
        target: "archive-target",
        release: "9c1ff1830fa16f842192d05dd1b8a5bd8cdf77af6ef8d725f53d9335e76213b2",
    },
    Golden {
        name: "delta-lists",
        made: Made::OfLists,
        base: "lists-base",
        target: "lists-target",
        release: "ef6a1925c2204adac42eede90feb3c3d184578b42290a8b247580009dca70f30",
    },
    Golden {
        name: "delta-lists-learned",
        made: Made::OfImages(Level::Default),
        base: "lists-base",
        target: "lists-target",
        release: "ef6a1925c2204adac42eede90feb3c3d184578b42290a8b247580009dca70f30",
    },
    Golden {
        name: "delta-picture-learned",
        made: Made::OfImages(Level::Default),
        base: "picture-base",
        target: "picture-target",
        release: "40d0bfd9dce165ad7247b19c8b787ca9a6fae8e9f038f19688c3f87883d77f40",
    },
    Golden {
        name: "delta-aarch64-learned",
        made: Made::OfImages(Level::Default),
        base: "aarch64-base",
        target: "aarch64-target",
        release: "d0cff781a2e254a4b86aae6f5e3b13346c4c3401e456a72d295e7b9e48cf6446",
    },
    Golden {
        name: "delta-arm-learned",
        made: Made::OfImages(Level::Default),
        base: "arm-base",
        target: "arm-target",
        release: "e41dfcaffa9d8a6fc653e1ce1e264b81c8d919549c29be1df7c9d82784f443fd",
    },
    Golden {
        name: "delta-headerless-learned",
        made: Made::OfImages(Level::Default),
        base: "headerless-base",
        target: "headerless-target",
        release: "e458d0cd286999f6e0f439a96f97a22688ee2f949fd51277fd95ac77463a3c2a",
    },
    Golden {
        name: "delta-pie-learned",
        made: Made::OfImages(Level::Default),
        base: "pie-base",
        target: "pie-target",
        release: "6f66692f7e9428479da0fad8be3ab67b747a182d0472dd8a5485a9eb2ac99841",
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
    next_frame: u32,
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
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        self.next_frame = checkpoint.next_frame;
        Ok(())
    }
}

type Outcome = Result<Replayed, ReplayError<io::Error>>;

fn follow(delta: &[u8], base: Base<'_>) -> (Outcome, Memory) {
    let mut sink = Memory::default();
    (replay(delta, base, &mut sink, Limits::default()), sink)
}

/// Writes what is not there yet. Once for all tests, whichever is first: they run side by side.
fn write_missing() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if !images::is_written_anew() {
        return;
    }
    ONCE.call_once(|| {
        for (name, image) in images::make() {
            image.write(name);
        }
        for golden in GOLDEN.iter().filter(|golden| !golden.file().exists()) {
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
                    if !signature::file(golden.base).exists() {
                        fs::write(signature::file(golden.base), &bytes).unwrap();
                    }
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
    write_missing();
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

/// `sha256sum --check SHA256SUMS` says the same. A golden file of a released version is never changed; new ones get their line.
#[test]
fn what_was_declared_has_not_changed() {
    let sums = fs::read_to_string(images::folder().join("SHA256SUMS")).unwrap();
    let declared: BTreeMap<&str, &str> = sums
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(digest, name)| (name, digest))
        .collect();
    let mut folders = ["valid", "images", "errors"].map(|name| images::folder().join(name)).to_vec();
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let name = entry.strip_prefix(images::folder()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, ContentDigest::of(&fs::read(entry).unwrap()).to_string());
            }
        }
    }
    let found: BTreeMap<&str, &str> =
        found.iter().map(|(name, digest)| (name.as_str(), digest.as_str())).collect();
    assert_eq!(found, declared);
}

#[test]
fn each_golden_delta_is_expected() {
    write_missing();
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
    write_missing();
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
            _ => panic!("no frame is left out"),
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
    write_missing();
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

/// A section that is left out leads nowhere else, and where it came to its end nobody need come by again.
#[test]
fn what_is_left_out_is_passed_once() {
    let golden = &GOLDEN[0];
    let (fields, mut frames) = damage::take_apart(&golden.read());
    let unknown = || (skiff_format::Section::Unknown(1_000), b"of a later time".to_vec());
    frames.insert(0, unknown());
    frames.extend([unknown(), unknown()]);
    let delta = damage::put_together(&fields, &frames);
    let (outcome, sink) = follow(&delta, Image::read(golden.base).base());
    assert_eq!(outcome.unwrap().release.to_string(), golden.release);
    assert_eq!(sink.next_frame as usize, frames.len());
}

/// Signatures stand between the header and the frames, and change nothing of where a delta leads.
#[test]
fn a_signed_delta_leads_where_it_led_before() {
    let signed = fs::read(images::folder().join("valid/signed-example.skiff")).unwrap();
    let (outcome, sink) = follow(&signed, Image::read("example-base").base());
    assert_eq!(outcome.unwrap().release.to_string(), GOLDEN[0].release);
    assert_eq!(sink.prelude.unwrap().header.signatures().all().len(), 3);
}
