//! The images that the golden deltas lead from and to: as files under `tests/golden/images`, and how these were made.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use skiff_diff::Release;
use skiff_replay::{Base, Trust};
use skiff_tree::*;

use crate::executables::Program;

/// The folder of golden files.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// Whether golden files shall be written that are not there yet.
pub(crate) fn is_written_anew() -> bool {
    std::env::var_os("SKIFF_WRITE_GOLDEN").is_some()
}

/// An image as its folder has it: `tree` in canonical encoding, `contents/DIGEST`, and `config.json` and `manifest.json`
/// where it has them.
pub(crate) struct Image {
    pub(crate) tree: Tree,
    pub(crate) contents: MemoryContents,
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) manifest: Option<Vec<u8>>,
}

impl Image {
    pub(crate) fn read(name: &str) -> Self {
        let folder = folder().join("images").join(name);
        let tree = Tree::decode(&fs::read(folder.join("tree")).unwrap()[..], &Limits::default()).unwrap();
        let mut contents = MemoryContents::default();
        for (_, entry, content) in tree.files() {
            let bytes = fs::read(folder.join("contents").join(content.digest.to_string())).unwrap();
            assert_eq!(FileContent::of(&bytes), content, "{name}: {}", entry.path);
            contents.insert(entry.path.clone(), bytes);
        }
        let optional = |file| fs::read(folder.join(file)).ok();
        Self { tree, contents, config: optional("config.json"), manifest: optional("manifest.json") }
    }

    pub(crate) fn write(&self, name: &str) {
        let folder = folder().join("images").join(name);
        if folder.exists() {
            return;
        }
        fs::create_dir_all(folder.join("contents")).unwrap();
        let mut encoding = Vec::new();
        self.tree.encode(&mut encoding).unwrap();
        fs::write(folder.join("tree"), encoding).unwrap();
        for (_, entry, content) in self.tree.files() {
            let bytes = self.content(&entry.path);
            fs::write(folder.join("contents").join(content.digest.to_string()), bytes).unwrap();
        }
        for (file, bytes) in [("config.json", &self.config), ("manifest.json", &self.manifest)] {
            if let Some(bytes) = bytes {
                fs::write(folder.join(file), bytes).unwrap();
            }
        }
    }

    pub(crate) fn release(&self) -> Release<'_> {
        let (config, manifest) = (self.config.as_deref(), self.manifest.as_deref());
        Release { config, manifest, ..Release::new(&self.tree, &self.contents) }
    }

    pub(crate) fn base(&self) -> Base<'_> {
        Base {
            release: self.release().id(),
            tree: &self.tree,
            contents: &self.contents,
            trust: Trust::Checked,
        }
    }

    pub(crate) fn content(&self, path: &EntryPath) -> Vec<u8> {
        read_all(&*self.contents.open(path).unwrap()).unwrap()
    }
}

