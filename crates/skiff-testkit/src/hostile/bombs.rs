//! Images that cost much more than they are: stopped by the limits unless those are raised.

use std::path::Path;

use flate2::Crc;

use super::{Fate, Fault, HostileImage, base, faulty, written};
use crate::{DockerForm, Encoding, Image, Layer, OciLayout, SparseFormat, docker_archive, write_archive};

const BLOCK: usize = 512;

pub(super) fn cases() -> Vec<HostileImage> {
    [holes(), headers(), windows(), floods()].into_iter().flatten().collect()
}

fn limited(name: &str, layer: Layer, words: &'static str) -> HostileImage {
    faulty(name, Fault::Limit, layer, words)
}

fn holes() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "bytes of files in all layers";
    let hole =
        |name: &str, size: u64| new().sparse_file(name, SparseFormat::Pax10, &[(size - 1, b"x")], size);
    let mut cases: Vec<HostileImage> = [SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10]
        .map(|format| {
            limited(
                &format!("a hole of 2^60 bytes, {format:?}"),
                new().sparse_file("a", format, &[((1 << 60) - 1, b"x")], 1 << 60),
                words,
            )
        })
        .into();
    cases.push(without_end());
    cases.extend([
        limited("a hole of the largest size", hole("a", u64::MAX), words),
        limited(
            "a hole in GNU's own format, in binary",
            {
                new().sparse_file("a", SparseFormat::Gnu, &[(0, b"x"), (5, b"")], 5).patch(|header| {
                    header[483..495].copy_from_slice(&[0x80, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0]);
                })
            },
            words,
        ),
        limited(
            "a million pieces and one more",
            {
                let mut map = format!("1000001\n{}", "0\n0\n".repeat(1_000_001)).into_bytes();
                map.resize(map.len().next_multiple_of(BLOCK), 0);
                new()
                    .file("a", map)
                    .pax("GNU.sparse.major", "1")
                    .pax("GNU.sparse.minor", "0")
                    .pax("GNU.sparse.realsize", "5")
            },
            "pieces of one sparse file",
        ),
    ]);
    cases
}

/// A map in GNU's own format, of which each block says that another follows.
fn without_end() -> HostileImage {
    let fate = Fate::Refused(Fault::Corrupt, vec!["cut off", "layer 1"]);
    written("a map without end, in GNU's own format", fate, |directory| {
        let mut block = [0; BLOCK];
        block[504] = 1;
        let header = |header: &mut [u8; BLOCK]| {
            header[482] = 1;
            header[257..265].copy_from_slice(b"ustar  \0");
        };
        let layer = Layer::new().typed("a", b'S').patch(header).raw(block.repeat(1000));
        let image = Image::new().layer(base()).raw_layer(layer.to_cut_tar(), Encoding::Zstd);
        OciLayout::new().image("hostile", image).write_directory(directory);
        format!("oci:{}", directory.display())
    })
}

fn headers() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "bytes in one extension header";
    vec![
        limited(
            "a PAX header of more than 1 MiB",
            new().file("a", b"").pax("comment", vec![b'x'; 1 << 20]),
            words,
        ),
        limited(
            "a PAX header that says it has 8 GiB",
            new().typed("a", b'x').declared_size(8 << 30).file("b", b""),
            words,
        ),
        limited(
            "a PAX header for all of more than 1 MiB",
            new().file("a", vec![b'x'; (1 << 20) + 1]).entry_type(b'g'),
            words,
        ),
        limited("a GNU name of more than 1 MiB", new().file("n".repeat(1 << 20), b"").gnu_names(), words),
        limited("a GNU link of more than 1 MiB", new().symlink("l", "n".repeat(1 << 20)).gnu_names(), words),
        limited(
            "a GNU name of the largest size",
            new().typed("a", b'L').declared_size(u64::MAX).binary_numbers(),
            words,
        ),
    ]
}

/// What decompressors ask for before they give anything.
fn windows() -> Vec<HostileImage> {
    let with_blob = |name: &str, blob: Vec<u8>| {
        let fate = Fate::Refused(Fault::Limit, vec!["memory", "layer 1"]);
        written(name, fate, move |directory| {
            let image = Image::new().layer(base()).raw_layer(blob.clone(), Encoding::Plain);
            OciLayout::new().image("hostile", image).write_directory(directory);
            format!("oci:{}", directory.display())
        })
    };
    vec![
        with_blob("a window of 2 GiB for zstd", zstd_frame(31)),
        with_blob("a window of 256 MiB for zstd", zstd_frame(28)),
        with_blob("a dictionary of 4 GiB for xz", xz_stream(40)),
        with_blob("a dictionary of 256 MiB for xz", xz_stream(32)),
    ]
}

/// A frame whose window has 2 to the power of `log` bytes, and one raw block.
fn zstd_frame(log: u8) -> Vec<u8> {
    let (header, window) = (0, (log - 10) << 3);
    [&[0x28, 0xb5, 0x2f, 0xfd, header, window][..], &[1 | 8, 0, 0], b"x"].concat()
}

/// A stream whose one block asks for a dictionary of this size, in LZMA2's code for sizes, and then goes no further.
fn xz_stream(dictionary: u8) -> Vec<u8> {
    let checked = |bytes: &[u8]| {
        let mut crc = Crc::new();
        crc.update(bytes);
        [bytes, &crc.sum().to_le_bytes()].concat()
    };
    let stream = [b"\xfd7zXZ\0".to_vec(), checked(&[0, 1])].concat();
    // Its size in fours less one, no flags; LZMA2, with one byte of properties; padding.
    let block = checked(&[2, 0, 0x21, 1, dictionary, 0, 0, 0]);
    [stream, block, vec![0; 64]].concat()
}

fn floods() -> Vec<HostileImage> {
    let too_much = |words: Vec<&'static str>| Fate::Refused(Fault::Limit, words);
    let layers = |directory: &Path| {
        let image =
            (0..1001).fold(Image::new(), |image, _| image.encoded_layer(Layer::new(), Encoding::Plain));
        OciLayout::new().image("hostile", image).write_directory(directory);
        format!("oci:{}", directory.display())
    };
    let saved = |directory: &Path| {
        let file = directory.join("saved.tar");
        let image = Image::new().layer(base());
        let mut files = docker_archive(DockerForm::Layers, &[(&["app:1"], &image)]);
        let config = files.get_mut("manifest.json").expect("a manifest");
        config.resize((8 << 20) + 1, b' ');
        write_archive(&file, &files);
        format!("docker-archive:{}", file.display())
    };
    vec![
        written("1,001 layers", too_much(vec!["1001 layers", "limit is 1000"]), layers),
        written("a manifest of more than 8 MiB", too_much(vec!["8388609 bytes", "manifest"]), saved),
    ]
}
