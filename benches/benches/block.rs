//! Block deltas: a signature, its table, a search, a patch.

use std::hint::black_box;
use std::io::Cursor;
use std::num::NonZeroUsize;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skiff_block::{
    Limits, Signature, SignatureKind, SignatureParams, Table, WeakHash, delta, patch, write_signature,
};

const BYTES: usize = 16 << 20;

fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn params(kind: SignatureKind) -> SignatureParams {
    SignatureParams::new(kind, 2048, 32.min(kind.strong.max_len())).expect("lengths that there are")
}

fn signature(criterion: &mut Criterion) {
    let old = skiff_benches::program(BYTES);
    let mut group = criterion.benchmark_group("block/signature");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(10);
    for kind in SignatureKind::ALL {
        let params = params(kind);
        group.bench_function(format!("{}-{}", kind.weak, kind.strong), |bencher| {
            bencher.iter(|| write_signature(black_box(&old[..]), &params, threads(), std::io::sink()));
        });
    }
}

fn search(criterion: &mut Criterion) {
    let old = skiff_benches::program(BYTES);
    let edited = skiff_benches::next_version(&old);
    let different: Vec<u8> = skiff_benches::program(BYTES).iter().map(|byte| byte ^ 0x5a).collect();
    let mut group = criterion.benchmark_group("block/delta");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(10);
    for weak in [WeakHash::RabinKarp, WeakHash::Rollsum] {
        let params = params(SignatureKind { weak, ..SignatureKind::default() });
        let signature = Signature::of(&old[..], &params, threads()).expect("bytes in memory");
        let table = Table::new(signature.clone()).expect("few blocks");
        group.bench_function(format!("table-{weak}"), |bencher| {
            bencher.iter(|| Table::new(black_box(signature.clone())));
        });
        for (name, new) in [("unchanged", &old), ("edited", &edited), ("different", &different)] {
            group.bench_function(format!("{name}-{weak}"), |bencher| {
                bencher.iter(|| delta(&table, black_box(&new[..]), threads(), std::io::sink()));
            });
        }
    }
}

fn rebuild(criterion: &mut Criterion) {
    let old = skiff_benches::program(BYTES);
    let new: Vec<u8> = old.chunks(100_000).flat_map(|piece| &piece[..piece.len() - 1]).copied().collect();
    let params = params(SignatureKind::default());
    let signature = Signature::of(&old[..], &params, threads()).expect("bytes in memory");
    let mut bytes = Vec::new();
    delta(&Table::new(signature).expect("few blocks"), &new[..], threads(), &mut bytes).expect("a delta");
    let mut group = criterion.benchmark_group("block/patch");
    group.throughput(Throughput::Bytes(new.len() as u64)).sample_size(10);
    group.bench_function("patch", |bencher| {
        bencher.iter(|| patch(Cursor::new(&old), black_box(&bytes[..]), std::io::sink(), &Limits::default()));
    });
}

criterion_group!(benches, signature, search, rebuild);
criterion_main!(benches);
