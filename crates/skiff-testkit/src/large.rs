//! Images too large to be held in memory, written as they are made.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::image::hex;
use crate::{Encoding, Layer, Random, sha256_hex};

/// Entries of a directory that holds files.
const PACKAGE: u32 = 16;
/// Contents are pieces of this many bytes: more than any window that layers are compressed with by default, so that files
/// compress by what is in them, and not because they were seen before.
const POOL: usize = 16 << 20;
/// What share of the image is in each layer, in percent, from the bottom up.
const LAYERS: [u32; 4] = [55, 25, 15, 5];
/// Every so many packages, an upper layer replaces a file of one below, and hides another.
const REPLACED: u32 = 8;
/// A value of `security.capability` that Linux takes: revision 2, `cap_net_raw+ep`.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An image of many entries in four layers, the same on every run: packages in directories of their own, paths of some sixty
/// bytes, files of a few bytes to some megabytes that compress to about half, symbolic and hard links, attributes, and upper layers
/// that replace and hide what is below.
#[derive(Debug, Clone, Copy)]
pub struct LargeImage {
    /// Entries of the flattened tree, about.
    pub entries: u32,
    /// Bytes of the flattened tree's files, about.
    pub bytes: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LargeLayout {
    /// Bytes of all layers, uncompressed.
    pub tar_bytes: u64,
    /// Bytes of all layers, as they are stored.
    pub stored_bytes: u64,
}

impl LargeImage {
    /// Writes the image as an OCI layout with one tag, its layers compressed: plain, gzip or zstd.
    ///
    /// # Panics
    /// Where it cannot be written, or another encoding is asked for.
    pub fn write_directory(&self, directory: &Path, tag: &str, encoding: Encoding) -> LargeLayout {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("a directory for blobs");
        let pool = pool();
        let (mut written, mut first) = (LargeLayout::default(), 0);
        let (mut diff_ids, mut layers) = (Vec::new(), Vec::new());
        for (number, share) in LAYERS.iter().enumerate() {
            let packages = self.entries.div_ceil(PACKAGE) * share / 100;
            let mut sink = Sink::new(&blobs.join("part"), encoding);
            for package in self.layer(&pool, number, first..first + packages) {
                sink.write_all(&package.to_cut_tar()).expect("room for a layer");
            }
            sink.write_all(&Layer::new().to_tar()).expect("room for a layer");
            first += packages;
            let (tar, stored) = sink.finish();
            let name = hex(&stored.digest);
            fs::rename(blobs.join("part"), blobs.join(&name)).expect("a name for a layer");
            diff_ids.push(format!("sha256:{}", hex(&tar.digest)));
            layers.push(descriptor(encoding.media_type(), &name, stored.bytes));
            written.tar_bytes += tar.bytes;
            written.stored_bytes += stored.bytes;
        }
        write_documents(directory, tag, &diff_ids, &layers);
        written
    }

    /// The packages of a layer, one after the other, so that no more than one is held.
    fn layer<'a>(
        &self,
        pool: &'a [u8],
        number: usize,
        packages: std::ops::Range<u32>,
    ) -> impl Iterator<Item = Layer> + use<'a> {
        // Three quarters of the bytes are in files of all packages, the rest in a large one here and there.
        let mean = self.bytes * 3 / 4 / u64::from(self.entries.max(1));
        let large = self.bytes / 4 / u64::from(self.entries.div_ceil(PACKAGE * LARGE).max(1));
        let below = packages.start;
        packages.map(move |package| {
            let layer = add_package(Layer::new(), &Contents { pool, mean, large }, package);
            // The layers below have this package; what is in it now is this layer's.
            let changed = if number > 0 { package % below.max(1) } else { return layer };
            if !package.is_multiple_of(REPLACED) {
                return layer;
            }
            let path = directory(changed);
            let content = &pool[package as usize % 4096..][..2048];
            layer
                .file(format!("{path}/lib-component-02.so.1.4.2"), content)
                .whiteout(format!("{path}/lib-component-03.so.1.4.3"))
        })
    }
}

/// One in so many packages has a large file.
const LARGE: u32 = 250;

/// Where files' bytes come from, and how many they have.
struct Contents<'a> {
    pool: &'a [u8],
    mean: u64,
    large: u64,
}

impl Contents<'_> {
    /// A distinct content for every number.
    fn of(&self, number: u32, size: u64) -> Vec<u8> {
        let mut content = number.to_le_bytes().to_vec();
        let mut at = number.wrapping_mul(0x9e37_79b1) as usize % self.pool.len();
        let mut left =
            usize::try_from(size).expect("a size that fits in memory").saturating_sub(content.len());
        while left > 0 {
            let count = left.min(self.pool.len() - at);
            content.extend_from_slice(&self.pool[at..at + count]);
            (left, at) = (left - count, 0);
        }
        content
    }

    /// Most files are small, and most bytes are in the others.
    fn size(&self, number: u32) -> u64 {
        let within = u64::from(number.wrapping_mul(0x85eb_ca6b) >> 16);
        let share = match number % 10 {
            0..6 => 40,
            6..9 => 200,
            _ => 500,
        };
        // Files are three quarters of the entries, and these shares make 134 percent in the mean.
        self.mean * share * (within + 4096) * 4 / 3 / 134 / (32_768 + 4096)
    }
}

