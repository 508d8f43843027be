//! Images that are damaged: cut off, changed, or not what their digests promise.

use std::collections::BTreeMap;

use crate::common::*;
use skiff_image::*;
use skiff_testkit::{Encoding, Image as TestImage, Layer, OciLayout, write_archive};

const BLOCK: usize = 512;

#[test]
fn every_truncation_is_noticed() {
    let layer = Layer::new()
        .directory("d")
        .file("d/a", vec![b'x'; 700])
        .xattr("user.x", "y")
        .symlink("l", "t".repeat(150));
    let tar = layer.to_tar();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cut.tar");
    let flatten_tar = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        flatten(&format!("tar:{}", file.display()))
    };
    let whole = flatten_tar(&tar).unwrap();
    // Padding, and the second of the last two blocks, tell nothing.
    for length in (0..tar.len() - BLOCK).step_by(BLOCK / 2) {
        match flatten_tar(&tar[..length]) {
            Err(ImageError::Corrupt { at, .. }) => assert!(at.offset <= length as u64),
            other => panic!("cut at {length}: {:?}", other.map(|flat| summary(&flat))),
        }
        // As a layer, whose digest is known.
        let mut files =
            OciLayout::new().image("t", TestImage::new().raw_layer(tar.clone(), Encoding::Plain)).files();
        let name =
            files.keys().find(|name| name.contains(&skiff_testkit::sha256_hex(&tar))).cloned().unwrap();
        files.insert(name, tar[..length].to_vec());
        assert!(matches!(flatten_files(&files), Err(ImageError::Corrupt { .. })), "cut at {length}");
    }
    assert_eq!(flatten_tar(&[&tar[..], b"whatever follows the end"].concat()).unwrap().tree, whole.tree);
    for encoding in Encoding::ALL.into_iter().filter(|&encoding| encoding != Encoding::Plain) {
        let encoded = encoding.encode(&tar);
        for length in 6..encoded.len() - 8 {
            match flatten_tar(&encoded[..length]) {
                Err(ImageError::Corrupt { .. }) => {}
                // Before the skippable frame, the content is whole.
                Ok(flat) if encoding == Encoding::ZstdFrames && length == encoded.len() - 12 => {
                    assert_eq!(flat.tree, whole.tree);
                }
                other => panic!("{encoding:?} cut at {length}: {:?}", other.map(|flat| summary(&flat))),
            }
        }
    }
}

#[test]
fn what_follows_compressed_data_is_more_of_it_or_refused() {
    let tar = Layer::new().file("a", b"1").to_tar();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("followed.tar");
    let flatten_tar = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        flatten(&format!("tar:{}", file.display()))
    };
    let whole = flatten_tar(&tar).unwrap().tree;
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Xz] {
        let (encoded, empty) = (encoding.encode(&tar), encoding.encode(b""));
        assert_eq!(flatten_tar(&[&empty[..], &encoded, &empty].concat()).unwrap().tree, whole);
        for garbage in [&b"x"[..], b"garbage at the end of it all", &[0; 7], &encoded[..9]] {
            match flatten_tar(&[&encoded[..], garbage].concat()) {
                Err(ImageError::Corrupt { at, what }) => {
                    // liblzma gives nothing out of the buffer in which it finds damage.
                    let end = tar.len() as u64;
                    assert_eq!(at.part, Part::Archive);
                    assert!(at.offset == end || encoding == Encoding::Xz && at.offset < end, "{encoding:?}");
                    assert!(what.contains("damaged or cut off"), "{what}");
                }
                other => panic!("{encoding:?} and {garbage:?}: {:?}", other.map(|flat| summary(&flat))),
            }
        }
    }
    // Padding is xz's own, in fours.
    let padded = [&Encoding::Xz.encode(&tar)[..], &[0; 12]].concat();
    assert_eq!(flatten_tar(&padded).unwrap().tree, whole);
    // Frames to be skipped may stand anywhere among zstd's.
    let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0], &b"any"[..]].concat();
    let around = [&skipped[..], &Encoding::ZstdFrames.encode(&tar), &skipped, &skipped].concat();
    assert_eq!(flatten_tar(&around).unwrap().tree, whole);
}

