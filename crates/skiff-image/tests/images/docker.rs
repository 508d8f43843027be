//! Archives as `docker save` writes them, now and formerly.

use std::collections::BTreeMap;
use std::process::Command;

use crate::common::*;
use serde_json::{Value, json};
use skiff_image::*;
use skiff_testkit::{
    DockerForm, Encoding, Image as TestImage, Layer, OciLayout, docker_archive, sha256_hex, write_archive,
};

fn lower() -> Layer {
    Layer::new().directory("d").file("d/a", vec![b'a'; 100_000]).file("d/b", b"2")
}

fn upper(text: &str) -> Layer {
    Layer::new().whiteout("d/b").file("d/c", text)
}

fn encoded(text: &str, encoding: Encoding) -> TestImage {
    TestImage::new().encoded_layer(lower(), encoding).encoded_layer(upper(text), encoding).command(&[text])
}

fn image(text: &str) -> TestImage {
    encoded(text, Encoding::Plain)
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

/// Flattens an archive of these files.
fn flatten_files(files: &BTreeMap<String, Vec<u8>>, selection: &str) -> Result<FlatImage, ImageError> {
    let archive = tempfile::NamedTempFile::new().expect("an archive");
    write_archive(archive.path(), files);
    flatten(&format!("docker-archive:{}{selection}", archive.path().display()))
}

#[test]
fn several_images_in_one_archive_of_either_form() {
    for form in [DockerForm::Blobs, DockerForm::Layers] {
        let (one, two) = (image("1"), encoded("2", Encoding::Gzip));
        let files = docker_archive(form, &[(&["app:1", "reg:5000/app:latest"], &one), (&[], &two)]);
        for (selection, text) in [
            (":app:1", "1"),
            (":docker.io/library/app:1", "1"),
            (":reg:5000/app", "1"),
            (":@0", "1"),
            (":@1", "2"),
        ] {
            let flat = flatten_files(&files, selection).unwrap();
            assert_eq!(text_of(&flat), text, "{form:?}");
            assert!(flat.manifest.is_none());
            assert_eq!(flat.layers[0].digest.is_some(), form == DockerForm::Blobs);
            assert_eq!(flat.config, Some(if text == "1" { one.config_bytes() } else { two.config_bytes() }));
        }
        let all = ["app:1", "reg:5000/app:latest", "@1"];
        assert_eq!(known(flatten_files(&files, "")), all, "{form:?}");
        assert_eq!(known(flatten_files(&files, ":app")), all, "{form:?}");
        assert_eq!(known(flatten_files(&files, ":@2")), all, "{form:?}");
        let same_name = docker_archive(form, &[(&["app:1"], &one), (&["app:1"], &two)]);
        assert_eq!(known(flatten_files(&same_name, ":app:1")), ["app:1", "app:1"], "{form:?}");
    }
}

#[test]
fn a_saved_archive_may_be_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("saved.tar");
    let source = format!("docker-archive:{}", file.display());
    write_archive(&file, &docker_archive(DockerForm::Layers, &[(&["app:1"], &image("1"))]));
    let (flat, tar) = (flatten(&source).unwrap(), std::fs::read(&file).unwrap());
    for encoding in Encoding::ALL {
        std::fs::write(&file, encoding.encode(&tar)).unwrap();
        assert_eq!(flatten(&source).unwrap().release_id(), flat.release_id(), "{encoding:?}");
    }
}

/// Puts other bytes where the file with these stands.
fn exchange(files: &mut BTreeMap<String, Vec<u8>>, bytes: &[u8], other: &[u8]) {
    let name = files.iter().find(|(_, found)| *found == bytes).expect("the file").0.clone();
    files.insert(name, other.to_vec());
}

#[test]
fn each_digest_is_checked() {
    let mismatch = |files: &BTreeMap<String, Vec<u8>>| match flatten_files(files, "") {
        Err(ImageError::DigestMismatch { what, expected, found }) => (what, expected, found),
        other => panic!("{:?}", other.map(|flat| summary(&flat))),
    };
    let digest = |bytes: &[u8]| format!("sha256:{}", sha256_hex(bytes));
    for form in [DockerForm::Blobs, DockerForm::Layers] {
        for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Xz] {
            let saved = encoded("1", encoding);
            let files = docker_archive(form, &[(&["app:1"], &saved)]);
            // The config is named by its digest in both forms.
            let config = saved.config_bytes();
            let changed = [&config[..], b" "].concat();
            let mut broken = files.clone();
            exchange(&mut broken, &config, &changed);
            assert_eq!(mismatch(&broken), ("config".into(), digest(&config), digest(&changed)));
            // A layer's blob is too in the newer form; its DiffID is in the config in both.
            for (index, (old, new)) in
                [(lower(), lower().mtime(1, 0)), (upper("1"), upper("9"))].iter().enumerate()
            {
                let (old, new) = (old.to_tar(), new.to_tar());
                let (old_blob, new_blob) = (encoding.encode(&old), encoding.encode(&new));
                let mut broken = files.clone();
                exchange(&mut broken, &old_blob, &new_blob);
                let expected = match form {
                    DockerForm::Blobs => (digest(&old_blob), digest(&new_blob)),
                    _ => (digest(&old), digest(&new)),
                };
                let layer = format!("layer {index}");
                assert_eq!(mismatch(&broken), (layer, expected.0, expected.1), "{form:?} {encoding:?}");
            }
        }
    }
}

