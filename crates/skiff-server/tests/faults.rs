//! What cannot be written is told, and nothing of it is half done.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use common::{ALL, Harness};
use serde_json::json;
use skiff_server::{Change, Database, DatabaseError, Loader, Options, Sqlite, Table};

/// A database on which some commits fail for as long as it is told.
#[derive(Debug)]
struct Failing {
    inner: Sqlite,
    /// Those that put something there; all, where none is named.
    table: Option<Table>,
    fails: Arc<AtomicBool>,
    error: fn() -> DatabaseError,
}

impl Database for Failing {
    fn load(&self, each: &mut Loader<'_>) -> Result<(), DatabaseError> {
        self.inner.load(each)
    }

    fn commit(&self, changes: &[Change]) -> Result<(), DatabaseError> {
        let is_meant = |change: &Change| match (change, self.table) {
            (_, None) => true,
            (Change::Put { table, .. }, Some(failing)) => *table == failing,
            (Change::Remove { .. }, Some(_)) => false,
        };
        if self.fails.load(Ordering::SeqCst) && changes.iter().any(is_meant) {
            return Err((self.error)());
        }
        self.inner.commit(changes)
    }
}

fn on_fire() -> DatabaseError {
    DatabaseError::Failed("the disk is on fire".into())
}

async fn failing(table: Option<Table>, error: fn() -> DatabaseError) -> (Harness, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&fails);
    let harness = Harness::with(|mut options| {
        let inner = Sqlite::open(&options.data.join("state.db")).unwrap();
        options.database = Some(Box::new(Failing { inner, table, fails: told, error }));
        options
    })
    .await;
    (harness, fails)
}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

async fn until_nothing_is_made(harness: &Harness) {
    for _ in 0..1000 {
        if harness.metric("skiff_deltas_waiting").await == 0.0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a delta is made for more than ten seconds");
}

#[tokio::test]
async fn where_nothing_can_be_noted_nothing_is_done() {
    let (mut harness, fails) = failing(None, on_fire).await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let asked = format!("/v1/deltas/{old}/{new}?{ALL}");
    let report = json!({ "running": old, "phase": "idle" });
    let before = [
        harness.admin("GET", "/v1/fleets", None).await.json(),
        harness.admin("GET", "/v1/devices", None).await.json(),
        harness.admin("GET", "/v1/fleets/pumps/releases", None).await.json(),
    ];

    fails.store(true, Ordering::SeqCst);
    for (method, path, body) in [
        ("POST", "/v1/fleets", Some(json!({ "name": "others" }))),
        ("POST", "/v1/fleets/pumps/devices", Some(json!({ "name": "pump-2" }))),
        ("POST", "/v1/devices/pump-1/token", None),
        ("POST", "/v1/devices/pump-1/move", Some(json!({ "fleet": "pumps" }))),
        ("POST", "/v1/fleets/pumps/releases", Some(json!({ "image": "oci:app:3" }))),
        ("PUT", "/v1/fleets/pumps/target", Some(json!({ "release": old }))),
        ("PUT", "/v1/fleets/pumps/configuration/COLOUR", Some(json!({ "value": "red" }))),
        ("PUT", "/v1/devices/pump-1/configuration/COLOUR", Some(json!({ "value": "red" }))),
        ("DELETE", "/v1/devices/pump-1", None),
    ] {
        let refused = harness.admin(method, path, body).await.expect(500);
        assert_eq!(refused.code(), "internal", "{method} {path}");
        // The log says why, and whoever asks has nothing from it.
        assert!(!String::from_utf8_lossy(&refused.body).contains("fire"), "{refused:?}");
    }
    let sent = Request::post("/v1/fleets/pumps/releases").header("content-type", "application/x-tar");
    let sent = sent.header("authorization", format!("Bearer {}", harness.administrator));
    harness.send(sent.body(Body::from(vec![0; 1000])).unwrap()).await.expect(500);
    harness.call("PUT", "/v1/device/status", &token, Some(report)).await.expect(500);
    harness.get(&asked, &token).await.expect(500);
    harness.get(&asked, &token).await.expect(500);
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 0.0);
    assert_eq!(harness.metric("skiff_deltas_waiting").await, 0.0);
    for directory in ["uploads", "spool", "objects/deltas"] {
        // Flattened images lie in files without a name.
        assert_eq!(files(&harness.data.join(directory)), 0, "{directory}");
    }

    fails.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        let after = [
            harness.admin("GET", "/v1/fleets", None).await.json(),
            harness.admin("GET", "/v1/devices", None).await.json(),
            harness.admin("GET", "/v1/fleets/pumps/releases", None).await.json(),
        ];
        assert_eq!(before, after);
        // What is on the disk is no other.
        harness.restart().await;
    }
    harness.delta(&token, &asked).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test]
