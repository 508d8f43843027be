//! Images and deltas that are kept elsewhere.

mod common;

use common::{ALL, Harness};

#[tokio::test]
async fn what_is_kept_in_an_object_store_is_brought_back_when_it_is_needed() {
    let store = tempfile::tempdir().unwrap();
    let url: url::Url = format!("file://{}/prefix", store.path().display()).parse().unwrap();
    std::fs::create_dir(store.path().join("prefix")).unwrap();
    let mut harness = Harness::with_objects(url).await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let kept = store.path().join("prefix");
    for part in ["blobs/sha256", "trees"] {
        assert!(std::fs::read_dir(kept.join(part)).unwrap().count() >= 2, "{part}");
    }
    // What was copied here is only a copy.
    harness.restart().await;
    std::fs::remove_dir_all(harness.data.join("copies/blobs")).unwrap();
    let delta = harness.delta(&token, &format!("/v1/deltas/{old}/{new}?{ALL}")).await.expect(200);
    assert_eq!(std::fs::read_dir(kept.join("deltas")).unwrap().count(), 1);
    assert_eq!(delta.header("etag"), format!("\"{}\"", skiff_testkit::sha256_hex(&delta.body)));
    let manifest = harness.get("/v2/pumps/manifests/latest", &token).await.expect(200).json();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let blob = harness.get(&format!("/v2/pumps/blobs/{digest}"), &token).await.expect(200);
    assert_eq!(digest, format!("sha256:{}", skiff_testkit::sha256_hex(&blob.body)));
    assert_eq!(std::fs::read_dir(harness.data.join("spool")).unwrap().count(), 0);
    harness.server.shut_down();
}
