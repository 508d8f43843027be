//! What a frame tells takes no more memory than the frame itself: counted by an allocator.

#![allow(clippy::unwrap_used)]

use peak_alloc::PeakAlloc;
use skiff_replay::record::{Known, records};
use skiff_wire::put_varint;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One test, so that no other allocates meanwhile.
#[test]
fn a_frame_of_a_million_records_is_taken_one_by_one() {
    // Codec 0, the next content, one byte of output, one part: the same entry, whole; no payload.
    const RECORD: [u8; 6] = [1, 1, 1, 0, 0, 0];
    let count = 1_000_000;
    let mut payload = Vec::new();
    put_varint(&mut payload, count);
    payload.extend_from_slice(&RECORD.repeat(1_000_000));
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    assert_eq!(records(&payload, &Known::default()).unwrap().count() as u64, count);
    let held = ALLOCATOR.peak_usage() - before;
    assert!(held < 64 << 10, "{held} bytes");
}
