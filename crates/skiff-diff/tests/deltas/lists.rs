//! Lists of checksums take next to nothing: the device has the files they list.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::common::*;
use skiff_diff::{DiffError, Idea, Ideas, Level, Options, diff};
use skiff_replay::renew::md5;
use skiff_replay::{Checkpoint, Limits, Prelude, Sink, replay};
use skiff_tree::{ContentDigest, Entry, EntryPath, FileContent, Kind, MemoryContents, Metadata, Tree};

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

/// Fails, or panics, at one of its calls.
struct Failing {
    memory: Memory,
    left: std::cell::Cell<usize>,
    panics: bool,
}

impl Failing {
    fn call(&self) -> io::Result<()> {
        let left = self.left.get().checked_sub(1);
        assert!(left.is_some() || !self.panics, "the call that panics");
        self.left.set(left.ok_or_else(|| io::Error::other("the call that fails"))?);
        Ok(())
    }
}

impl Sink for Failing {
    type Error = io::Error;
    type Content = Vec<u8>;

    fn begin(&mut self, prelude: &Prelude) -> io::Result<()> {
        self.memory.begin(prelude)
    }
    fn write(&mut self, number: u32, bytes: &[u8]) -> io::Result<()> {
        self.call().and_then(|()| self.memory.write(number, bytes))
    }
    fn finish(&mut self, number: u32, digest: ContentDigest) -> io::Result<()> {
        self.call().and_then(|()| self.memory.finish(number, digest))
    }
    fn open(&self, number: u32) -> io::Result<Vec<u8>> {
        self.call().and_then(|()| self.memory.open(number))
    }
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        self.memory.checkpoint(checkpoint)
    }
}

#[test]
fn a_sink_that_fails_ends_the_replay() {
    let lists = [("usr/MD5SUMS", "usr/"), ("var/share.md5sums", ""), ("zoo/share.md5sums", "usr")];
    let (old, new) = (release(1, &lists[..2]), release(2, &lists));
    let (base, target) = (Image::new(&old, None), Image::new(&new, None));
    let delta = made(&base, &target, &Options::default());
    let (sender, done) = std::sync::mpsc::channel();
    let watched = std::thread::spawn(move || {
        for panics in [false, true] {
            for calls in 0.. {
                let mut sink = Failing { memory: Memory::default(), left: calls.into(), panics };
                let follow = AssertUnwindSafe(|| {
                    replay(&delta[..], base.base(), &mut sink, Limits::default()).is_ok()
                });
                if catch_unwind(follow).unwrap_or(false) {
                    assert!(calls > 2 * FILES, "{calls}");
                    break;
                }
            }
        }
        sender.send(()).unwrap();
    });
    let ended = done.recv_timeout(Duration::from_secs(120));
    assert!(ended.is_ok() || watched.is_finished(), "it waits for ever");
    watched.join().unwrap();
}

#[test]
fn a_list_may_name_a_hard_link() {
    let image = |version: u8| {
        let entry = |path: &str, kind| Entry::inode(EntryPath::new(path).unwrap(), Metadata::default(), kind);
        let mut contents = MemoryContents::default();
        let mut entries = vec![entry("", Kind::Directory)];
        let mut list = String::new();
        for number in 0..20 {
            let bytes = [number, version];
            entries.push(entry(&format!("file-{number}"), Kind::File(FileContent::of(&bytes))));
            contents.insert(EntryPath::new(format!("file-{number}")).unwrap(), bytes);
            let [link, owner] =
                ["link", "file"].map(|name| EntryPath::new(format!("{name}-{number}")).unwrap());
            entries.push(Entry::hard_link(link, owner));
            let digits = md5(&&bytes[..], 2).unwrap().map(|byte| format!("{byte:02x}")).concat();
            list += &format!("{digits}  link-{number}\n");
        }
        entries.push(entry("sums", Kind::File(FileContent::of(list.as_bytes()))));
        contents.insert(EntryPath::new("sums").unwrap(), list);
        Image { tree: Tree::from_unsorted(entries).unwrap(), contents, config: None }
    };
    let (base, target) = (image(1), image(2));
    let sizes = [Options::default(), without()].map(|options| made(&base, &target, &options).len());
    assert!(sizes[0] + 20 * 15 < sizes[1], "{sizes:?}");
}

#[test]
fn a_list_is_left_as_it_is_where_a_device_has_no_memory_for_it() {
    let lists = [("usr/MD5SUMS", "usr/")];
    let (old, new) = (release(1, &lists), release(2, &lists));
    let mut told = 0;
    for mebibytes in 1..64 {
        let options = Options { max_decoder_memory: Some(mebibytes << 20), ..Options::default() };
        let (base, target) = (Image::new(&old, None), Image::new(&new, None));
        let mut delta = Vec::new();
        match diff(&base.release(), &target.release(), &options, &mut delta) {
            Ok(report) => assert!(report.decoder_memory <= mebibytes << 20),
            Err(DiffError::DecoderMemory { .. }) => {
                assert_eq!(told, mebibytes - 1, "less was enough");
                told = mebibytes;
            }
            Err(error) => panic!("{mebibytes} MiB: {error}"),
        }
    }
    assert!(told < 16, "{told}");
}
