//! Every error of a layer names the layer, the entry as far as it is known, and the byte.

use crate::common::*;
use skiff_image::*;
use skiff_testkit::{Encoding, Image as TestImage, Layer, OciLayout};

const BLOCK: u64 = 512;

/// What stands before the entry at fault.
fn before() -> Layer {
    Layer::new().directory("d").file("d/first", vec![b'x'; 700]).symlink("l", "t".repeat(150))
}

fn at(error: &ImageError) -> Location {
    match error {
        ImageError::Corrupt { at, .. }
        | ImageError::Unsupported { at, .. }
        | ImageError::LimitExceeded { at, .. } => at.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn an_entry_at_fault_is_named_with_the_byte_its_header_begins_at() {
    let start = before().to_cut_tar().len() as u64;
    // With the bytes of the headers that stand before its own.
    for (layer, name, headers) in [
        (before().file("../up", b"1"), "../up", 0),
        (before().hard_link("lost", "nowhere"), "lost", 0),
        (before().file(".wh.", b""), ".wh.", 0),
        (before().file("d/first/x", b""), "d/first/x", 0),
        (before().typed("odd", b'V'), "odd", 0),
        (before().file("slash/", b""), "slash/", 0),
        (before().directory("sized").declared_size(9), "sized", 0),
        (before().file("owned", b"").owner(1 << 40, 0), "owned", 0),
        (before().character_device("device", 1, 1).patch(|header| header[329..337].fill(0xbf)), "device", 0),
        (before().symlink("nowhere", ""), "nowhere", 0),
        (before().file("cut", b"1").declared_size(99_999), "cut", 0),
        (before().file("two\nlines", b"").xattr("", "x"), r"two\nlines", 2 * BLOCK),
        (before().file(b"\xff", b"").xattr("user.x", vec![0; 65_537]), r"\xff", BLOCK + 66_048),
        (before().file("sizes", b"1").pax("size", "3"), "sizes", 2 * BLOCK),
        (
            before().file("holes", b"1").pax("GNU.sparse.size", "9").pax("GNU.sparse.map", "9,9"),
            "holes",
            2 * BLOCK,
        ),
    ] {
        let error = refused(layer);
        let expected = Location { part: Part::Layer(1), entry: Some(name.into()), offset: start + headers };
        assert_eq!(at(&error), expected, "{error}");
        let shown = error.to_string();
        assert!(shown.contains("layer 1") && shown.contains(&format!("byte {}", start + headers)), "{shown}");
    }
}

#[test]
fn a_header_at_fault_is_named_by_the_byte_it_begins_at() {
    let start = before().to_cut_tar().len() as u64;
    for (layer, offset) in [
        (before().raw(vec![b'x'; 512]), start),
        (before().raw(vec![0; 512]).file("a", b""), start),
        (before().file("x", b"").pax("uid", "x"), start),
        (before().file("x", b"6 a=bb\n").entry_type(b'x'), start),
        (before().typed("x", b'x').typed("x", b'x'), start + BLOCK),
        (before().typed("x", b'L').typed("x", b'L'), start + BLOCK),
        (before().file("x", b"").patch(|header| header[124] = b'9'), start),
        (before().raw(vec![0x80; 100]), start),
    ] {
        let error = refused(layer);
        assert_eq!(at(&error), Location { part: Part::Layer(1), entry: None, offset }, "{error}");
    }
}

#[test]
fn a_limit_is_named_with_the_entry_that_passes_it() {
    let start = before().to_cut_tar().len() as u64;
    type Case = (Layer, fn(&mut Limits), Option<&'static str>, u64);
    let cases: [Case; 5] = [
        (before().file("more", b""), |limits| limits.entries = 5, Some("more"), start),
        (before().file("deep/er/file", b""), |limits| limits.entries = 7, Some("deep/er/file"), start),
        (
            before().file("named", b"").xattr("user.x", "y"),
            |limits| limits.names = 200,
            Some("named"),
            start + 1024,
        ),
        (before().file("x", b"").pax("comment", [b'x'; 999]), |limits| limits.extension = 500, None, start),
        (
            before().file("p", b"").pax("GNU.sparse.size", "9").pax("GNU.sparse.map", "1,0,2,0,3,0"),
            |limits| limits.sparse_pieces = 2,
            Some("p"),
            start + 1024,
        ),
    ];
    for (layer, change, entry, offset) in cases {
        let directory = tempfile::tempdir().unwrap();
        let image = TestImage::new().layer(Layer::new().file("base", b"1")).layer(layer);
        OciLayout::new().image("t", image).write_directory(directory.path());
        let image = open(&format!("oci:{}", directory.path().display())).unwrap();
        let mut limits = Limits::default();
        change(&mut limits);
        let error = image.flatten(&FlattenOptions::default().with_limits(limits)).unwrap_err();
        let entry = entry.map(str::to_owned);
        assert_eq!(at(&error), Location { part: Part::Layer(1), entry, offset }, "{error}");
        assert!(matches!(error, ImageError::LimitExceeded { .. }), "{error}");
    }
}

#[test]
fn damage_of_compressed_data_is_named_by_the_byte_that_was_reached() {
    let tar = Layer::new().file("a", (0..=255).cycle().take(900_000).collect::<Vec<u8>>()).to_tar();
    for encoding in Encoding::ALL.into_iter().filter(|&encoding| encoding != Encoding::Plain) {
        let image = TestImage::new().layer(Layer::new()).raw_layer(tar.clone(), encoding);
        let mut files = OciLayout::new().image("t", image).files();
        let encoded = encoding.encode(&tar);
        let name = format!("blobs/sha256/{}", skiff_testkit::sha256_hex(&encoded));
        let mut damaged = encoded.clone();
        damaged[encoded.len() / 3..][..40].fill(0x55);
        files.insert(name, damaged);
        let archive = tempfile::NamedTempFile::new().unwrap();
        skiff_testkit::write_archive(archive.path(), &files);
        let error = flatten(&format!("oci-archive:{}", archive.path().display())).unwrap_err();
        // Frames of zstd without a checksum are not always noticed to be damaged, but by the layer's own.
        if let ImageError::DigestMismatch { what, .. } = &error {
            assert_eq!(what, "layer 1", "{encoding:?}");
            continue;
        }
        let at = at(&error);
        assert_eq!(at.part, Part::Layer(1), "{encoding:?}: {error}");
        assert!(at.offset <= tar.len() as u64, "{encoding:?}: {error}");
    }
}
