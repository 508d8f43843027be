//! What a store does beneath its root: share, remove, swap, sync, lock.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::common::*;
use skiff_fs::*;
use skiff_tree::*;

#[test]
fn a_file_is_shared_in_every_way() {
    let (_keep, root) = fresh();
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 7) as u8).collect();
    root.create_file(&path("from")).unwrap().write_all(&content).unwrap();
    let modes = [ShareMode::Copy, ShareMode::Reflink, ShareMode::HardLink, ShareMode::ReflinkOrHardLink];
    for (mode, name) in modes.into_iter().zip(["a", "b", "c", "d"]) {
        let shared = root.share_file((&root, &path("from")), &path(name), &ShareOptions::new(mode)).unwrap();
        let (from, to) = (root.display(&path("from")), root.display(&path(name)));
        assert_eq!(fs::read(&to).unwrap(), content);
        let same = fs::metadata(from).unwrap().ino() == fs::metadata(to).unwrap().ino();
        assert_eq!(same, shared == Shared::HardLinked, "{mode:?} {shared:?}");
        match (mode, shared) {
            (ShareMode::Copy | ShareMode::Reflink, Shared::Copied(bytes)) => assert_eq!(bytes, 3_000_000),
            (ShareMode::HardLink | ShareMode::ReflinkOrHardLink, Shared::HardLinked)
            | (ShareMode::Reflink | ShareMode::ReflinkOrHardLink, Shared::Reflinked) => {}
            other => panic!("{other:?}"),
        }
        assert!(
            root.share_file((&root, &path("from")), &path(name), &ShareOptions::new(mode))
                .unwrap_err()
                .is_already_there()
        );
    }
    root.create_file(&path("empty")).unwrap();
    let shared =
        root.share_file((&root, &path("empty")), &path("e"), &ShareOptions::new(ShareMode::Copy)).unwrap();
    assert_eq!(shared, Shared::Copied(0));
}

#[test]
fn sharing_falls_back_where_two_file_systems_are_involved() {
    let memory = std::path::Path::new("/dev/shm");
    let Ok(there) = tempfile::tempdir_in(memory) else { return };
    let (here, to) = fresh();
    if fs::metadata(there.path()).unwrap().dev() == fs::metadata(here.path()).unwrap().dev() {
        return;
    }
    fs::write(there.path().join("file"), "across").unwrap();
    let from = Root::open(there.path()).unwrap();
    for (mode, name) in
        [(ShareMode::Reflink, "a"), (ShareMode::HardLink, "b"), (ShareMode::ReflinkOrHardLink, "c")]
    {
        let shared = to.share_file((&from, &path("file")), &path(name), &ShareOptions::new(mode)).unwrap();
        assert_eq!(shared, Shared::Copied(6));
        assert_eq!(fs::read(here.path().join(name)).unwrap(), b"across");
    }
}

#[test]
fn removing_takes_everything_and_nothing_else() {
    let (keep, root) = fresh();
    write(&root, &Sample::of_every_kind()).unwrap();
    std::os::unix::fs::symlink("../etc", keep.path().join("bin/etc")).unwrap();
    assert_eq!(root.remove(&path("bin"), &Control::default()).unwrap(), Removed::Removed);
    assert_eq!(root.remove(&path("bin"), &Control::default()).unwrap(), Removed::WasAbsent);
    assert_eq!(root.remove(&path("bin/deeper"), &Control::default()).unwrap(), Removed::WasAbsent);
    assert_eq!(fs::read(keep.path().join("etc/motd")).unwrap(), b"ahoy\n");
    // A directory that its owner may not enter, with something in it.
    fs::set_permissions(keep.path().join("etc/tight"), fs::Permissions::from_mode(0o000)).unwrap();
    root.remove(&path("etc"), &Control::default()).unwrap();
    root.remove(&path("large"), &Control::default()).unwrap();
    assert!(!keep.path().join("etc").exists());
    assert!(matches!(root.remove(&EntryPath::root(), &Control::default()), Err(FsError::Refused { .. })));
}

