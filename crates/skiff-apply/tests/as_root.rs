//! What takes root or another program: owners and devices, full disks, file systems that share blocks.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod common;
mod mount;

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use mount::{alone, run, store_on};
use skiff_apply::*;
use skiff_testkit::Mounted;
use skiff_tree::{Device, Kind, Metadata};

/// What tmpfs has free.
fn fill(at: &Path, leave: u64) {
    let output = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(at).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let free = numbers[0] * numbers[1];
    fs::write(at.join("filler"), vec![1; usize::try_from(free - leave).unwrap()]).unwrap();
}

fn owned(mode: u32, uid: u32, gid: u32) -> Metadata {
    Metadata { uid, gid, ..metadata(mode, 1_234_567_890) }
}

/// `cap_net_bind_service=ep`, as `setcap` writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn with_owners(text: &[u8]) -> Image {
    let capable = || {
        let mut metadata = owned(0o755, 0, 0);
        metadata.xattrs.insert((*b"security.capability").into(), CAPABILITY.into());
        metadata
    };
    Builder::new()
        .directory("bin", 0o755, 5)
        .file_with("bin/capable", b"unchanged and capable", capable())
        .file_with("bin/changed-capable", text, capable())
        .file_with("bin/su", b"unchanged and setuid", owned(0o4755, 0, 0))
        .file_with("bin/changed-su", text, owned(0o6755, 1_000, 2_000))
        .inode("null", owned(0o666, 0, 3), Kind::CharDevice(Device { major: 1, minor: 3 }))
        .inode("disk", owned(0o660, 0, 6), Kind::BlockDevice(Device { major: 8, minor: 17 }))
        .inode("link", owned(0o777, 1_000, 1_000), Kind::Symlink((*b"null").into()))
        .inode("pipe", owned(0o600, 7, 8), Kind::Fifo)
        .build(None)
}

