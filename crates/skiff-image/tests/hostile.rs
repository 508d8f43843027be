//! Images that are damaged, or made to mislead or to exhaust.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::*;
use skiff_fs::{Control, Interrupted};
use skiff_image::*;
use skiff_testkit::{Encoding, Image as TestImage, Layer, OciLayout};

const BLOCK: usize = 512;

#[test]
fn what_leads_out_of_the_tree_or_fits_nowhere_is_refused() {
    for (layer, what) in [
        (Layer::new().file("../a", b""), "leads upwards"),
        (Layer::new().file("a/../b", b""), "leads upwards"),
        (Layer::new().file("/..", b""), "leads upwards"),
        (Layer::new().hard_link("a", "../base"), "leads upwards"),
        (Layer::new().whiteout("../base"), "leads upwards"),
        (Layer::new().file("", b""), "empty"),
        (Layer::new().file("n".repeat(256), b""), "255 bytes"),
        (Layer::new().file("d/".repeat(2600), b""), "ends with a slash"),
        (Layer::new().file("d/".repeat(2600) + "f", b""), "4095 bytes"),
        (Layer::new().file("a", b"").pax("path", b"a\0b"), "NUL"),
        (Layer::new().file("base/a", b""), "beneath /base, which is a file"),
        (Layer::new().file("./", b""), "slash"),
        (Layer::new().symlink(".", "x"), "the root"),
        (Layer::new().file(".wh.", b""), "names no entry"),
        (Layer::new().file("a/.wh..", b""), "names no entry"),
        (Layer::new().file(".wh...", b""), "names no entry"),
        (Layer::new().file(".wh.a/b", b""), "one of a whiteout"),
        (Layer::new().symlink("a", "b").symlink("b", "a").file("a/c", b""), "symbolic links"),
        (Layer::new().hard_link("a", "missing"), "not there"),
        (Layer::new().hard_link("base", "base"), "which it replaces"),
        (Layer::new().hard_link("a", "./"), "the root"),
        (Layer::new().directory("d").hard_link("a", "d"), "a directory"),
        (Layer::new().whiteout("base").hard_link("a", "base"), "not there"),
        (Layer::new().symlink("a", ""), "its link target is empty"),
        (Layer::new().symlink("a", "t".repeat(4096)), "4095 bytes"),
        (Layer::new().symlink("a", "").pax("linkpath", "a\0b"), "NUL byte"),
    ] {
        let error = refused(layer).to_string();
        assert!(error.contains(what) && error.contains("layer 1"), "{error:?} does not say {what:?}");
    }
}

#[test]
fn what_readers_differ_in_is_refused() {
    let zeros = vec![0; BLOCK];
    for (layer, what) in [
        // CVE-2025-62518, and the reverse.
        (Layer::new().file("a", b"12345").pax("size", "0"), "size is 0 in its PAX header and 5"),
        (Layer::new().file("a", b"").pax("size", "1024"), "readers differ"),
        (Layer::new().file("a", b"1").pax("size", "1 "), "cannot be"),
        (Layer::new().file("a", b"1").pax("size", "18446744073709551615"), "more than any archive"),
        (Layer::new().file("a", b"1").pax("size", "99999999999"), "cut off"),
        (Layer::new().typed("a", b'x').typed("b", b'x').file("c", b""), "two PAX headers"),
        (Layer::new().typed("a", b'L').typed("b", b'L').file("c", b""), "two GNU headers"),
        (Layer::new().typed("a", b'x'), "describes a further member"),
        (Layer::new().file("n".repeat(200), b"").gnu_names().pax("path", "other"), "in a GNU header"),
        (Layer::new().file("a/", b""), "ends with a slash"),
        (Layer::new().file("a", b"").raw(zeros).file("b", b""), "single block of zeros"),
        (Layer::new().raw(global("path", "x")).file("a", b""), "for all members"),
        (Layer::new().file("a", b"").pax("mtime", "yesterday"), "cannot be \"yesterday\""),
        (Layer::new().file("a", b"").pax("uid", "-1"), "cannot be"),
        (Layer::new().file("a", b"").pax("uid", "4294967295"), "below 4294967295"),
        (Layer::new().file("a", b"").owner(1 << 40, 0), "below 4294967295"),
        (Layer::new().file("a", b"").xattr("", "x"), "cannot name"),
        (Layer::new().file("a", b"").xattr("user.\0", "x"), "cannot name"),
        (Layer::new().file("a", b"").xattr("user.".repeat(60), "x"), "cannot name"),
        (Layer::new().file("a", b"").xattr("user.x", vec![b'x'; 65_537]), "longer than 65536"),
        (Layer::new().typed("a", b'V'), "have no meaning"),
        (Layer::new().raw(vec![b'x'; BLOCK]), "checksum"),
    ] {
        let error = refused(layer).to_string();
        assert!(error.contains(what) && error.contains("layer 1"), "{error:?} does not say {what:?}");
    }
}

