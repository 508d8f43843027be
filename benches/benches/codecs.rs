//! One file from another.

use std::hint::black_box;
use std::io::{Cursor, Read as _};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::read::MultiGzDecoder;
use skiff_patch::{Codec, Effort, Job, Limits, Source, State, align, bsdiff, decode, gzip};

/// Two versions of a changelog, compressed by GNU gzip.
const OLD_GZ: &[u8] = include_bytes!("../../crates/skiff-patch/tests/gzip/old.gz");
const NEW_GZ: &[u8] = include_bytes!("../../crates/skiff-patch/tests/gzip/new.gz");

fn rebuild(jobs: &[Job<'_>], old: &[u8], capacity: usize) -> Vec<u8> {
    let mut output = Vec::with_capacity(capacity);
    let mut source = Source::new(Cursor::new(old), old.len() as u64);
    for job in jobs {
        decode(job, &mut source, &mut output, &Limits::default(), &mut State::new())
            .expect("a payload of the encoder");
    }
    output
}

fn bsdiff(criterion: &mut Criterion) {
    let old = skiff_benches::program(2 << 20);
    let new = skiff_benches::next_version(&old);
    let segments = bsdiff::encode(&old, &new, &bsdiff::Options::default());
    let jobs: Vec<Job<'_>> = segments
        .iter()
        .map(|segment| Job::new(Codec::Bsdiff, &segment.payload, segment.output_len))
        .collect();
    assert!(rebuild(&jobs, &old, new.len()) == new);
    let mut group = criterion.benchmark_group("codecs/bsdiff");
    group.throughput(Throughput::Bytes(new.len() as u64)).sample_size(10);
    for (name, effort) in [("encode", Effort::Default), ("encode-fast", Effort::Fast)] {
        let options = bsdiff::Options { effort, ..bsdiff::Options::default() };
        // Nearly all of it is the search.
        group.bench_function(name, |bencher| {
            bencher.iter(|| bsdiff::encode(black_box(&old), &new, &options));
        });
    }
    group.bench_function("decode", |bencher| bencher.iter(|| rebuild(black_box(&jobs), &old, new.len())));
}

fn align(criterion: &mut Criterion) {
    let old = skiff_benches::program(2 << 20);
    let new = skiff_benches::next_version(&old);
    let encode = |old: &[u8]| {
        let plan = align::Plan::new(old, &new, &align::Options::default());
        plan.write_held(old, &new, &mut State::new()).expect("what was planned of the same files")
    };
    let payload = encode(&old);
    let jobs = [Job::new(Codec::Align, &payload, new.len() as u64)];
    assert!(rebuild(&jobs, &old, new.len()) == new);
    let mut group = criterion.benchmark_group("codecs/align");
    group.throughput(Throughput::Bytes(new.len() as u64)).sample_size(10);
    group.bench_function("encode", |bencher| bencher.iter(|| encode(black_box(&old))));
    group.bench_function("decode", |bencher| bencher.iter(|| rebuild(black_box(&jobs), &old, new.len())));
}

fn gzip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codecs/gzip");
    // By the plain text: that is what is worked on.
    let mut plain = Vec::new();
    MultiGzDecoder::new(NEW_GZ).read_to_end(&mut plain).expect("a gzip file");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    let encoded = gzip::encode(Some(OLD_GZ), NEW_GZ, Effort::Default).expect("a file that GNU gzip made");
    let jobs = [Job::new(Codec::Gzip, &encoded.payload, NEW_GZ.len() as u64)];
    assert!(rebuild(&jobs, OLD_GZ, NEW_GZ.len()) == NEW_GZ);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| gzip::encode(Some(black_box(OLD_GZ)), NEW_GZ, Effort::Default))
    });
    group
        .bench_function("decode", |bencher| bencher.iter(|| rebuild(black_box(&jobs), OLD_GZ, NEW_GZ.len())));
}

criterion_group!(benches, bsdiff, align, gzip);
criterion_main!(benches);