#[test]
fn a_blob_that_is_as_named_can_still_be_another_layer() {
    let mut files = docker_archive(DockerForm::Blobs, &[(&["app:1"], &image("1"))]);
    let other = Encoding::Gzip.encode(&upper("9").to_tar());
    let name = format!("blobs/sha256/{}", sha256_hex(&other));
    let mut manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    manifest[0]["Layers"][1] = json!(name);
    files.insert("manifest.json".into(), manifest.to_string().into_bytes());
    files.insert(name, other);
    let error = flatten_files(&files, "").unwrap_err();
    let diff_id = &image("1").diff_ids()[1];
    assert!(
        matches!(&error, ImageError::DigestMismatch { what, expected, .. } if what == "layer 1" && expected == diff_id),
        "{error}"
    );
}

#[test]
fn layers_that_the_config_does_not_know_are_refused() {
    let files = docker_archive(DockerForm::Layers, &[(&["app:1"], &image("1"))]);
    let changes: [fn(&mut Vec<Value>); 2] =
        [|layers| drop(layers.pop()), |layers| layers.push(layers[0].clone())];
    for change in changes {
        let mut manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        change(manifest[0]["Layers"].as_array_mut().unwrap());
        let mut files = files.clone();
        files.insert("manifest.json".into(), manifest.to_string().into_bytes());
        match flatten_files(&files, "") {
            Err(ImageError::Corrupt { at, what }) => {
                assert_eq!(at.part, Part::Config);
                assert!(what.contains("it names 2 layers"), "{what}");
            }
            other => panic!("{:?}", other.map(|flat| summary(&flat))),
        }
    }
    let mut files = files;
    let layer = files.keys().find(|name| name.ends_with("/layer.tar")).unwrap().clone();
    files.remove(&layer);
    let error = flatten_files(&files, "").unwrap_err().to_string();
    assert!(error.contains(&layer) && error.contains("layer "), "{error}");
}

#[test]
fn what_docker_saved_before_there_were_manifests_is_told() {
    let files = docker_archive(DockerForm::Chains, &[(&["app:1"], &image("1"))]);
    let error = flatten_files(&files, "").unwrap_err();
    assert!(matches!(error, ImageError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("load it into a newer one and save it again"), "{error}");
    // Other archives that are no docker archives.
    let layout = OciLayout::new().image("t", image("1")).files();
    let error = flatten_files(&layout, "").unwrap_err().to_string();
    assert!(error.contains("its name is oci-archive:"), "{error}");
    let error = flatten_files(&BTreeMap::from([("a".into(), Vec::new())]), "").unwrap_err().to_string();
    assert!(error.contains("is it what `docker save` wrote?"), "{error}");
}

#[test]
#[ignore = "needs skopeo"]
fn skopeo_reads_and_refuses_the_same_archives() {
    let directory = tempfile::tempdir().unwrap();
    let (file, copy) = (directory.path().join("saved.tar"), directory.path().join("copy"));
    let source = format!("docker-archive:{}", file.display());
    let skopeo = |name: &str| {
        let _ = std::fs::remove_dir_all(&copy);
        let copy = format!("oci:{}:copy", copy.display());
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", &format!("{source}{name}"), &copy]).output().unwrap()
    };
    for form in [DockerForm::Blobs, DockerForm::Layers] {
        let (one, two) = (image("1"), encoded("2", Encoding::Gzip));
        write_archive(&file, &docker_archive(form, &[(&["app:1"], &one), (&["app:2"], &two)]));
        for (name, text) in [(":app:1", "1"), (":@1", "2")] {
            assert!(skopeo(name).status.success());
            let (ours, theirs) = (
                flatten(&format!("{source}{name}")).unwrap(),
                flatten(&format!("oci:{}:copy", copy.display())).unwrap(),
            );
            assert_eq!((text_of(&ours), ours.tree), (text.to_owned(), theirs.tree), "{form:?}{name}");
        }
        assert!(!skopeo("").status.success(), "which of two it takes");
    }
    write_archive(&file, &docker_archive(DockerForm::Chains, &[(&["app:1"], &image("1"))]));
    let refused = skopeo("");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("manifest.json"));
}

#[test]
fn the_name_of_a_docker_archives_config_is_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("saved.tar");
    let name = format!("{}.json", "0".repeat(64));
    let manifest = format!(r#"[{{"Config":"{name}","Layers":[]}}]"#);
    let archive = Layer::new().file("manifest.json", manifest).file(name, TestImage::new().config_bytes());
    std::fs::write(&file, archive.to_tar()).unwrap();
    let result = flatten(&format!("docker-archive:{}", file.display()));
    assert!(matches!(result, Err(ImageError::DigestMismatch { .. })));
}

#[test]
fn equal_layers_may_be_links_in_a_docker_archive() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("saved.tar");
    let image = image("1");
    let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["x/layer.tar","y/layer.tar"]}]"#;
    let archive = Layer::new()
        .file("./manifest.json", manifest)
        .file("c.json", image.config_bytes())
        .symlink("x/layer.tar", "../z/lower.tar")
        .file("z/lower.tar", lower().to_tar())
        .file("z/upper.tar", upper("1").to_tar())
        .hard_link("y/layer.tar", "z/upper.tar");
    std::fs::write(&file, archive.to_tar()).unwrap();
    assert_eq!(text_of(&flatten(&format!("docker-archive:{}", file.display())).unwrap()), "1");
    let looped = archive.symlink("z/upper.tar", "upper.tar");
    std::fs::write(&file, looped.to_tar()).unwrap();
    assert_eq!(known(flatten(&format!("docker-archive:{}", file.display()))), [""; 0]);
}
