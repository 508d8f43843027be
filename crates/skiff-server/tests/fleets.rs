//! Fleets, devices, configuration, and who may do what.

mod common;

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use common::{ALL, Harness};
use serde_json::json;

#[tokio::test]
async fn a_devices_own_variable_counts_more_and_goes_with_it() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.fleet("lamps").await;
    let token = harness.device("pumps", "pump-1").await;
    let set = async |at: &str, name: &str, value: &str| {
        let path = format!("/v1/{at}/configuration/{name}");
        harness.admin("PUT", &path, Some(json!({ "value": value }))).await.status.as_u16()
    };
    let configuration =
        async || harness.get("/v1/device/target", &token).await.expect(200).json()["configuration"].clone();
    assert_eq!(set("fleets/pumps", "SKIFF_SUPERVISOR_DELTA", "1").await, 204);
    assert_eq!(set("fleets/pumps", "SKIFF_SUPERVISOR_DELTA_RETRY_COUNT", "3").await, 204);
    assert_eq!(set("devices/pump-1", "RESIN_SUPERVISOR_DELTA_RETRY_COUNT", "7").await, 204);
    let expected = json!({ "SKIFF_SUPERVISOR_DELTA": "1", "SKIFF_SUPERVISOR_DELTA_RETRY_COUNT": "7" });
    assert_eq!(configuration().await, expected);

    let own = harness.admin("GET", "/v1/devices/pump-1/configuration", None).await.expect(200).json();
    assert_eq!(own, json!({ "RESIN_SUPERVISOR_DELTA_RETRY_COUNT": "7" }));
    harness.admin("POST", "/v1/devices/pump-1/move", Some(json!({ "fleet": "lamps" }))).await.expect(200);
    assert_eq!(configuration().await, json!({ "SKIFF_SUPERVISOR_DELTA_RETRY_COUNT": "7" }));
    let gone = "/v1/devices/pump-1/configuration/RESIN_SUPERVISOR_DELTA_RETRY_COUNT";
    harness.admin("DELETE", gone, None).await.expect(204);
    assert_eq!(harness.admin("DELETE", gone, None).await.expect(404).code(), "not-found");
    assert_eq!(configuration().await, json!({}));

    // What could not be understood is refused when it is set.
    assert_eq!(set("fleets/lamps", "BALENA_SUPERVISOR_DELTA", "yes").await, 422);
    assert_eq!(set("fleets/lamps", "SKIFF_SUPERVISOR_DELTAS", "1").await, 422);
    assert_eq!(set("fleets/lamps", "lower", "1").await, 404);
    assert_eq!(
        harness.admin("GET", "/v1/fleets/lamps/configuration", None).await.expect(200).json(),
        json!({})
    );
    harness.server.shut_down();
}

#[tokio::test]
async fn a_poll_is_held_until_something_changes() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let first = harness.get("/v1/device/target", &token).await.expect(200);
    let poll = |seconds: u64| harness.poll(&token, first.header("etag"), seconds);
    poll(0).await.expect(304);
    // A poll that nothing comes of ends when it was to.
    poll(1).await.expect(304);
    let change = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(harness.metric("skiff_polls").await, 1.0);
        harness.release("pumps", "1").await
    };
    let (answer, release) = tokio::join!(poll(60), change);
    assert_eq!(answer.expect(200).json()["release"], release.as_str());
    assert_eq!(harness.metric("skiff_polls").await, 0.0);
    // And one that is held when the server goes down.
    let shut_down = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        harness.server.shut_down();
    };
    let again = harness.get("/v1/device/target", &token).await.expect(200);
    let request =
        Request::get("/v1/device/target?wait=60").header("authorization", format!("Bearer {token}"));
    let held =
        harness.send(request.header("if-none-match", again.header("etag")).body(Body::empty()).unwrap());
    tokio::join!(held, shut_down).0.expect(304);
}

