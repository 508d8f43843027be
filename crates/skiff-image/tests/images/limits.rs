//! Images that are made to exhaust: what they may cost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::*;
use skiff_fs::{Control, Interrupted};
use skiff_image::*;
use skiff_testkit::{Encoding, Image as TestImage, Layer, OciLayout};

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
    let cases: [Case; 11] = [
        (vec![Layer::new().file("f", b"").xattr("user.x", "y").pax("path", "n".repeat(255))], |limits| {
            limits.names = 200;
        }),
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
fn names_and_members_of_an_archive_that_holds_an_image_are_bounded() {
    // Of the names of members, all are kept; each may be as long as a header.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.tar");
    let member = |number: u32| (format!("{number}{}", "n".repeat(1000)), "t".repeat(1000));
    let archive = (0..20).map(member).fold(Layer::new(), |layer, (name, target)| layer.symlink(name, target));
    std::fs::write(&file, archive.to_tar()).unwrap();
    let mut limits = Limits::default();
    limits.names = 30_000;
    for transport in ["oci-archive", "docker-archive"] {
        let reference: ImageRef = format!("{transport}:{}", file.display()).parse().unwrap();
        match Image::open(&reference, &OpenOptions::default().with_limits(limits)) {
            Err(ImageError::LimitExceeded { at, wanted, limit: 30_000, .. }) => {
                assert!(wanted <= 32_010 && at.part == Part::Archive, "{wanted} {at}");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(Image::open(&reference, &OpenOptions::default()), Err(ImageError::NotFound { .. })));
        let mut limits = Limits::default();
        limits.archive_members = 19;
        let opened = Image::open(&reference, &OpenOptions::default().with_limits(limits));
        assert!(matches!(opened, Err(ImageError::LimitExceeded { wanted: 20, limit: 19, .. })), "{opened:?}");
    }
}

#[test]
fn bombs_are_stopped_at_the_limit_however_they_are_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bomb.tar");
    let mut limits = Limits::default();
    limits.layer_bytes = 1 << 20;
    let options = FlattenOptions::default().with_limits(limits);
    let bomb = Layer::new().file("zeros", vec![0; 8 << 20]);
    for encoding in Encoding::ALL {
        let expect = |image: &Image, part: Part| match image.flatten(&options) {
            Err(ImageError::LimitExceeded { at, wanted, limit, .. }) => {
                assert_eq!((at.part, limit), (part, 1 << 20), "{encoding:?}");
                // Found out where the limit was passed, not at the end of it all.
                assert!(wanted > limit && at.offset < 2 << 20, "{encoding:?}: {at}");
            }
            other => panic!("{encoding:?}: {:?}", other.map(|flat| summary(&flat))),
        };
        std::fs::write(&file, encoding.encode(&bomb.to_tar())).unwrap();
        expect(&open(&format!("tar:{}", file.display())).unwrap(), Part::Archive);
        let layout = directory.path().join(format!("{encoding:?}"));
        let image = TestImage::new().layer(Layer::new().file("a", b"")).encoded_layer(bomb.clone(), encoding);
        OciLayout::new().image("t", image).write_directory(&layout);
        expect(&open(&format!("oci:{}", layout.display())).unwrap(), Part::Layer(1));
    }
    // An archive of an image that is compressed as a whole is decompressed before it is opened.
    let saved = skiff_testkit::docker_archive(
        skiff_testkit::DockerForm::Layers,
        &[(&["app:1"], &TestImage::new().encoded_layer(bomb, Encoding::Plain))],
    );
    skiff_testkit::write_archive(&file, &saved);
    std::fs::write(&file, Encoding::Zstd.encode(&std::fs::read(&file).unwrap())).unwrap();
    let reference: ImageRef = format!("docker-archive:{}", file.display()).parse().unwrap();
    let opened = Image::open(&reference, &OpenOptions::default().with_limits(limits));
    assert!(matches!(opened, Err(ImageError::LimitExceeded { .. })), "{opened:?}");
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
