//! Nothing beneath a root leads out of it, with the kernel's resolution and with the fallback for kernels without one.

use std::fs;
use std::os::unix::fs::symlink as make_symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::*;
use skiff_fs::*;
use skiff_tree::*;

/// `outside/` with a secret beside `inside/`, the root, by each way of resolving.
fn each_resolution(test: impl Fn(&Root, &Path)) {
    for resolution in [Resolution::Kernel, Resolution::ComponentWise] {
        if resolution == Resolution::Kernel && Resolution::detect() != resolution {
            continue; // a sandbox without openat2
        }
        let keep = tempfile::tempdir().unwrap();
        let outside = keep.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        let inside = keep.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let root = Root::open_with(inside, RootOptions::default().with_resolution(resolution)).unwrap();
        test(&root, &outside);
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }
}

fn is_refused<T>(result: Result<T, FsError>) {
    let error = result.err().expect("it must not work");
    assert!(matches!(error, FsError::Refused { .. }), "{error}");
}

#[test]
fn a_symbolic_link_in_the_way_is_refused_by_every_operation() {
    for link in ["absolute", "../outside", "./here", "chain", "nowhere"] {
        each_resolution(|root, outside| {
            root.make_directory(&path("here")).unwrap();
            root.symlink(&path("chain"), b"../outside").unwrap();
            let target = if link == "absolute" { outside.to_str().unwrap() } else { link };
            root.symlink(&path("link"), target.as_bytes()).unwrap();
            root.create_file(&path("file")).unwrap();
            let (new, secret, file) = (path("link/new"), path("link/secret"), path("file"));
            is_refused(root.make_directory(&new));
            is_refused(root.create_file(&new));
            is_refused(root.symlink(&new, b"x"));
            is_refused(root.make_special(&new, Special::Fifo));
            is_refused(root.hard_link(&file, &new));
            is_refused(root.hard_link(&secret, &path("stolen")));
            is_refused(root.rename(&file, &new, Rename::Replace));
            is_refused(root.rename(&secret, &path("stolen"), Rename::Exchange));
            is_refused(root.remove(&secret, &Control::default()));
            is_refused(root.open_file(&secret));
            is_refused(root.reopen_file(&secret));
            is_refused(root.read_link(&secret));
            is_refused(root.entry_type(&secret));
            is_refused(root.list(&path("link")));
            is_refused(root.list(&path("link/deeper")));
            is_refused(root.descend(&path("link")));
            is_refused(root.sync_directory(&path("link")));
            is_refused(root.lock(&secret, LockKind::Exclusive));
            is_refused(root.replace_file(&secret, b"overwritten"));
            is_refused(root.set_mtime(&secret, Mtime::default()));
            is_refused(root.share_file(
                (root, &secret),
                &path("stolen"),
                &ShareOptions::new(ShareMode::Copy),
            ));
            is_refused(root.share_file(
                (root, &secret),
                &path("stolen"),
                &ShareOptions::new(ShareMode::HardLink),
            ));
            is_refused(root.share_file((root, &file), &new, &ShareOptions::new(ShareMode::Copy)));
            let inode = Inode { metadata: metadata(0o777), kind: Kind::<()>::Fifo };
            is_refused(root.set_metadata(&secret, &inode, ownership()));
        });
    }
}

#[test]
fn a_symbolic_link_at_the_end_is_never_followed() {
    each_resolution(|root, _| {
        root.symlink(&path("link"), b"../outside/secret").unwrap();
        let link = path("link");
        is_refused(root.open_file(&link));
        is_refused(root.reopen_file(&link));
        is_refused(root.lock(&link, LockKind::Exclusive));
        assert!(root.create_file(&link).unwrap_err().is_already_there());
        is_refused(root.share_file((root, &link), &path("stolen"), &ShareOptions::new(ShareMode::HardLink)));
        // A mode meant for a file does not reach what the link points at.
        let inode = Inode { metadata: metadata(0o7777), kind: Kind::<()>::Fifo };
        assert!(root.set_metadata(&link, &inode, ownership()).is_err());
        // Metadata meant for the link are the link's.
        let inode = Inode { metadata: metadata(0o777), kind: Kind::<()>::Symlink((*b"x").into()) };
        root.set_metadata(&link, &inode, ownership()).unwrap();
        assert_eq!(root.read_link(&link).unwrap(), b"../outside/secret");
        root.remove(&link, &Control::default()).unwrap();
    });
}

