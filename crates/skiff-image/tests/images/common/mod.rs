//! What tests of this crate share.
#![allow(dead_code, unreachable_pub)] // each test binary uses some of it

pub mod cases;

use std::path::Path;
use std::process::Command;

use skiff_fs::{ReadOptions, Root, Selinux, read_tree};
use skiff_image::*;
use skiff_testkit::{Layer, Picture, Shown, ShownMetadata};
use skiff_tree::*;

pub fn path(path: impl Into<Vec<u8>>) -> EntryPath {
    EntryPath::new(path).expect("a path")
}

pub fn open(reference: &str) -> Result<Image, ImageError> {
    Image::open(&reference.parse()?, &OpenOptions::default())
}

pub fn flatten(reference: &str) -> Result<FlatImage, ImageError> {
    open(reference)?.flatten(&FlattenOptions::default())
}

/// Flattens layers, gzip-compressed, as one image.
pub fn flatten_layers(layers: impl IntoIterator<Item = Layer>) -> Result<FlatImage, ImageError> {
    let image = layers.into_iter().fold(skiff_testkit::Image::new(), skiff_testkit::Image::layer);
    flatten_image(image)
}

/// Flattens a layer with an ordinary layer beneath and above it, and expects it to be refused.
pub fn refused(layer: Layer) -> ImageError {
    let base = Layer::new().file("base", b"1");
    match flatten_layers([base, layer, Layer::new()]).map(|flat| summary(&flat)) {
        Err(error @ (ImageError::Corrupt { .. } | ImageError::Unsupported { .. })) => error,
        other => panic!("{other:?}"),
    }
}

/// Flattens an image from an OCI layout.
pub fn flatten_image(image: skiff_testkit::Image) -> Result<FlatImage, ImageError> {
    let directory = tempfile::tempdir().expect("a directory");
    skiff_testkit::OciLayout::new().image("test", image).write_directory(directory.path());
    flatten(&format!("oci:{}:test", directory.path().display()))
}

/// The paths of a tree but the root, each with what is there: `a/ a/b=content a/c->target`.
pub fn summary(flat: &FlatImage) -> String {
    let mut words = Vec::new();
    for entry in &flat.tree.entries()[1..] {
        let path = entry.path.as_bytes().escape_ascii();
        words.push(match &entry.node {
            Node::HardLink { owner } => format!("{path}=={}", owner.as_bytes().escape_ascii()),
            Node::Inode(inode) => match &inode.kind {
                Kind::Directory => format!("{path}/"),
                Kind::File(_) => format!("{path}={}", content(flat, &entry.path).escape_ascii()),
                Kind::Symlink(target) => format!("{path}->{}", target.escape_ascii()),
                other => format!("{path}:{}", other.name()),
            },
        });
    }
    words.join(" ")
}

/// The same tree as a picture, which tells more of it.
pub fn picture(flat: &FlatImage) -> String {
    let mut picture = Picture::default();
    for entry in &flat.tree.entries()[1..] {
        let path = entry.path.as_bytes();
        let inode = flat.tree.inode(entry).expect("an inode");
        let content;
        let shown = match (&entry.node, &inode.kind) {
            (Node::HardLink { owner }, _) => Shown::HardLink(owner.as_bytes()),
            (_, Kind::Directory) => Shown::Directory,
            (_, Kind::File(_)) => {
                content = self::content(flat, &entry.path);
                Shown::File(&content)
            }
            (_, Kind::Symlink(target)) => Shown::Symlink(target),
            (_, Kind::CharDevice(device)) => Shown::CharDevice(device.major, device.minor),
            (_, Kind::BlockDevice(device)) => Shown::BlockDevice(device.major, device.minor),
            (_, Kind::Fifo) => Shown::Fifo,
        };
        let Metadata { mode, uid, gid, mtime, .. } = &inode.metadata;
        let mtime = (mtime.seconds(), mtime.nanoseconds());
        picture.add(path, &shown, ShownMetadata { mode: mode.bits(), owner: (*uid, *gid), mtime });
    }
    picture.finish()
}

/// The metadata of a path: mode, owner, time, device number, extended attributes.
pub fn attributes(flat: &FlatImage, path: &EntryPath) -> String {
    let entry = flat.tree.find(path).unwrap_or_else(|| panic!("{path} is not there"));
    let inode = flat.tree.inode(entry).expect("an inode");
    let Metadata { mode, uid, gid, mtime, xattrs } = &inode.metadata;
    let time = format!("{}.{:09}", mtime.seconds(), mtime.nanoseconds());
    let mut words = vec![format!("{:o} {uid}:{gid} {time}", mode.bits())];
    if let Kind::CharDevice(device) | Kind::BlockDevice(device) = &inode.kind {
        words.push(format!("{}:{}", device.major, device.minor));
    }
    let shown =
        xattrs.iter().map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()));
    words.extend(shown);
    words.join(" ")
}

