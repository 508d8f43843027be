//! The update: some forty entries of every kind, and what has to be true of a store whatever cut it off.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use skiff_apply::*;
use skiff_fs::{DiskStorage, FaultyStorage, RootOptions};
use skiff_tree::{Device, Kind, Metadata, Mtime};

use crate::common::{Builder, Image, in_small_frames, metadata, noise};

/// Two images and the delta that leads from the first to the second.
pub(crate) struct Update {
    pub(crate) old: Image,
    pub(crate) new: Image,
    pub(crate) delta: Vec<u8>,
}

/// `cap_net_bind_service=ep`, as `setcap` writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn owned(mode: u32, uid: u32, gid: u32) -> Metadata {
    Metadata { uid, gid, ..metadata(mode, 1_234_567_890) }
}

fn at(mode: u32, seconds: i64, nanoseconds: u32) -> Metadata {
    Metadata { mtime: Mtime::new(seconds, nanoseconds).unwrap(), ..metadata(mode, 0) }
}

fn with_xattr(mut metadata: Metadata, name: &str, value: &[u8]) -> Metadata {
    metadata.xattrs.insert(name.as_bytes().into(), value.into());
    metadata
}

fn capable() -> Metadata {
    with_xattr(owned(0o755, 0, 0), "security.capability", &CAPABILITY)
}

fn device(minor: u32) -> Device {
    Device { major: 1, minor }
}

fn symlink(builder: Builder, path: &str, target: &[u8]) -> Builder {
    builder.inode(path, metadata(0o777, 14), Kind::Symlink(target.into()))
}

