//! What flattening takes in memory goes with the entries, and not with what is in them. One test, as the allocator counts for
//! the whole process.

use peak_alloc::PeakAlloc;
use skiff_image::{FlattenOptions, Image, ImageRef, OpenOptions};
use skiff_testkit::{Encoding, LargeImage};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What waits between threads at most; how much of it does is never the same.
const CHUNKS: usize = 6 << 20;
/// What the documentation of `Limits` says, and some more.
const PER_ENTRY: usize = 400;

/// Bytes that were allocated at most, beside what was allocated before.
fn peak(image: LargeImage, encoding: Encoding) -> usize {
    let directory = tempfile::tempdir().expect("a temporary directory");
    image.write_directory(directory.path(), "large", encoding);
    let reference: ImageRef =
        format!("oci:{}:large", directory.path().display()).parse().expect("a plain path");
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let flat = Image::open(&reference, &OpenOptions::default())
        .expect("an image")
        .flatten(&FlattenOptions::default().with_spool_directory(directory.path()))
        .expect("sound layers");
    assert!(flat.tree.totals().content_bytes > image.bytes * 4 / 5);
    ALLOCATOR.peak_usage() - before
}

#[test]
fn memory_goes_with_entries_and_not_with_bytes() {
    for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Zstd] {
        let few = peak(LargeImage { entries: 2_000, bytes: 3 << 20 }, encoding);
        let many_bytes = peak(LargeImage { entries: 2_000, bytes: 30 << 20 }, encoding);
        assert!(many_bytes < few + CHUNKS, "{encoding:?}: {few} and {many_bytes} bytes");
        if encoding == Encoding::Plain {
            continue;
        }
        let many_entries = peak(LargeImage { entries: 20_000, bytes: 30 << 20 }, encoding);
        let allowed = CHUNKS + 20_000 * PER_ENTRY;
        assert!(many_entries < allowed, "{encoding:?}: {many_entries} bytes, {allowed} allowed");
    }
}