#[tokio::test]
async fn tokens_decide_who_does_what() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.fleet("lamps").await;
    let (pump, lamp) = (harness.device("pumps", "pump-1").await, harness.device("lamps", "lamp-1").await);
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let delta = format!("/v1/deltas/{old}/{new}?{ALL}");
    for path in ["/v1/fleets", "/v1/devices", "/v1/device/target", &delta, "/v1/events", "/v2/"] {
        for token in ["", "wrong", "skiff_00"] {
            let refused = harness.get(path, token).await.expect(401);
            assert_eq!(refused.code(), "unauthorized", "{path}");
            assert!(refused.headers.contains_key("www-authenticate"));
        }
    }
    for path in [
        "/v1/fleets",
        "/v1/fleets/pumps",
        "/v1/devices/pump-1",
        "/v1/fleets/pumps/configuration",
        "/v1/events",
    ] {
        assert_eq!(harness.get(path, &pump).await.expect(403).code(), "forbidden", "{path}");
    }
    assert_eq!(
        harness.get("/v1/device/target", &harness.administrator).await.expect(403).code(),
        "forbidden"
    );
    // Another fleet's releases are none of its business.
    assert_eq!(harness.delta(&lamp, &delta).await.expect(404).code(), "target-unknown");
    assert_eq!(harness.get("/v2/pumps/tags/list", &lamp).await.expect(404).code(), "not-found");
    assert_eq!(harness.get("/v2/nowhere/tags/list", &lamp).await.expect(404).code(), "not-found");
    harness.delta(&pump, &delta).await.expect(200);
    // A new token ends the ones before it.
    let again = harness.admin("POST", "/v1/devices/pump-1/token", None).await.expect(201).json();
    harness.get("/v1/device/target", &pump).await.expect(401);
    harness.get("/v1/device/target", again["token"].as_str().unwrap()).await.expect(200);
    harness.admin("DELETE", "/v1/devices/pump-1", None).await.expect(204);
    harness.get("/v1/device/target", again["token"].as_str().unwrap()).await.expect(401);
    // Nothing that is kept tells a token.
    let state = std::fs::read(harness.data.join("state.db")).unwrap();
    let log = std::fs::read(harness.data.join("state.db-wal")).unwrap_or_default();
    for token in [&pump, &lamp, &harness.administrator] {
        let is_in = |bytes: &[u8]| bytes.windows(token.len()).any(|window| window == token.as_bytes());
        assert!(!is_in(&state) && !is_in(&log));
    }
    harness.server.shut_down();
}

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    for (method, path, body, status, code) in [
        ("GET", "/nowhere", None, 404, "not-found"),
        ("GET", "/v2/pumps/nowhere/1", None, 404, "not-found"),
        ("DELETE", "/v1/fleets", None, 405, "method-not-allowed"),
        ("PUT", "/healthz", None, 405, "method-not-allowed"),
        ("GET", "/v1/fleets/No", None, 404, "not-found"),
        ("GET", "/v1/fleets/lamps", None, 404, "not-found"),
        ("POST", "/v1/fleets", Some(json!({ "name": "pumps" })), 409, "conflict"),
        ("POST", "/v1/fleets", Some(json!({ "name": "No" })), 422, "unprocessable"),
        ("POST", "/v1/fleets", Some(json!({ "name": "a", "colour": 1 })), 422, "unprocessable"),
        ("POST", "/v1/fleets", Some(json!({ "name": "x".repeat(70_000) })), 413, "too-large"),
        ("POST", "/v1/fleets", None, 415, "unsupported-media-type"),
        (
            "PUT",
            "/v1/fleets/pumps/target",
            Some(json!({ "release": "00".repeat(32) })),
            404,
            "target-unknown",
        ),
        ("POST", "/v1/fleets/pumps/releases", Some(json!({ "image": "oci:../data" })), 422, "unprocessable"),
        ("POST", "/v1/fleets/pumps/releases", Some(json!({ "image": "oci:/etc" })), 422, "unprocessable"),
        ("POST", "/v1/fleets/pumps/releases", Some(json!({ "image": "tar:app" })), 422, "unprocessable"),
        ("POST", "/v1/fleets/pumps/releases", Some(json!({ "image": "x".repeat(70_000) })), 413, "too-large"),
        ("GET", "/v1/fleets/pumps/releases/1", None, 404, "not-found"),
    ] {
        let answer = harness.admin(method, path, body).await.expect(status);
        let problem = answer.json();
        assert_eq!((answer.code().as_str(), &problem["status"]), (code, &json!(status)), "{method} {path}");
        for words in ["title", "detail"] {
            assert!(!problem[words].as_str().unwrap().is_empty(), "{problem}");
        }
    }
    harness.server.shut_down();
}