/// What both images have, as it is in the first (0) or the second (1).
fn common_part(version: usize) -> Builder {
    let text_of = |texts: [&'static str; 2]| texts[version].as_bytes();
    let text = |words: &str| words.repeat(300).into_bytes();
    let mut tool = noise(1, 20_000);
    let mut large = noise(2, 300_000);
    let mut sparse = vec![0; 1 << 20];
    sparse[700_000..700_100].copy_from_slice(&noise(3, 100));
    if version == 1 {
        tool[5_000..5_010].copy_from_slice(b"0123456789");
        large[150_000..150_010].copy_from_slice(b"0123456789");
        sparse[30_000..30_100].copy_from_slice(&noise(4, 100));
    }
    let builder = Builder::new()
        .directory("bin", 0o755, 10)
        .file_with("bin/tool", &tool, metadata(0o755, 11))
        .link("bin/tool-link", "bin/tool")
        .file_with("bin/su", b"unchanged and setuid", owned(0o4755, 0, 0))
        .file_with("bin/su-too", text_of(["setuid", "setuid, set anew"]), owned(0o6755, 1_000, 2_000))
        .file_with("bin/ping", b"unchanged and capable", capable())
        .file_with("bin/ping-too", text_of(["capable", "capable anew"]), capable())
        .directory("etc", 0o555, 13)
        .file("etc/empty", b"")
        .file("etc/motd", &text(["ahoy ", "ahoy, land "][version]))
        .file("etc/kept", &text("kept "))
        .file("etc/kept-too", &text("kept "))
        .file_with(
            "etc/touched",
            &text("touched "),
            metadata([0o644, 0o600][version], [1_000, 2_000][version]),
        )
        .file_with("etc/tagged", b"tagged", with_xattr(owned(0o640, 7, 8), "user.tag", text_of(["1", "two"])))
        .file_with("etc/secret", b"nobody reads this", metadata(0, 26))
        .directory("lib/a/b/c/d/e/f/g/h", 0o750, [3, 4][version])
        .file("lib/a/b/c/d/e/f/g/h/deep", text_of(["deep", "deeper"]));
    let builder = ["lib", "lib/a", "lib/a/b", "lib/a/b/c", "lib/a/b/c/d", "lib/a/b/c/d/e", "lib/a/b/c/d/e/f"]
        .iter()
        .chain(&["lib/a/b/c/d/e/f/g"])
        .fold(builder, |builder, directory| builder.directory(directory, 0o755, 9));
    builder
        .directory("data", 0o1777, 16)
        .file("data/large", &large)
        .file("data/sparse", &sparse)
        .file_with("data/1969", b"before the epoch", at(0o644, -1, 999_999_999))
        .file_with("data/2040", text_of(["far", "far out"]), at(0o644, 2_208_988_800, 123_456_789))
        .inode("data/pipe", owned([0o640, 0o600][version], 7, 8), Kind::Fifo)
        .inode("data/disk", owned(0o660, 0, 6), Kind::BlockDevice(device(17)))
}

impl Update {
    pub(crate) fn new() -> Self {
        let old = common_part(0)
            .file("etc/gone", b"gone")
            .file("etc/old-name", &noise(5, 6_000))
            .inode("data/null", owned(0o666, 0, 3), Kind::CharDevice(device(3)))
            .file("turns/file-to-directory", b"a file")
            .directory("turns", 0o755, 20)
            .directory("turns/directory-to-file", 0o755, 21)
            .file("turns/directory-to-file/inside", b"inside")
            .file("turns/file-to-link", b"a file");
        let old = symlink(old, "turns/link-to-file", b"file-to-link");
        let old = symlink(old, "etc/link", b"../bin/tool").build(Some("{\"cmd\":1}"));
        let new = common_part(1)
            .file("etc/new-name", &noise(5, 6_000))
            .file("etc/motd.copy", &b"ahoy, land ".repeat(300))
            .inode("data/zero", owned(0o666, 0, 3), Kind::CharDevice(device(5)))
            .directory("turns", 0o755, 30)
            .directory("turns/file-to-directory", 0o700, 31)
            .file("turns/file-to-directory/inside", &noise(6, 9_000))
            .file("turns/directory-to-file", b"a file now")
            .file("turns/link-to-file", &noise(7, 7_000))
            .file("new", &noise(8, 30_000))
            .link("new-too", "new")
            .file("nothing", b"");
        let new = symlink(new, "turns/file-to-link", b"link-to-file");
        let new = symlink(new, "etc/link", b"/nowhere").build(Some("{\"cmd\":2}"));
        let delta = in_small_frames(&old, &new);
        Self { old, new, delta }
    }

    pub(crate) fn apply(&self, store: &Store) -> Result<Applied, ApplyError> {
        apply(store, &self.delta, Expectation::Release(self.new.id()))
    }

    pub(crate) fn install(&self, store: &Path) -> Store {
        let store = Store::create(store, &StoreOptions::default()).unwrap();
        store.install(&self.old.input(), &options()).unwrap();
        store
    }

    /// What has to hold whatever an update was cut off by: the current release is the old or the new one, whole; recovering takes nobody,
    /// and applying the delta again leads to the new one.
    pub(crate) fn assert_recovers(&self, store: &Store, context: &str) -> Survival {
        let recovered =
            store.recover(&options()).unwrap_or_else(|error| panic!("{context}: recovering: {error}"));
        assert!(recovered.unresolved.is_none(), "{context}: {recovered:?}");
        let current = store.current().unwrap().unwrap().id;
        let is_new = current == self.new.id();
        assert!(is_new || current == self.old.id(), "{context}: {current} is current");
        self.assert_sound(store, context);
        let applied = self.apply(store).unwrap_or_else(|error| panic!("{context}: applying again: {error}"));
        assert_eq!(store.current().unwrap().unwrap().id, self.new.id(), "{context}");
        self.assert_sound(store, context);
        Survival { is_new, is_resumed: matches!(applied.outcome, Outcome::Resumed { .. }) }
    }

    pub(crate) fn assert_sound(&self, store: &Store, context: &str) {
        let report = store.verify(&options()).unwrap_or_else(|error| panic!("{context}: verifying: {error}"));
        assert_eq!(report.mismatches, [], "{context}: {DAMAGED}");
        assert_eq!(report.ownership, Ownership::Apply, "{context}");
    }
}

/// What is said of a release that is not what its tree says.
pub(crate) const DAMAGED: &str = "what is there is not the release";

/// What became of an update that was cut off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Survival {
    /// Whether the new release was current before it was applied again. It has to be, where the update had said that it was done.
    pub(crate) is_new: bool,
    is_resumed: bool,
}

/// What became of many.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) old: usize,
    pub(crate) new: usize,
    pub(crate) resumed: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, survival: Survival) {
        let count = if survival.is_new { &mut self.new } else { &mut self.old };
        *count += 1;
        self.resumed += usize::from(survival.is_resumed);
    }

    /// Prints it, and asserts that all outcomes were seen: otherwise nothing was tried.
    pub(crate) fn report(&self, what: &str) {
        let Self { old, new, resumed } = self;
        println!("{what}: {} survived: old {old}, new {new}, gone on with {resumed}; lost 0", old + new);
        assert!(*old > 20 && *new > 0 && *resumed > 5, "{what}: {self:?}");
    }
}

pub(crate) fn apply(store: &Store, delta: &[u8], expectation: Expectation) -> Result<Applied, ApplyError> {
    store.apply(&mut SeekableDelta::new(Cursor::new(delta)), expectation, &options())
}

pub(crate) fn options() -> Options<'static> {
    Options { checkpoint_bytes: 24 << 10, ..Options::default() }
}

/// The store through a disk of the test's.
pub(crate) fn through(path: &Path, disk: Arc<FaultyStorage<DiskStorage>>) -> Store {
    let root = RootOptions::default().with_storage(disk);
    Store::open(path, &StoreOptions::default().with_root(root)).unwrap()
}
