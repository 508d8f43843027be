//! Where images come from.

use std::path::Path;
use std::process::Command;

use crate::common::*;
use skiff_image::*;
use skiff_testkit::{Encoding, Image as TestImage, Layer, OciLayout, write_docker_archive};

fn lower() -> Layer {
    Layer::new().directory("d").file("d/a", vec![b'a'; 100_000]).file("d/b", b"2")
}

fn upper(text: &str) -> Layer {
    Layer::new().whiteout("d/b").file("d/c", text)
}

fn image(text: &str, encoding: Encoding) -> TestImage {
    TestImage::new().encoded_layer(lower(), encoding).encoded_layer(upper(text), encoding).command(&[text])
}

fn text_of(flat: &FlatImage) -> String {
    String::from_utf8(content(flat, &path("d/c"))).expect("text")
}

fn known(result: Result<FlatImage, ImageError>) -> Vec<String> {
    match result {
        Err(ImageError::NotFound { known, .. }) => known,
        other => panic!("{other:?}"),
    }
}

#[test]
fn oci_layouts_in_directories_and_archives() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, archive) = (directory.path().join("layout"), directory.path().join("archive.tar"));
    let images =
        OciLayout::new().image("one", image("1", Encoding::Gzip)).image("two:x", image("2", Encoding::Plain));
    images.write_directory(&layout);
    images.write_archive(&archive);
    let compressed = directory.path().join("archive.tar.zst");
    std::fs::write(&compressed, Encoding::ZstdFrames.encode(&std::fs::read(&archive).unwrap())).unwrap();
    let squeezed = directory.path().join("archive.tar.xz");
    std::fs::write(&squeezed, Encoding::XzStreams.encode(&std::fs::read(&archive).unwrap())).unwrap();
    for source in [
        format!("oci:{}", layout.display()),
        format!("oci-archive:{}", archive.display()),
        format!("oci-archive:{}", compressed.display()),
        format!("oci-archive:{}", squeezed.display()),
    ] {
        for (selection, text) in [("one", "1"), ("two:x", "2"), ("@0", "1"), ("@1", "2")] {
            let flat = flatten(&format!("{source}:{selection}")).unwrap();
            assert_eq!(text_of(&flat), text);
            let expected = image(text, Encoding::Gzip);
            assert_eq!(flat.config, Some(expected.config_bytes()));
            assert_eq!(
                flat.layers.iter().map(|layer| layer.diff_id.to_string()).collect::<Vec<_>>(),
                expected.diff_ids()
            );
            let manifest: serde_json::Value =
                serde_json::from_slice(flat.manifest.as_deref().unwrap()).unwrap();
            assert_eq!(manifest["layers"][0]["digest"], flat.layers[0].digest.unwrap().to_string());
            assert_eq!(manifest["layers"][0]["size"], flat.layers[0].size);
        }
        assert_eq!(known(flatten(&source)), ["one", "two:x"]);
        assert_eq!(known(flatten(&format!("{source}:three"))), ["one", "two:x"]);
        assert_eq!(known(flatten(&format!("{source}:@2"))), ["one", "two:x"]);
    }
}

#[test]
#[ignore = "needs skopeo"]
fn what_skopeo_copies_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    OciLayout::new().image("one", image("1", Encoding::Gzip)).write_directory(&layout);
    let source = format!("oci:{}:one", layout.display());
    let expected = flatten(&source).unwrap();
    for (transport, name) in [("docker-archive", "app:1"), ("oci-archive", "two"), ("oci", "three")] {
        let copy = format!("{transport}:{}:{name}", directory.path().join(transport).display());
        run(Command::new("skopeo").args(["--insecure-policy", "copy", &source, &copy]));
        let flat = flatten(&copy).unwrap();
        assert_eq!(flat.tree, expected.tree, "{transport}");
        let diff_ids = |flat: &FlatImage| flat.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>();
        assert_eq!(diff_ids(&flat), diff_ids(&expected), "{transport}");
    }
}

#[test]
fn tar_archives_and_directories() {
    let directory = tempfile::tempdir().unwrap();
    let flat = flatten_image(image("1", Encoding::Zstd)).unwrap();
    let mut tar = Vec::new();
    write_tar(&flat.tree, &flat.contents, &mut tar, Default::default()).unwrap();
    for encoding in Encoding::ALL {
        let file = directory.path().join("a:b.tar");
        std::fs::write(&file, encoding.encode(&tar)).unwrap();
        let again = flatten(&format!("tar:{}", file.display())).unwrap();
        assert_eq!(again.tree, flat.tree);
        assert_eq!(summary(&again), summary(&flat));
        assert_eq!((again.config.is_none(), again.manifest.is_none(), again.layers.len()), (true, true, 0));
        assert_ne!(again.release_id(), flat.release_id(), "a config is part of a release");
    }
    let rootfs = directory.path().join("rootfs");
    std::fs::create_dir_all(rootfs.join("d")).unwrap();
    std::fs::write(rootfs.join("d/c"), "text").unwrap();
    let flat = flatten(&format!("rootfs:{}", rootfs.display())).unwrap();
    assert_eq!(text_of(&flat), "text");
    assert_eq!(flat.tree, tree_on_disk(&rootfs));
    assert!(matches!(flatten("rootfs:/nonexistent/x"), Err(ImageError::Fs(_))));
    assert!(matches!(flatten("tar:/nonexistent/x"), Err(ImageError::Io { .. })));
    assert!(matches!(flatten(&format!("tar:{}", rootfs.display())), Err(ImageError::Io { .. })));
    assert!(matches!(flatten(&format!("oci:{}", rootfs.display())), Err(ImageError::NotFound { .. })));
}

