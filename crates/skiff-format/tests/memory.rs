//! What decoding costs at most, shown on bombs.
//!
//! Each case runs in a process of its own, so that nothing is measured that an earlier one left behind. Rust's
//! allocations are counted exactly, by an allocator. liblzma and libzstd call C's `malloc`, which it does not see, so the
//! peak of the process's resident memory (`VmHWM`) is held to the same bound: what was allocated and touched, by anyone.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "container/raw.rs"]
mod raw;

use std::io::Write as _;
use std::process::{Command, Stdio};

use peak_alloc::PeakAlloc;
use raw::{Raw, Row, varint};
use skiff_format::{FormatError, Limits, Reader};
use xz2::stream::{Action, LzmaOptions, Status, Stream};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// What the documentation of [`Limits`] grants beside the limits.
const CONSTANT: u64 = MIB;
/// What the process touches beside the heap while it decodes: code of the decoders, stack, pages begun.
const PROCESS: u64 = MIB;

/// Tells a process that it is the one that decodes, and with which limits for frame and dictionary.
const CHILD: &str = "SKIFF_FORMAT_MEMORY_LIMIT";

/// What a process that decoded has to tell.
#[derive(Debug)]
struct Cost {
    allocated: u64,
    resident: u64,
    end: String,
}

/// A frame that makes so many zeros, compressed with LZMA, with a dictionary as large as it is declared.
fn lzma(zeros: u64, dictionary: u64) -> ((u64, u64), Vec<u8>) {
    let code = (0..40).find(|d| (2 | d & 1) << (d / 2 + 11) == dictionary).unwrap();
    let mut options = LzmaOptions::new_preset(0).unwrap();
    options.dict_size(u32::try_from(dictionary).unwrap());
    let mut stream = Stream::new_lzma_encoder(&options).unwrap();
    let (mut bytes, chunk) = (Vec::new(), vec![0; 1 << 20]);
    while stream.total_in() < zeros {
        bytes.reserve(64 << 10);
        stream.process_vec(&chunk, &mut bytes, Action::Run).unwrap();
    }
    while stream.process_vec(&[], &mut bytes, Action::Finish).unwrap() != Status::StreamEnd {
        bytes.reserve(64 << 10);
    }
    let stream = bytes.split_off(13);
    ((1, code << 8 | u64::from(bytes[0])), stream)
}

/// The same with Zstandard: blocks that each repeat one byte 128 Ki times.
fn zstd(zeros: u64, window: u64) -> ((u64, u64), Vec<u8>) {
    let log = window.ilog2();
    let blocks = zeros / (128 * KIB);
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, u8::try_from(log - 10).unwrap() << 3];
    for block in 1..=blocks {
        let head = u32::from(block == blocks) | 1 << 1 | (128 << 10) << 3;
        bytes.extend_from_slice(&head.to_le_bytes()[..3]);
        bytes.push(0);
    }
    ((2, u64::from(log)), bytes)
}

fn delta((compressor, bytes): ((u64, u64), Vec<u8>), declared: u64) -> Vec<u8> {
    assert!(bytes.len() as u64 <= 200 * KIB, "a bomb is small: {}", bytes.len());
    Raw::new(vec![Row::compressed(3, compressor, bytes, declared)]).bytes()
}

