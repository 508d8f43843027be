//! Images, pulled from the server.

mod common;

use axum::body::Body;
use axum::http::Request;
use common::Harness;
use serde_json::json;

#[tokio::test]
async fn what_was_released_can_be_pulled() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    harness.release("pumps", "1").await;
    harness.release("pumps", "2").await;
    harness.get("/v2/", &token).await.expect(200);
    let tags = harness.get("/v2/pumps/tags/list", &token).await.expect(200).json();
    assert_eq!(tags, json!({ "name": "pumps", "tags": ["1", "2", "latest"] }));
    let manifest = harness.get("/v2/pumps/manifests/latest", &token).await.expect(200);
    let digest = manifest.header("docker-content-digest").to_owned();
    assert_eq!(digest, format!("sha256:{}", skiff_testkit::sha256_hex(&manifest.body)));
    assert_eq!(manifest.header("content-type"), manifest.json()["mediaType"].as_str().unwrap());
    let same = harness.get(&format!("/v2/pumps/manifests/{digest}"), &token).await.expect(200);
    assert_eq!(same.body, manifest.body);
    let head = harness.call("HEAD", "/v2/pumps/manifests/2", &token, None).await.expect(200);
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (manifest.body.len().to_string().as_str(), 0)
    );
    for layer in manifest.json()["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        let blob = harness.get(&format!("/v2/pumps/blobs/{digest}"), &token).await.expect(200);
        assert_eq!(digest, format!("sha256:{}", skiff_testkit::sha256_hex(&blob.body)));
        // As clients of registries send tokens.
        let basic =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("device:{token}"));
        let rest = Request::get(format!("/v2/pumps/blobs/{digest}"))
            .header("authorization", format!("Basic {basic}"));
        let rest =
            harness.send(rest.header("range", "bytes=10-19").body(Body::empty()).unwrap()).await.expect(206);
        assert_eq!(rest.body, &blob.body[10..20]);
    }
    let missing = format!("sha256:{}", "00".repeat(32));
    for path in
        [format!("manifests/{missing}"), format!("blobs/{missing}"), "blobs/x".into(), "manifests/9".into()]
    {
        let answer = harness.get(&format!("/v2/pumps/{path}"), &token).await.expect(404);
        assert_eq!(answer.code(), "not-found", "{path}");
        assert!(answer.json()["errors"][0]["code"].is_string());
    }
    harness.server.shut_down();
}

#[tokio::test]
async fn what_is_under_a_tag_is_asked_for_again_and_what_a_digest_names_is_not() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.release("pumps", "1").await;
    let token = harness.device("pumps", "pump-1").await;
    let tagged = harness.get("/v2/pumps/manifests/latest", &token).await.expect(200);
    assert_eq!(tagged.header("cache-control"), "private, no-cache");
    let named = format!("/v2/pumps/manifests/{}", tagged.header("docker-content-digest"));
    assert!(harness.get(&named, &token).await.expect(200).header("cache-control").contains("immutable"));
    // Only GET has parts.
    let head =
        Request::head(&named).header("authorization", format!("Bearer {token}")).header("range", "bytes=1-2");
    harness.send(head.body(Body::empty()).unwrap()).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test]
async fn a_release_that_is_compressed_otherwise_in_another_fleet_stays_what_it_is() {
    use skiff_testkit::{Encoding, Image, Layer, OciLayout};

    let harness = Harness::new().await;
    let layer = || Layer::new().file("etc/motd", "ahoy ".repeat(999));
    for (name, encoding) in [("gzip", Encoding::Gzip), ("plain", Encoding::Plain)] {
        let layout = OciLayout::new().image("1", Image::new().encoded_layer(layer(), encoding));
        layout.write_directory(&harness.images().join(name));
        harness.fleet(name).await;
    }
    let release = async |fleet: &str| {
        let image = json!({ "image": format!("oci:{fleet}:1") });
        harness.admin("POST", &format!("/v1/fleets/{fleet}/releases"), Some(image)).await.expect(202);
        harness.ready(fleet, 1).await
    };
    let first = release("gzip").await;
    let manifest = harness.admin("GET", "/v2/gzip/manifests/1", None).await.expect(200);
    assert_eq!(release("plain").await, first);
    for fleet in ["gzip", "plain"] {
        let digest = manifest.header("docker-content-digest");
        let same = harness.admin("GET", &format!("/v2/{fleet}/manifests/{digest}"), None).await.expect(200);
        assert_eq!(same.body, manifest.body, "{fleet}");
        for layer in same.json()["layers"].as_array().unwrap() {
            let blob = format!("/v2/{fleet}/blobs/{}", layer["digest"].as_str().unwrap());
            harness.admin("GET", &blob, None).await.expect(200);
        }
    }
    harness.server.shut_down();
}