#[test]
fn directories_deeper_than_any_path_are_removed_and_refused_as_a_tree() {
    let (_keep, root) = fresh();
    root.make_directory(&path("top")).unwrap();
    let mut at = root.descend(&path("top")).unwrap();
    for level in 0..3_000 {
        if level % 100 == 0 {
            at.create_file(&path("file")).unwrap();
            at.make_directory(&path("side")).unwrap();
        }
        at.make_directory(&path("dir")).unwrap();
        at = at.descend(&path("dir")).unwrap();
    }
    let error = read_tree(&root, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, FsError::Tree(TreeError::Path { .. })), "{error}");
    root.remove(&path("top"), &Control::default()).unwrap();
    assert!(root.list(&EntryPath::root()).unwrap().is_empty());
}

#[test]
fn renames_replace_refuse_or_exchange() {
    let (_keep, root) = fresh();
    let (a, b) = (path("a"), path("b"));
    root.replace_file(&a, b"A").unwrap();
    root.replace_file(&b, b"B").unwrap();
    let read = |path: &EntryPath| read_all(&root.open_file(path).unwrap()).unwrap();
    assert!(root.rename(&a, &b, Rename::NoReplace).unwrap_err().is_already_there());
    root.rename(&a, &b, Rename::Exchange).unwrap();
    assert_eq!((read(&a), read(&b)), (b"B".to_vec(), b"A".to_vec()));
    root.rename(&a, &b, Rename::Replace).unwrap();
    assert_eq!(read(&b), b"B");
    assert_eq!(root.entry_type(&a).unwrap(), None);
}

#[test]
fn a_symbolic_link_is_replaced_in_one_step() {
    let (_keep, root) = fresh();
    let current = path("current");
    root.replace_symlink(&current, b"releases/1").unwrap();
    assert_eq!(root.read_link(&current).unwrap(), b"releases/1");
    // What a cut left behind does not matter.
    root.symlink(&path("current.tmp"), b"releases/broken").unwrap();
    root.replace_symlink(&current, b"releases/2").unwrap();
    assert_eq!(root.read_link(&current).unwrap(), b"releases/2");
    assert_eq!(root.list(&EntryPath::root()).unwrap().len(), 1);
    root.make_directory(&path("directory")).unwrap();
    let error = root.replace_symlink(&path("directory"), b"x").unwrap_err();
    assert!(matches!(error, FsError::Refused { .. }), "{error}");
}

#[test]
fn a_file_is_reopened_cut_off_and_gone_on_with() {
    let (_keep, root) = fresh();
    let name = path("staged");
    root.create_file(&name).unwrap().write_all(b"kept and lost").unwrap();
    let mut file = root.reopen_file(&name).unwrap();
    file.set_length(5).unwrap();
    file.seek_to(5);
    file.write_all(b"found").unwrap();
    file.write_all_at(b"K", 0).unwrap();
    file.sync().unwrap();
    file.drop_cache();
    assert_eq!(file.size().unwrap(), 10);
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 2);
    assert_eq!(read_all(&root.open_file(&name).unwrap()).unwrap(), b"Kept found");
}

#[test]
fn small_files_are_read_and_large_ones_refused() {
    let (_keep, root) = fresh();
    root.replace_file(&path("state"), b"12345").unwrap();
    assert_eq!(root.read_file(&path("state"), 5).unwrap(), b"12345");
    let error = root.read_file(&path("state"), 4).unwrap_err();
    assert!(matches!(error, FsError::LimitExceeded { wanted: 5, limit: 4, .. }), "{error}");
    root.ensure_directory(&path("directory")).unwrap();
    root.ensure_directory(&path("directory")).unwrap();
    assert!(matches!(root.ensure_directory(&path("state")), Err(FsError::Refused { .. })));
}