/// Decodes in a fresh process.
fn cost(delta: &[u8], limit: u64) -> Cost {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_decodes", "--nocapture"])
        .env(CHILD, limit.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not read all of it.
    let _ = child.stdin.take().unwrap().write_all(delta);
    let output = child.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let told = output.lines().find_map(|line| line.split_once("cost ")).unwrap().1;
    let mut parts = told.splitn(3, ' ');
    let mut part = || parts.next().unwrap();
    Cost { allocated: part().parse().unwrap(), resident: part().parse().unwrap(), end: part().to_owned() }
}

fn resident(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    KIB * line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

fn limits(limit: u64) -> Limits {
    let mut limits = Limits::default();
    (limits.frame_bytes, limits.dictionary_bytes) = (limit, limit);
    limits
}

/// The process of [`cost`]; without the variable that says so, nothing.
#[test]
fn child_that_decodes() {
    let Ok(limit) = std::env::var(CHILD) else { return };
    let mut reader = Reader::new(std::io::stdin().lock(), limits(limit.parse().unwrap()));
    ALLOCATOR.reset_peak_usage();
    let (allocated, before) = (ALLOCATOR.current_usage(), resident("VmRSS"));
    let end = loop {
        match reader.next_event() {
            Ok(Some(_)) => {}
            Ok(None) => break "whole".to_owned(),
            Err(FormatError::Corrupt { what, .. }) => break format!("corrupt: {what}"),
            Err(FormatError::LimitExceeded { what, .. }) => break format!("limit: {what}"),
            Err(error) => break error.to_string(),
        }
    };
    let allocated = ALLOCATOR.peak_usage() - allocated;
    println!("\ncost {allocated} {} {end}", resident("VmHWM") - before);
}

/// Holds a cost to a bound, and to how the decoding must end.
fn check(name: &str, cost: &Cost, (bound, end): (u64, &str)) {
    println!(
        "{name}: allocated {} KiB, resident {} KiB, bound {} KiB: {}",
        cost.allocated / KIB,
        cost.resident / KIB,
        bound / KIB,
        cost.end
    );
    assert!(cost.end.starts_with(end), "{name}: {cost:?}");
    assert!(cost.allocated <= bound, "{name}: {cost:?}, bound {bound}");
    assert!(cost.resident <= bound + PROCESS, "{name}: {cost:?}, bound {bound}");
}

#[test]
fn bombs_cost_what_the_limits_grant() {
    for limit in [MIB, 8 * MIB] {
        // Frame and payload, and the dictionary.
        let bound = 3 * limit + CONSTANT;
        for (name, bomb) in [("LZMA", lzma(GIB, limit)), ("Zstandard", zstd(3 * GIB, limit))] {
            // Of LZMA a dictionary that holds the payload goes with it.
            let ((number, parameter), bytes) = bomb.clone();
            let parameter = if number == 1 { (36 << 8) | (parameter % 256) } else { parameter };
            let honest = cost(&delta(((number, parameter), bytes), GIB), limit);
            check(&format!("{name}, 1 GiB declared"), &honest, (CONSTANT, "limit: bytes in one frame"));
            let dishonest = cost(&delta(bomb.clone(), limit), limit);
            check(&format!("{name}, a false size"), &dishonest, (bound, "corrupt: its"));
        }
        let stored = Row { bytes: vec![0; 1000], encoded: limit, decoded: limit, ..Row::stored(3, b"") };
        let stored = cost(&Raw::new(vec![stored]).bytes(), limit);
        check("stored, cut off", &stored, (CONSTANT, "corrupt: it is cut off"));
        let stored = Row { encoded: GIB, decoded: GIB, ..Row::stored(3, b"") };
        let stored = cost(&Raw::new(vec![stored]).bytes(), limit);
        check("stored, 1 GiB declared", &stored, (CONSTANT, "limit: bytes in one frame"));
    }
}

/// However large it is, and whatever is said of it.
#[test]
fn a_frame_that_is_left_out_costs_nothing() {
    let unknown = Row::compressed(5, (99, 7), vec![3; 40 << 20], GIB);
    let mut delta = Raw::new(vec![unknown, Row::stored(3, b"tree")]).bytes();
    check("40 MiB left out", &cost(&delta, MIB), (CONSTANT, "whole"));
    delta[30 << 20] ^= 1;
    check("40 MiB left out and damaged", &cost(&delta, MIB), (CONSTANT, "corrupt: a frame does not have"));
}

#[test]
fn frames_at_the_limit_cost_what_the_limits_grant() {
    let limit = 8 * MIB;
    let bound = 3 * limit + CONSTANT;
    // As hard to compress as can be without being stored: noise, and a page of zeros.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut payload: Vec<u8> = (0..limit).map(|_| noise()).collect();
    payload[..1 << 20].fill(0);
    check("stored", &cost(&Raw::new(vec![Row::stored(3, &payload)]).bytes(), limit), (bound, "whole"));

    let mut options = LzmaOptions::new_preset(0).unwrap();
    options.dict_size(u32::try_from(limit).unwrap());
    let mut stream = Stream::new_lzma_encoder(&options).unwrap();
    let mut bytes = Vec::with_capacity(payload.len() * 2);
    assert_eq!(stream.process_vec(&payload, &mut bytes, Action::Finish).unwrap(), Status::StreamEnd);
    let lzma = Row::compressed(3, (1, 22 << 8 | u64::from(bytes[0])), bytes.split_off(13), limit);
    check("LZMA", &cost(&Raw::new(vec![lzma.clone(), lzma]).bytes(), limit), (bound, "whole"));

    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.window_log(23).unwrap();
    let zstd = Row::compressed(3, (2, 23), compressor.compress(&payload).unwrap(), limit);
    check("Zstandard", &cost(&Raw::new(vec![zstd.clone(), zstd]).bytes(), limit), (bound, "whole"));
}

#[test]
fn headers_cost_what_the_limits_grant() {
    let header = Limits::default().header_bytes;
    let full = Raw::new(vec![Row::stored(3, b"t"); usize::try_from(header / 38).unwrap() - 20]);
    assert!((header - 2 * KIB..=header).contains(&(full.header().len() as u64)));
    check("a full header", &cost(&full.bytes(), MIB), (4 * header + CONSTANT, "whole"));

    let cut = &full.bytes()[..1000];
    check("a header that is cut off", &cost(cut, MIB), (CONSTANT, "corrupt: it is cut off"));

    let mut raw = Raw::small();
    raw.count = Some(varint(1 << 60));
    check("a false count", &cost(&raw.bytes(), MIB), (CONSTANT, "corrupt: it counts more frames"));

    let mut large = Raw::small().bytes();
    large[12..16].fill(0xff);
    check("a header of 4 GiB", &cost(&large, MIB), (CONSTANT, "limit: bytes of header"));
}
