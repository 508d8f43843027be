//! What the model of a power cut says may be found.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use skiff_fs::{Rename, Root, RootOptions, ShareMode, ShareOptions};
use skiff_testkit::crash::{Effort, Files, Log, Recorder};
use skiff_tree::{EntryPath, Mode, Mtime};

fn path(path: &str) -> EntryPath {
    EntryPath::new(path).unwrap()
}

fn quick_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn write(root: &Root, at: &str, bytes: &[u8]) {
    root.create_file(&path(at)).unwrap().write_all_at(bytes, 0).unwrap();
}

/// What may be found at the end of some work in a directory that was made before.
fn states(before: impl Fn(&Root), work: impl Fn(&Root)) -> Vec<Files> {
    let directory = quick_directory();
    before(&Root::open(directory.path()).unwrap());
    let disk = Arc::new(Recorder::new(directory.path()));
    work(&recorded(directory.path(), &disk));
    let log = disk.log();
    assert_eq!(log.end().digest(), Files::read(directory.path()).digest(), "the log is not what was done");
    let moments = log.moments(None);
    let end = moments.last().unwrap();
    let choices = end.choices(&Effort::default());
    assert!(choices.is_exhaustive);
    choices.all.iter().map(|choice| end.files(choice)).collect()
}

fn recorded(directory: &Path, disk: &Arc<Recorder>) -> Root {
    Root::open_with(directory, RootOptions::default().with_storage(disk.clone())).unwrap()
}

const WHOLE: &[u8] = b"all of it";

/// A release in each of two directories; `made` is made by the work.
fn make_release(root: &Root, at: &str, word: &[u8]) {
    root.make_directory(&path(at)).unwrap();
    write(root, &format!("{at}/word"), word);
    write(root, &format!("{at}/file"), WHOLE);
}

/// Which release is at a path, and whether it is whole.
fn found(files: &Files, at: &str) -> String {
    let word = files.content(&format!("{at}/word")).unwrap_or_default();
    let file = files.content(&format!("{at}/file"));
    let state = match file.as_deref() {
        Some(WHOLE) => "whole",
        Some([]) => "with a 0-byte file",
        Some(_) => "torn",
        None => "with a file less",
    };
    format!("{}, {state}", String::from_utf8(word).unwrap())
}

fn swap_by_exchange(syncs_first: bool, syncs_names: bool) -> BTreeSet<String> {
    let states = states(
        |root| make_release(root, "current", b"old"),
        |root| {
            make_release(root, "next", b"new");
            if syncs_first {
                root.sync_file_system().unwrap();
            } else {
                // What says which release it is has arrived, to tell them apart.
                root.sync_file(&path("next/word")).unwrap();
                root.sync_directory(&path("next")).unwrap();
            }
            root.rename(&path("next"), &path("current"), Rename::Exchange).unwrap();
            if syncs_names {
                root.sync_directory(&EntryPath::root()).unwrap();
            }
        },
    );
    states.iter().map(|files| found(files, "current")).collect()
}