#[test]
fn sharing_and_removing_can_be_stopped() {
    let (_keep, root) = fresh();
    write(&root, &Sample::of_every_kind()).unwrap();
    let copied = std::sync::atomic::AtomicU64::new(0);
    let progress = |bytes| {
        copied.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    };
    let control = Control { progress: Some(&progress), ..Control::default() };
    let options = ShareOptions::new(ShareMode::Copy).with_control(control);
    root.share_file((&root, &path("large")), &path("copy"), &options).unwrap();
    assert_eq!(copied.into_inner(), 700_001);

    let control = Control { deadline: Some(std::time::Instant::now()), ..Control::default() };
    let options = ShareOptions::new(ShareMode::Copy).with_control(control);
    let stopped = root.share_file((&root, &path("large")), &path("other"), &options);
    assert!(matches!(stopped, Err(FsError::Interrupted(Interrupted::DeadlinePassed))), "{stopped:?}");
    let stopped = root.remove(&path("etc"), &control);
    assert!(matches!(stopped, Err(FsError::Interrupted(Interrupted::DeadlinePassed))), "{stopped:?}");
    root.remove(&path("etc"), &Control::default()).unwrap();
}

#[test]
fn everything_can_go_to_another_thread() {
    fn is_send_and_sync<T: Send + std::marker::Sync>() {}
    is_send_and_sync::<Root>();
    is_send_and_sync::<DirectoryContents>();
    is_send_and_sync::<WritableFile>();
    is_send_and_sync::<OpenFile>();
    is_send_and_sync::<Lock>();
    is_send_and_sync::<FsError>();
    is_send_and_sync::<Control<'_>>();
    is_send_and_sync::<VerifyOptions<'_>>();
}

#[test]
fn a_lock_keeps_others_out_until_it_is_dropped() {
    let (_keep, root) = fresh();
    let name = path("lock");
    let lock = root.lock(&name, LockKind::Exclusive).unwrap();
    for kind in [LockKind::Exclusive, LockKind::Shared] {
        let error = root.lock(&name, kind).unwrap_err();
        assert!(matches!(error, FsError::Locked { .. }), "{error}");
    }
    drop(lock);
    let shared = (root.lock(&name, LockKind::Shared).unwrap(), root.lock(&name, LockKind::Shared).unwrap());
    assert!(matches!(root.lock(&name, LockKind::Exclusive), Err(FsError::Locked { .. })));
    drop(shared);
    root.lock(&name, LockKind::Exclusive).unwrap();
}

#[test]
fn everything_is_synced_by_either_strategy() {
    let (_keep, root) = fresh();
    write(&root, &Sample::of_every_kind()).unwrap();
    for strategy in [SyncStrategy::FileSystem, SyncStrategy::EachFile, SyncStrategy::for_this_kernel()] {
        root.sync_all(strategy, &Control::default()).unwrap();
    }
    assert_eq!(verify(&root, &Sample::of_every_kind().tree()), []);
}

#[test]
fn there_is_room_or_not() {
    let (_keep, root) = fresh();
    assert!(root.free_space().unwrap().bytes > 0);
    assert_ne!(root.free_space().unwrap().inodes, Some(0));
}

#[test]
fn an_ordinary_users_tree_leaves_out_what_is_only_recorded() {
    let (_keep, root) = fresh();
    let mut sample = Sample::of_every_kind();
    let foreign = |mode| Metadata { uid: 4_242, gid: 4_243, ..metadata(mode) };
    let null = Kind::CharDevice(Device { major: 1, minor: 3 });
    sample.directory("dev").add("dev/null", foreign(0o666), null).link("dev/zero", "dev/null");
    sample.add("sticky", foreign(0o3777), Kind::Directory);
    for (name, mode) in [("shadow", 0), ("su", 0o6755)] {
        let content = FileContent::of(name.as_bytes());
        sample.contents.insert(path(name), name.as_bytes());
        let mut metadata = foreign(mode);
        metadata.xattrs.insert((*b"security.capability").into(), [1; 20].into());
        metadata.xattrs.insert((*b"trusted.x").into(), [1; 20].into());
        sample.add(name, metadata, Kind::File(content));
    }
    let record = Ownership::Record;
    let options = WriteOptions::default().with_ownership(record);
    write_tree(&root, &sample.tree(), &sample.contents, &options).unwrap();
    let options = VerifyOptions::default().with_ownership(record);
    assert_eq!(verify_tree(&root, &sample.tree(), &options).unwrap(), []);
    assert_eq!(root.list(&path("dev")).unwrap().len(), 0);
    let mode = |name| fs::metadata(root.display(&path(name))).unwrap().mode() & 0o7777;
    assert_eq!((mode("su"), mode("shadow"), mode("sticky")), (0o755, 0o400, 0o1777));
    // A device that is there all the same is unexpected.
    root.make_special(&path("dev/null"), Special::Fifo).unwrap();
    root.set_mtime(&path("dev"), metadata(0).mtime).unwrap();
    let told = verify_tree(&root, &sample.tree(), &options).unwrap();
    assert_eq!(told, [Mismatch { path: path("dev/null"), what: Wrong::Unexpected }]);
}

