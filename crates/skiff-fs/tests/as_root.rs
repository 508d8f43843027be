//! What only root can do, on file systems made for it. `cargo test -p skiff-fs -- --include-ignored`, as root.
#![allow(clippy::unwrap_used)] // helpers outside of test functions unwrap too
mod common;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use common::*;
use skiff_fs::*;
use skiff_tree::*;

/// A file system that is unmounted when the test ends, however it ends.
struct Mount {
    at: tempfile::TempDir,
    _image: Option<tempfile::NamedTempFile>,
}

impl Mount {
    fn tmpfs(options: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.path().to_str().unwrap()]);
        Self { at, _image: None }
    }

    fn image(megabytes: u64, mkfs: &[&str]) -> Self {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(megabytes << 20).unwrap();
        let file = image.path().to_str().unwrap();
        run(mkfs[0], &[&mkfs[1..], &[file]].concat());
        let at = tempfile::tempdir().unwrap();
        run("mount", &["-o", "loop", file, at.path().to_str().unwrap()]);
        Self { at, _image: Some(image) }
    }

    /// A new directory on it, as a root.
    fn root(&self, name: &str) -> Root {
        let directory = self.at.path().join(name);
        fs::create_dir(&directory).unwrap();
        Root::open(directory).unwrap()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, since a test that panics still has files open on it.
        let _ = Command::new("umount").arg("--lazy").arg(self.at.path()).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Entries that ask for everything that root can do.
fn privileged() -> Sample {
    let mut sample = Sample::of_every_kind();
    let foreign = |mode| Metadata { uid: 4_242, gid: 4_243, ..metadata(mode) };
    let with = |mode, xattrs: &[(&[u8], &[u8])]| {
        let xattrs = xattrs.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        Metadata { xattrs, ..foreign(mode) }
    };
    // cap_net_raw=ep, as VFS_CAP_REVISION_2
    let capability: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    sample.directory("dev");
    let (console, disk) = (Device { major: 5, minor: 1 }, Device { major: 259, minor: 70_000 });
    sample.add("dev/console", foreign(0o620), Kind::CharDevice(console)).link("dev/tty", "dev/console");
    sample.add("dev/nvme", foreign(0o660), Kind::BlockDevice(disk));
    sample.add("dev/whiteout", foreign(0), Kind::CharDevice(Device { major: 0, minor: 0 }));
    sample.add("run", foreign(0o3777), Kind::Directory);
    for (name, metadata) in [
        ("su", foreign(0o6755)),
        ("shadow", foreign(0)),
        ("ping", with(0o755, &[(b"security.capability", capability)])),
        ("mixed", with(0o4711, &[(b"security.capability", capability), (b"trusted.x", b"y")])),
    ] {
        sample.contents.insert(path(name), name.as_bytes());
        sample.add(name, metadata, Kind::File(FileContent::of(name.as_bytes())));
    }
    sample.add("link", with(0o777, &[(b"trusted.on-a-link", b"")]), symlink("su"));
    sample.add("highest", Metadata { uid: u32::MAX - 1, gid: u32::MAX - 1, ..metadata(0o700) }, Kind::Fifo);
    sample
}

fn holds_everything(root: &Root) {
    let sample = privileged();
    root.probe(&path("probe"), &sample.tree(), Ownership::Apply).unwrap();
    write(root, &sample).unwrap();
    root.sync_all(SyncStrategy::for_this_kernel(), &Control::default()).unwrap();
    assert_eq!(verify(root, &sample.tree()), []);
    assert_eq!(read_tree(root, &ReadOptions::default()).unwrap(), sample.tree());
    // The standard library as the judge of what chown would have taken away.
    let su = fs::metadata(root.display(&path("su"))).unwrap();
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid()), (0o6755, 4_242, 4_243));
}

#[test]
#[ignore = "needs root"]
fn owners_devices_setuid_and_capabilities_are_kept() {
    let (_keep, root) = fresh();
    holds_everything(&root);
}