fn directory(package: u32) -> String {
    format!("usr/lib/section-{:02}/package-{package:05}", package % 64)
}

fn add_package(layer: Layer, contents: &Contents<'_>, package: u32) -> Layer {
    let path = directory(package);
    let mut layer = layer.directory(&path);
    for member in 1..PACKAGE {
        let number = package * PACKAGE + member;
        let name = format!("{path}/lib-component-{member:02}.so.1.4.{}", number % 97);
        layer = match member {
            13 => layer.symlink(name, format!("../../package-{package:05}/lib-component-01.so.1.4.1")),
            14 => layer.hard_link(name, format!("{path}/lib-component-04.so.1.4.4")),
            _ => {
                // The names that are replaced, hidden and linked can be told from the package.
                let name = if member < 5 {
                    format!("{path}/lib-component-{member:02}.so.1.4.{member}")
                } else {
                    name
                };
                let is_large = member == 15 && package % LARGE == LARGE / 2;
                let size = if is_large { contents.large } else { contents.size(number) };
                layer.file(name, contents.of(number, size)).owner(u64::from(package % 3), 0)
            }
        };
        if member == 12 && package.is_multiple_of(4) {
            layer = layer.xattr("security.capability", CAPABILITY);
        }
    }
    layer
}

/// Bytes of which compressors take away about half, as of programs: words that come again, and between them some that do not.
fn pool() -> Vec<u8> {
    let mut random = Random::new(1);
    let mut random = || random.word() as u32;
    let dictionary: Vec<u8> = (0..4096).flat_map(|_| random().to_le_bytes()).collect();
    let mut pool = Vec::with_capacity(POOL + 32);
    while pool.len() < POOL {
        let number = random() as usize;
        if number.is_multiple_of(4) {
            pool.extend_from_slice(&random().to_le_bytes());
        }
        let (at, length) = ((number >> 8) % 1024 * 8, 4 + (number >> 20) % 16);
        pool.extend_from_slice(&dictionary[at..at + length]);
    }
    pool.truncate(POOL);
    pool
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size })
}

fn write_documents(directory: &Path, tag: &str, diff_ids: &[String], layers: &[Value]) {
    let write_blob = |media_type: &str, document: Value| {
        let bytes = document.to_string().into_bytes();
        let name = sha256_hex(&bytes);
        fs::write(directory.join("blobs/sha256").join(&name), &bytes).expect("room for a document");
        descriptor(media_type, &name, bytes.len() as u64)
    };
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = write_blob("application/vnd.oci.image.config.v1+json", config);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
    let mut manifest = write_blob(media_type, manifest);
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(directory.join("index.json"), index.to_string()).expect("room for an index");
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("room for a marker");
}

/// How many bytes went by, and their SHA-256.
struct Summary {
    bytes: u64,
    digest: [u8; 32],
}

struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    fn finish(self) -> (W, Summary) {
        (self.inner, Summary { bytes: self.bytes, digest: self.hasher.finalize().into() })
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

type Stored = Hashing<BufWriter<File>>;

/// A layer's blob that is being written.
struct Sink(Hashing<Compressor>);

enum Compressor {
    Plain(Stored),
    Gzip(GzEncoder<Stored>),
    Zstd(zstd::Encoder<'static, Stored>),
}

impl Sink {
    fn new(path: &Path, encoding: Encoding) -> Self {
        let stored = Hashing::new(BufWriter::new(File::create(path).expect("a file for a layer")));
        Self(Hashing::new(match encoding {
            Encoding::Plain => Compressor::Plain(stored),
            Encoding::Gzip => Compressor::Gzip(GzEncoder::new(stored, Compression::fast())),
            Encoding::Zstd => Compressor::Zstd(zstd::Encoder::new(stored, 3).expect("an encoder")),
            other => panic!("{other:?} layers are made in memory, by Image"),
        }))
    }

    /// What was written, and what became of it.
    fn finish(self) -> (Summary, Summary) {
        let (compressor, tar) = self.0.finish();
        let stored = match compressor {
            Compressor::Plain(stored) => stored,
            Compressor::Gzip(encoder) => encoder.finish().expect("room for a layer"),
            Compressor::Zstd(encoder) => encoder.finish().expect("room for a layer"),
        };
        let (mut file, stored) = stored.finish();
        file.flush().expect("room for a layer");
        (tar, stored)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stored) => stored.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stored) => stored.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
