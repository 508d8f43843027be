//! Two small releases with entries of every kind, and deltas between them.

// Every test binary uses its own part, and a helper that fails is a test that fails.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use skiff_apply::{
    Applied, ApplyError, Control, DeltaSource, Expectation, InstallInput, Installed, Options, SeekableDelta,
    Store, StoreOptions,
};
use skiff_diff::{Idea, Ideas};
use skiff_format::{Compression, Encoder, Event, HeaderFields, Reader, Section};
use skiff_fs::{FaultyStorage, RootOptions, Storage};
use skiff_replay::record::{self, Known, Record};
pub use skiff_testkit::noise;
use skiff_tree::{
    ConfigDigest, Device, Entry, EntryPath, FileContent, Kind, MemoryContents, Metadata, Mode, Mtime,
    ReleaseId, Tree,
};

pub fn path(text: &str) -> EntryPath {
    EntryPath::new(text).unwrap()
}

pub fn metadata(mode: u32, seconds: i64) -> Metadata {
    Metadata { mode: Mode::new(mode).unwrap(), mtime: Mtime::from_seconds(seconds), ..Metadata::default() }
}

/// An image in memory.
pub struct Image {
    pub tree: Tree,
    pub contents: MemoryContents,
    pub config: Option<Vec<u8>>,
    pub manifest: Option<Vec<u8>>,
}

#[derive(Default)]
pub struct Builder {
    entries: Vec<Entry>,
    contents: MemoryContents,
}

impl Builder {
    pub fn new() -> Self {
        Self::default().directory("", 0o755, 1)
    }

    pub fn directory(self, at: &str, mode: u32, seconds: i64) -> Self {
        self.inode(at, metadata(mode, seconds), Kind::Directory)
    }

    pub fn file(self, at: &str, bytes: &[u8]) -> Self {
        self.file_with(at, bytes, metadata(0o644, 1_000))
    }

    pub fn file_with(mut self, at: &str, bytes: &[u8], metadata: Metadata) -> Self {
        self.contents.insert(path(at), bytes);
        self.inode(at, metadata, Kind::File(FileContent::of(bytes)))
    }

    pub fn inode(mut self, at: &str, metadata: Metadata, kind: Kind) -> Self {
        self.entries.push(Entry::inode(path(at), metadata, kind));
        self
    }

    pub fn link(mut self, at: &str, owner: &str) -> Self {
        self.entries.push(Entry::hard_link(path(at), path(owner)));
        self
    }

    pub fn build(self, config: Option<&str>) -> Image {
        Image {
            tree: Tree::from_unsorted(self.entries).unwrap(),
            contents: self.contents,
            config: config.map(|config| config.as_bytes().to_vec()),
            manifest: config.map(|config| format!("manifest of {config}").into_bytes()),
        }
    }
}

impl Image {
    pub fn id(&self) -> ReleaseId {
        ReleaseId::new(self.tree.digest(), self.config.as_deref().map(ConfigDigest::of))
    }

    pub fn input(&self) -> InstallInput<'_> {
        let manifest = self.manifest.as_deref();
        let config = self.config.as_deref();
        InstallInput { config, manifest, ..InstallInput::new(&self.tree, &self.contents) }
    }

    fn release(&self) -> skiff_diff::Release<'_> {
        let mut release = skiff_diff::Release::new(&self.tree, &self.contents);
        release.config = self.config.as_deref();
        release.manifest = self.manifest.as_deref();
        release
    }
}

/// A release with entries of every kind.
pub fn old() -> Image {
    let text = |words: &str| words.repeat(300).into_bytes();
    Builder::new()
        .directory("bin", 0o755, 10)
        .file_with("bin/tool", &noise(1, 20_000), metadata(0o755, 11))
        .file_with("bin/su", b"unchanged and setuid", metadata(0o4755, 12))
        .link("bin/tool-link", "bin/tool")
        .directory("etc", 0o555, 13)
        .file("etc/empty", b"")
        .file("etc/motd", &text("ahoy "))
        .file("etc/kept", &text("kept "))
        .file("etc/kept-too", &text("kept "))
        .file("etc/touched", &text("touched "))
        .file("etc/gone", b"gone")
        .inode("etc/link", metadata(0o777, 14), Kind::Symlink((*b"../bin/tool").into()))
        .inode("pipe", metadata(0o640, 15), Kind::Fifo)
        .inode("null", metadata(0o666, 16), Kind::CharDevice(Device { major: 1, minor: 3 }))
        .build(Some("{\"cmd\":1}"))
}

