//! Maps of sparse files that are damaged, or made to mislead or to exhaust.

use crate::common::*;
use skiff_image::*;
use skiff_testkit::{Encoding, Image as TestImage, Layer, SparseFormat};

const BLOCK: usize = 512;

/// A sparse file of format 0.1.
fn sparse(map: &str, size: &str, stored: &str) -> Layer {
    Layer::new()
        .file("GNUSparseFile.0/a", stored)
        .pax("GNU.sparse.name", "a")
        .pax("GNU.sparse.map", map)
        .pax("GNU.sparse.size", size)
}

/// One of format 1.0.
fn later(map: &str, size: &str, stored: &str) -> Layer {
    let mut content = map.as_bytes().to_vec();
    content.resize(content.len().next_multiple_of(BLOCK), 0);
    content.extend_from_slice(stored.as_bytes());
    let layer = Layer::new().file("a", content).pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0");
    layer.pax("GNU.sparse.realsize", size)
}

/// One of format 0.0.
fn first(records: &[(&str, &str)], size: &str, stored: &str) -> Layer {
    let layer = Layer::new().file("a", stored).pax("GNU.sparse.size", size);
    records.iter().fold(layer, |layer, (key, value)| layer.pax(format!("GNU.sparse.{key}"), value))
}

#[test]
fn where_contents_stay_in_their_archive_those_with_holes_do_not() {
    for format in SparseFormat::ALL {
        let layer = Layer::new().sparse_file("a", format, &[(1, b"xy"), (6, b"")], 6).file("c", b"2");
        let image = TestImage::new().encoded_layer(layer, Encoding::Plain);
        assert_eq!(summary(&flatten_image(image).unwrap()), r"a=\x00xy\x00\x00\x00 c=2", "{format:?}");
    }
}

#[test]
fn a_size_that_was_only_declared_costs_nothing() {
    // 2^40 bytes, in an archive of a few blocks. GNU's own header cannot say more than eleven octal digits do.
    for format in SparseFormat::ALL {
        let size = if format == SparseFormat::Gnu { 0o777_7777_7777 } else { 1 << 40 };
        let image =
            TestImage::new().layer(Layer::new().sparse_file("huge", format, &[(size - 1, b"x")], size));
        let directory = tempfile::tempdir().unwrap();
        skiff_testkit::OciLayout::new().image("t", image).write_directory(directory.path());
        let image = open(&format!("oci:{}", directory.path().display())).unwrap();
        let mut limits = Limits::default();
        limits.layer_bytes = size - 1;
        match image.flatten(&FlattenOptions::default().with_limits(limits)) {
            Err(ImageError::LimitExceeded { at, wanted, limit, .. }) => {
                assert_eq!(
                    (wanted, limit, at.entry.as_deref()),
                    (size, size - 1, Some("huge")),
                    "{format:?}"
                );
            }
            other => panic!("{format:?}: {:?}", other.map(|flat| summary(&flat))),
        }
    }
}

#[test]
fn maps_are_checked() {
    let whole = [("offset", "1"), ("numbytes", "2"), ("offset", "6"), ("numbytes", "0")];
    for (layer, what) in [
        (sparse("1,2,2,1", "6", "xyz"), "overlap"),
        (sparse("4,1,1,2", "6", "xyz"), "overlap"),
        (sparse("1,2,4,3", "6", "xyzxy"), "beyond its end"),
        (sparse("1,2,18446744073709551615,3", "6", "xyzxy"), "beyond its end"),
        (sparse("1,2", "6", "xyz"), "pieces have 2 bytes, and 3 are stored"),
        (sparse("1,4", "6", "xyz"), "pieces have 4 bytes, and 3 are stored"),
        (sparse("1,2,3", "6", "xyz"), "pairs of numbers"),
        (sparse("1,2,4,1", "6", "xyz"), "readers differ in where that begins"),
        (later("2\n1\n2\n4\n1\n", "6", "xyz"), "readers differ in where that begins"),
        (sparse("1,2,6,0", "6", "xy").pax("GNU.sparse.numblocks", "3"), "2 pieces, and should have 3"),
        (sparse("1,2", "6", "xy").pax("GNU.sparse.size", ""), "whose size is missing"),
        (
            sparse("1,2", "6", "xy").pax("GNU.sparse.offset", "1").pax("GNU.sparse.numbytes", "2"),
            "other than",
        ),
        (first(&[], "6", ""), "other than"),
        (first(&whole[..3], "6", "xy"), "an offset without length"),
        (first(&whole[1..], "6", "xyz"), "offsets and lengths in turn"),
        (first(&[whole[0], whole[2]], "6", "xyz"), "offsets and lengths in turn"),
        (first(&[("offset", "")], "6", ""), "offsets and lengths in turn"),
        (first(&[("offset", "-1")], "6", ""), "cannot be"),
        (first(&[&whole[..], &[("numblocks", "3")]].concat(), "6", "xy"), "2 pieces, and should have 3"),
        (first(&[whole[2], whole[3], whole[0], whole[1]], "6", "xyz"), "overlap"),
        (first(&whole, "4", "xy"), "beyond its end"),
        (first(&whole, "6", "xyz"), "pieces have 2 bytes, and 3 are stored"),
        (first(&whole, "6", "xy").pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0"), "other than"),
        (later("1\n1\n2\n", "6", "xy").pax("GNU.sparse.minor", "1"), "other than"),
        (sparse("", "6", "xyz"), "format other than"),
        (Layer::new().sparse_file("a", SparseFormat::Gnu, &[(4, b"xx"), (2, b"yy")], 6), "overlap"),
        (sparse("1,x", "6", "xyz"), "pairs of numbers"),
        (sparse("1,3", "x", "xyz"), "cannot be"),
        (later("", "6", ""), "longer than its content"),
        (later("1\n1\n-2\n", "6", "xy"), "not one of numbers"),
        (later("99999999999999999999\n", "6", "xy"), "not one of numbers"),
        (later("9999\n1\n1\n", "6", "xy"), "not one of numbers"),
        (
            Layer::new().directory("a").pax("GNU.sparse.map", "1,2").pax("GNU.sparse.size", "6"),
            "is said to be sparse",
        ),
        (Layer::new().typed("a", b'S'), "format that has none"),
    ] {
        let error = refused(layer).to_string();
        assert!(error.contains(what), "{error:?} does not say {what:?}");
    }
}

#[test]
fn records_of_a_sparse_file_before_a_header_that_is_not_theirs_are_refused() {
    let before_old: fn(Layer) -> Layer = |layer| layer.patch(|header| header[257..265].fill(0));
    for before in [Layer::gnu_names, Layer::binary_numbers, before_old] {
        for format in [SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
            let layer = before(Layer::new().sparse_file("a", format, &[(1, b"xy"), (6, b"")], 6));
            let error = refused(layer).to_string();
            assert!(error.contains("readers differ in whether that is a sparse file"), "{format:?}: {error}");
        }
    }
}
