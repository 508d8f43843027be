//! Deltas pushed to a registry on loopback, found there and pulled.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::*;
use serde_json::{Value, json};
use skiff_registry::{Client, DELTA_TYPE, ErrorClass, FoundDelta, Limits, ListedBy, NewDelta, RegistryError};
use skiff_testkit::{CutUploads, FlakyProxy, HttpAnswer, RegistryOptions, TestRegistry};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

fn lists(page: usize) -> RegistryOptions {
    RegistryOptions { referrers_page: Some(page), ..RegistryOptions::default() }
}

/// Pushes deltas from three bases, finds them, and pulls one.
fn push_find_pull(options: RegistryOptions, listed_by: ListedBy) {
    let work = Work::new();
    let registry = TestRegistry::start(options);
    let (repository, manifest, target) = with_images(&registry, &registry.address());
    let client = client();
    let mut files = Vec::new();
    for (base, size) in [("a", 3000), ("b", 1000), ("c", 2000)] {
        let file = delta(&work, (base, "new"), Some(target), size);
        let pushed = client.push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
        assert_eq!(pushed.listed_by, listed_by);
        assert_eq!(pushed.transferred, pushed.info.bytes);
        files.push((base, file, pushed));
    }
    let found = client.find_deltas(&repository, &target).unwrap();
    let sizes: Vec<u64> = found.iter().map(|found| found.info.new_bytes).collect();
    assert_eq!(sizes, [1000, 2000, 3000]);
    for (base, file, pushed) in &files {
        let of_base: Vec<&FoundDelta> =
            found.iter().filter(|found| found.info.applies_to(release(base))).collect();
        let [found] = of_base[..] else { panic!("{base}: {found:?}") };
        assert_eq!((&found.info, &found.manifest.digest), (&pushed.info, &pushed.manifest.digest));
        assert_eq!(found.info.target, release("new"));
        let to = work.path("pulled.skiff");
        let pulled = client.pull_delta(&repository, found, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(file).unwrap());
        assert_eq!((pulled.transferred, pulled.reused), (found.info.bytes, 0));
        assert!(!work.path("pulled.skiff.part").exists());
    }
    // Of another image there are none.
    let other = client.resolve(&reference(&registry, "app:1.0"), None).unwrap();
    assert_eq!(client.find_deltas(&repository, &other.digest).unwrap(), []);
}

#[test]
fn by_the_list_of_a_registry_that_has_one_on_one_page() {
    push_find_pull(lists(100), ListedBy::Referrers);
}

#[test]
fn by_the_list_of_a_registry_that_has_one_on_many_pages() {
    push_find_pull(lists(1), ListedBy::Referrers);
}

#[test]
fn by_the_tag_where_the_registry_has_no_list() {
    push_find_pull(RegistryOptions::default(), ListedBy::Tag);
}

#[test]
fn by_the_tag_where_the_registry_does_not_understand() {
    for status in [400, 405] {
        let work = Work::new();
        let registry = TestRegistry::scripted(RegistryOptions::default(), move |request, _| {
            request.path.contains("/referrers/").then(|| HttpAnswer::new(status))
        });
        let (repository, manifest, target) = with_images(&registry, &registry.address());
        let file = delta(&work, ("old", "new"), Some(target), 1000);
        client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
        assert_eq!(client().find_deltas(&repository, &target).unwrap().len(), 1);
    }
}

#[test]
fn pushing_again_changes_nothing_and_sends_nothing() {
    let work = Work::new();
    let registry = TestRegistry::start(RegistryOptions::default());
    let (repository, manifest, target) = with_images(&registry, &registry.address());
    let file = delta(&work, ("old", "new"), None, 1000);
    let first = client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
    let again = client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
    assert_eq!((again.transferred, again.reused), (0, first.transferred));
    assert_eq!(again.manifest, first.manifest);
    assert_eq!(client().find_deltas(&repository, &target).unwrap().len(), 1);
}