#[test]
#[ignore = "needs root and mkfs.ext4"]
fn ext4_holds_everything() {
    holds_everything(&Mount::image(32, &["mkfs.ext4", "-q"]).root("tree"));
}

#[test]
#[ignore = "needs root and mkfs.xfs"]
fn xfs_holds_everything_and_shares_blocks() {
    let mount = Mount::image(320, &["mkfs.xfs", "-q", "-m", "reflink=1"]);
    holds_everything(&mount.root("tree"));
    shares_blocks(&mount.root("store"));
}

#[test]
#[ignore = "needs root and mkfs.btrfs"]
fn btrfs_holds_everything_and_shares_blocks() {
    let mount = Mount::image(320, &["mkfs.btrfs", "-q"]);
    holds_everything(&mount.root("tree"));
    shares_blocks(&mount.root("store"));
    assert_eq!(Root::open(mount.at.path()).unwrap().free_space().unwrap().inodes, None);
}

#[test]
#[ignore = "needs root and setfattr"]
fn changes_that_only_root_can_make_are_told() {
    let (keep, root) = fresh();
    let sample = privileged();
    write(&root, &sample).unwrap();
    let at = |name: &str| keep.path().join(name);
    std::os::unix::fs::chown(at("su"), Some(1), None).unwrap();
    run("setfattr", &["-x", "security.capability", at("ping").to_str().unwrap()]);
    run("setfattr", &["-h", "-n", "trusted.surplus", at("link").to_str().unwrap()]);
    fs::remove_file(at("dev/nvme")).unwrap();
    run("mknod", &[at("dev/nvme").to_str().unwrap(), "b", "259", "1"]);
    std::os::unix::fs::chown(at("dev/nvme"), Some(4_242), Some(4_243)).unwrap();
    run("chmod", &["660", at("dev/nvme").to_str().unwrap()]);
    for name in ["dev/nvme", "dev"] {
        root.set_mtime(&path(name), metadata(0).mtime).unwrap();
    }
    // A label that the host sets is not the tree's concern.
    run("setfattr", &["-n", "security.ima", "-v", "x", at("shadow").to_str().unwrap()]);
    let told: Vec<String> = verify(&root, &sample.tree()).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "/dev/nvme: expected device 259:70000, found 259:1",
            "/link: extended attribute trusted.surplus differs",
            "/ping: extended attribute security.capability differs",
            "/su: expected mode 6755, found 0755", // chown took it
            "/su: expected owner 4242:4243, found 1:4243",
        ]
    );
}

fn shares_blocks(root: &Root) {
    let content = vec![7; 20 << 20];
    root.replace_file(&path("from"), &content).unwrap();
    root.sync_file_system().unwrap();
    let before = root.free_space().unwrap().bytes;
    for (mode, name) in [(ShareMode::Reflink, "a"), (ShareMode::ReflinkOrHardLink, "b")] {
        let shared = root.share_file((root, &path("from")), &path(name), &ShareOptions::new(mode)).unwrap();
        assert_eq!(shared, Shared::Reflinked);
        assert_eq!(fs::read(root.display(&path(name))).unwrap(), content);
    }
    root.sync_file_system().unwrap();
    let taken = before.saturating_sub(root.free_space().unwrap().bytes);
    assert!(taken < 4 << 20, "{taken} bytes were taken for two reflinks of 20 MiB");
    // Writing to one leaves the other.
    root.reopen_file(&path("a")).unwrap().write_all_at(b"x", 0).unwrap();
    assert_eq!(fs::read(root.display(&path("from"))).unwrap(), content);
}

#[test]
#[ignore = "needs root"]
fn a_full_disk_is_recognised() {
    let full = |options: &str| {
        let mount = Mount::tmpfs(options);
        let root = mount.root("tree");
        let error = write(&root, &Sample::of_every_kind()).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        // and what was written can be removed
        Root::open(mount.at.path()).unwrap().remove(&path("tree"), &Control::default()).unwrap();
        assert_eq!(fs::read_dir(mount.at.path()).unwrap().count(), 0);
    };
    full("size=400k");
    full("nr_inodes=9");
    let mount = Mount::tmpfs("size=400k");
    let space = Root::open(mount.at.path()).unwrap().free_space().unwrap();
    assert!((300_000..=409_600).contains(&space.bytes), "{space:?}");
}

