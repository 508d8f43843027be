//! What goes when nobody needs it any more, and what is done to its end.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use common::{ALL, Harness};
use futures_util::FutureExt as _;
use serde_json::json;
use skiff_server::{BeforeEach, Change, Database, DatabaseError, Loader, Options, Server, ServerError};
use tower::ServiceExt as _;

impl Harness {
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("ten seconds without {what}");
    }
}

#[tokio::test]
async fn images_that_no_release_names_go_with_their_fleet_and_their_deltas_with_them() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.fleet("valves").await;
    let (first, second) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let third = harness.release("valves", "3").await;
    harness.release("valves", "2").await;
    let administrator = &harness.administrator;
    let (going, staying) =
        (format!("/v1/deltas/{first}/{second}?{ALL}"), format!("/v1/deltas/{second}/{third}?{ALL}"));
    let delta = harness.delta(administrator, &going).await.expect(200);
    harness.delta(administrator, &staying).await.expect(200);
    let (blobs, trees) = (harness.names("objects/blobs/sha256"), harness.names("objects/trees"));
    assert_eq!(trees, [first.clone(), second.clone(), third.clone()].into());

    harness.admin("DELETE", "/v1/fleets/pumps", None).await.expect(204);
    let left: BTreeSet<String> = [second.clone(), third.clone()].into();
    harness.until("a tree less", |harness| harness.names("objects/trees") == left).await;
    harness.until("a delta less", |harness| harness.names("objects/deltas").len() == 1).await;
    // Its manifest, its config, and the layer that none of the others has.
    assert_eq!(harness.names("objects/blobs/sha256").len() + 3, blobs.len());
    harness.get(&going, administrator).await.expect(404);
    harness.get(&staying, administrator).await.expect(200);
    harness.get("/v2/valves/manifests/1", administrator).await.expect(200);
    // Whatever else the directory has is none of the server's.
    assert!(harness.data.join("objects/oci-layout").exists());

    // What comes back is taken in anew, and so is its delta.
    harness.release("valves", "1").await;
    assert_eq!(harness.names("objects/blobs/sha256"), blobs);
    assert_eq!(harness.delta(administrator, &going).await.expect(200).body, delta.body);
    harness.server.shut_down();
}

#[tokio::test]
async fn what_a_device_runs_stays() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.fleet("valves").await;
    let token = harness.device("pumps", "pump-1").await;
    let (running, _) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    harness.running(&token, &running).await;
    harness.admin("POST", "/v1/devices/pump-1/move", Some(json!({ "fleet": "valves" }))).await.expect(200);
    harness.admin("DELETE", "/v1/fleets/pumps", None).await.expect(204);
    harness.until("a tree less", |harness| harness.names("objects/trees") == [running.clone()].into()).await;
    let target = harness.release("valves", "3").await;
    harness.delta(&token, &format!("/v1/deltas/{running}/{target}?{ALL}")).await.expect(200);
    // Once it runs something else, a start does the rest.
    harness.running(&token, &target).await;
    harness.restart().await;
    harness.until("a tree less", |harness| harness.names("objects/trees") == [target.clone()].into()).await;
    harness.until("a delta less", |harness| harness.names("objects/deltas").is_empty()).await;
    harness.server.shut_down();
}