#[test]
#[ignore = "needs root"]
fn owners_devices_setuid_and_capabilities_are_applied() {
    let _alone = alone();
    let (old, new) = (with_owners(b"old"), with_owners(b"newer"));
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(directory.path().join("store"), &StoreOptions::default()).unwrap();
    let options = Options::default();
    store.install(&old.input(), &options).unwrap();
    let delta = delta(&old, &new);
    let mut source = SeekableDelta::new(Cursor::new(&delta));
    store.apply(&mut source, Expectation::Release(new.id()), &options).unwrap();
    let report = store.verify(&options).unwrap();
    assert_eq!((report.mismatches, report.ownership), (vec![], Ownership::Apply));
    // By the system's own account, not skiff's.
    let inode = |name: &str| fs::symlink_metadata(store.rootfs(new.id()).join(name)).unwrap();
    let su = inode("bin/changed-su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o6755, 1_000, 2_000, 1_234_567_890));
    assert!(inode("null").file_type().is_char_device() && inode("null").rdev() == 0x103);
    assert!(inode("disk").file_type().is_block_device() && inode("disk").rdev() == 0x811);
    assert_eq!((inode("link").uid(), inode("pipe").gid()), (1_000, 8));
    for name in ["bin/capable", "bin/changed-capable"] {
        let output = Command::new("getfattr")
            .args(["-n", "security.capability", "-e", "hex", "--only-values", "--absolute-names"])
            .arg(store.rootfs(new.id()).join(name))
            .output()
            .unwrap();
        assert_eq!(output.stdout, CAPABILITY, "{name}");
    }
    // A store that only records does not take inodes from one that applies, nor the reverse.
    let rootless = Options { links: LinkPolicy::HardLinkUnchanged, ..rootless() };
    let back = common::delta(&new, &old);
    let mut source = SeekableDelta::new(Cursor::new(&back));
    let applied = store.apply(&mut source, Expectation::TrustDelta, &rootless).unwrap();
    assert_eq!((applied.outcome, applied.sharing.hard_linked_bytes), (Outcome::Applied, 0));
    assert_sound(&store, &old);
    assert_eq!(store.current().unwrap().unwrap().ownership, Ownership::Record);
    assert!(fs::symlink_metadata(store.rootfs(old.id()).join("null")).is_err());
}

#[test]
#[ignore = "needs sha256sum"]
fn the_tree_file_has_the_digest_that_the_release_is_named_after() {
    let _alone = alone();
    let image = old();
    let fixture = Fixture::with(&image);
    let output = Command::new("sha256sum").arg(fixture.store.path().join("current/tree")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.split(' ').next().unwrap(), image.tree.digest().to_string());
}

#[test]
#[ignore = "needs root"]
fn an_ordinary_user_is_told_what_it_takes() {
    let _alone = alone();
    const STORE: &str = "SKIFF_TEST_USER_STORE";
    let image = with_owners(b"x");
    if let Ok(path) = std::env::var(STORE) {
        let store = Store::create(&path, &StoreOptions::default()).unwrap();
        let error = store.install(&image.input(), &Options::default()).unwrap_err();
        assert!(matches!(error, ApplyError::NeedsRoot), "{error}");
        let error =
            store.apply(&mut Watched::new(b""), Expectation::TrustDelta, &Options::default()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Usage);
        store.install(&image.input(), &rootless()).unwrap();
        assert_sound(&store, &image);
        let new = with_owners(b"newer");
        apply(&store, &delta(&image, &new), &new).unwrap();
        assert_sound(&store, &new);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(12_345), Some(12_345)).unwrap();
    run("chmod", &["755", directory.path().to_str().unwrap()]);
    // Somewhere that this user can execute it.
    let program = directory.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let status = Command::new(&program)
        .args(["--exact", "an_ordinary_user_is_told_what_it_takes", "--include-ignored"])
        .env(STORE, home.join("store"))
        .env("TMPDIR", &home)
        .current_dir(&home)
        .uid(12_345)
        .gid(12_345)
        .status()
        .unwrap();
    assert!(status.success());
    assert!(home.join("store/current").exists());
}

#[test]
#[ignore = "needs root"]
fn a_disk_that_is_too_small_is_found_out_before_anything_is_written() {
    let _alone = alone();
    let old = Builder::new().file("kept", &noise(1, 3 << 20)).file("changed", b"1").build(None);
    let new = Builder::new().file("kept", &noise(1, 3 << 20)).file("changed", &noise(2, 2 << 20)).build(None);
    let mounted = Mounted::tmpfs("size=24m");
    let store = store_on(&mounted);
    store.install(&old.input(), &Options::default()).unwrap();
    fill(&mounted.path(), 6 << 20);
    let delta = delta(&old, &new);
    let result = store.apply(&mut Watched::new(&delta), Expectation::TrustDelta, &Options::default());
    let error = result.unwrap_err();
    assert!(
        matches!(error, ApplyError::NoSpace { what: Resource::Bytes, needed, available }
        if needed > 5 << 20 && available <= 6 << 20),
        "{error}"
    );
    assert_eq!(error.class(), ErrorClass::NoSpace);
    let result = store.install(&new.input(), &Options::default());
    assert!(matches!(result, Err(ApplyError::NoSpace { .. })), "{result:?}");
    assert_eq!(names(&store.path().join("staging")), [""; 0]);
    assert_sound(&store, &old);
    fs::remove_file(mounted.path().join("filler")).unwrap();
    store.apply(&mut Watched::new(&delta), Expectation::TrustDelta, &Options::default()).unwrap();
    assert_sound(&store, &new);

    let mounted = Mounted::tmpfs("size=24m,nr_inodes=40");
    let store = store_on(&mounted);
    store.install(&old.input(), &Options::default()).unwrap();
    let many = (0..30).fold(Builder::new(), |builder, n| builder.file(&format!("{n}"), &[n])).build(None);
    let delta = common::delta(&old, &many);
    let error =
        store.apply(&mut Watched::new(&delta), Expectation::TrustDelta, &Options::default()).unwrap_err();
    assert!(matches!(error, ApplyError::NoSpace { what: Resource::Inodes, .. }), "{error}");
    assert_sound(&store, &old);
}

#[test]
#[ignore = "needs root"]
fn a_disk_that_fills_up_on_the_way_gets_its_room_back() {
    let _alone = alone();
    let old = Builder::new().file("changed", b"1").build(None);
    let new = Builder::new().file("changed", &noise(2, 8 << 20)).file("more", &noise(3, 4 << 20)).build(None);
    let mounted = Mounted::tmpfs("size=24m");
    let store = store_on(&mounted);
    store.install(&old.input(), &Options::default()).unwrap();
    let delta = in_small_frames(&old, &new);
    // Somebody else takes the room that there was when it was looked for.
    let filled = AtomicBool::new(false);
    let progress = |_| {
        if !filled.swap(true, Ordering::Relaxed) {
            fill(&mounted.path(), 3 << 20);
        }
    };
    let control = Control { progress: Some(&progress), ..Control::default() };
    let options = Options { control, ..Options::default() };
    let error = store.apply(&mut Watched::new(&delta), Expectation::TrustDelta, &options).unwrap_err();
    assert!(matches!(error, ApplyError::DiskFull { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::NoSpace);
    assert_eq!(names(&store.path().join("staging")), [""; 0]);
    assert_sound(&store, &old);
    assert!(store.recover(&Options::default()).unwrap().found_nothing());
    fs::remove_file(mounted.path().join("filler")).unwrap();
    store.apply(&mut Watched::new(&delta), Expectation::TrustDelta, &Options::default()).unwrap();
    assert_sound(&store, &new);
}

#[test]
#[ignore = "needs root and mkfs.xfs"]
fn unchanged_files_share_blocks_where_the_file_system_can() {
    let _alone = alone();
    let text = |byte| vec![byte; 1 << 20];
    let image = |n: u8| {
        (0..60_u8)
            .fold(Builder::new(), |builder, kept| {
                builder.file(&format!("kept-{kept}"), &[text(kept), noise(kept.into(), 1 << 20)].concat())
            })
            .file("changed", &[n; 1_000])
            .build(None)
    };
    let (old, new) = (image(1), image(2));
    let mounted = Mounted::image(&["mkfs.xfs", "-q"], 320 << 20);
    let store = store_on(&mounted);
    store.install(&old.input(), &Options::default()).unwrap();
    // Copies would not fit.
    let delta = delta(&old, &new);
    let applied =
        store.apply(&mut Watched::new(&delta), Expectation::TrustDelta, &Options::default()).unwrap();
    assert_eq!((applied.sharing.reflinked_bytes, applied.sharing.copied_bytes), (120 << 20, 0));
    assert_sound(&store, &new);
    fs::write(store.rootfs(new.id()).join("kept-1"), "changed in the new release").unwrap();
    assert_eq!(store.rollback(&Options::default()).unwrap().to, old.id());
    assert_sound(&store, &old);
}

#[test]
#[ignore = "needs root and mkfs.ext4"]
fn metadata_that_the_file_system_cannot_hold_fails_before_staging() {
    let _alone = alone();
    let old = Builder::new().file("a", b"a").build(None);
    let mut metadata = metadata(0o644, 1);
    metadata.xattrs.insert((*b"user.long").into(), vec![7; 60_000].into());
    let new = Builder::new().file_with("a", b"b", metadata).build(None);
    let mounted = Mounted::image(&["mkfs.ext4", "-q"], 64 << 20);
    let store = store_on(&mounted);
    store.install(&old.input(), &Options::default()).unwrap();
    let delta = delta(&old, &new);
    let error =
        store.apply(&mut Watched::new(&delta), Expectation::TrustDelta, &Options::default()).unwrap_err();
    assert!(matches!(error, ApplyError::CannotHold { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Unsupported);
    assert_eq!(names(&store.path().join("staging")), [""; 0]);
    assert_sound(&store, &old);
}
