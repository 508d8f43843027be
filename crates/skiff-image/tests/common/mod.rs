//! What tests of this crate share.
#![allow(dead_code, unreachable_pub)] // each test binary uses some of it

pub mod cases;

use std::path::Path;
use std::process::Command;

use skiff_fs::{ReadOptions, Root, read_tree};
use skiff_image::*;
use skiff_testkit::Layer;
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

pub fn content(flat: &FlatImage, path: &EntryPath) -> Vec<u8> {
    let bytes = read_all(&*flat.contents.open(path).expect("a content")).expect("its bytes");
    let entry = flat.tree.find(path).and_then(Entry::as_file).expect("a file");
    assert_eq!(*entry, FileContent::of(&bytes), "{path}");
    bytes
}

/// The tree beneath a directory, as the disk has it.
pub fn tree_on_disk(directory: &Path) -> Tree {
    let root = Root::open(directory).expect("a root");
    read_tree(&root, &ReadOptions::default()).expect("a tree")
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
            Change::Changed { base, target } => found.push(format!("ours {base:?}\nthen {target:?}")),
            Change::Removed { base } => found.push(format!("only we have {base:?}")),
            Change::Added { target } => found.push(format!("only they have {target:?}")),
        }
    }
    found
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What umoci unpacks an image of an OCI layout to.
pub fn unpack_with_umoci(layout: &Path, tag: &str, bundle: &Path) -> Tree {
    let image = format!("{}:{tag}", layout.display());
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(bundle));
    tree_on_disk(&bundle.join("rootfs"))
}

/// What GNU tar makes of a tree that was written as an archive.
pub fn extract_with_gnu_tar(flat: &FlatImage, directory: &Path) -> Tree {
    let (archive, root) = (directory.join("rootfs.tar"), directory.join("extracted"));
    let file = std::fs::File::create(&archive).expect("an archive");
    write_tar(&flat.tree, &flat.contents, std::io::BufWriter::new(file), Default::default())
        .expect("writing");
    std::fs::create_dir(&root).expect("a directory");
    let flags = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
    run(Command::new("tar").args(flags).arg(&archive).arg("-C").arg(&root));
    tree_on_disk(&root)
}
