//! Every layer is read once. One test, as the kernel counts for the whole process.

use std::fs;

use skiff_image::{FlattenOptions, Image, ImageRef, OpenOptions};
use skiff_testkit::{Encoding, Layer, OciLayout};

/// What else is read: the documents, the first bytes of each layer to tell its compression, and the kernel's count itself.
const BESIDES: u64 = 8 << 10;

/// Bytes that this process, all threads, asked the kernel for so far; none where the kernel does not say.
fn bytes_read() -> Option<u64> {
    let counts = fs::read_to_string("/proc/self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

#[test]
fn every_layer_is_read_once() {
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    for encoding in Encoding::ALL {
        let directory = tempfile::tempdir().unwrap();
        let lower = Layer::new().file("a", &noise).file("b", &noise[1..]).symlink("c", "a");
        let upper = Layer::new().file("d", &noise[..1 << 19]).whiteout("a").hard_link("e", "b");
        let image = skiff_testkit::Image::new().encoded_layer(lower, encoding).encoded_layer(upper, encoding);
        OciLayout::new().image("x", image).write_directory(directory.path());
        let reference: ImageRef = format!("oci:{}:x", directory.path().display()).parse().unwrap();

        let Some(before) = bytes_read() else {
            return eprintln!("the kernel counts no bytes: nothing is shown");
        };
        let image = Image::open(&reference, &OpenOptions::default()).unwrap();
        image.flatten(&FlattenOptions::default()).unwrap();
        let read = bytes_read().unwrap() - before;

        let stored = image.stored_bytes().unwrap();
        assert!(stored > 1 << 19);
        assert!((stored..stored + BESIDES).contains(&read), "{encoding:?}: {read} bytes read of {stored}");
    }
}
