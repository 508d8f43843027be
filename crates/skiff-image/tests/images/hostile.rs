//! Images that are made to mislead, to escape or to exhaust: the table of all, and what it takes more words to tell.

use std::collections::BTreeMap;

use crate::common::*;
use skiff_fs::{Root, Special};
use skiff_image::*;
use skiff_testkit::{Fate, Fault, HostileImage, Image as TestImage, Layer, OciLayout, hostile_images};

#[test]
fn hostile_images_become_what_the_table_says() {
    let images = hostile_images();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for image in &images {
        *counts.entry(image.name.split(':').next().unwrap()).or_default() += 1;
        let directory = tempfile::tempdir().unwrap();
        let result = flatten(&image.write(directory.path()));
        found.extend(judge(image, result).map(|what| format!("{}: {what}", image.name)));
    }
    println!("{} hostile images: {counts:?}", images.len());
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(images.len() >= 120);
}

/// What is wrong with what became of an image.
fn judge(image: &HostileImage, result: Result<FlatImage, ImageError>) -> Option<String> {
    match (&image.fate, result) {
        (Fate::Refused(fault, words), Err(error)) => {
            let said = error.to_string();
            let is_right = fault_of(&error) == Some(*fault) && words.iter().all(|words| said.contains(words));
            (!is_right || said.chars().any(char::is_control))
                .then(|| format!("{said:?}, {:?}, and not {fault:?} with {words:?}", fault_of(&error)))
        }
        (Fate::Taken(expected) | Fate::NotStored(expected, _), Ok(flat)) => {
            let picture = picture(&flat);
            (picture != *expected).then(|| format!("\n  {picture}, but expected is\n  {expected}"))
        }
        (_, Err(error)) => Some(format!("it was refused: {error}")),
        (Fate::Refused(..), Ok(flat)) => Some(format!("it was taken: {}", picture(&flat))),
    }
}

fn fault_of(error: &ImageError) -> Option<Fault> {
    match error {
        ImageError::Corrupt { .. } => Some(Fault::Corrupt),
        ImageError::Unsupported { .. } => Some(Fault::Unsupported),
        ImageError::LimitExceeded { .. } => Some(Fault::Limit),
        ImageError::DigestMismatch { .. } => Some(Fault::Digest),
        ImageError::NotFound { .. } => Some(Fault::Missing),
        ImageError::Io { source, .. } if source.kind() == std::io::ErrorKind::InvalidInput => {
            Some(Fault::NoFile)
        }
        _ => None,
    }
}

#[test]
fn a_named_pipe_in_a_layout_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    OciLayout::new().image("t", TestImage::new()).write_directory(directory.path());
    std::fs::remove_file(directory.path().join("index.json")).unwrap();
    let root = Root::open(directory.path()).unwrap();
    root.make_special(&path("index.json"), Special::Fifo).unwrap();
    for reference in ["oci:", "tar:", "docker-archive:"] {
        let file = if reference == "oci:" { "" } else { "index.json" };
        let error = flatten(&format!("{reference}{}", directory.path().join(file).display())).unwrap_err();
        assert_eq!(fault_of(&error), Some(Fault::NoFile), "{error}");
    }
}

#[test]
fn metadata_that_some_file_system_has_is_kept() {
    // What a device's own cannot hold is told before a release is staged there.
    let layer = Layer::new()
        .file("a", b"")
        .mtime(1 << 40, 0)
        .file("b", b"")
        .mtime(i64::MIN, 1)
        .symlink("l", "a")
        .xattr("user.no-link-has-one", "x");
    let many = (0..500)
        .fold(layer.file("m", b""), |layer, number| layer.xattr(format!("user.{number}"), vec![b'x'; 1000]));
    let flat = flatten_layers([many.xattr("user.large", vec![b'x'; 65_536])]).unwrap();
    assert_eq!(attributes(&flat, &path("a")), "644 0:0 1099511627776.000000000");
    assert_eq!(attributes(&flat, &path("b")), "644 0:0 -9223372036854775808.000000001");
    assert_eq!(attributes(&flat, &path("l")), "777 0:0 1600000000.000000000 user.no-link-has-one=x");
    let metadata = &flat.tree.find(&path("m")).unwrap().as_inode().unwrap().metadata;
    assert_eq!(metadata.xattrs.len(), 501);
}

#[test]
fn notes_of_the_builders_host_are_counted_not_kept() {
    let layer =
        Layer::new().directory("d").xattr("trusted.overlay.opaque", "y").xattr("security.selinux", "label\0");
    let flat = flatten_layers([layer]).unwrap();
    assert_eq!(flat.dropped_xattrs, 1);
    let directory = flat.tree.find(&path("d")).unwrap().as_inode().unwrap();
    assert_eq!(
        directory.metadata.xattrs.keys().map(|name| &name[..]).collect::<Vec<_>>(),
        [b"security.selinux"]
    );
}
