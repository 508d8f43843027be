//! Frames in and out of the container.

use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skiff_format::{
    BaseInfo, Compression, Decoder, Digest, Encoder, Facts, HeaderFields, Limits, Section, TargetInfo,
    compress,
};

const FRAME: usize = 4 << 20;

fn container(compression: &Compression) -> Vec<u8> {
    let payload = skiff_benches::program(FRAME);
    let digest = Digest::of(b"");
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    encoder
        .add(compress(Section::Tree, b"tree", &Compression::Stored).expect("a small frame"))
        .expect("a vector");
    encoder
        .add(compress(Section::Contents, &payload, compression).expect("a frame in limits"))
        .expect("a vector");
    let fields = HeaderFields {
        codecs: Vec::new(),
        bases: vec![BaseInfo { release: digest, tree: digest }],
        target: TargetInfo { release: digest, tree: digest, config: None, manifest: None },
        facts: Facts { decoder_memory: 64 << 20, ..Facts::default() },
    };
    let mut delta = Vec::new();
    encoder.finish(&fields, &mut delta).expect("a vector");
    delta
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("format/decode frame");
    group.throughput(Throughput::Bytes(FRAME as u64)).sample_size(20);
    let compressions =
        [("stored", Compression::Stored), ("xz", Compression::XZ), ("zstd", Compression::Zstd { level: 9 })];
    for (name, compression) in compressions {
        let delta = container(&compression);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut decoder = Decoder::new(Limits::default());
                let mut input = &delta[..];
                while let Some(event) = decoder.push(&mut input).expect("a sound delta") {
                    black_box(event);
                }
                decoder.finish().expect("a whole delta");
            });
        });
    }
}

fn encode(criterion: &mut Criterion) {
    let payload = skiff_benches::program(FRAME);
    let mut group = criterion.benchmark_group("format/compress frame");
    group.throughput(Throughput::Bytes(FRAME as u64)).sample_size(10);
    for (name, compression) in [("xz", Compression::XZ), ("zstd", Compression::Zstd { level: 9 })] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                compress(Section::Contents, black_box(&payload), &compression).expect("a frame in limits")
            });
        });
    }
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