#[tokio::test]
async fn an_image_that_cannot_be_used_says_why() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let send = |body: Vec<u8>| harness.upload("pumps", Body::from(body));
    let number = send(b"no archive".to_vec()).await.expect(202).json()["number"].as_u64().unwrap();
    for _ in 0..1000 {
        let release = harness.admin("GET", &format!("/v1/fleets/pumps/releases/{number}"), None).await.json();
        if release["state"]["state"] != "preparing" {
            assert_eq!(release["state"]["problem"]["code"], "unprocessable", "{release}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One that is sent and can be.
    let archive = harness.images().join("app.tar");
    let image = skiff_testkit::Image::new().layer(skiff_testkit::Layer::new().file("etc/motd", "ahoy"));
    skiff_testkit::OciLayout::new().image("1", image).write_archive(&archive);
    let number = send(std::fs::read(&archive).unwrap()).await.expect(202).json()["number"].as_u64().unwrap();
    let release = harness.ready("pumps", number).await;
    assert_eq!(harness.admin("GET", "/v1/fleets/pumps", None).await.json()["target"], release.as_str());
    assert_eq!(std::fs::read_dir(harness.data.join("uploads")).unwrap().count(), 0);
    harness.server.shut_down();
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    harness.running(&token, &old).await;
    harness.admin("PUT", "/v1/fleets/pumps/target", Some(json!({ "release": old }))).await.expect(200);
    let target = harness.get("/v1/device/target", &token).await.expect(200);
    let devices = harness.admin("GET", "/v1/devices", None).await.expect(200).json();
    harness.restart().await;
    let again = harness.get("/v1/device/target", &token).await.expect(200);
    assert_eq!((again.body, again.headers["etag"].clone()), (target.body, target.headers["etag"].clone()));
    assert_eq!(harness.admin("GET", "/v1/devices", None).await.expect(200).json(), devices);
    harness.delta(&token, &format!("/v1/deltas/{old}/{new}?{ALL}")).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test]
async fn a_release_that_is_being_read_when_the_server_ends_is_ready_after_the_next_start() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    let image = Some(json!({ "image": "oci:app:1" }));
    harness.admin("POST", "/v1/fleets/pumps/releases", image).await.expect(202);
    harness.restart().await;
    harness.ready("pumps", 1).await;
    harness.server.shut_down();
}

#[tokio::test]
async fn what_is_asked_for_is_refused_where_the_description_says_so() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    harness.get("/v1/device/target?wait=86400", &token).await.expect(200);
    assert_eq!(harness.get("/v1/device/target?wait=86401", &token).await.expect(400).code(), "bad-request");
    // The values of an object's fields, without their names.
    let refused = harness.admin("POST", "/v1/fleets", Some(json!(["valves"]))).await.expect(422);
    assert_eq!(refused.code(), "unprocessable");
    let report = json!({ "running": null, "phase": "idle", "done": 2.0, "total": 4e3 });
    harness.call("PUT", "/v1/device/status", &token, Some(report)).await.expect(204);
    let status = harness.admin("GET", "/v1/devices/pump-1", None).await.expect(200).json()["status"].take();
    assert_eq!((&status["report"]["done"], &status["report"]["total"]), (&json!(2), &json!(4000)));

    // All that the description refers to is in it.
    let description = harness.get("/v1/openapi.json", "").await.expect(200);
    let (text, description) = (String::from_utf8(description.body.clone()).unwrap(), description.json());
    let references: Vec<&str> =
        text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(references.len() > 50);
    for name in references {
        assert!(description["components"]["schemas"][name].is_object(), "{name}");
    }
    let codes = description["components"]["schemas"]["ProblemCode"]["enum"].as_array().unwrap();
    assert!(codes.contains(&json!("pull-cheaper")), "{codes:?}");
    harness.server.shut_down();
}

#[tokio::test]
async fn a_token_that_ends_ends_its_polls() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let first = harness.get("/v1/device/target", &token).await.expect(200);
    let end = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        harness.admin("POST", "/v1/devices/pump-1/token", None).await.expect(201);
    };
    let (held, ()) = tokio::join!(harness.poll(&token, first.header("etag"), 60), end);
    assert_eq!(held.expect(401).code(), "unauthorized");
    // Administrators' end as well.
    harness.server.revoke_administrators().await.unwrap();
    assert_eq!(harness.admin("GET", "/v1/fleets", None).await.expect(401).code(), "unauthorized");
    harness.server.shut_down();
}