#[tokio::test]
async fn a_release_that_nobody_shall_run_is_removed_and_its_number_is_not_given_again() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (first, second) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    harness.running(&token, &first).await;
    let path = "/v1/fleets/pumps/releases";
    let remove = async |number: u64| harness.admin("DELETE", &format!("{path}/{number}"), None).await;
    assert_eq!(remove(2).await.expect(409).code(), "conflict");
    assert_eq!(remove(3).await.expect(404).code(), "not-found");
    harness.admin("POST", path, Some(json!({ "image": "oci:app:none" }))).await.expect(202);
    let failed = async || {
        let release = harness.admin("GET", &format!("{path}/3"), None).await.expect(200).json();
        release["state"]["state"] == "failed"
    };
    while !failed().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    remove(3).await.expect(204);
    assert_eq!(remove(3).await.expect(404).code(), "not-found");
    let begun = harness.admin("POST", path, Some(json!({ "image": "oci:app:3" }))).await.expect(202).json();
    assert_eq!(begun["number"], 4);
    let third = harness.ready("pumps", 4).await;
    let fleet = harness.admin("GET", "/v1/fleets/pumps", None).await.expect(200).json();
    assert_eq!((&fleet["target"], &fleet["target_number"]), (&json!(third), &json!(4)));
    // One that a device runs stays for its delta, and one that none runs goes.
    remove(1).await.expect(204);
    remove(2).await.expect(204);
    let left: BTreeSet<String> = [first.clone(), third.clone()].into();
    harness.until("a tree less", |harness| harness.names("objects/trees") == left).await;
    harness.delta(&token, &format!("/v1/deltas/{first}/{third}?{ALL}")).await.expect(200);
    let gone = format!("/v1/deltas/{second}/{third}?{ALL}");
    assert_eq!(harness.get(&gone, &token).await.expect(404).code(), "base-unknown");
    assert_eq!(harness.get("/v2/pumps/tags/list", &token).await.json()["tags"], json!(["4", "latest"]));
    harness.server.shut_down();
}

#[tokio::test]
async fn a_release_does_not_come_back_that_was_removed_with_its_fleet() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.fleet("valves").await;
    let image = json!({ "image": "oci:app:1" });
    harness.admin("POST", "/v1/fleets/pumps/releases", Some(image)).await.expect(202);
    harness.admin("DELETE", "/v1/fleets/pumps", None).await.expect(204);
    harness.fleet("pumps").await;
    // One image is taken in at a time: when this one is there, the other is over.
    harness.release("valves", "2").await;
    assert_eq!(harness.admin("GET", "/v1/fleets/pumps/releases", None).await.expect(200).json(), json!([]));
    assert!(harness.admin("GET", "/v1/fleets/pumps", None).await.expect(200).json()["target"].is_null());
    harness.server.shut_down();
}

#[tokio::test]
async fn what_was_begun_goes_on_when_whoever_asked_is_gone() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let old = harness.release("pumps", "1").await;
    let ask = |request: axum::http::request::Builder, body: Body| {
        let request = request.header("authorization", format!("Bearer {}", harness.administrator));
        let request = request.header("content-type", "application/json").body(body).unwrap();
        // Looked at once, and dropped before there is an answer.
        assert!(harness.server.router().oneshot(request).now_or_never().is_none());
    };
    let image = json!({ "image": "oci:app:2" }).to_string();
    ask(Request::post("/v1/fleets/pumps/releases"), Body::from(image));
    // It is noted a moment later.
    while harness.admin("GET", "/v1/fleets/pumps/releases", None).await.json().as_array().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let new = harness.ready("pumps", 2).await;
    ask(Request::get(format!("/v1/deltas/{old}/{new}?{ALL}")), Body::empty());
    harness.until("a delta", |harness| harness.names("objects/deltas").len() == 1).await;
    harness.server.shut_down();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_opens_the_data_while_a_delta_is_made() {
    let (asked, began) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let blocked = BeforeEach(Arc::new(move |_, _| {
        let _ = asked.send(());
        let _ = wait.lock().unwrap().recv();
    }));
    let mut harness = Harness::with(|mut options| {
        options.before_each = Some(blocked);
        options
    })
    .await;
    harness.fleet("pumps").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    harness.get(&format!("/v1/deltas/{old}/{new}?{ALL}"), &harness.administrator).await.expect(202);
    tokio::task::block_in_place(|| began.recv()).unwrap();
    // All that is left of the server is what makes the delta.
    let elsewhere = tempfile::tempdir().unwrap();
    harness.server = Server::open(Options::new(elsewhere.path())).await.unwrap();
    let opened = Server::open(Options::new(&harness.data)).await;
    assert!(matches!(opened, Err(ServerError::Busy { .. })), "{opened:?}");
    go.send(()).unwrap();
    harness.until("a delta", |harness| harness.names("objects/deltas").len() == 1).await;
    harness.restart().await;
    harness.server.shut_down();
}

