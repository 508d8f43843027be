//! Lists of checksums take next to nothing: the device has the files they list.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

mod common;

use common::*;
use skiff_diff::{Idea, Ideas, Level, Options};
use skiff_replay::renew::md5;
use skiff_replay::{Limits, replay};

type Files = BTreeMap<String, Vec<u8>>;

const FILES: usize = 60;

/// Files of one version, and a list of them at each of these paths, of the files in this directory.
fn release(version: usize, lists: &[(&str, &str)]) -> Files {
    let mut files = Files::new();
    for number in 0..FILES {
        let text = format!("file {number} of version {}\n", version.max(number % 2));
        files.insert(format!("usr/share/file-{number}"), text.into_bytes());
    }
    for (list, directory) in lists {
        let line = |(path, bytes): (&String, &Vec<u8>)| {
            let checksum = md5(&&bytes[..], bytes.len() as u64).unwrap();
            let digits = checksum.map(|byte| format!("{byte:02x}")).concat();
            path.strip_prefix(directory).map(|path| format!("{digits}  {path}\n"))
        };
        let list_bytes: String = files.iter().filter_map(line).collect();
        files.insert((*list).to_owned(), list_bytes.into_bytes());
    }
    files
}

/// How long the delta is, which is seen to lead to the target.
fn size(old: &Files, new: &Files, options: &Options<'_>) -> usize {
    let (base, target) = (Image::new(old, None), Image::new(new, None));
    let delta = made(&base, &target, options);
    let mut sink = Memory::default();
    replay(&delta[..], base.base(), &mut sink, Limits::default()).unwrap();
    check_result(&sink, &target);
    delta.len()
}

fn without() -> Options<'static> {
    Options { ideas: Ideas::ALL.without(Idea::Checksums), ..Options::default() }
}

#[test]
fn a_list_takes_no_bytes_for_checksums() {
    for path in ["var/lib/dpkg/info/share.md5sums", "usr/MD5SUMS", "usr/share/MD5SUMS", "etc/sums"] {
        let lists = [(path, if path.starts_with("usr/") { "usr/" } else { "" })];
        let (old, new) = (release(1, &lists), release(2, &lists));
        let sizes = [size(&old, &new, &Options::default()), size(&old, &new, &without())];
        // Sixteen bytes for each of sixty files, and a little less for what a model guesses.
        assert!(sizes[0] + FILES * 15 < sizes[1], "{path}: {sizes:?}");
    }
}

#[test]
fn a_list_of_lists_is_made_from_what_it_was() {
    let lists = [("usr/a.md5sums", "usr/"), ("usr/b.md5sums", "")];
    let (old, new) = (release(1, &lists), release(2, &lists));
    // The other list is renewed, and so nothing can be made from it: that it is like this one is worth no more.
    let sizes = [size(&old, &new, &Options::default()), size(&old, &new, &without())];
    assert!(sizes[0] < sizes[1] + sizes[1] / 8, "{sizes:?}");
}

#[test]
fn level_fast_leaves_lists_as_they_are() {
    let lists = [("usr/MD5SUMS", "usr/")];
    let (old, new) = (release(1, &lists), release(2, &lists));
    let fast = |options: Options<'static>| Options { level: Level::Fast, ..options };
    assert_eq!(size(&old, &new, &fast(Options::default())), size(&old, &new, &fast(without())));
}

#[test]
fn nothing_is_made_from_a_list_that_comes_last() {
    let lists = [("usr/MD5SUMS", "usr/")];
    let (old, mut new) = (release(1, &lists), release(2, &lists));
    // Like the new list, and nothing else.
    let mut copy = new["usr/MD5SUMS"].clone();
    copy.extend_from_slice(b"and more\n");
    new.insert("zzz".to_owned(), copy);
    size(&old, &new, &Options::default());
}
