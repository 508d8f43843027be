//! An image's layers laid over each other.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skiff_image::{FlattenOptions, Image, ImageRef, OpenOptions};
use skiff_testkit::{Encoding, Layer, OciLayout};

const FILES: usize = 1000;
const FILE: usize = 16 << 10;

/// Two layers: many files, and a tenth of them replaced or hidden.
fn layers() -> [Layer; 2] {
    let program = skiff_benches::program(FILES * 64 + FILE);
    let content = |number: usize| &program[number * 64..number * 64 + FILE];
    let name = |number: usize| format!("usr/lib/package-{:02}/file-{number}", number / 100);
    let lower = (0..FILES).fold(Layer::new(), |layer, number| layer.file(name(number), content(number)));
    let upper = (0..FILES / 10).fold(Layer::new(), |layer, number| match number % 2 {
        0 => layer.file(name(number * 10), content(number)),
        _ => layer.whiteout(name(number * 10)),
    });
    [lower, upper]
}

fn flatten(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flatten");
    let layers = layers();
    let bytes: usize = layers.iter().map(|layer| layer.to_tar().len()).sum();
    // Of the layers, uncompressed: what is hashed and taken apart.
    group.throughput(Throughput::Bytes(bytes as u64)).sample_size(20);
    for (name, encoding) in [("plain", Encoding::Plain), ("gzip", Encoding::Gzip), ("zstd", Encoding::Zstd)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let encoded = layers
            .iter()
            .fold(skiff_testkit::Image::new(), |image, layer| image.encoded_layer(layer.clone(), encoding));
        OciLayout::new().image("bench", encoded).write_directory(directory.path());
        let reference: ImageRef =
            format!("oci:{}:bench", directory.path().display()).parse().expect("a plain path");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let image = Image::open(&reference, &OpenOptions::default()).expect("an image");
                image.flatten(&FlattenOptions::default()).expect("sound layers")
            });
        });
    }
}

criterion_group!(benches, flatten);
criterion_main!(benches);