#[test]
fn a_parent_that_is_replaced_by_a_link_is_not_followed() {
    each_resolution(|root, outside| {
        root.make_directory(&path("a")).unwrap();
        root.make_directory(&path("a/b")).unwrap();
        root.create_file(&path("a/b/first")).unwrap();
        // Behind this handle's back: `a` becomes a link, `a/b` was its last parent.
        let inside = root.path();
        fs::rename(inside.join("a"), inside.join("moved")).unwrap();
        make_symlink(outside, inside.join("a")).unwrap();
        is_refused(root.create_file(&path("a/new")));
        is_refused(root.create_file(&path("a/c/new")));
    });
}

#[test]
fn a_renamed_parent_is_looked_up_again() {
    each_resolution(|root, _| {
        for name in ["a", "a/b", "c"] {
            root.make_directory(&path(name)).unwrap();
        }
        root.create_file(&path("a/b/x")).unwrap();
        root.rename(&path("a"), &path("d"), Rename::NoReplace).unwrap();
        assert!(root.create_file(&path("a/b/y")).unwrap_err().is_not_found());
        root.create_file(&path("d/b/y")).unwrap();
        root.remove(&path("d"), &Control::default()).unwrap();
        assert!(root.create_file(&path("d/b/z")).unwrap_err().is_not_found());
    });
}

#[test]
fn someone_swapping_a_directory_for_a_link_wins_nothing() {
    each_resolution(|root, outside| {
        root.make_directory(&path("d")).unwrap();
        make_symlink(outside, root.path().join("link")).unwrap();
        let done = AtomicBool::new(false);
        let swapper = Root::open(root.path()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    swapper.rename(&path("d"), &path("link"), Rename::Exchange).unwrap();
                }
            });
            let mut made = 0;
            for round in 0..4_000 {
                let name = path(format!("d/{round}"));
                // Every second time without the parent that is still open from before.
                if round % 2 == 0 {
                    drop(root.entry_type(&path("e/f")));
                }
                made += u32::from(root.create_file(&name).is_ok());
                assert!(root.open_file(&path("d/secret")).is_err());
            }
            done.store(true, Ordering::Relaxed);
            assert!(made > 0, "the race was never won, so nothing was shown");
        });
    });
}

#[test]
fn both_ways_of_resolving_read_and_write_the_same() {
    each_resolution(|root, _| {
        let sample = Sample::of_every_kind();
        write(root, &sample).unwrap();
        assert_eq!(verify(root, &sample.tree()), []);
        let contents = DirectoryContents::new(root.descend(&path("etc")).unwrap());
        assert_eq!(read_all(&*contents.open(&path("motd")).unwrap()).unwrap(), b"ahoy\n");
        assert_eq!(contents.root().read_link(&path("absolute")).unwrap(), b"/etc/motd");
        assert_eq!(root.entry_type(&path("etc/queue")).unwrap(), Some(EntryType::Other));
        assert_eq!(root.entry_type(&path("etc/nothing/there")).unwrap(), None);
        assert_eq!(root.list(&path("bin")).unwrap(), [Box::from(&b"busybox"[..]), Box::from(&b"sh"[..])]);
        // A named pipe without a writer does not keep anybody waiting.
        is_refused(root.open_file(&path("etc/queue")));
        is_refused(root.open_file(&path("etc")));
    });
}