#[tokio::test]
async fn images_that_lie_elsewhere_go_there_and_here() {
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("file://{}", elsewhere.path().display());
    let harness = Harness::with(|mut options| {
        options.objects = Some(url.parse().unwrap());
        options
    })
    .await;
    harness.fleet("pumps").await;
    harness.fleet("valves").await;
    let (first, second) = (harness.release("pumps", "1").await, harness.release("valves", "2").await);
    let count = |directory: std::path::PathBuf| std::fs::read_dir(directory).unwrap().count();
    let blobs =
        || (count(elsewhere.path().join("blobs/sha256")), count(harness.data.join("copies/blobs/sha256")));
    assert_eq!(blobs(), (7, 7));
    harness.admin("DELETE", "/v1/fleets/pumps", None).await.expect(204);
    harness.until("a tree less", |_| count(elsewhere.path().join("trees")) == 1).await;
    assert_eq!(blobs(), (4, 4));
    let asked = format!("/v1/deltas/{first}/{second}?{ALL}");
    assert_eq!(harness.get(&asked, &harness.administrator).await.expect(404).code(), "base-unknown");
    harness.server.shut_down();
}

/// A database for those whom nothing outlasts, in no time.
#[derive(Debug)]
struct Nowhere;

impl Database for Nowhere {
    fn load(&self, _: &mut Loader<'_>) -> Result<(), DatabaseError> {
        Ok(())
    }

    fn commit(&self, _: &[Change]) -> Result<(), DatabaseError> {
        Ok(())
    }
}

/// Whoever looks at the jobs looks at the book next: nobody may do it the other way around, because the book lets nobody read who
/// comes after somebody that waits to write.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn asking_and_telling_do_not_wait_for_each_other() {
    let (_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    // Nothing is made: what is asked for is only noted.
    let blocked = BeforeEach(Arc::new(move |_, _| {
        let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(30));
    }));
    let harness = Harness::with(|mut options| {
        (options.before_each, options.queue_per_device) = (Some(blocked), 1000);
        options.database = Some(Box::new(Nowhere));
        options
    })
    .await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let path = |codecs: u32, memory: u32| {
        let codecs: Vec<String> =
            (3..8).filter(|id| codecs >> (id - 3) & 1 == 1).map(|id| format!(",{id}")).collect();
        format!("/v1/deltas/{old}/{new}?formats=1&codecs=1,2{}&memory={}", codecs.concat(), memory << 20)
    };
    let kinds = (0..32)
        .flat_map(|codecs| [10, 12, 16, 24, 32, 48, 64, 96, 128, 256].map(|memory| path(codecs, memory)));
    let asking = futures_util::future::join_all(kinds.map(|path| {
        let (router, token) = (harness.server.router(), token.clone());
        tokio::spawn(async move {
            let request = Request::get(path).header("authorization", format!("Bearer {token}"));
            router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
        })
    }));
    let telling = futures_util::future::join_all((0..4).map(|_| {
        let (router, token) = (harness.server.router(), token.clone());
        tokio::spawn(async move {
            loop {
                let report = json!({ "running": null, "phase": "downloading", "done": 1 }).to_string();
                let request = Request::put("/v1/device/status").header("content-type", "application/json");
                let request = request.header("authorization", format!("Bearer {token}"));
                let told = router.clone().oneshot(request.body(Body::from(report)).unwrap()).await.unwrap();
                assert_eq!(told.status(), 204);
            }
        })
    }));
    let answers = tokio::select! {
        answers = asking => answers,
        ended = telling => panic!("{ended:?}"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("somebody waits for ever"),
    };
    assert!(answers.into_iter().all(|status| status.unwrap() == 202));
    harness.server.shut_down();
}
