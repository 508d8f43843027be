//! Trees in one line each, for tables of what should come out.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A tree in words, in canonical order and without its root: `a/ a/b=content a/c->target a/d==a/b e:char 1:3 f:fifo`, each with what is
/// not as usual of its metadata: `{4755 7:8 @-5.000000000}`.
///
/// Usual are the mode 0755 of directories, 0777 of links and 0644 of all else, the owner 0:0, and the times that a
/// [`Layer`](crate::Layer) gives and that directories have which no layer declares. Attributes are not shown.
#[derive(Debug, Default)]
pub struct Picture {
    words: Vec<String>,
}

/// What an entry of a picture is.
#[derive(Debug)]
pub enum Shown<'a> {
    /// A directory.
    Directory,
    /// A file, with its content.
    File(&'a [u8]),
    /// A symbolic link, with its target.
    Symlink(&'a [u8]),
    /// A further name of what is at this path.
    HardLink(&'a [u8]),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// What a picture shows of an entry's metadata, where it is not as usual.
#[derive(Debug, Clone, Copy)]
pub struct ShownMetadata {
    /// Twelve bits.
    pub mode: u32,
    /// The numbers of user and group.
    pub owner: (u32, u32),
    /// Seconds since 1970, and nanoseconds after that.
    pub mtime: (i64, u32),
}

impl Picture {
    /// Adds the next entry.
    pub fn add(&mut self, path: &[u8], shown: &Shown<'_>, metadata: ShownMetadata) {
        let path = path.escape_ascii();
        let (word, mode) = match shown {
            Shown::Directory => (format!("{path}/"), 0o755),
            Shown::File(content) => (format!("{path}={}", content.escape_ascii()), 0o644),
            Shown::Symlink(target) => (format!("{path}->{}", target.escape_ascii()), 0o777),
            // Its metadata are its owner's.
            Shown::HardLink(owner) => return self.words.push(format!("{path}=={}", owner.escape_ascii())),
            Shown::CharDevice(major, minor) => (format!("{path}:char {major}:{minor}"), 0o644),
            Shown::BlockDevice(major, minor) => (format!("{path}:block {major}:{minor}"), 0o644),
            Shown::Fifo => (format!("{path}:fifo"), 0o644),
        };
        let mut odd = Vec::new();
        if metadata.mode != mode {
            odd.push(format!("{:o}", metadata.mode));
        }
        if metadata.owner != (0, 0) {
            odd.push(format!("{}:{}", metadata.owner.0, metadata.owner.1));
        }
        if !matches!(metadata.mtime, (0 | crate::layer::MTIME, 0)) {
            odd.push(format!("@{}.{:09}", metadata.mtime.0, metadata.mtime.1));
        }
        self.words.push(if odd.is_empty() { word } else { format!("{word}{{{}}}", odd.join(" ")) });
    }

    /// The picture, as text.
    #[must_use]
    pub fn finish(self) -> String {
        self.words.join(" ")
    }

    /// That of a directory, with nothing but the standard library: a judge of what wrote it.
    ///
    /// # Panics
    /// Where something in it cannot be read.
    #[must_use]
    pub fn of_directory(root: &Path) -> String {
        let mut picture = Self::default();
        let mut first_names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        // The next one is the last.
        let mut left: Vec<PathBuf> = children(root);
        while let Some(path) = left.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let name = path.strip_prefix(root).expect("because it is beneath").as_os_str().as_bytes();
            if metadata.is_dir() {
                left.extend(children(&path));
            } else if let Some(first) = first_names.get(&(metadata.dev(), metadata.ino())) {
                picture.add(name, &Shown::HardLink(first), of(&metadata));
                continue;
            }
            first_names.insert((metadata.dev(), metadata.ino()), name.to_vec());
            show(&mut picture, (&path, name), &metadata);
        }
        picture.finish()
    }
}

fn show(picture: &mut Picture, (path, name): (&Path, &[u8]), metadata: &Metadata) {
    let kind = metadata.file_type();
    let number = metadata.rdev();
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    let [major, minor] = [major, minor].map(|part| u32::try_from(part).expect("because it has 20 bits"));
    let target;
    let content;
    let shown = if kind.is_dir() {
        Shown::Directory
    } else if kind.is_file() {
        content = fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Shown::File(&content)
    } else if kind.is_symlink() {
        target = fs::read_link(path)
            .unwrap_or_else(|error| panic!("{path:?}: {error}"))
            .into_os_string()
            .into_vec();
        Shown::Symlink(&target)
    } else if kind.is_char_device() {
        Shown::CharDevice(major, minor)
    } else if kind.is_block_device() {
        Shown::BlockDevice(major, minor)
    } else {
        assert!(kind.is_fifo(), "{path:?} is a {kind:?}");
        Shown::Fifo
    };
    picture.add(name, &shown, of(metadata));
}

fn of(metadata: &Metadata) -> ShownMetadata {
    let nanoseconds = u32::try_from(metadata.mtime_nsec()).expect("because there are fewer than 2^30");
    ShownMetadata {
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), nanoseconds),
    }
}

/// What is in a directory, the first last.
fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut names: Vec<Vec<u8>> =
        entries.map(|entry| entry.expect("an entry").file_name().into_vec()).collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    names.iter().map(|name| directory.join(OsStr::from_bytes(name))).collect()
}