#[test]
fn the_artifact_is_what_the_specification_says() {
    let work = Work::new();
    let registry = TestRegistry::start(lists(100));
    let (repository, manifest, target) = with_images(&registry, &registry.address());
    let file = delta(&work, ("old", "new"), Some(target), 1000);
    let base = skiff_image::BlobDigest::of(b"the base's manifest");
    let new = NewDelta::new(&file, &manifest).with_base_manifest(base);
    let pushed = client().push_delta(&repository, &new).unwrap();
    assert_eq!(pushed.info.base_manifest, Some(base));
    let bytes = registry.manifest("app", &pushed.manifest.digest).unwrap();
    let artifact: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(artifact["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(artifact["artifactType"], DELTA_TYPE);
    assert_eq!(artifact["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(registry.blob(artifact["config"]["digest"].as_str().unwrap()).unwrap(), b"{}");
    assert_eq!(artifact["subject"]["digest"], target.to_string());
    assert_eq!(artifact["subject"]["mediaType"], manifest.media_type);
    assert_eq!(artifact["layers"].as_array().unwrap().len(), 1);
    let layer = registry.blob(artifact["layers"][0]["digest"].as_str().unwrap()).unwrap();
    assert_eq!(layer, std::fs::read(&file).unwrap());
    let annotations = &artifact["annotations"];
    let said = |name: &str| annotations[format!("io.github.skiff-update.delta.{name}")].as_str().unwrap();
    assert_eq!(said("base"), release("old").to_string());
    assert_eq!(said("target"), release("new").to_string());
    assert_eq!(said("base-manifest"), base.to_string());
    assert_eq!(said("bytes"), layer.len().to_string());
    assert_eq!(said("new-bytes"), "1000");
    assert_eq!(said("decoder-memory"), (1 << 20).to_string());
    assert_eq!((said("format"), said("codecs")), ("1", "1.0,5.2"));
}

#[test]
fn a_delta_to_another_image_is_not_put_there() {
    let work = Work::new();
    let registry = TestRegistry::start(RegistryOptions::default());
    let (repository, manifest, _) = with_images(&registry, &registry.address());
    let file = delta(&work, ("old", "new"), Some(skiff_image::BlobDigest::of(b"another")), 1000);
    let error = client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap_err();
    assert!(matches!(error, RegistryError::WrongTarget { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::WrongRelease);
    assert!(registry.requests().iter().all(|request| request.method == "GET"));

    let cut = std::fs::read(&file).unwrap();
    std::fs::write(&file, &cut[..cut.len() - 1]).unwrap();
    let error = client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap_err();
    assert!(matches!(error, RegistryError::Delta { .. }), "{error}");
}

#[test]
fn a_list_that_somebody_else_writes_at_the_same_time_keeps_both() {
    let work = Work::new();
    let writes = AtomicU32::new(0);
    // What is put there the first two times is gone again, as when somebody else wrote just after.
    let registry = TestRegistry::scripted(RegistryOptions::default(), move |request, _| {
        let is_list = request.path.contains("/manifests/sha256-") && request.method == "PUT";
        (is_list && writes.fetch_add(1, Ordering::SeqCst) < 2).then(|| HttpAnswer::new(201))
    });
    let (repository, manifest, target) = with_images(&registry, &registry.address());
    let other = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2, "kept": true,
        "digest": format!("sha256:{}", "ab".repeat(32)), "artifactType": "application/spdx+json"});
    let list =
        json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [other], "annotations": {"a": "b"}});
    let tag = target.to_string().replacen(':', "-", 1);
    registry.put_manifest("app", &tag, INDEX_TYPE, list.to_string().as_bytes());

    let file = delta(&work, ("old", "new"), Some(target), 1000);
    client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
    let list: Value = serde_json::from_slice(&registry.manifest("app", &tag).unwrap()).unwrap();
    assert_eq!((&list["manifests"][0], &list["annotations"]["a"]), (&other, &json!("b")));
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(client().find_deltas(&repository, &target).unwrap().len(), 1);
}

#[test]
fn lists_that_say_little_are_looked_behind() {
    let work = Work::new();
    let registry = TestRegistry::start(RegistryOptions::default());
    let (repository, manifest, target) = with_images(&registry, &registry.address());
    let file = delta(&work, ("old", "new"), Some(target), 1000);
    let pushed = client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
    let bare = json!({"mediaType": pushed.manifest.media_type, "size": pushed.manifest.size, "digest": pushed.manifest.digest});
    // One that is not there any more, one that is an image, one whose type nobody wrote, and one twice.
    let gone = json!({"mediaType": pushed.manifest.media_type, "size": 5, "digest": format!("sha256:{}", "cd".repeat(32))});
    let image = json!({"mediaType": manifest.media_type, "size": manifest.size, "digest": manifest.digest});
    let list = json!({"schemaVersion": 2, "manifests": [gone, image, bare, bare]});
    let tag = target.to_string().replacen(':', "-", 1);
    registry.put_manifest("app", &tag, INDEX_TYPE, list.to_string().as_bytes());
    let found = client().find_deltas(&repository, &target).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].info, pushed.info);
    client().pull_delta(&repository, &found[0], &work.path("out")).unwrap();
}

