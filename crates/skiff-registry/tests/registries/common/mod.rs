//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub)]

use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use skiff_format::{
    BaseInfo, CodecInfo, Compression, Digest, Encoder, Facts, HeaderFields, Section, TargetInfo, compress,
};
use skiff_image::BlobDigest;
use skiff_image::documents::Descriptor;
use skiff_registry::{Client, ClientOptions, Reference, Repository, Retries, Transport};
pub use skiff_testkit::noise_of;
use skiff_testkit::{Image, Layer, OciLayout, TestRegistry};
use skiff_tree::ReleaseId;

/// A directory that goes when the test ends.
pub struct Work(tempfile::TempDir);

impl Work {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// For plain HTTP, and without patience.
pub fn options() -> ClientOptions {
    let mut retries = Retries::default();
    (retries.first_wait, retries.longest_wait) = (Duration::from_millis(1), Duration::from_millis(5));
    ClientOptions::default().with_transport(Transport::Plain).with_retries(retries)
}

pub fn client() -> Client<'static> {
    Client::new(options()).expect("a client")
}

pub fn reference(registry: &TestRegistry, image: &str) -> Reference {
    at(&registry.address(), image)
}

pub fn at(address: &str, image: &str) -> Reference {
    format!("docker://{address}/{image}").parse().expect("a reference")
}

/// A delta from a release to another one, whose manifest has this digest, with so many bytes that do not compress.
pub fn delta(
    work: &Work,
    (base, target): (&str, &str),
    manifest: Option<BlobDigest>,
    size: usize,
) -> PathBuf {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    let mut add = |section, payload: &[u8]| {
        let frame = compress(section, payload, &Compression::XZ).expect("a frame");
        encoder.add(frame).expect("room in memory");
    };
    if manifest.is_some() {
        add(Section::Manifest, b"{}");
    }
    for (index, payload) in noise_of(&format!("{base} {target}"), size).chunks(1 << 20).enumerate() {
        let section = if index == 0 { Section::Tree } else { Section::Contents };
        add(section, payload);
    }
    let fields = HeaderFields {
        codecs: vec![CodecInfo { id: 1, version: 0 }, CodecInfo { id: 5, version: 2 }],
        bases: vec![BaseInfo { release: digest(base), tree: digest(base) }],
        target: TargetInfo {
            release: digest(target),
            tree: digest(target),
            config: None,
            manifest: manifest.map(|digest| Digest::from_bytes(*digest.as_bytes())),
        },
        facts: Facts { new_bytes: size as u64, decoder_memory: 1 << 20, ..Facts::default() },
    };
    let mut bytes = Vec::new();
    encoder.finish(&fields, &mut bytes).expect("a delta");
    let path = work.path(&format!("{base}-{target}.skiff"));
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// The release that [`delta`] calls so.
pub fn release(name: &str) -> ReleaseId {
    ReleaseId::from_bytes(*Digest::of(name.as_bytes()).as_bytes())
}

/// Puts two images there and returns the repository and the manifest of the second one.
pub fn with_images(registry: &TestRegistry, address: &str) -> (Repository, Descriptor, BlobDigest) {
    let image = |text: &str| Image::new().layer(Layer::new().file("etc/motd", text));
    registry.put_layout("app", &OciLayout::new().image("1.0", image("old")).image("1.1", image("new")));
    let reference = at(address, "app:1.1");
    let resolved = client().resolve(&reference, None).expect("the image");
    (reference.repository().clone(), resolved.manifest, resolved.digest)
}
