//! A build without compressors says so before the first frame. `cargo test -p skiff-format --no-default-features --tests`
//! runs it.
#![cfg(not(any(feature = "xz", feature = "zstd")))]

use std::path::Path;

use skiff_format::{Event, FormatError, Limits, Reader};

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/valid");
    std::fs::read(folder.join(name)).expect("golden files are part of the repository")
}

#[test]
fn what_is_compressed_is_refused_with_its_header() {
    let delta = golden("container-all-compressors.skiff");
    let first = Reader::new(&delta[..], Limits::default()).next_event();
    assert!(matches!(first, Err(FormatError::Unsupported { .. })), "{first:?}");
}

#[test]
fn what_is_stored_decodes() {
    let delta = golden("container-smallest.skiff");
    let mut reader = Reader::new(&delta[..], Limits::default());
    let header = reader.next_event();
    assert!(matches!(header, Ok(Some(Event::Header(_)))), "{header:?}");
    let frame = reader.next_event();
    assert!(matches!(&frame, Ok(Some(Event::Frame(frame))) if frame.payload == b"t"), "{frame:?}");
}
