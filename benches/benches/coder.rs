//! Adaptive arithmetic coding, bit by bit.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skiff_coder::{Bytes, Coder, Decoder, Encoder, Expected, Number, Sets, Text};

const LENGTH: usize = 256 << 10;
/// As many as the model of corrections has, which takes most of the time with executables.
const CONTEXTS: usize = 7;

fn text(criterion: &mut Criterion) {
    let plain = skiff_benches::program(LENGTH);
    let coded = Text::encode(&plain);
    assert!(Text::decode(&coded, LENGTH).is_ok_and(|decoded| decoded == plain));
    let mut group = criterion.benchmark_group("coder/text");
    group.throughput(Throughput::Bytes(LENGTH as u64)).sample_size(10);
    group.bench_function("encode", |bencher| bencher.iter(|| Text::encode(black_box(&plain))));
    group.bench_function("decode", |bencher| bencher.iter(|| Text::decode(black_box(&coded), LENGTH)));
}

/// Codes bytes by up to six before each, and expects what came last behind the same one.
fn code_bytes(coder: &mut impl Coder, bytes: &mut [u8]) {
    let mut model = Bytes::<CONTEXTS>::new(16, Sets { fine: 8, coarse: 8 });
    let (mut recent, mut last) = (0_u64, [0; 256]);
    for byte in bytes {
        let contexts = std::array::from_fn(|length| {
            let these = recent & ((1 << (8 * length)) - 1);
            ((these ^ (length as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
        });
        let before = recent as usize & 255;
        let expected = Expected { byte: last[before], class: 0 };
        let sets = Sets { fine: before & 7, coarse: before >> 5 };
        *byte = model.code(coder, *byte, &contexts, &[Some(expected), None], sets);
        last[before] = *byte;
        recent = recent << 8 | u64::from(*byte);
    }
}

fn bytes(criterion: &mut Criterion) {
    let plain = skiff_benches::program(LENGTH);
    let coded = {
        let mut encoder = Encoder::new();
        code_bytes(&mut encoder, &mut plain.clone());
        encoder.finish()
    };
    let decode = |coded: &[u8]| {
        let mut decoded = vec![0; LENGTH];
        code_bytes(&mut Decoder::new(coded), &mut decoded);
        decoded
    };
    assert!(decode(&coded) == plain);
    let mut group = criterion.benchmark_group("coder/bytes");
    group.throughput(Throughput::Bytes(LENGTH as u64)).sample_size(10);
    group.bench_function("decode", |bencher| bencher.iter(|| decode(black_box(&coded))));
}

/// Codes numbers, each by the one before.
fn code_numbers(coder: &mut impl Coder, numbers: &mut [u64]) {
    let (mut model, mut before) = (Number::new(), 0);
    for number in numbers {
        *number = model.code(coder, *number, &[before, before >> 4, 0]);
        before = *number as u32;
    }
}

fn numbers(criterion: &mut Criterion) {
    let plain: Vec<u64> = skiff_benches::program(LENGTH / 4).into_iter().map(u64::from).collect();
    let coded = {
        let mut encoder = Encoder::new();
        code_numbers(&mut encoder, &mut plain.clone());
        encoder.finish()
    };
    let decode = |coded: &[u8]| {
        let mut decoded = vec![0; plain.len()];
        code_numbers(&mut Decoder::new(coded), &mut decoded);
        decoded
    };
    assert!(decode(&coded) == plain);
    let mut group = criterion.benchmark_group("coder/numbers");
    group.throughput(Throughput::Elements(plain.len() as u64)).sample_size(10);
    group.bench_function("decode", |bencher| bencher.iter(|| decode(black_box(&coded))));
}

criterion_group!(benches, text, bytes, numbers);
criterion_main!(benches);
