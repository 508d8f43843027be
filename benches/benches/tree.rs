//! Trees to bytes and back, whole and as a difference.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skiff_tree::{Limits, Skeleton, Tree, section};

const FILES: u32 = 10_000;

fn canonical(criterion: &mut Criterion) {
    let tree = skiff_benches::tree(FILES);
    let mut bytes = Vec::new();
    tree.encode(&mut bytes).expect("a vector");
    let mut group = criterion.benchmark_group("tree/canonical encoding");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::with_capacity(bytes.len());
            black_box(&tree).encode(&mut out).expect("a vector");
            out
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Tree::decode(black_box(&bytes[..]), &Limits::default()).expect("a sound tree"));
    });
    group.bench_function("digest", |bencher| bencher.iter(|| black_box(&tree).digest()));
}

fn told(criterion: &mut Criterion) {
    let base = skiff_benches::tree(FILES);
    let target = skiff_benches::next_tree(&base);
    let section = section::encode(&base, &target).bytes;
    let mut group = criterion.benchmark_group("tree/section");
    group.throughput(Throughput::Elements(u64::from(FILES)));
    group.bench_function("encode", |bencher| bencher.iter(|| section::encode(black_box(&base), &target)));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            Skeleton::decode(&base, black_box(&section), &Limits::default()).expect("a sound section")
        });
    });
}

criterion_group!(benches, canonical, told);
criterion_main!(benches);