#[test]
fn contents_that_occur_twice_are_spooled_once_and_read_everywhere() {
    let big = vec![b'x'; 300_000];
    let layer = Layer::new().file("a", &big).file("b", b"between").file("c", &big).file("d", b"after");
    let flat = flatten_layers([layer.clone(), Layer::new().file("e", &big), layer]).unwrap();
    for (name, bytes) in [("a", &big[..]), ("b", b"between"), ("c", &big), ("d", b"after"), ("e", &big)] {
        assert_eq!(content(&flat, &path(name)), bytes);
    }
    use skiff_tree::ContentSource as _;
    let missing = flat.contents.open(&path("nothing")).err().unwrap();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn documents_that_mislead_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let refuse = |index: &str| {
        std::fs::write(directory.path().join("index.json"), index).unwrap();
        flatten(&format!("oci:{}", directory.path().display())).unwrap_err()
    };
    let digest = |text: &str| format!(r#"{{"manifests":[{{"mediaType":"m","size":1,"digest":"{text}"}}]}}"#);
    assert!(matches!(refuse("[]"), ImageError::Corrupt { .. }));
    assert!(matches!(refuse("{}"), ImageError::NotFound { .. }));
    assert!(matches!(refuse(&digest("sha512:00")), ImageError::Unsupported { .. }));
    assert!(matches!(refuse(&digest("sha256:../../../etc/passwd")), ImageError::Unsupported { .. }));
    assert!(matches!(refuse(&digest(&format!("sha256:{}", "0".repeat(64)))), ImageError::NotFound { .. }));

    // An index and a manifest at once (CVE-2021-41190).
    let both = br#"{"manifests":[],"layers":[],"config":{"digest":"","size":0}}"#;
    let name = skiff_testkit::sha256_hex(both);
    std::fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
    std::fs::write(directory.path().join("blobs/sha256").join(&name), both).unwrap();
    let index =
        digest(&format!("sha256:{name}")).replace(r#""size":1"#, &format!(r#""size":{}"#, both.len()));
    assert!(refuse(&index).to_string().contains("neither an index nor"));
}

#[test]
fn the_pull_size_is_that_of_the_layers_the_base_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, image: TestImage| {
        let layout = directory.path().join(name);
        OciLayout::new().image("t", image).write_directory(&layout);
        open(&format!("oci:{}", layout.display())).unwrap()
    };
    let (old, new) = (write("old", image("1", Encoding::Gzip)), write("new", image("2", Encoding::Zstd)));
    assert_eq!(old.layers()[0].diff_id, new.layers()[0].diff_id);
    assert_eq!(pull_size(&new.layers(), &old.layers()), new.layers()[1].size);
    assert_eq!(pull_size(&new.layers(), &[]), new.layers()[0].size + new.layers()[1].size);
    assert_eq!(new.pull_size(&old.layers(), Default::default()).unwrap(), new.layers()[1].size);
    assert_eq!(new.pull_size(&new.layers(), Default::default()).unwrap(), 0);
    let twice = write("twice", TestImage::new().layer(lower()).layer(lower()));
    assert_eq!(pull_size(&twice.layers(), &old.layers()[1..]), twice.layers()[0].size);

    // Not compressed where it is, but where it is pulled from.
    let file = directory.path().join("saved.tar");
    write_docker_archive(&file, &[(&["app:1"], &image("2", Encoding::Plain))]);
    let docker = open(&format!("docker-archive:{}", file.display())).unwrap();
    let (size, gzip) = (
        docker.pull_size(&old.layers(), Default::default()).unwrap(),
        Encoding::Gzip.encode(&upper("2").to_tar()).len(),
    );
    assert_eq!(size, gzip as u64);
    whole_sizes(directory.path(), &file);
}

fn whole_sizes(directory: &Path, file: &Path) {
    let tar = open(&format!("tar:{}", file.display())).expect("a size");
    let gzip = Encoding::Gzip.encode(&std::fs::read(file).expect("a size")).len();
    assert_eq!(tar.pull_size(&[], Default::default()).expect("a size"), gzip as u64);
    let rootfs = open(&format!("rootfs:{}", directory.join("old").display())).expect("a size");
    let size = rootfs.pull_size(&[], Default::default()).expect("a size");
    assert!(size > 500 && size < 20_000, "{size}");
}
