use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xz2::write::XzEncoder;

use crate::Layer;

/// How a layer's blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Plain,
    /// As one gzip member.
    Gzip,
    /// As several gzip members, one after the other.
    GzipMembers,
    /// As one zstd frame.
    Zstd,
    /// As several zstd frames and a skippable one at the end, as zstd:chunked has it.
    ZstdFrames,
    /// As one xz stream.
    Xz,
    /// As several xz streams, with padding between them and at the end.
    XzStreams,
}

/// An image to write: layers from the bottom up, and a config.
#[derive(Debug, Clone)]
pub struct Image {
    pub(crate) layers: Vec<(Vec<u8>, Encoding)>,
    config: Value,
    architecture: String,
    variant: Option<String>,
}

/// A directory or archive with the layout that the OCI image specification describes.
#[derive(Debug, Clone, Default)]
pub struct OciLayout {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
}

impl Default for Image {
    fn default() -> Self {
        Self { layers: Vec::new(), config: json!({}), architecture: "amd64".into(), variant: None }
    }
}

impl Image {
    /// An image without layers, for linux/amd64.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a layer, compressed with gzip, on top.
    #[must_use]
    pub fn layer(self, layer: Layer) -> Self {
        self.encoded_layer(layer, Encoding::Gzip)
    }

    /// Puts a layer on top.
    #[must_use]
    pub fn encoded_layer(self, layer: Layer, encoding: Encoding) -> Self {
        self.raw_layer(layer.to_tar(), encoding)
    }

    /// Puts bytes on top that need not be a tar archive.
    #[must_use]
    pub fn raw_layer(mut self, bytes: Vec<u8>, encoding: Encoding) -> Self {
        self.layers.push((bytes, encoding));
        self
    }

    /// Says what the image runs.
    #[must_use]
    pub fn command(self, words: &[&str]) -> Self {
        self.config("Cmd", json!(words))
    }

    /// Sets a field of the config's `config` object, such as `Env`.
    #[must_use]
    pub fn config(mut self, field: &str, value: Value) -> Self {
        self.config[field] = value;
        self
    }

    /// Says what machine the image is for, in Go's words: `amd64`, `arm64`.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.into();
        self
    }

    /// Says what variant of the machine the image is for: `v7`.
    #[must_use]
    pub fn variant(mut self, variant: &str) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// The DiffIDs of the layers, from the bottom up, as `sha256:HEX`.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<String> {
        self.layers.iter().map(|(tar, _)| digest(tar)).collect()
    }

    /// The bytes of the config.
    #[must_use]
    pub fn config_bytes(&self) -> Vec<u8> {
        let mut config = self.platform();
        config["config"] = self.config.clone();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": self.diff_ids() });
        config.to_string().into_bytes()
    }

    fn platform(&self) -> Value {
        let mut platform = json!({ "os": "linux", "architecture": self.architecture });
        if let Some(variant) = &self.variant {
            platform["variant"] = json!(variant);
        }
        platform
    }
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Plain, Self::Gzip, Self::GzipMembers, Self::Zstd, Self::ZstdFrames, Self::Xz, Self::XzStreams];

    /// Compresses bytes.
    #[must_use]
    pub fn encode(self, bytes: &[u8]) -> Vec<u8> {
        let (first, second) = bytes.split_at(bytes.len() / 3);
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => gzip(bytes),
            Self::GzipMembers => [gzip(first), gzip(b""), gzip(second)].concat(),
            Self::Zstd => zstd(bytes),
            Self::ZstdFrames => {
                let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), b"toc\n"].concat();
                [zstd(first), zstd(second), skippable].concat()
            }
            Self::Xz => xz(bytes),
            Self::XzStreams => {
                let padding = vec![0; 8];
                [xz(first), padding.clone(), xz(b""), xz(second), padding].concat()
            }
        }
    }

    /// The media type of a layer that is compressed so.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip | Self::GzipMembers => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd | Self::ZstdFrames => "application/vnd.oci.image.layer.v1.tar+zstd",
            // The specification has none: readers go by the first bytes.
            Self::Xz | Self::XzStreams => "application/vnd.oci.image.layer.v1.tar+xz",
        }
    }
}

impl OciLayout {
    /// A layout without images.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image with a tag, its `org.opencontainers.image.ref.name`.
    #[must_use]
    pub fn image(mut self, tag: &str, image: Image) -> Self {
        let mut descriptor = self.add_image(&image);
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        self.manifests.push(descriptor);
        self
    }

    /// Adds several images, each for the machine it says, under one tag: an index in the index.
    #[must_use]
    pub fn multi_platform_image(mut self, tag: &str, images: Vec<Image>) -> Self {
        let mut manifests = Vec::new();
        for image in images {
            let mut descriptor = self.add_image(&image);
            descriptor["platform"] = image.platform();
            manifests.push(descriptor);
        }
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        let mut descriptor = self.add_blob(media_type, index.to_string().into_bytes());
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        self.manifests.push(descriptor);
        self
    }

    /// Adds several images, each for the machine it says, to the layout's own index, without a tag.
    #[must_use]
    pub fn platforms(mut self, images: Vec<Image>) -> Self {
        for image in images {
            let mut descriptor = self.add_image(&image);
            descriptor["platform"] = image.platform();
            self.manifests.push(descriptor);
        }
        self
    }

    /// Writes it as a directory, which is made if it is not there.
    pub fn write_directory(&self, directory: &Path) {
        std::fs::create_dir_all(directory.join("blobs/sha256")).expect("a directory for blobs");
        for (name, bytes) in self.files() {
            std::fs::write(directory.join(name), bytes).expect("a file of the layout");
        }
    }

    /// Writes it as a tar archive.
    pub fn write_archive(&self, file: &Path) {
        write_archive(file, &self.files());
    }

    /// The files of the layout, by name: for those who want to break one.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let index = json!({ "schemaVersion": 2, "manifests": self.manifests });
        let mut files = self.blobs.clone();
        files.insert("index.json".into(), index.to_string().into_bytes());
        files.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        files
    }

    fn add_image(&mut self, image: &Image) -> Value {
        let config = self.add_blob("application/vnd.oci.image.config.v1+json", image.config_bytes());
        let encoded =
            image.layers.iter().map(|(tar, encoding)| (encoding.media_type(), encoding.encode(tar)));
        let layers: Vec<Value> =
            encoded.map(|(media_type, bytes)| self.add_blob(media_type, bytes)).collect();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers,
        });
        self.add_blob(media_type, manifest.to_string().into_bytes())
    }

    fn add_blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor = json!({ "mediaType": media_type, "digest": digest(&bytes), "size": bytes.len() });
        self.blobs.insert(format!("blobs/sha256/{}", sha256_hex(&bytes)), bytes);
        descriptor
    }
}

/// Writes named files as a tar archive, in their order.
pub fn write_archive(file: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let layer = files.iter().fold(Layer::new(), |layer, (name, bytes)| layer.file(name, bytes));
    std::fs::write(file, layer.to_tar()).expect("an archive");
}

/// The SHA-256 of bytes in hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("compressing in memory")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}