#[test]
fn every_changed_byte_of_a_layer_is_noticed() {
    let layer = Layer::new().file("a", b"content").xattr("user.x", "y");
    for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Zstd, Encoding::Xz] {
        let image = TestImage::new().encoded_layer(layer.clone(), encoding);
        let files = OciLayout::new().image("t", image).files();
        let encoded = encoding.encode(&layer.to_tar());
        let name = format!("blobs/sha256/{}", skiff_testkit::sha256_hex(&encoded));
        // Of an archive that is not compressed, most is padding.
        let step = if encoding == Encoding::Plain { 13 } else { 1 };
        for position in (0..encoded.len()).step_by(step) {
            let mut changed = encoded.clone();
            changed[position] ^= 0x10;
            let mut files = files.clone();
            files.insert(name.clone(), changed);
            assert!(flatten_files(&files).is_err(), "{encoding:?}, byte {position}");
        }
    }
}

fn flatten_files(files: &BTreeMap<String, Vec<u8>>) -> Result<FlatImage, ImageError> {
    let archive = tempfile::NamedTempFile::new().expect("an archive");
    write_archive(archive.path(), files);
    flatten(&format!("oci-archive:{}", archive.path().display()))
}

#[test]
fn digests_are_checked() {
    let tar = Layer::new().file("a", b"1").to_tar();
    let files = OciLayout::new().image("t", TestImage::new().raw_layer(tar.clone(), Encoding::Gzip)).files();
    let change = |needle: &str| {
        let mut files = files.clone();
        let (name, bytes) =
            files.iter().find(|(_, bytes)| String::from_utf8_lossy(bytes).contains(needle)).unwrap();
        let (name, mut bytes) = (name.clone(), bytes.clone());
        let last = bytes.len() - 1;
        bytes[last] = b' ';
        files.insert(name, bytes);
        flatten_files(&files).unwrap_err()
    };
    for (needle, what) in [("\"rootfs\"", "config"), ("\"layers\":[", "manifest")] {
        match change(needle) {
            ImageError::DigestMismatch { what: found, .. } => assert_eq!(found, what),
            other => panic!("{what}: {other}"),
        }
    }
    // Content that no unpacker looks at: after the end of the archive, and after the last zstd frame.
    let config = TestImage::new().raw_layer(tar.clone(), Encoding::Plain).config_bytes();
    for (encoded, encoding) in [
        ([&tar[..], b"after the end"].concat(), Encoding::Plain),
        ([&Encoding::Gzip.encode(&tar)[..], &Encoding::Gzip.encode(b"more")].concat(), Encoding::Gzip),
    ] {
        let image = TestImage::new().raw_layer(encoded.clone(), Encoding::Plain);
        let files = OciLayout::new().image("t", image).files();
        let error = flatten_files(&with_config(files, &config)).unwrap_err();
        assert!(
            matches!(error, ImageError::DigestMismatch { ref what, .. } if what == "layer 0"),
            "{encoding:?}: {error}"
        );
    }
}

/// The same layout with another config, named as it should be.
fn with_config(mut files: BTreeMap<String, Vec<u8>>, config: &[u8]) -> BTreeMap<String, Vec<u8>> {
    use serde_json::{Value, json};
    let digest = |bytes: &[u8]| format!("sha256:{}", skiff_testkit::sha256_hex(bytes));
    let blob = |digest: &str| digest.replace("sha256:", "blobs/sha256/");
    let mut index: Value = serde_json::from_slice(&files["index.json"]).expect("a document");
    let name = blob(index["manifests"][0]["digest"].as_str().expect("a document"));
    let mut manifest: Value = serde_json::from_slice(&files[&name]).expect("a document");
    manifest["config"] = json!({ "digest": digest(config), "size": config.len() });
    let manifest = manifest.to_string().into_bytes();
    index["manifests"][0]["digest"] = json!(digest(&manifest));
    index["manifests"][0]["size"] = json!(manifest.len());
    files.insert(blob(&digest(config)), config.to_vec());
    files.insert(blob(&digest(&manifest)), manifest);
    files.insert("index.json".into(), index.to_string().into_bytes());
    files
}