#[test]
fn floods_of_artifacts_and_of_pages_end() {
    let registry = TestRegistry::scripted(RegistryOptions::default(), |request, _| {
        let list = json!({"manifests": [{"mediaType": "x", "size": 1, "digest": "sha256:00"}]});
        let next = format!("<{}?again>; rel=\"next\"", request.path);
        let is_list = request.path.contains("/referrers/");
        is_list.then(|| HttpAnswer::new(200).header("link", next).body(list.to_string()))
    });
    let (repository, _, target) = with_images(&registry, &registry.address());
    let find = |limits| Client::new(options().with_limits(limits)).unwrap().find_deltas(&repository, &target);
    let mut limits = Limits::default();
    limits.pages = 7;
    let error = find(limits).unwrap_err();
    assert!(matches!(error, RegistryError::LimitExceeded { limit: 7, .. }), "{error}");
    limits.referrers = 3;
    let error = find(limits).unwrap_err();
    assert!(matches!(error, RegistryError::LimitExceeded { limit: 3, wanted: 4, .. }), "{error}");
}

#[test]
fn a_delta_that_is_not_what_was_said_is_not_kept() {
    let work = Work::new();
    let registry = TestRegistry::start(lists(100));
    let (repository, manifest, target) = with_images(&registry, &registry.address());
    let file = delta(&work, ("old", "new"), Some(target), 1000);
    client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
    let mut found = client().find_deltas(&repository, &target).unwrap().remove(0);
    found.info.bases = vec![release("another")];
    let to = work.path("out");
    std::fs::write(&to, "what was there").unwrap();
    let error = client().pull_delta(&repository, &found, &to).unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error}");
    assert_eq!(std::fs::read(&to).unwrap(), b"what was there");
    assert!(!work.path("out.part").exists());
}

#[test]
fn a_pull_that_was_cut_goes_on_in_another_process() {
    let work = Work::new();
    let registry = TestRegistry::start(lists(100));
    let (repository, manifest, target) = with_images(&registry, &registry.address());
    let file = delta(&work, ("old", "new"), Some(target), 100_000);
    client().push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
    let found = client().find_deltas(&repository, &target).unwrap().remove(0);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(work.path("out.part"), &whole[..70_000]).unwrap();
    let pulled = client().pull_delta(&repository, &found, &work.path("out")).unwrap();
    assert_eq!((pulled.transferred, pulled.reused), (whole.len() as u64 - 70_000, 70_000));
    assert_eq!(std::fs::read(work.path("out")).unwrap(), whole);

    // What a power cut made of the beginning does not matter.
    std::fs::write(work.path("out.part"), vec![0; 70_000]).unwrap();
    let pulled = client().pull_delta(&repository, &found, &work.path("out")).unwrap();
    assert_eq!(pulled.reused, 0);
    assert_eq!(std::fs::read(work.path("out")).unwrap(), whole);
}

/// Pushes through a proxy that cuts, and returns what was sent again per cut, at most, and how large a chunk was.
fn push_through_cuts(cut_uploads: CutUploads, chunk: u64) -> (u64, u64) {
    let work = Work::new();
    let registry = TestRegistry::start(RegistryOptions { cut_uploads, ..RegistryOptions::default() });
    let proxy = FlakyProxy::start(&registry.address(), 64 << 10);
    let (repository, manifest, target) = with_images(&registry, &proxy.address());
    let file = delta(&work, ("old", "new"), Some(target), 700_000);
    let client = Client::new(options().with_upload_chunk(chunk)).unwrap();
    let before = proxy.bytes_up();
    let pushed = client.push_delta(&repository, &NewDelta::new(&file, &manifest)).unwrap();
    let heads = 1000 * (proxy.connections() + 40);
    let sent_again = (proxy.bytes_up() - before).saturating_sub(pushed.info.bytes + heads);
    let blob = skiff_image::BlobDigest::of(&std::fs::read(&file).unwrap());
    assert_eq!(registry.blob(&blob.to_string()).unwrap().len() as u64, pushed.info.bytes);
    println!("{cut_uploads:?}, {chunk}: {sent_again} bytes again in {} cuts", proxy.cuts());
    (sent_again.checked_div(proxy.cuts()).unwrap_or(0), proxy.cuts())
}

#[test]
fn an_upload_that_is_cut_goes_on_where_the_registry_has_it() {
    let (again, cuts) = push_through_cuts(CutUploads::Kept, 5 << 20);
    assert!(cuts >= 10 && again < 8 << 10, "{again} {cuts}");
}

#[test]
fn an_upload_that_is_cut_goes_on_in_smaller_chunks() {
    for cut_uploads in [CutUploads::Forgotten, CutUploads::Lost] {
        let (again, cuts) = push_through_cuts(cut_uploads, 5 << 20);
        assert!(cuts >= 1 && again <= 64 << 10, "{cut_uploads:?}: {again} {cuts}");
        let (again, cuts) = push_through_cuts(cut_uploads, 40_000);
        assert_eq!((again, cuts), (0, 0), "{cut_uploads:?}");
    }
}