/// A global PAX header with one record.
fn global(key: &str, value: &str) -> Vec<u8> {
    let local = Layer::new().file("x", b"").pax(key, value).to_cut_tar();
    let mut header = local[..2 * BLOCK].to_vec();
    header[156] = b'g';
    let sum: u32 = header[..BLOCK]
        .iter()
        .enumerate()
        .map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u32::from(b) })
        .sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn a_comment_for_all_members_changes_nothing() {
    let layer = Layer::new().raw(global("comment", "0123456789")).file("a", b"1");
    assert_eq!(summary(&flatten_layers([layer]).unwrap()), "a=1");
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
fn decompressors_take_no_more_memory_than_granted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("window.tar");
    let tar = Layer::new().file("a", b"1").to_tar();
    let mut long = zstd::Encoder::new(Vec::new(), 1).unwrap();
    long.window_log(27).unwrap();
    std::io::Write::write_all(&mut long, &tar).unwrap();
    let mut limits = Limits::default();
    for bytes in [Encoding::Xz.encode(&tar), long.finish().unwrap()] {
        std::fs::write(&file, &bytes).unwrap();
        let image = open(&format!("tar:{}", file.display())).unwrap();
        limits.decoder_memory = 128 << 20;
        image.flatten(&FlattenOptions::default().with_limits(limits)).unwrap();
        limits.decoder_memory = 1 << 20;
        match image.flatten(&FlattenOptions::default().with_limits(limits)) {
            Err(ImageError::LimitExceeded { at, limit, .. }) => {
                assert_eq!((at.part, limit), (Part::Archive, 1 << 20));
            }
            other => panic!("{:?}", other.map(|flat| summary(&flat))),
        }
    }
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

fn flatten_files(files: &std::collections::BTreeMap<String, Vec<u8>>) -> Result<FlatImage, ImageError> {
    let layer = files.iter().fold(Layer::new(), |layer, (name, bytes)| layer.file(name, bytes));
    let archive = tempfile::NamedTempFile::new().expect("an archive");
    std::fs::write(archive.path(), layer.to_tar()).expect("an archive");
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
fn with_config(
    mut files: std::collections::BTreeMap<String, Vec<u8>>,
    config: &[u8],
) -> std::collections::BTreeMap<String, Vec<u8>> {
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

#[test]
fn limits_hold() {
    let limited = |layers: Vec<Layer>, change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        let image = layers.into_iter().fold(TestImage::new(), TestImage::layer);
        let directory = tempfile::tempdir().unwrap();
        OciLayout::new().image("t", image).write_directory(directory.path());
        let reference: ImageRef = format!("oci:{}", directory.path().display()).parse().unwrap();
        let image = Image::open(&reference, &OpenOptions::default().with_limits(limits))?;
        image.flatten(&FlattenOptions::default().with_limits(limits)).map(drop)
    };
    let files = (0..20).fold(Layer::new(), |layer, number| layer.file(format!("f{number}"), b"1234567890"));
    type Case = (Vec<Layer>, fn(&mut Limits));
    let hole =
        |map: &str| Layer::new().file("a", b"x").pax("GNU.sparse.map", map).pax("GNU.sparse.size", "1000000");
    let cases: [Case; 10] = [
        (vec![hole("0,0,5,1,9,0")], |limits| limits.sparse_pieces = 2),
        (vec![hole("5,1"), hole("6,1")], |limits| limits.layer_bytes = 1_500_000),
        (vec![files.clone(), files.clone()], |limits| limits.entries = 30),
        (vec![Layer::new().file("a/".repeat(40) + "b", b"")], |limits| limits.entries = 30),
        (vec![files.clone()], |limits| limits.names = 30),
        (vec![Layer::new().file("a", b"").xattr("user.x", vec![b'x'; 500])], |limits| limits.names = 400),
        (vec![Layer::new().file("a", b"").pax("comment", vec![b'x'; 5000])], |limits| {
            limits.extension = 4096
        }),
        (vec![Layer::new().file("a", vec![0; 1 << 20])], |limits| limits.layer_bytes = 1 << 19),
        (vec![files.clone(), files.clone(), files.clone()], |limits| limits.layers = 2),
        (vec![files.clone()], |limits| limits.document = 10),
    ];
    for (index, (layers, change)) in cases.into_iter().enumerate() {
        assert!(limited(layers.clone(), |_| {}).is_ok());
        match limited(layers, change) {
            Err(ImageError::LimitExceeded { wanted, limit, .. }) => assert!(wanted > limit),
            other => panic!("case {index}: {other:?}"),
        }
    }
}

#[test]
fn whiteouts_of_the_same_directory_cost_nothing() {
    // Without care, each of the markers would look at each of the files: 400 million looks.
    let files = (0..20_000).fold(Layer::new(), |layer, number| layer.file(format!("d/{number}"), b""));
    let markers = (0..20_000).fold(files, |layer, _| layer.opaque("d").whiteout("d"));
    let flat = flatten_layers([Layer::new().file("d/below", b""), markers]).unwrap();
    assert_eq!(flat.tree.entries().len(), 20_002);
}

#[test]
fn it_is_watched_and_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let image = TestImage::new().layer(Layer::new().file("a", b"1")).layer(Layer::new().file("b", b"1"));
    OciLayout::new().image("t", image).write_directory(directory.path());
    let image = open(&format!("oci:{}", directory.path().display())).unwrap();
    let (flag, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    let count = |bytes| {
        seen.fetch_add(bytes, Ordering::Relaxed);
    };
    let control = Control { cancel: Some(&flag), progress: Some(&count), ..Control::default() };
    let options = FlattenOptions::default().with_control(control);
    image.flatten(&options).unwrap();
    assert_eq!(Some(seen.load(Ordering::Relaxed)), image.stored_bytes());
    flag.store(true, Ordering::Relaxed);
    assert!(matches!(image.flatten(&options), Err(ImageError::Interrupted(Interrupted::Cancelled))));
}
