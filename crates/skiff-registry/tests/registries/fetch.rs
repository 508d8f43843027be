//! Images fetched from a registry on loopback.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::common::*;
use skiff_image::{FlattenOptions, Image as OpenImage, OpenOptions};
use skiff_registry::Layout;
use skiff_testkit::{Image, Layer, OciLayout, RegistryOptions, TestRegistry};

/// A layer that does not compress.
fn noise(name: &str, size: usize) -> Layer {
    Layer::new().file(name, noise_of(name, size))
}

fn two_images() -> OciLayout {
    let base = noise("lib", 200_000);
    let old = Image::new().layer(base.clone()).layer(noise("old", 1000));
    let new = Image::new().layer(base).layer(noise("new", 2000));
    OciLayout::new().image("1.0", old).image("1.1", new)
}

#[test]
fn an_image_is_what_it_is_in_the_layout_it_came_from() {
    let work = Work::new();
    let registry = TestRegistry::start(RegistryOptions::default());
    let images = two_images();
    registry.put_layout("team/app", &images);
    images.write_directory(&work.path("source"));

    let layout = Layout::create(work.path("cache")).unwrap();
    let client = client();
    for tag in ["1.0", "1.1"] {
        let fetched = client.fetch(&reference(&registry, &format!("team/app:{tag}")), None, &layout).unwrap();
        let opened = OpenImage::open(&fetched.image, &OpenOptions::default()).unwrap();
        let source = format!("oci:{}:{tag}", work.path("source").display()).parse().unwrap();
        let source = OpenImage::open(&source, &OpenOptions::default()).unwrap();
        assert_eq!(opened.manifest(), source.manifest());
        let release = |image: &OpenImage| image.flatten(&FlattenOptions::default()).unwrap().release_id();
        assert_eq!(release(&opened), release(&source));
    }
}

#[test]
fn what_a_layout_does_not_retain_is_gone_and_fetched_anew() {
    let work = Work::new();
    let registry = TestRegistry::start(RegistryOptions::default());
    registry.put_layout("app", &two_images());
    let layout = Layout::create(work.path("cache")).unwrap();
    let [old, new] = ["1.0", "1.1"]
        .map(|tag| client().fetch(&reference(&registry, &format!("app:{tag}")), None, &layout).unwrap());
    let opened = OpenImage::open(&new.image, &OpenOptions::default()).unwrap();
    let flat = opened.flatten(&FlattenOptions::default()).unwrap();
    let layers = flat.layers.iter().filter_map(|layer| layer.digest);
    let config = flat.config.as_deref().map(skiff_image::BlobDigest::of);
    let kept: HashSet<_> = layers.chain(config).chain([new.manifest]).collect();
    std::fs::write(work.path("cache/blobs/sha256/notes"), b"no blob").unwrap();
    layout.retain(|digest| kept.contains(digest), skiff_fs::Control::default()).unwrap();
    std::fs::write(work.path("cache/.skiff/00.part"), b"begun").unwrap();
    let minute = std::time::Duration::from_secs(60);
    for (before, left) in [(SystemTime::now() - minute, 2), (SystemTime::now() + minute, 1)] {
        layout.discard_parts(before, skiff_fs::Control::default()).unwrap();
        assert_eq!(std::fs::read_dir(work.path("cache/.skiff")).unwrap().count(), left);
    }
    assert!(work.path("cache/.skiff/lock").exists());
    // The four blobs of the one image, and what is none of the layout's.
    assert_eq!(std::fs::read_dir(work.path("cache/blobs/sha256")).unwrap().count(), 5);
    assert!(OpenImage::open(&old.image, &OpenOptions::default()).is_err());
    let opened = OpenImage::open(&new.image, &OpenOptions::default()).unwrap();
    assert_eq!(opened.flatten(&FlattenOptions::default()).unwrap().release_id(), flat.release_id());
    let again = client().fetch(&reference(&registry, "app:1.0"), None, &layout).unwrap();
    assert!(again.transferred < 10_000 && again.reused > 200_000, "{again:?}");
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let work = Work::new();
    let registry = TestRegistry::start(RegistryOptions::default());
    registry.put_layout("app", &two_images());
    let layout = Layout::create(work.path("cache")).unwrap();
    let first = client().fetch(&reference(&registry, "app:1.0"), None, &layout).unwrap();
    assert!(first.transferred > 200_000 && first.reused == 0, "{first:?}");
    let second = client().fetch(&reference(&registry, "app:1.1"), None, &layout).unwrap();
    assert!(second.transferred < 10_000 && second.reused > 200_000, "{second:?}");

    // By digest, nobody is asked at all.
    let before = registry.requests().len();
    let by_digest = reference(&registry, &format!("app@{}", second.manifest));
    let third = client().fetch(&by_digest, None, &layout).unwrap();
    assert_eq!((third.transferred, third.reused), (0, second.transferred + second.reused));
    assert_eq!(third.image, second.image);
    assert_eq!(registry.requests().len(), before);
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_was() {
    let work = Work::new();
    let registry = TestRegistry::scripted(RegistryOptions::default(), |request, _| {
        let start = request.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?;
        assert_ne!(start, "0");
        None
    });
    registry.put_layout("app", &two_images());
    let proxy = skiff_testkit::FlakyProxy::start(&registry.address(), 20_000);
    let layout = Layout::create(work.path("cache")).unwrap();
    let fetched = client().fetch(&at(&proxy.address(), "app:1.0"), None, &layout).unwrap();
    assert!(proxy.cuts() >= 9, "{}", proxy.cuts());
    assert!(fetched.transferred < proxy.bytes_down());
    let heads = proxy.connections() * 1000;
    assert!(
        proxy.bytes_down() < fetched.transferred + heads,
        "{} {}",
        proxy.bytes_down(),
        fetched.transferred
    );
    OpenImage::open(&fetched.image, &OpenOptions::default())
        .unwrap()
        .flatten(&FlattenOptions::default())
        .unwrap();
}

#[test]
fn two_that_fetch_at_once_fetch_each_blob_once() {
    let work = Work::new();
    let registry = TestRegistry::start(RegistryOptions::default());
    registry.put_layout("app", &two_images());
    // Each takes a while, so that the others wait.
    let proxy = skiff_testkit::FlakyProxy::start(&registry.address(), 60_000);
    let fetch = |tag: &str| {
        let layout = Layout::create(work.path("cache")).unwrap();
        client().fetch(&at(&proxy.address(), tag), None, &layout).unwrap()
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            ["app:1.0", "app:1.1", "app:1.0", "app:1.1"].map(|tag| scope.spawn(move || fetch(tag))).into();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut whole = HashSet::new();
    for request in registry.requests() {
        if request.path.contains("/blobs/") && request.header("range").is_none() {
            assert!(whole.insert(request.path.clone()), "{} twice", request.path);
        }
    }
    for fetched in all {
        OpenImage::open(&fetched.image, &OpenOptions::default()).unwrap();
    }
    let index = std::fs::read_to_string(work.path("cache/index.json")).unwrap();
    assert_eq!(index.matches("ref.name").count(), 2, "{index}");
}
