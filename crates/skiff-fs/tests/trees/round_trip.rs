//! What is written is read back and verified as what it was, and whatever is changed on the disk is found.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink as make_symlink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::*;
use skiff_fs::*;
use skiff_tree::*;

#[test]
fn a_tree_of_every_kind_comes_back() {
    let (_keep, root) = fresh();
    let sample = Sample::of_every_kind();
    write(&root, &sample).unwrap();
    assert_eq!(verify(&root, &sample.tree()), []);
    let mut expected = sample.tree();
    if ownership() == Ownership::Record {
        // what an ordinary user's disk has of it
        let mut entries = expected.into_entries();
        for entry in &mut entries {
            if let Node::Inode(inode) = &mut entry.node {
                inode.metadata.mode = ownership().mode(inode).unwrap_or(inode.metadata.mode);
            }
        }
        expected = Tree::new(entries).unwrap();
    }
    let one = std::num::NonZeroUsize::MIN;
    let read = read_tree(&root, &ReadOptions::default()).unwrap();
    assert_eq!(read, expected);
    assert_eq!(read_tree(&root, &ReadOptions::default().with_threads(one)).unwrap(), expected);

    let contents = DirectoryContents::open(root.path()).unwrap();
    for (_, entry, content) in read.files() {
        let bytes = read_all(&*contents.open(&entry.path).unwrap()).unwrap();
        assert_eq!(FileContent::of(&bytes), content, "{:?}", entry.path);
    }
    let missing = contents.open(&path("nothing")).err().unwrap();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

/// What `change` does to the disk is told as exactly these mismatches.
fn finds(change: impl Fn(&std::path::Path), expected: &[&str]) {
    let (keep, root) = fresh();
    let sample = Sample::of_every_kind();
    write(&root, &sample).unwrap();
    // Changing an entry changes its directory's time, which is not what is looked for.
    change(keep.path());
    for directory in ["", "bin", "etc"] {
        let mtime = metadata(0).mtime;
        root.set_mtime(&path(directory), mtime).unwrap();
    }
    let told: Vec<String> = verify(&root, &sample.tree()).iter().map(ToString::to_string).collect();
    assert_eq!(told, expected);
}

fn keep_time(file: &std::path::Path, change: impl Fn(&std::path::Path)) {
    let before = fs::metadata(file).unwrap().modified().unwrap();
    change(file);
    fs::File::options().write(true).open(file).unwrap().set_modified(before).unwrap();
}

#[test]
fn every_change_on_disk_is_told() {
    finds(|_| (), &[]);
    finds(|at| fs::remove_file(at.join("etc/motd")).unwrap(), &["/etc/motd: missing"]);
    finds(|at| fs::write(at.join("etc/new"), "").unwrap(), &["/etc/new: not in the tree"]);
    finds(
        |at| {
            fs::remove_file(at.join("etc/motd")).unwrap();
            make_symlink("empty", at.join("etc/motd")).unwrap();
        },
        &["/etc/motd: expected a file, found a symbolic link"],
    );
    finds(
        |at| fs::set_permissions(at.join("etc/motd"), fs::Permissions::from_mode(0o600)).unwrap(),
        &["/etc/motd: expected mode 0644, found 0600"],
    );
    finds(
        |at| keep_time(&at.join("etc/motd"), |file| fs::write(file, "ahoi\n").unwrap()),
        &[&format!(
            "/etc/motd: expected SHA-256 {}, found {}",
            ContentDigest::of(b"ahoy\n"),
            ContentDigest::of(b"ahoi\n")
        )],
    );
    finds(
        |at| keep_time(&at.join("etc/motd"), |file| fs::write(file, "longer").unwrap()),
        &["/etc/motd: expected 5 bytes, found 6"],
    );
    finds(
        |at| {
            fs::remove_file(at.join("etc/dangling")).unwrap();
            make_symlink("elsewhere", at.join("etc/dangling")).unwrap();
            Root::open(at).unwrap().set_mtime(&path("etc/dangling"), metadata(0).mtime).unwrap();
        },
        &["/etc/dangling: expected a link to ../nowhere/\\xc3\\xa9, found one to elsewhere"],
    );
    finds(
        |at| {
            let file = fs::File::options().write(true).open(at.join("etc/empty")).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        },
        &["/etc/empty: expected time 1700000000.123456789, found 0.000000000"],
    );
}

#[test]
fn hard_links_that_are_not_as_the_tree_says_are_told() {
    finds(
        |at| {
            keep_time(&at.join("zz"), |file| {
                fs::copy(file, at.join("copy")).unwrap();
                fs::rename(at.join("copy"), file).unwrap();
            });
        },
        &["/zz: expected to share the inode of /large, shares that of /zz"],
    );
    finds(
        |at| {
            fs::remove_file(at.join("etc/motd")).unwrap();
            fs::hard_link(at.join("etc/empty"), at.join("etc/motd")).unwrap();
        },
        &[
            "/etc/motd: expected to share the inode of /etc/motd, shares that of /etc/empty",
            "/etc/motd: expected 5 bytes, found 0",
        ],
    );
}

#[test]
fn contents_can_be_left_out_of_a_verification() {
    let (keep, root) = fresh();
    let sample = Sample::of_every_kind();
    write(&root, &sample).unwrap();
    keep_time(&keep.path().join("etc/motd"), |file| fs::write(file, "ahoi\n").unwrap());
    let read = Mutex::new(Vec::new());
    let chosen = |entry: &Entry| {
        read.lock().unwrap().push(entry.path.to_string());
        entry.path != path("etc/motd")
    };
    let options = VerifyOptions::default().with_ownership(ownership());
    let options = options.with_reread(Reread::Only(&chosen)).with_cache(Cache::Keep);
    assert_eq!(verify_tree(&root, &sample.tree(), &options).unwrap(), []);
    assert!(read.lock().unwrap().contains(&"/etc/motd".into()));
}

#[test]
fn what_takes_long_can_be_watched_and_stopped() {
    let (_keep, root) = fresh();
    let sample = Sample::of_every_kind();
    let (cancel, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let progress = |count| {
        bytes.fetch_add(count, Ordering::Relaxed);
    };
    let control = Control { cancel: Some(&cancel), progress: Some(&progress), ..Control::default() };
    let options = WriteOptions::default().with_ownership(ownership()).with_control(control);
    write_tree(&root, &sample.tree(), &sample.contents, &options).unwrap();
    let total = sample.tree().totals().content_bytes;
    assert_eq!(bytes.swap(0, Ordering::Relaxed), total);
    read_tree(&root, &ReadOptions::default().with_control(control)).unwrap();
    assert_eq!(bytes.load(Ordering::Relaxed), total);

    cancel.store(true, Ordering::Relaxed);
    let stopped = |result: Result<(), FsError>| {
        assert!(matches!(result, Err(FsError::Interrupted(Interrupted::Cancelled))), "{result:?}");
    };
    stopped(read_tree(&root, &ReadOptions::default().with_control(control)).map(drop));
    stopped(verify_tree(&root, &sample.tree(), &VerifyOptions::default().with_control(control)).map(drop));
    let (_keep, root) = fresh();
    stopped(write_tree(&root, &sample.tree(), &sample.contents, &options));
}

#[test]
fn a_content_that_is_not_the_trees_is_refused() {
    for wrong in [&b"ahoi\n"[..], b"ahoy", b"ahoy\nahoy\n"] {
        let (_keep, root) = fresh();
        let mut sample = Sample::of_every_kind();
        sample.contents.insert(path("etc/motd"), wrong);
        let error = write(&root, &sample).unwrap_err();
        assert!(matches!(error, FsError::WrongContent { .. }), "{error}");
    }
    let (_keep, root) = fresh();
    let mut sample = Sample::of_every_kind();
    sample.contents = MemoryContents::default();
    assert!(write(&root, &sample).unwrap_err().is_not_found());
}

#[test]
fn a_directory_that_is_not_empty_is_left_alone() {
    let (keep, root) = fresh();
    fs::write(keep.path().join("mine"), "").unwrap();
    let error = write(&root, &Sample::of_every_kind()).unwrap_err();
    assert!(matches!(error, FsError::Refused { .. }), "{error}");
    assert_eq!(fs::read_dir(keep.path()).unwrap().count(), 1);
}

#[test]
fn a_socket_is_named_and_refused() {
    let (keep, root) = fresh();
    let _socket = std::os::unix::net::UnixListener::bind(keep.path().join("socket")).unwrap();
    let error = read_tree(&root, &ReadOptions::default()).unwrap_err();
    assert!(matches!(&error, FsError::Refused { path, .. } if path.ends_with("socket")), "{error}");
    let told = verify(&root, &Sample::new().tree());
    assert!(
        told.iter().any(|wrong| wrong.what == Wrong::Unexpected && wrong.path == path("socket")),
        "{told:?}"
    );
}

#[test]
fn directories_as_deep_as_a_path_can_name() {
    let (_keep, root) = fresh();
    let mut sample = Sample::new();
    let mut name = String::from("d");
    for _ in 0..2_047 {
        sample.directory(name.as_str());
        name.push_str("/d");
    }
    sample.file(name.as_str(), b"bottom");
    write(&root, &sample).unwrap();
    assert_eq!(verify(&root, &sample.tree()), []);
    assert_eq!(read_tree(&root, &ReadOptions::default()).unwrap(), sample.tree());
}

#[test]
fn a_device_number_that_linux_has_not_is_not_cut_down_to_another() {
    let (keep, root) = fresh();
    for (major, minor) in [(4_096, 0), (0, 1 << 20), (u32::MAX, u32::MAX)] {
        let error =
            root.make_special(&path("device"), Special::BlockDevice(Device { major, minor })).unwrap_err();
        let told = format!("no device number {major}:{minor}");
        assert!(matches!(&error, FsError::Unsupported { what, .. } if what.contains(&told)), "{error}");
    }
    assert_eq!(fs::read_dir(keep.path()).unwrap().count(), 0);
}
