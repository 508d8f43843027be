//! What it takes in memory, counted.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Cursor, Read, sink};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard};

use peak_alloc::PeakAlloc;
use skiff_block::*;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Counted is what all threads take: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

const MIB: usize = 1 << 20;
const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// How many bytes more than now there were at most.
fn peak<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = run();
    (MEMORY.peak_usage().saturating_sub(before), result)
}

/// So many bytes that do not repeat, none of which is anywhere before it is read.
struct Noise {
    left: u64,
    state: u64,
}

fn noise(left: u64) -> Noise {
    Noise { left, state: 0x1234_5678_9abc_def1 }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // Cheap enough that reading is not what takes the time.
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX)) & !7;
        let count = if wanted == 0 { buffer.len().min(self.left as usize) } else { wanted };
        for piece in buffer[..count].chunks_mut(8) {
            self.state = self.state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            piece.copy_from_slice(&(self.state ^ self.state >> 31).to_le_bytes()[..piece.len()]);
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn params(block_len: u32, strong_len: u32) -> SignatureParams {
    SignatureParams::new(SignatureKind::default(), block_len, strong_len).unwrap()
}

#[test]
fn a_signature_that_is_written_takes_the_same_for_any_file() {
    let _alone = alone();
    let signed = |size, block_len| {
        peak(|| write_signature(noise(size), &params(block_len, 32), TWO, sink()).unwrap()).0
    };
    for block_len in [2048, 1 << 20, u32::MAX] {
        let (small, large) = (signed(18 << 20, block_len), signed(36 << 20, block_len));
        assert!(large < 24 * MIB && large <= small + MIB, "blocks of {block_len}: {small}, {large}");
    }
}

#[test]
#[ignore = "needs an optimised build: it hashes ten gigabytes"]
fn a_signature_of_ten_gigabytes_takes_some_megabytes() {
    let _alone = alone();
    let (taken, report) =
        peak(|| write_signature(noise(10_000_000_000), &params(2048, 32), TWO, sink()).unwrap());
    assert_eq!(report.old_bytes, 10_000_000_000);
    assert!(taken < 24 * MIB, "{taken}");
}

#[test]
fn a_table_takes_what_its_page_says() {
    let _alone = alone();
    for (blocks, strong_len) in [(1_u64 << 15, 16), ((1 << 15) + 1, 32), (50_000, 1), (65_536, 16)] {
        let before = MEMORY.current_usage();
        let signature = Signature::of(noise(blocks * 64), &params(64, strong_len), TWO).unwrap();
        let mut written = Vec::new();
        signature.write(&mut written).unwrap();
        drop(signature);
        let (read, signature) = peak(|| Signature::read(&written[..], &Limits::default()).unwrap());
        // Vectors that grow double.
        assert!(read <= 3 * written.len() + MIB, "{read} for a signature of {} bytes", written.len());
        drop(written);
        // Shared, as tables take it, it has two counters more.
        let signature = std::sync::Arc::new(signature);
        let itself = MEMORY.current_usage() - before;
        let (building, table) = peak(|| Table::new(signature).unwrap());
        let beside = MEMORY.current_usage() - before - itself;
        let each = beside as f64 / blocks as f64;
        assert!((14.0..=20.0).contains(&each), "{each} bytes for each of {blocks} blocks");
        assert!(building as u64 <= 34 * blocks, "{building} for {blocks} blocks");
        drop(table);
    }
}

#[test]
fn a_search_takes_the_same_for_any_file() {
    let _alone = alone();
    for block_len in [700_u32, 4 << 20] {
        let table = Table::new(Signature::of(noise(1 << 22), &params(block_len, 16), TWO).unwrap()).unwrap();
        let searched = |size| {
            // The first part is the old file's, and all that follows is new.
            peak(|| delta(&table, noise(size), TWO, sink()).unwrap()).0
        };
        let (small, large) = (searched(22 << 20), searched(40 << 20));
        let allowed = 30 * MIB + 3 * block_len as usize;
        assert!(large < allowed && large <= small + MIB, "blocks of {block_len}: {small}, {large}");
    }
}

#[test]
fn patching_takes_little_whatever_the_delta_says() {
    let _alone = alone();
    let old = vec![7; MIB];
    for rest in [
        // Literals of 2^63 and of 2^40 bytes, of which 2 come.
        &[&b"\x44\x80"[..], &[0; 7], b"ab"].concat()[..],
        &[&b"\x44\0\0\x01"[..], &[0; 5], b"ab"].concat(),
        // A copy of 2^62 bytes from the first on.
        &[&b"\x48\0\x40"[..], &[0; 7], b"\0"].concat(),
        // Two thousand copies of all there is.
        &[&b"\x47\0\0\x10\0\0"[..].repeat(2000), &b"\0"[..]].concat(),
    ] {
        let delta_bytes = [b"rs\x02\x36", rest].concat();
        let limits = Limits::default().with_output_bytes(u64::MAX);
        let (taken, _) = peak(|| patch(Cursor::new(&old), &delta_bytes[..], sink(), &limits));
        assert!(taken < MIB, "{taken}");
    }
}

#[test]
fn reading_a_signature_takes_what_arrived_and_what_is_allowed() {
    let _alone = alone();
    let header = [0x7273_0147, u32::MAX, 32].map(u32::to_be_bytes).concat();
    let (taken, read) = peak(|| Signature::read(&header[..], &Limits::default()).unwrap());
    assert!(read.blocks() == 0 && taken < MIB, "{taken}");
    let limits = Limits::default().with_signature_bytes(100_000);
    let (taken, read) = peak(|| Signature::read(header.chain(noise(1 << 40)), &limits));
    assert!(matches!(read, Err(BlockError::LimitExceeded { .. })) && taken < MIB, "{taken}");
    let (taken, _) = peak(|| Table::new(Signature::read(&header[..], &limits).unwrap()).unwrap());
    assert!(taken < MIB, "{taken}");
}