#[test]
#[ignore = "needs root and mkfs.ext4"]
fn what_a_file_system_cannot_hold_is_told_before_anything_is_written() {
    // Inodes of 128 bytes have no room for nanoseconds, nor for a time after 2038.
    let mount = Mount::image(32, &["mkfs.ext4", "-q", "-I", "128"]);
    let root = mount.root("tree");
    let cannot = |sample: &Sample, name: &str| {
        let error = root.probe(&path("probe"), &sample.tree(), Ownership::Apply).unwrap_err();
        assert!(matches!(&error, FsError::Unsupported { path, .. } if path.ends_with(name)), "{error}");
        assert!(root.list(&EntryPath::root()).unwrap().is_empty());
    };
    let on_the_second = |seconds| Metadata { mtime: Mtime::from_seconds(seconds), ..metadata(0o755) };
    let sample = |metadata: Metadata, kind: Kind| {
        let mut sample = Sample::new();
        sample.entries[0] = Entry::inode(EntryPath::root(), on_the_second(0), Kind::Directory);
        sample.add("it", metadata, kind);
        sample
    };
    root.probe(&path("probe"), &sample(on_the_second(1), Kind::Fifo).tree(), Ownership::Apply).unwrap();
    cannot(&sample(metadata(0o755), Kind::Fifo), "it");
    cannot(&sample(on_the_second(1 << 33), Kind::Fifo), "it");
    let mut nobody = on_the_second(0);
    nobody.uid = u32::MAX;
    cannot(&sample(nobody, Kind::Fifo), "it");
    let mut large = on_the_second(0);
    large.xattrs.insert((*b"trusted.large").into(), vec![1; 60_000].into());
    cannot(&sample(large, Kind::Directory), "it");
    let mut devices = sample(on_the_second(0), Kind::BlockDevice(Device { major: 7, minor: 1 }));
    devices.add("large", on_the_second(0), Kind::BlockDevice(Device { major: 4_096, minor: 1 }));
    cannot(&devices, "large");
}

#[test]
#[ignore = "needs root"]
fn what_is_mounted_beneath_is_not_removed() {
    // A bind mount has the same device number as what is around it.
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().to_str().unwrap();
    let mounts = [["-t", "tmpfs", "tmpfs"], ["--bind", "--", elsewhere]];
    let resolutions = [Resolution::Kernel, Resolution::ComponentWise];
    for (resolution, mount) in resolutions.into_iter().flat_map(|r| mounts.map(|mount| (r, mount))) {
        let (_keep, outer) = fresh();
        outer.make_directory(&path("a")).unwrap();
        outer.make_directory(&path("a/mounted")).unwrap();
        let target = outer.display(&path("a/mounted"));
        run("mount", &[&mount[..], &[target.to_str().unwrap()]].concat());
        fs::write(target.join("precious"), "x").unwrap();
        let root = Root::open_with(outer.path(), RootOptions::default().with_resolution(resolution)).unwrap();
        let result = root.remove(&path("a"), &Control::default());
        let kept = target.join("precious").exists();
        // What is mounted is part of what is read.
        let tree = read_tree(&root, &ReadOptions::default()).map(|tree| tree.entries().len());
        drop(root); // it keeps its last directory open
        run("umount", &[target.to_str().unwrap()]);
        assert!(matches!(result, Err(FsError::Refused { .. })), "{resolution:?} {mount:?}: {result:?}");
        assert!(kept, "{resolution:?} {mount:?}");
        assert_eq!(tree.unwrap(), 4);
    }
}