/// A release with a bit of everything changed.
pub fn new() -> Image {
    let text = |words: &str| words.repeat(300).into_bytes();
    let mut tool = noise(1, 20_000);
    tool[5_000..5_010].copy_from_slice(b"0123456789");
    Builder::new()
        .directory("bin", 0o755, 10)
        .file_with("bin/tool", &tool, metadata(0o755, 21))
        .file_with("bin/su", b"unchanged and setuid", metadata(0o4755, 12))
        .link("bin/tool-link", "bin/tool")
        .directory("etc", 0o555, 23)
        .file("etc/empty", b"")
        .file("etc/motd", &[text("ahoy "), text("land ")].concat())
        .file("etc/motd.copy", &[text("ahoy "), text("land ")].concat())
        .file("etc/kept", &text("kept "))
        .file("etc/kept-too", &text("kept "))
        .file_with("etc/touched", &text("touched "), metadata(0o600, 2_000))
        .inode("etc/link", metadata(0o777, 24), Kind::Symlink((*b"/nowhere").into()))
        .directory("new", 0o700, 25)
        .file("new/first", &noise(2, 9_000))
        .file("new/second", &noise(3, 7_000))
        .file("new/third", &noise(4, 30_000))
        .file("new/nothing", b"")
        .file_with("new/secret", b"nobody reads this", metadata(0, 26))
        .inode("pipe", metadata(0o600, 15), Kind::Fifo)
        .inode("zero", metadata(0o666, 16), Kind::CharDevice(Device { major: 1, minor: 5 }))
        .build(Some("{\"cmd\":2}"))
}

/// A small release, for what is done hundreds of times.
pub fn before() -> Image {
    Builder::new()
        .directory("d", 0o755, 1)
        .file("d/changed", &noise(1, 3_000))
        .file("d/kept", b"kept")
        .link("d/linked", "d/kept")
        .file("gone", b"gone")
        .inode("s", metadata(0o777, 2), Kind::Symlink((*b"d").into()))
        .build(Some("before"))
}

/// What comes after it: of everything a little.
pub fn after() -> Image {
    let mut changed = noise(1, 3_000);
    changed[7..17].copy_from_slice(b"0123456789");
    Builder::new()
        .directory("d", 0o750, 3)
        .file("d/changed", &changed)
        .file("d/kept", b"kept")
        .link("d/linked", "d/kept")
        .file("e", b"new")
        .file("f", b"new")
        .inode("p", metadata(0o600, 4), Kind::Fifo)
        .inode("s", metadata(0o777, 2), Kind::Symlink((*b"e").into()))
        .build(Some("after"))
}

pub fn delta(base: &Image, target: &Image) -> Vec<u8> {
    delta_with(base, target, Ideas::ALL)
}

fn delta_with(base: &Image, target: &Image, ideas: Ideas) -> Vec<u8> {
    let mut out = Vec::new();
    let options = skiff_diff::Options { ideas, ..skiff_diff::Options::default() };
    skiff_diff::diff(&base.release(), &target.release(), &options, &mut out).unwrap();
    out
}

/// The delta with every record of contents in a frame of its own: many points to go on from.
pub fn in_small_frames(base: &Image, target: &Image) -> Vec<u8> {
    // Those payloads learn from those before them in their frame, and mean nothing in one of their own.
    let delta = delta_with(base, target, Ideas::ALL.without(Idea::Align));
    let (base, target) = (base.release().tree, target.release().tree);
    let told = skiff_tree::section::encode(base, target).new_contents;
    let known = Known::new(base, target.entries(), &told);
    let mut reader = Reader::new(&delta[..], skiff_format::Limits::default());
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    let mut fields = None;
    let mut add = |section, payload: &[u8]| {
        encoder.add(skiff_format::compress(section, payload, &Compression::Stored).unwrap()).unwrap();
    };
    while let Some(event) = reader.next_event().unwrap() {
        match event {
            Event::Header(header) => fields = Some(HeaderFields::from(&*header)),
            Event::Frame(frame) if frame.section == Section::Contents => {
                for record in record::decode(&frame.payload, &known).unwrap() {
                    for part in cut(&record) {
                        add(Section::Contents, &record::encode(&[part], &known));
                    }
                }
            }
            Event::Frame(frame) => add(frame.section, &frame.payload),
            other => panic!("{other:?}"),
        }
    }
    let mut out = Vec::new();
    encoder.finish(&fields.unwrap(), &mut out).unwrap();
    out
}

/// A record of plain data in pieces, so that contents span frames; any other as it is.
fn cut(record: &Record<&[u8]>) -> Vec<Record> {
    let make = |payload: &[u8], output_len| Record {
        codec: record.codec,
        content: record.content,
        output_len,
        source: record.source.clone(),
        payload: payload.to_vec(),
    };
    if record.codec == skiff_patch_data() {
        record.payload.chunks(4_000).map(|piece| make(piece, piece.len() as u64)).collect()
    } else {
        vec![make(record.payload, record.output_len)]
    }
}

/// The number of the codec whose payload is its output.
fn skiff_patch_data() -> u16 {
    1
}

/// A store in a directory of its own, as an ordinary user has it.
pub struct Fixture {
    pub directory: tempfile::TempDir,
    pub store: Store,
}