pub fn content(flat: &FlatImage, path: &EntryPath) -> Vec<u8> {
    let bytes = read_all(&*flat.contents.open(path).expect("a content")).expect("its bytes");
    let entry = flat.tree.find(path).and_then(Entry::as_file).expect("a file");
    assert_eq!(*entry, FileContent::of(&bytes), "{path}");
    bytes
}

/// The tree beneath a directory, as the disk has it.
pub fn tree_on_disk(directory: &Path) -> Tree {
    let root = Root::open(directory).expect("a root");
    let mut options = ReadOptions::default();
    // A host with SELinux labels every file; elsewhere labels come from images.
    if !Path::new("/sys/fs/selinux").exists() {
        options.selinux = Selinux::Keep;
    }
    read_tree(&root, &options).expect("a tree")
}

/// What differs, but for the metadata of the `unspecified` directories.
pub fn differences(ours: &Tree, theirs: &Tree, unspecified: &[&str]) -> Vec<String> {
    let is_unspecified =
        |path: &EntryPath| unspecified.iter().any(|other| path.as_bytes() == other.as_bytes());
    let mut found = Vec::new();
    for change in Difference::new(ours, theirs) {
        match change {
            Change::Same { .. } => {}
            Change::Changed { base, .. } if is_unspecified(&base.path) && base.is_directory() => {}
            Change::Changed { base, target } => {
                found.push(format!("ours   {}\n  theirs {}", shown(base), shown(target)));
            }
            Change::Removed { base } => found.push(format!("only we have {}", shown(base))),
            Change::Added { target } => found.push(format!("only they have {}", shown(target))),
        }
    }
    found
}

/// An entry for a message, however long its name.
fn shown(entry: &Entry) -> String {
    let what = match &entry.node {
        Node::HardLink { owner } => format!("hard link to {owner}"),
        Node::Inode(inode) => {
            let Metadata { mode, uid, gid, mtime, xattrs } = &inode.metadata;
            let xattrs = xattrs.iter().map(|(name, value)| (name.escape_ascii(), value.escape_ascii()));
            let xattrs: Vec<String> = xattrs.map(|(name, value)| format!("{name}={value}")).collect();
            let (kind, time) = (inode.kind.name(), (mtime.seconds(), mtime.nanoseconds()));
            format!(
                "{kind} {:o} {uid}:{gid} {time:?} {} {:?}",
                mode.bits(),
                xattrs.join(" "),
                entry.as_file()
            )
        }
    };
    format!("{:.200}: {what:.600}", entry.path.to_string())
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) {
    if let Err(error) = try_run(command) {
        panic!("{error}");
    }
}

/// Runs a program; an error is what it says where it fails.
pub fn try_run(command: &mut Command) -> Result<(), String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// What umoci unpacks an image of an OCI layout to; an error is what it says.
pub fn unpack_with_umoci(layout: &Path, tag: &str, bundle: &Path) -> Result<Tree, String> {
    let image = format!("{}:{tag}", layout.display());
    try_run(Command::new("umoci").args(["unpack", "--image", &image]).arg(bundle))?;
    Ok(tree_on_disk(&bundle.join("rootfs")))
}

/// What GNU tar makes of a tree that was written as an archive.
pub fn extract_with_gnu_tar(flat: &FlatImage, directory: &Path) -> Tree {
    let archive = directory.join("rootfs.tar");
    let file = std::fs::File::create(&archive).expect("an archive");
    write_tar(&flat.tree, &flat.contents, std::io::BufWriter::new(file), Default::default())
        .expect("writing");
    extract_archive_with_gnu_tar(&archive, &directory.join("extracted")).expect("an archive that tar reads")
}

/// What GNU tar makes of an archive, in a new directory; an error is what it says.
pub fn extract_archive_with_gnu_tar(archive: &Path, root: &Path) -> Result<Tree, String> {
    std::fs::create_dir(root).expect("a directory");
    let flags = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
    try_run(Command::new("tar").args(flags).arg(archive).arg("-C").arg(root))?;
    Ok(tree_on_disk(root))
}