#[test]
fn a_probe_leaves_nothing_and_names_what_cannot_be_held() {
    let (_keep, root) = fresh();
    let sample = Sample::of_every_kind();
    root.probe(&path("probe"), &sample.tree(), ownership()).unwrap();
    assert_eq!(root.list(&EntryPath::root()).unwrap().len(), 0);
    // No file system keeps attributes of a program's own on a link: Linux forbids it.
    let mut sample = Sample::of_every_kind();
    let mut with = metadata(0o777);
    with.xattrs.insert((*b"user.x").into(), (*b"").into());
    sample.add("etc/with", with, symlink("x"));
    let error = root.probe(&path("probe"), &sample.tree(), ownership()).unwrap_err();
    assert!(matches!(&error, FsError::Unsupported { path, .. } if path.ends_with("etc/with")), "{error}");
    assert_eq!(root.list(&EntryPath::root()).unwrap().len(), 0);
    // No file system that Linux has today holds the year 292 billion.
    let mut sample = Sample::of_every_kind();
    sample.add("far", Metadata { mtime: Mtime::from_seconds(i64::MAX), ..metadata(0o755) }, Kind::Directory);
    let error = root.probe(&path("probe"), &sample.tree(), ownership()).unwrap_err();
    assert!(matches!(&error, FsError::Unsupported { path, .. } if path.ends_with("far")), "{error}");
}

/// Which of the two depends on the file system that the tests run on: tmpfs takes `user.` since Linux 6.6.
#[test]
fn extended_attributes_are_kept_or_refused_by_name() {
    let (_keep, root) = fresh();
    let mut sample = Sample::new();
    let mut with = metadata(0o644);
    with.xattrs.insert((*b"user.comment").into(), (*b"\0binary\xff").into());
    with.xattrs.insert((*b"user.empty").into(), (*b"").into());
    sample.add("directory", Metadata { mode: Mode::new(0o755).unwrap(), ..with.clone() }, Kind::Directory);
    for (name, mode) in [("file", 0o644), ("read-only", 0o444)] {
        sample.contents.insert(path(name), *b"x");
        let with = Metadata { mode: Mode::new(mode).unwrap(), ..with.clone() };
        sample.add(name, with, Kind::File(FileContent::of(b"x")));
    }
    match write(&root, &sample) {
        Err(FsError::Unsupported { what, .. }) => return assert!(what.contains("user.comment"), "{what}"),
        other => other.unwrap(),
    }
    assert_eq!(verify(&root, &sample.tree()), []);
    assert_eq!(read_tree(&root, &ReadOptions::default()).unwrap(), sample.tree());
    // Another value, one too many and one too few are told; setting the metadata again mends all of it.
    let storage = DiskStorage;
    let directory = fs::File::open(root.path()).unwrap();
    let at = At { directory: std::os::fd::AsFd::as_fd(&directory), name: b"file" };
    storage.set_xattr(at, b"user.comment", b"other").unwrap();
    storage.set_xattr(at, b"user.surplus", b"").unwrap();
    storage.remove_xattr(at, b"user.empty").unwrap();
    let told: Vec<_> = verify(&root, &sample.tree()).into_iter().map(|wrong| wrong.what).collect();
    let names: [&[u8]; 3] = [b"user.comment", b"user.empty", b"user.surplus"];
    assert_eq!(told, names.map(|name| Wrong::Xattr { name: name.into() }));
    let tree = sample.tree();
    let inode = tree.find(&path("file")).unwrap().as_inode().unwrap();
    root.set_metadata(&path("file"), inode, ownership()).unwrap();
    assert_eq!(verify(&root, &tree), []);
}