/// The images, by name.
pub(crate) fn make() -> [(&'static str, Image); 18] {
    let motd = |text: &str| {
        let mut builder = Builder::new();
        builder.file("motd", text.as_bytes());
        builder.finish(None)
    };
    let one = |name: &str, bytes: &[u8]| {
        let mut builder = Builder::new();
        builder.file(name, bytes);
        builder.finish(None)
    };
    let archive = |bytes: &[u8]| one("app.whl", bytes);
    let picture = |bytes: &[u8]| one("logo.png", bytes);
    let program = |program: Program, is_second| one("program", &program.version(is_second));
    [
        ("aarch64-base", program(Program::AArch64, false)),
        ("aarch64-target", program(Program::AArch64, true)),
        ("archive-base", archive(include_bytes!("../../../skiff-patch/tests/zip/python.old.zip"))),
        ("archive-target", archive(include_bytes!("../../../skiff-patch/tests/zip/python.new.zip"))),
        ("arm-base", program(Program::Arm, false)),
        ("arm-target", program(Program::Arm, true)),
        ("example-base", motd("ahoy\n")),
        ("example-target", motd("land ahoy\n")),
        ("headerless-base", program(Program::Headerless, false)),
        ("headerless-target", program(Program::Headerless, true)),
        ("lists-base", lists(false)),
        ("lists-target", lists(true)),
        ("picture-base", picture(include_bytes!("../../../skiff-patch/tests/png/libpng.old.png"))),
        ("picture-target", picture(include_bytes!("../../../skiff-patch/tests/png/libpng.new.png"))),
        ("pie-base", program(Program::X86, false)),
        ("pie-target", program(Program::X86, true)),
        ("small-base", small_base()),
        ("small-target", small_target()),
    ]
}

/// Collects entries; each has the metadata that was set last.
struct Builder {
    metadata: Metadata,
    entries: Vec<Entry>,
    contents: MemoryContents,
}

impl Builder {
    fn new() -> Self {
        let mut new =
            Self { metadata: Metadata::default(), entries: Vec::new(), contents: MemoryContents::default() };
        new.set(0o755, 1_700_000_000).add("", Kind::Directory);
        new.set(0o644, 1_700_000_000);
        new
    }

    fn set(&mut self, mode: u32, seconds: i64) -> &mut Self {
        self.metadata = Metadata {
            mode: Mode::new(mode).unwrap(),
            mtime: Mtime::from_seconds(seconds),
            ..Metadata::default()
        };
        self
    }

    fn add(&mut self, path: &str, kind: Kind) -> &mut Self {
        self.entries.push(Entry::inode(EntryPath::new(path).unwrap(), self.metadata.clone(), kind));
        self
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> &mut Self {
        self.contents.insert(EntryPath::new(path).unwrap(), bytes);
        self.add(path, Kind::File(FileContent::of(bytes)))
    }

    fn link(&mut self, path: &str, owner: &str) -> &mut Self {
        let checked = |text: &str| EntryPath::new(text).unwrap();
        self.entries.push(Entry::hard_link(checked(path), checked(owner)));
        self
    }

    fn finish(self, config: Option<(&str, &str)>) -> Image {
        let tree = Tree::from_unsorted(self.entries).unwrap();
        let (config, manifest) = config.unzip();
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        Image { tree, contents: self.contents, config: bytes(config), manifest: bytes(manifest) }
    }
}

/// Every type of entry, and files that give each codec something to do.
fn small_base() -> Image {
    let mut builder = Builder::new();
    builder.set(0o755, 1_700_000_000);
    for directory in ["bin", "dev", "etc", "opt", "usr"] {
        builder.add(directory, Kind::Directory);
    }
    builder.file("bin/tool", &tool(false)).link("bin/tool-again", "bin/tool");
    builder.set(0o644, 1_700_000_000);
    builder.add("dev/null", Kind::CharDevice(Device { major: 1, minor: 3 }));
    builder.file("etc/hosts", b"127.0.0.1 localhost\n").file("etc/motd", b"ahoy\n").file("etc/old", b"old\n");
    builder.file("opt/moved-1", &b"a file that goes elsewhere\n".repeat(9));
    builder.file("usr/changelog.gz", &gzip(&changelog(7)));
    builder.set(0o777, 1_700_000_000).add("usr/lib", Kind::Symlink((*b"lib-1").into()));
    builder.finish(Some((r#"{"config":{"Cmd":["old"]}}"#, r#"{"schemaVersion":2,"of":"base"}"#)))
}

fn small_target() -> Image {
    let mut builder = Builder::new();
    builder.set(0o755, 1_700_000_000);
    for directory in ["bin", "dev", "etc", "usr"] {
        builder.add(directory, Kind::Directory);
    }
    builder.set(0o4755, 1_710_000_000).file("bin/tool", &tool(true)).link("bin/tool-again", "bin/tool");
    builder.set(0o644, 1_700_000_000);
    builder.add("dev/null", Kind::CharDevice(Device { major: 1, minor: 3 }));
    builder.set(0o600, -1).add("dev/disk", Kind::BlockDevice(Device { major: 8, minor: 1 }));
    builder.add("dev/pipe", Kind::Fifo).file("etc/motd", b"land ahoy\n").file("etc/empty", b"");
    builder.metadata.uid = 1000;
    builder.metadata.xattrs = BTreeMap::from([((*b"user.note").into(), (*b"\0").into())]);
    builder.file("etc/hosts", b"127.0.0.1 localhost\n").file("etc/motd-again", b"land ahoy\n");
    builder.set(0o644, 1_700_000_000).file("usr/moved-2", &b"a file that goes elsewhere\n".repeat(9));
    builder.set(0o644, 1_710_000_000).file("usr/changelog.gz", &gzip(&changelog(9)));
    builder.set(0o777, 1_710_000_000).add("usr/lib", Kind::Symlink((*b"lib-2").into()));
    builder.finish(Some((r#"{"config":{"Cmd":["new"]}}"#, r#"{"schemaVersion":2,"of":"target"}"#)))
}

/// Lists of what other files hash to: one for each kind of line, and one that is wrong about what has not changed.
fn lists(is_new: bool) -> Image {
    let name = |number: usize| format!("file-{number}");
    let text = |number: usize| {
        let version = if is_new && number != 2 { 2 } else { 1 };
        format!("file {number}, version {version}\n").repeat(1 + number * version).into_bytes()
    };
    let mut builder = Builder::new();
    for number in 0..5 {
        builder.file(&format!("lib/{}", name(number)), &text(number));
    }
    builder.link("lib/link", "lib/file-1");
    let lines = |line: &dyn Fn(usize) -> String| (0..5).map(line).collect::<String>().into_bytes();
    let md5 = |number: usize| {
        let checksum = skiff_replay::renew::md5(&text(number), text(number).len() as u64).unwrap();
        checksum.map(|byte| format!("{byte:02x}")).concat()
    };
    let sha256 = |number: usize| ContentDigest::of(&text(number));
    let base64 = |number: usize| URL_SAFE_NO_PAD.encode(sha256(number).as_bytes());
    let wrong = "0".repeat(32);
    let md5sums = [
        lines(&|number| format!("{}  lib/{}\n", md5(number), name(number))),
        format!("{}  lib/link\n{wrong}  lib/file-2\n{wrong}  lib/none\n", md5(1)).into_bytes(),
    ]
    .concat();
    let record =
        lines(&|number| format!("{},sha256={},{}\r\n", name(number), base64(number), text(number).len()));
    builder.add("lib/p.dist-info", Kind::Directory).add("info", Kind::Directory).add("lib", Kind::Directory);
    builder.file("lib/p.dist-info/RECORD", &record);
    builder.file("lib/SHA256SUMS", &lines(&|number| format!("{} *./{}\n", sha256(number), name(number))));
    builder.file("info/p.md5sums", &md5sums);
    builder.finish(None)
}

/// Bytes that do not compress, like code that was inserted into, with addresses that moved.
fn tool(is_new: bool) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(900)
    .collect();
    if is_new {
        bytes.iter_mut().skip(400).step_by(50).for_each(|byte| *byte = byte.wrapping_add(4));
        bytes.splice(300..300, *b"inserted");
    }
    bytes
}

fn changelog(versions: u32) -> Vec<u8> {
    let line = |n: u32| format!("version 1.{n}: {} knots, {} fathoms\n", n * 7919 % 97, n * 104_729 % 89);
    (0..versions * 4).rev().map(line).collect::<String>().into_bytes()
}

/// Compressed as images have it: by GNU gzip.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let pipe = Stdio::piped;
    let mut child = Command::new("gzip").arg("-9n").stdin(pipe()).stdout(pipe()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}