async fn a_full_database_is_told_as_one() {
    let (harness, fails) = failing(None, || DatabaseError::Full("its partition".into())).await;
    harness.fleet("pumps").await;
    fails.store(true, Ordering::SeqCst);
    let refused = harness.admin("POST", "/v1/fleets", Some(json!({ "name": "valves" }))).await.expect(507);
    assert_eq!(refused.code(), "no-space");
    fails.store(false, Ordering::SeqCst);
    harness.fleet("valves").await;
    harness.server.shut_down();
}

#[tokio::test]
async fn a_delta_that_cannot_be_noted_is_not_there_and_is_made_after_a_restart() {
    let (mut harness, fails) = failing(Some(Table::Deltas), on_fire).await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let asked = format!("/v1/deltas/{old}/{new}?{ALL}");
    fails.store(true, Ordering::SeqCst);
    harness.get(&asked, &token).await.expect(202);
    until_nothing_is_made(&harness).await;
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 1.0);
    assert_eq!(files(&harness.data.join("objects/deltas")), 0);
    // It is not tried at once again, which would fail as well.
    assert_eq!(harness.metric("skiff_delta_failures_total").await, 1.0);
    let busy = harness.get(&asked, &token).await.expect(503);
    assert_eq!((busy.code().as_str(), busy.header("retry-after")), ("busy", "10"));
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 1.0);
    harness.restart().await;
    until_nothing_is_made(&harness).await;
    harness.get(&asked, &token).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test]
async fn a_delta_whose_signing_cannot_be_noted_stays_what_it_was() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let asked = format!("/v1/deltas/{old}/{new}?{ALL}");
    let delta = harness.delta(&token, &asked).await.expect(200);
    let kept = harness.names("objects/deltas");
    let fails = Arc::new(AtomicBool::new(false));
    let with_a_key = |mut options: Options| {
        options.signing_keys = vec![skiff_keys::PrivateKey::generate("").unwrap()];
        let inner = Sqlite::open(&options.data.join("state.db")).unwrap();
        let (table, fails) = (Some(Table::Deltas), Arc::clone(&fails));
        options.database = Some(Box::new(Failing { inner, table, fails, error: on_fire }));
        options
    };
    harness.restart_with(with_a_key).await;
    fails.store(true, Ordering::SeqCst);
    harness.get(&asked, &token).await.expect(202);
    until_nothing_is_made(&harness).await;
    assert_eq!(harness.names("objects/deltas"), kept);
    fails.store(false, Ordering::SeqCst);
    harness.restart_with(with_a_key).await;
    let signed = harness.delta(&token, &asked).await.expect(200);
    assert!(signed.body.len() > delta.body.len());
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 0.0, "it was made anew");
    harness.server.shut_down();
}

#[tokio::test]
async fn a_release_that_cannot_be_noted_is_gone_on_with_after_a_restart() {
    let (mut harness, fails) = failing(Some(Table::Images), on_fire).await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    fails.store(true, Ordering::SeqCst);
    let path = "/v1/fleets/pumps/releases";
    harness.admin("POST", path, Some(json!({ "image": "oci:app:1" }))).await.expect(202);
    // It is taken in before the next one, which cannot be read.
    harness.admin("POST", path, Some(json!({ "image": "oci:app:none" }))).await.expect(202);
    let state = async |number: u64| {
        let release = harness.admin("GET", &format!("{path}/{number}"), None).await.expect(200).json();
        release["state"]["state"].as_str().unwrap().to_owned()
    };
    for _ in 0..1000 {
        if state(2).await == "failed" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((state(1).await.as_str(), state(2).await.as_str()), ("preparing", "failed"));
    assert!(harness.get("/v1/device/target", &token).await.expect(200).json()["release"].is_null());
    harness.restart().await;
    let release = harness.ready("pumps", 1).await;
    assert_eq!(harness.get("/v1/device/target", &token).await.expect(200).json()["release"], release);
    harness.server.shut_down();
}

#[tokio::test]
async fn a_delta_that_cannot_be_kept_leaves_nothing() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    // Where a file is no directory can be, whoever runs this.
    std::fs::write(harness.data.join("objects/deltas"), b"").unwrap();
    let asked = format!("/v1/deltas/{old}/{new}?{ALL}");
    harness.get(&asked, &token).await.expect(202);
    until_nothing_is_made(&harness).await;
    assert_eq!(harness.get(&asked, &token).await.expect(503).code(), "busy");
    assert_eq!(files(&harness.data.join("spool")), 0);
    harness.server.shut_down();
}

#[tokio::test]
async fn a_delta_that_is_gone_from_where_it_was_kept_is_made_anew() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let asked = format!("/v1/deltas/{old}/{new}?{ALL}");
    let delta = harness.delta(&token, &asked).await.expect(200);
    std::fs::remove_dir_all(harness.data.join("objects/deltas")).unwrap();
    // Small ones are in memory as well.
    assert_eq!(harness.delta(&token, &asked).await.expect(200).body, delta.body);
    harness.restart().await;
    assert_eq!(harness.get(&asked, &token).await.expect(503).code(), "busy");
    assert_eq!(harness.delta(&token, &asked).await.expect(200).body, delta.body);
    harness.server.shut_down();
}
