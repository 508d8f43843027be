//! Images for several kinds of machines.

use std::path::Path;

use crate::common::*;
use serde_json::{Value, json};
use skiff_image::*;
use skiff_testkit::{Image as TestImage, Layer, OciLayout, write_docker_archive};

/// An image with a file that says what it is for: `arm/v7`.
fn image(machine: &str) -> TestImage {
    let image = TestImage::new().layer(Layer::new().file("for", machine));
    match machine.split_once('/') {
        Some((architecture, variant)) => image.architecture(architecture).variant(variant),
        None => image.architecture(machine),
    }
}

/// What the image that is taken is for.
fn taken(reference: &str, platform: Option<&str>) -> Result<String, ImageError> {
    let options = match platform {
        Some(platform) => OpenOptions::default().with_platform(platform.parse()?),
        None => OpenOptions::default(),
    };
    let flat = Image::open(&reference.parse()?, &options)?.flatten(&FlattenOptions::default())?;
    Ok(String::from_utf8(content(&flat, &path("for"))).expect("text"))
}

fn known(result: Result<String, ImageError>) -> Vec<String> {
    match result {
        Err(ImageError::NotFound { known, .. }) => known,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_image_that_suits_the_platform_best_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let machines = ["vax", "arm/v5", "arm/v7", "arm64/v8", "amd64/v3", "amd64", "386", "arm64/v9"];
    let images = || machines.iter().map(|machine| image(machine)).collect::<Vec<_>>();
    // As an index in the index, and as some tools write it, in the layout's own.
    OciLayout::new().multi_platform_image("t", images()).write_directory(&directory.path().join("tagged"));
    OciLayout::new().platforms(images()).write_directory(&directory.path().join("flat"));
    for layout in ["tagged", "flat"] {
        let reference = format!("oci:{}", directory.path().join(layout).display());
        for (platform, machine) in [
            ("linux/vax", "vax"),
            ("linux/arm", "arm/v7"),
            ("linux/arm/v7", "arm/v7"),
            ("linux/arm/v6", "arm/v5"),
            ("linux/arm/v8", "arm/v7"),
            ("linux/arm64", "arm64/v8"),
            ("linux/aarch64/v8", "arm64/v8"),
            ("linux/arm64/v8.4", "arm64/v8"),
            ("linux/arm64/v9", "arm64/v9"),
            ("linux/amd64", "amd64"),
            ("linux/amd64/v1", "amd64"),
            ("linux/amd64/v2", "amd64"),
            ("linux/amd64/v4", "amd64/v3"),
            ("linux/386", "386"),
        ] {
            assert_eq!(taken(&reference, Some(platform)).unwrap(), machine, "{layout}: {platform}");
        }
        let error = taken(&reference, Some("linux/pdp11")).unwrap_err();
        assert!(error.to_string().contains("image for linux/pdp11 in "), "{error}");
        let all = machines.map(|machine| format!("linux/{machine}"));
        assert_eq!(known(Err(error)), all);
        assert_eq!(known(taken(&reference, Some("linux/arm/v4"))), all);
        assert_eq!(known(taken(&reference, Some("windows/amd64"))), all);
        assert!(matches!(taken(&reference, Some("arm64")), Err(ImageError::Platform { .. })));
    }
}

#[test]
fn the_platform_is_this_machines_unless_told() {
    let directory = tempfile::tempdir().unwrap();
    let here = Platform::of_this_machine().architecture;
    let images = vec![image("vax"), image(&here)];
    OciLayout::new().multi_platform_image("t", images).write_directory(directory.path());
    let reference = format!("oci:{}:t", directory.path().display());
    assert_eq!(taken(&reference, None).unwrap(), here);
}

#[test]
fn a_single_image_must_be_for_the_platform_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("saved.tar");
    let one = image("arm/v7");
    OciLayout::new().image("t", one.clone()).write_directory(&directory.path().join("layout"));
    write_docker_archive(&saved, &[(&["app:1"], &one)]);
    for reference in [
        format!("oci:{}:t", directory.path().join("layout").display()),
        format!("docker-archive:{}", saved.display()),
    ] {
        // For whatever machine, where none is named.
        assert_eq!(taken(&reference, None).unwrap(), "arm/v7");
        assert_eq!(taken(&reference, Some("linux/arm")).unwrap(), "arm/v7");
        assert_eq!(known(taken(&reference, Some("linux/arm64"))), ["linux/arm/v7"]);
        assert_eq!(known(taken(&reference, Some("linux/arm/v6"))), ["linux/arm/v7"]);
    }
}