/// One line per path as GNU find, stat, sha256sum and getfattr see it, against the same of what was read.
#[test]
#[ignore = "needs root and getfattr"]
fn what_is_read_is_what_gnu_tools_see() {
    let (keep, root) = fresh();
    write(&root, &privileged()).unwrap();
    let tree = read_tree(&root, &ReadOptions::default()).unwrap();
    let mut ours: Vec<String> = tree.entries().iter().map(|entry| ours(&tree, entry)).collect();
    let mut theirs = theirs(keep.path());
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
}

fn ours(tree: &Tree, entry: &Entry) -> String {
    let inode = tree.inode(entry).unwrap();
    let (letter, rest) = match &inode.kind {
        Kind::Directory => ('d', String::new()),
        Kind::File(content) => ('f', format!("{} {}", content.size, content.digest)),
        Kind::Symlink(target) => ('l', String::from_utf8_lossy(target).into_owned()),
        Kind::CharDevice(device) => ('c', format!("{:x}:{:x}", device.major, device.minor)),
        Kind::BlockDevice(device) => ('b', format!("{:x}:{:x}", device.major, device.minor)),
        Kind::Fifo => ('p', String::new()),
    };
    let m = &inode.metadata;
    let owner = match &entry.node {
        Node::HardLink { owner } => owner,
        Node::Inode(_) => &entry.path,
    };
    let links = tree.entries().iter().filter(|other| match &other.node {
        Node::HardLink { owner: theirs } => theirs == owner,
        Node::Inode(_) => other.path == *owner,
    });
    let links = if letter == 'd' { 0 } else { links.count() };
    let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let xattrs: Vec<String> = m
        .xattrs
        .iter()
        .map(|(name, value)| format!("{}=0x{}", String::from_utf8_lossy(name), hex(value)))
        .collect();
    let name = String::from_utf8_lossy(entry.path.as_bytes());
    // as one number, which before 1970 is negative as a whole
    let time = i128::from(m.mtime.seconds()) * 1_000_000_000 + i128::from(m.mtime.nanoseconds());
    let sign = if time < 0 { "-" } else { "" };
    let time = time.unsigned_abs();
    let time = format!("{sign}{}.{:09}", time / 1_000_000_000, time % 1_000_000_000);
    format!("{name} {letter} {:o} {}:{} {time} {links} {rest} {xattrs:?}", m.mode.bits(), m.uid, m.gid)
}

fn theirs(at: &Path) -> Vec<String> {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(at).output().unwrap();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let found = output("find", &[".", "-printf", "%P\\0%p\\0%y\\0%m\\0%U:%G\\0%n\\0%s\\0%l\\0\\n\\0"]);
    let fields: Vec<&[u8]> = found.split(|&byte| byte == 0).collect();
    let mut lines = Vec::new();
    for record in fields.chunks_exact(9) {
        let text = |index: usize| String::from_utf8_lossy(record[index]).into_owned();
        let file: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(record[1]);
        let file = at.join(file);
        let of_file = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).arg(&file).output().unwrap();
            assert!(output.status.success(), "{program} {file:?}");
            String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
        };
        let kind = text(2);
        let rest = match &kind[..] {
            // A name with a newline makes sha256sum begin the line with a backslash.
            "f" => {
                let sum = of_file("sha256sum", &["--"]);
                format!("{} {}", text(6), &sum.trim_start_matches('\\')[..64])
            }
            "l" => text(7),
            "c" | "b" => of_file("stat", &["-c", "%t:%T"]),
            _ => String::new(),
        };
        let links = if kind == "d" { "0".into() } else { text(5) };
        let time = of_file("stat", &["-c", "%.9Y"]);
        let listed = of_file("getfattr", &["-h", "-d", "-m", "-", "-e", "hex", "--absolute-names"]);
        let mut xattrs: Vec<&str> =
            listed.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        xattrs.retain(|line| !line.starts_with("security.selinux"));
        xattrs.sort_unstable();
        let (mode, owner) = (text(3), text(4));
        lines.push(format!("{} {kind} {mode} {owner} {time} {links} {rest} {xattrs:?}", text(0)));
    }
    lines
}