fn swap_by_link(syncs_name: bool) -> BTreeSet<String> {
    let states = states(
        |root| {
            make_release(root, "old", b"old");
            root.symlink(&path("current"), b"old").unwrap();
        },
        |root| {
            make_release(root, "new", b"new");
            root.sync_file_system().unwrap();
            root.symlink(&path("current.tmp"), b"new").unwrap();
            root.rename(&path("current.tmp"), &path("current"), Rename::Replace).unwrap();
            if syncs_name {
                root.sync_directory(&EntryPath::root()).unwrap();
            }
        },
    );
    let current = |files: &Files| String::from_utf8(files.link_target("current").unwrap().to_vec()).unwrap();
    states.iter().map(|files| found(files, &current(files))).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// What was measured on ext4, by shutting it down. A disk need not keep what it may lose, so where the names were not synced the model
/// has the new release as well.
#[test]
fn the_measured_outcomes_of_four_swaps_are_the_models() {
    assert_eq!(swap_by_exchange(true, false), set(&["old, whole", "new, whole"]));
    assert_eq!(swap_by_exchange(true, true), set(&["new, whole"]));
    let unsynced = swap_by_exchange(false, true);
    assert!(unsynced.contains("new, with a 0-byte file"), "{unsynced:?}");
    assert_eq!(unsynced, set(&["new, whole", "new, torn", "new, with a 0-byte file"]));
    assert_eq!(swap_by_link(false), set(&["old, whole", "new, whole"]));
    assert_eq!(swap_by_link(true), set(&["new, whole"]));
}

#[test]
fn a_write_arrives_sector_by_sector() {
    let sectors = [[b'a'; 512], [b'b'; 512], [b'c'; 512]].concat();
    let states = states(
        |root| write(root, "f", &[b'.'; 1536]),
        |root| root.reopen_file(&path("f")).unwrap().write_all_at(&sectors, 0).unwrap(),
    );
    let found: BTreeSet<String> = states
        .iter()
        .map(|files| {
            let bytes = files.content("f").unwrap();
            assert_eq!(bytes.len(), 1536);
            bytes.chunks(512).map(|sector| char::from(sector[0])).collect()
        })
        .collect();
    assert_eq!(found, set(&["...", "a..", ".b.", "..c", "ab.", "a.c", ".bc", "abc"]));
}

#[test]
fn a_file_that_was_synced_has_its_content_and_may_have_no_name() {
    let states = states(
        |_| {},
        |root| {
            write(root, "f", WHOLE);
            root.sync_file(&path("f")).unwrap();
            write(root, "g", WHOLE);
        },
    );
    assert!(states.iter().any(|files| files.paths().is_empty()));
    for files in &states {
        assert!(files.content("f").is_none_or(|content| content == WHOLE));
    }
    let of_g: BTreeSet<_> = states.iter().map(|files| files.content("g")).collect();
    assert_eq!(of_g, BTreeSet::from([None, Some(vec![]), Some(vec![0; 9]), Some(WHOLE.to_vec())]));
}

#[test]
fn a_directory_that_was_synced_has_its_names_and_may_have_none_itself() {
    let states = states(
        |_| {},
        |root| {
            root.make_directory(&path("d")).unwrap();
            write(root, "d/f", WHOLE);
            root.symlink(&path("d/s"), b"f").unwrap();
            root.hard_link(&path("d/f"), &path("h")).unwrap();
            root.sync_directory(&path("d")).unwrap();
        },
    );
    let paths: BTreeSet<_> = states.iter().map(|files| files.paths().join(" ")).collect();
    assert_eq!(paths, set(&["", "h", "d d/f d/s", "d d/f d/s h"]));
    // The two names are one file, however much of it arrived.
    assert!(states.iter().all(|files| files.content("h").is_none()
        || files.content("d/f").is_none_or(|content| Some(content) == files.content("h"))));
}

/// It is there under either name or under none, and a directory never under both.
#[test]
fn a_rename_may_arrive_by_halves() {
    let moved = |work: fn(&Root)| {
        let before = |root: &Root| {
            for directory in ["a", "b", "a/d"] {
                root.make_directory(&path(directory)).unwrap();
            }
            write(root, "a/f", WHOLE);
        };
        let states = states(before, work);
        states.iter().map(|files| files.paths().join(" ")).collect::<BTreeSet<_>>()
    };
    let file = moved(|root| root.rename(&path("a/f"), &path("b/f"), Rename::Replace).unwrap());
    assert_eq!(file, set(&["a a/d a/f b", "a a/d a/f b b/f", "a a/d b b/f", "a a/d b"]));
    let directory = moved(|root| root.rename(&path("a/d"), &path("b/d"), Rename::Replace).unwrap());
    assert_eq!(directory, set(&["a a/d a/f b", "a a/f b b/d", "a a/f b"]));
    let synced = moved(|root| {
        root.rename(&path("a/d"), &path("b/d"), Rename::Replace).unwrap();
        root.sync_directory(&path("b")).unwrap();
    });
    assert_eq!(synced, set(&["a a/d a/f b", "a a/f b b/d"]));
}

#[test]
fn what_is_removed_or_cut_off_may_still_be_there() {
    let states = states(
        |root| {
            write(root, "gone", WHOLE);
            write(root, "cut", WHOLE);
        },
        |root| {
            root.remove(&path("gone"), &Default::default()).unwrap();
            let file = root.reopen_file(&path("cut")).unwrap();
            file.set_length(3).unwrap();
            file.write_all_at(b" else", 3).unwrap();
        },
    );
    assert!(states.iter().any(|files| files.content("gone").is_some()));
    assert!(states.iter().any(|files| files.content("gone").is_none()));
    let cut: BTreeSet<_> = states.iter().map(|files| files.content("cut").unwrap()).collect();
    assert!(cut.contains(WHOLE) && cut.contains(&b"all else"[..]) && cut.contains(&b"all"[..]), "{cut:?}");
}

/// Attributes arrive one by one, and what is written to a directory is what was read from another.
#[test]
fn every_state_can_be_written_to_a_directory_and_read_back() {
    let states = states(
        |root| root.make_directory(&path("d")).unwrap(),
        |root| {
            write(root, "d/f", WHOLE);
            root.share_file((root, &path("d/f")), &path("c"), &ShareOptions::new(ShareMode::Copy)).unwrap();
            root.hard_link(&path("d/f"), &path("d/h")).unwrap();
            root.symlink(&path("s"), b"d").unwrap();
            root.make_special(&path("p"), skiff_fs::Special::Fifo).unwrap();
            let metadata = skiff_tree::Metadata {
                mode: Mode::from_st_mode(0o751),
                mtime: Mtime::from_seconds(7),
                ..Default::default()
            };
            let directory = skiff_tree::Inode { metadata, kind: skiff_tree::Kind::<()>::Directory };
            root.set_metadata(&path("d"), &directory, skiff_fs::Ownership::Record).unwrap();
        },
    );
    assert!(states.len() > 500, "{}", states.len());
    for files in states.iter().step_by(7) {
        let directory = quick_directory();
        files.write(directory.path());
        let read = Files::read(directory.path());
        assert_eq!(read.paths(), files.paths());
        assert_eq!(read.digest(), files.digest(), "{files:?}");
    }
}

#[test]
fn a_sync_that_is_dropped_guarantees_nothing() {
    let directory = quick_directory();
    let disk = Arc::new(Recorder::new(directory.path()));
    let root = recorded(directory.path(), &disk);
    write(&root, "f", WHOLE);
    root.sync_file_system().unwrap();
    disk.mark();
    let log = disk.log();
    assert_eq!(log.barriers(), ["syncfs"]);
    let at_end = |without| {
        let moments = log.moments(without);
        let end = moments.last().unwrap();
        assert_eq!(end.marks, 1);
        end.choices(&Effort::default()).all.len()
    };
    assert_eq!((at_end(None), at_end(Some(0))), (1, 5));
}

#[test]
fn a_sync_that_was_begun_is_over_when_it_is_waited_for() {
    let directory = quick_directory();
    let disk = Arc::new(Recorder::new(directory.path()).waiting_before("later"));
    let root = recorded(directory.path(), &disk);
    write(&root, "before", b"");
    let syncing = root.begin_sync_file_system(&skiff_fs::Syncer::start()).unwrap();
    write(&root, "meanwhile", b"");
    syncing.wait().unwrap();
    let certain = |log: &Log| log.certain().last().map(|(_, files)| files.paths());
    assert_eq!(certain(&disk.log()), Some(vec![]));
    write(&root, "later", b"");
    assert_eq!(certain(&disk.log()), Some(vec!["before".to_owned()]));
}