#[test]
fn attestations_are_no_images() {
    let directory = tempfile::tempdir().unwrap();
    OciLayout::new()
        .multi_platform_image("t", vec![image("vax"), image("attestation")])
        .write_directory(directory.path());
    // As BuildKit marks them.
    change_platforms(directory.path(), |platform| {
        if platform["architecture"] == "attestation" {
            *platform = json!({ "os": "unknown", "architecture": "unknown" });
        }
    });
    let reference = format!("oci:{}:t", directory.path().display());
    assert_eq!(taken(&reference, Some("linux/vax")).unwrap(), "vax");
    assert_eq!(known(taken(&reference, Some("linux/pdp11"))), ["linux/vax"]);
}

#[test]
fn an_index_need_not_say_what_its_only_image_is_for() {
    let directory = tempfile::tempdir().unwrap();
    OciLayout::new().multi_platform_image("t", vec![image("vax")]).write_directory(directory.path());
    change_platforms(directory.path(), |platform| *platform = Value::Null);
    let reference = format!("oci:{}:t", directory.path().display());
    assert_eq!(taken(&reference, None).unwrap(), "vax");
    assert_eq!(taken(&reference, Some("linux/vax")).unwrap(), "vax");
    assert_eq!(known(taken(&reference, Some("linux/arm64"))), ["linux/vax"]);
}

/// Changes the platforms in the only index that a layout's own names.
fn change_platforms(layout: &Path, change: impl Fn(&mut Value)) {
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(layout.join(name)).expect("a document")).expect("a document")
    };
    let mut own = read("index.json");
    let digest = own["manifests"][0]["digest"].as_str().expect("a digest").replace(':', "/");
    let mut index = read(&format!("blobs/{digest}"));
    for manifest in index["manifests"].as_array_mut().expect("manifests") {
        change(&mut manifest["platform"]);
    }
    let bytes = index.to_string().into_bytes();
    let hex = skiff_testkit::sha256_hex(&bytes);
    own["manifests"][0]["digest"] = json!(format!("sha256:{hex}"));
    own["manifests"][0]["size"] = json!(bytes.len());
    std::fs::write(layout.join("blobs/sha256").join(hex), bytes).expect("a document");
    std::fs::write(layout.join("index.json"), own.to_string()).expect("a document");
}

#[test]
fn a_tag_that_two_images_have_names_none() {
    let directory = tempfile::tempdir().unwrap();
    let untold = |text: &str| TestImage::new().layer(Layer::new().file("for", text));
    let two = OciLayout::new().image("t", untold("1")).image("t", untold("2")).image("u", untold("3"));
    two.write_directory(directory.path());
    let reference = format!("oci:{}", directory.path().display());
    let error = taken(&format!("{reference}:t"), None).unwrap_err();
    assert!(error.to_string().contains("no single image tagged \"t\""), "{error}");
    assert_eq!(known(Err(error)), ["t", "t", "u"]);
    assert_eq!(taken(&format!("{reference}:@1"), None).unwrap(), "2");
    let same = OciLayout::new().image("t", untold("1")).image("t", untold("1"));
    same.write_directory(directory.path());
    assert_eq!(taken(&format!("{reference}:t"), None).unwrap(), "1");
}