pub fn rootless() -> Options<'static> {
    Options { checkpoint_bytes: 1, ..Options::rootless() }
}

impl Fixture {
    pub fn empty() -> Self {
        Self::empty_in(tempfile::tempdir().unwrap())
    }

    /// In memory where there is such a place: hundreds of stores are synced sooner there.
    pub fn quick(image: &Image) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let fixture = Self::empty_in(directory);
        fixture.install(image).unwrap();
        fixture
    }

    fn empty_in(directory: tempfile::TempDir) -> Self {
        let store = Store::create(directory.path().join("store"), &StoreOptions::default()).unwrap();
        Self { directory, store }
    }

    pub fn with(image: &Image) -> Self {
        let fixture = Self::empty();
        fixture.install(image).unwrap();
        fixture
    }

    pub fn install(&self, image: &Image) -> Result<Installed, ApplyError> {
        self.store.install(&image.input(), &rootless())
    }

    pub fn apply(&self, delta: &[u8], target: &Image) -> Result<Applied, ApplyError> {
        apply(&self.store, delta, target)
    }

    /// The same store through another disk.
    pub fn through<S: Storage + 'static>(&self, disk: Arc<FaultyStorage<S>>) -> Store {
        let root = RootOptions::default().with_storage(disk);
        Store::open(self.store.path(), &StoreOptions::default().with_root(root)).unwrap()
    }

    /// Asserts that this image is current, and sound to the last byte.
    pub fn assert_current(&self, image: &Image) {
        assert_sound(&self.store, image);
    }

    pub fn names(&self, directory: &str) -> Vec<String> {
        names(&self.store.path().join(directory))
    }
}

pub fn apply(store: &Store, delta: &[u8], target: &Image) -> Result<Applied, ApplyError> {
    let expectation = Expectation::Release(target.id());
    store.apply(&mut SeekableDelta::new(Cursor::new(delta)), expectation, &rootless())
}

pub fn assert_sound(store: &Store, image: &Image) {
    let report = store.verify(&rootless()).unwrap();
    assert_eq!(report.release, image.id());
    assert_eq!(report.mismatches, []);
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A delta with the frames of `from` and a header that says what `lie` makes of it.
pub fn lying(from: &[u8], lie: impl Fn(&mut HeaderFields)) -> Vec<u8> {
    let mut reader = Reader::new(from, skiff_format::Limits::default());
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    let mut fields = None;
    while let Some(event) = reader.next_event().unwrap() {
        match event {
            Event::Header(header) => fields = Some(HeaderFields::from(&*header)),
            Event::Frame(frame) => {
                let frame =
                    skiff_format::compress(frame.section, &frame.payload, &Compression::Stored).unwrap();
                encoder.add(frame).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    let mut fields = fields.unwrap();
    lie(&mut fields);
    let mut out = Vec::new();
    encoder.finish(&fields, &mut out).unwrap();
    out
}

/// Everything in a directory but the lock: names, types, contents.
pub fn picture(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let file_type = entry.file_type().unwrap();
            let path = entry.path();
            let bytes = if file_type.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else if file_type.is_symlink() {
                std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if file_type.is_file() {
                std::fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            out.push((path.to_str().unwrap().to_owned(), bytes));
        }
    }
    out.sort();
    out
}

/// A delta that counts what is read of it, and may fail at an offset.
pub struct Watched<'a> {
    bytes: &'a [u8],
    /// Reading at or past this offset fails.
    pub fails_at: u64,
    /// Bytes read.
    pub read: u64,
    /// The offsets it was opened at.
    pub opened: Vec<u64>,
}

impl<'a> Watched<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, fails_at: u64::MAX, read: 0, opened: Vec::new() }
    }

    pub fn failing_at(bytes: &'a [u8], fails_at: u64) -> Self {
        Self { fails_at, ..Self::new(bytes) }
    }
}

struct WatchedReader<'a, 'b> {
    source: &'a mut Watched<'b>,
    position: u64,
}

impl Read for WatchedReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.source.fails_at.saturating_sub(self.position);
        if most == 0 {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        }
        let most = buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let start = usize::try_from(self.position).unwrap().min(self.source.bytes.len());
        let count = (&self.source.bytes[start..]).read(&mut buffer[..most])?;
        self.position += count as u64;
        self.source.read += count as u64;
        Ok(count)
    }
}

impl DeltaSource for Watched<'_> {
    fn open_at(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        self.opened.push(offset);
        Ok(Box::new(WatchedReader { source: self, position: offset }))
    }
}

pub fn frames(delta: &[u8]) -> skiff_format::Header {
    let mut reader = Reader::new(delta, skiff_format::Limits::default());
    match reader.next_event().unwrap() {
        Some(Event::Header(header)) => *header,
        other => panic!("{other:?}"),
    }
}

pub fn with_control(control: Control<'_>) -> Options<'_> {
    Options { control, ..rootless() }
}
