//! What is kept for a while, and what is known of it after a restart.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::{ALL, Harness};
use serde_json::json;
use skiff_keys::{KeyId, PrivateKey};
use skiff_server::{Change, Database, DatabaseError, Loader, Options, Sqlite, Table};
use skiff_testkit::key;

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("ten seconds without {what}");
}

#[tokio::test]
async fn copies_of_what_lies_elsewhere_take_only_so_much_room() {
    let store = tempfile::tempdir().unwrap();
    let url: url::Url = format!("file://{}", store.path().display()).parse().unwrap();
    let harness = Harness::with(|mut options| {
        // A config and a manifest fit, and no layer. Deltas flatten images anew.
        (options.objects, options.copied_bytes) = (Some(url), 2000);
        options.flat_images = std::num::NonZeroUsize::MIN;
        options
    })
    .await;
    let copies = || harness.names("copies/blobs/sha256");
    std::fs::write(harness.data.join("copies/blobs/sha256/.left"), b"by a kill").unwrap();
    harness.fleet("pumps").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let bytes = || -> u64 {
        let directory = harness.data.join("copies/blobs/sha256");
        // One may go meanwhile.
        let copy = |name| std::fs::metadata(directory.join(name)).map_or(0, |about| about.len());
        copies().into_iter().map(copy).sum()
    };
    until("less copies", || bytes() <= 2000 && !copies().contains(".left")).await;
    assert!(!copies().is_empty());
    let token = harness.device("pumps", "pump-1").await;
    harness.delta(&token, &format!("/v1/deltas/{old}/{new}?{ALL}")).await.expect(200);
    until("less copies", || bytes() <= 2000).await;
    harness.server.shut_down();
}

#[tokio::test]
async fn what_is_kept_is_measured_and_ordered_after_a_restart_as_before() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    let [a, b, c] = [
        harness.release("pumps", "1").await,
        harness.release("pumps", "2").await,
        harness.release("pumps", "3").await,
    ];
    let token = harness.device("pumps", "pump-1").await;
    let asked = |old: &str, new: &str| format!("/v1/deltas/{old}/{new}?{ALL}");
    let first = harness.delta(&token, &asked(&a, &b)).await.expect(200).body.len();
    let second = harness.delta(&token, &asked(&a, &c)).await.expect(200).body.len();
    // Times are told in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    harness.get(&asked(&a, &b), &token).await.expect(200);
    let kept = harness.metric("skiff_deltas_kept_bytes").await;
    assert_eq!(kept, (first + second) as f64);
    harness
        .restart_with(|mut options| {
            options.delta_bytes = (first + second) as u64;
            options
        })
        .await;
    assert_eq!(harness.metric("skiff_deltas_kept_bytes").await, kept);
    // The one that was made last and asked for before the other goes.
    harness.delta(&token, &asked(&b, &c)).await.expect(200);
    until("less deltas", || harness.names("objects/deltas").len() <= 2).await;
    let left = harness.names("objects/deltas");
    assert!(left.iter().any(|name| name.starts_with(&format!("{a}-{b}"))), "{left:?}");
    // There is room for none: a start sees to that.
    harness
        .restart_with(|mut options| {
            options.delta_bytes = 0;
            options
        })
        .await;
    until("less deltas", || harness.names("objects/deltas").is_empty()).await;
    harness.server.shut_down();
}

#[tokio::test]
async fn that_there_is_no_use_in_a_delta_is_remembered_of_this_encoder_alone() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    let release = harness.release("pumps", "1").await;
    let token = harness.device("pumps", "pump-1").await;
    let asked = format!("/v1/deltas/{release}/{release}?{ALL}");
    assert_eq!(harness.delta(&token, &asked).await.expect(409).code(), "pull-cheaper");
    let metrics = String::from_utf8(harness.get("/metrics", "").await.expect(200).body).unwrap();
    assert!(metrics.contains("skiff_delta_failures_total{reason=\"pull-cheaper\"} 1"), "{metrics}");
    harness.restart().await;
    assert_eq!(harness.get(&asked, &token).await.expect(409).code(), "pull-cheaper");
    let database = Sqlite::open(&harness.data.join("state.db")).unwrap();
    let mut found = Vec::new();
    let mut look = |table: Table, key: &str, value: &[u8]| {
        if table == Table::Deltas {
            let mut record: serde_json::Value = serde_json::from_slice(value).unwrap();
            assert!(record["found"]["none"]["encoder"].is_string(), "{record}");
            record["found"]["none"]["encoder"] = json!("another");
            found.push(Change::Put { table, key: key.into(), value: record.to_string().into() });
        }
        Ok(())
    };
    database.load(&mut look).unwrap();
    assert_eq!(found.len(), 1);
    database.commit(&found).unwrap();
    harness.restart().await;
    harness.get(&asked, &token).await.expect(202);
    assert_eq!(harness.delta(&token, &asked).await.expect(409).code(), "pull-cheaper");
    harness.server.shut_down();
}

#[tokio::test]
async fn beginnings_of_blobs_that_nobody_goes_on_with_go() {
    let mut harness = Harness::new().await;
    let part = |name: &str| harness.data.join("objects/.skiff").join(name);
    let (old, new) = (part("00.part"), part("11.part"));
    for part in [&old, &new] {
        std::fs::write(part, b"begun").unwrap();
    }
    let days = Duration::from_secs(48 * 60 * 60);
    File::options().write(true).open(&old).unwrap().set_modified(SystemTime::now() - days).unwrap();
    harness.restart().await;
    until("less parts", || !old.exists()).await;
    assert!(new.exists());
    harness.server.shut_down();
}

/// A database that tells what is committed.
#[derive(Debug)]
struct Watched {
    inner: Sqlite,
    commits: Arc<Mutex<Vec<Vec<Change>>>>,
}

impl Database for Watched {
    fn load(&self, each: &mut Loader<'_>) -> Result<(), DatabaseError> {
        self.inner.load(each)
    }

    fn commit(&self, changes: &[Change]) -> Result<(), DatabaseError> {
        self.commits.lock().unwrap().push(changes.to_vec());
        self.inner.commit(changes)
    }
}

#[tokio::test]
async fn how_far_a_download_is_costs_no_commit_and_is_kept_with_the_next_one() {
    let commits = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&commits);
    let mut harness = Harness::with(|mut options| {
        let inner = Sqlite::open(&options.data.join("state.db")).unwrap();
        options.database = Some(Box::new(Watched { inner, commits: told }));
        options
    })
    .await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let tell = async |done: u64| {
        let report = json!({ "running": null, "phase": "downloading", "done": done, "total": 9 });
        harness.call("PUT", "/v1/device/status", &token, Some(report)).await.expect(204);
    };
    tell(1).await;
    let before = commits.lock().unwrap().len();
    for done in 2..6 {
        tell(done).await;
    }
    assert_eq!(commits.lock().unwrap().len(), before);
    harness.fleet("valves").await;
    let tables = |changes: &Vec<Change>| -> Vec<Table> {
        let table = |change: &Change| match change {
            Change::Put { table, .. } | Change::Remove { table, .. } => *table,
        };
        changes.iter().map(table).collect()
    };
    assert_eq!(tables(&commits.lock().unwrap()[before]), [Table::Devices, Table::Fleets]);
    // And once more as the server ends.
    tell(7).await;
    harness.restart().await;
    let device = harness.admin("GET", "/v1/devices/pump-1", None).await.expect(200).json();
    assert_eq!(device["status"]["report"]["done"], 7);
    harness.server.shut_down();
}

/// The keys whose signatures a delta has, all of which hold.
fn signers(delta: &[u8], keys: &[PrivateKey]) -> Vec<KeyId> {
    let mut reader = skiff_format::Reader::new(delta, skiff_format::Limits::default());
    let Some(skiff_format::Event::Header(header)) = reader.next_event().unwrap() else { panic!("no header") };
    while reader.next_event().unwrap().is_some() {}
    let found =
        header.signatures().all().iter().map(|signature| KeyId::from_bytes(*signature.key.as_bytes()));
    let found: Vec<KeyId> = found.collect();
    for id in &found {
        let key = keys.iter().find(|key| key.public().id() == id).unwrap();
        assert_eq!(skiff_keys::check(&header, &[key.public().clone()]).unwrap().id(), id);
    }
    found
}

/// What the objects of deltas are called.
fn deltas(harness: &Harness) -> Vec<String> {
    harness.names("objects/deltas").into_iter().collect()
}

/// Whatever was told of a public URL, by a cache or to a device in the middle of it, stays right.
#[tokio::test]
async fn a_delta_that_is_signed_afterwards_is_found_under_another_url() {
    let public = |mut options: Options| {
        options.public_objects = Some("https://cdn.example/".parse().unwrap());
        options
    };
    let mut harness = Harness::with(public).await;
    harness.fleet("pumps").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let token = harness.device("pumps", "pump-1").await;
    let path = format!("/v1/deltas/{old}/{new}?{ALL}");
    let mut seen = Vec::new();
    for keys in [vec![], vec![key(1)], vec![key(1), key(2)]] {
        let with = |options| {
            let mut options = public(options);
            options.signing_keys = keys.clone();
            options
        };
        harness.restart_with(with).await;
        let sent = harness.delta(&token, &path).await.expect(303);
        // What it was before is there no more.
        let [name] = &deltas(&harness)[..] else { panic!("{:?}", deltas(&harness)) };
        let bytes = std::fs::read(harness.data.join("objects/deltas").join(name)).unwrap();
        assert_eq!(signers(&bytes, &keys).len(), keys.len());
        assert_eq!(sent.header("location"), format!("https://cdn.example/deltas/{name}"));
        assert!(name.ends_with(&skiff_testkit::sha256_hex(&bytes)), "{name}");
        assert!(!seen.contains(name), "{name} has other bytes now");
        seen.push(name.clone());
    }
    harness.server.shut_down();
}

/// As they were kept before their digests were part of their names.
#[tokio::test]
async fn deltas_that_are_named_without_their_digests_are_served_and_signed() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let token = harness.device("pumps", "pump-1").await;
    let path = format!("/v1/deltas/{old}/{new}?{ALL}");
    let delta = harness.delta(&token, &path).await.expect(200).body;
    // That it was asked for is noted with this, and not with what is noted last.
    harness.fleet("valves").await;
    let database = Sqlite::open(&harness.data.join("state.db")).unwrap();
    let mut earlier = Vec::new();
    let mut look = |table: Table, key: &str, value: &[u8]| {
        if table == Table::Deltas {
            let mut record: serde_json::Value = serde_json::from_slice(value).unwrap();
            record["found"]["made"].as_object_mut().unwrap().remove("object").unwrap();
            earlier.push(Change::Put { table, key: key.into(), value: record.to_string().into() });
        }
        Ok(())
    };
    database.load(&mut look).unwrap();
    database.commit(&earlier).unwrap();
    let [Change::Put { key: name, .. }] = &earlier[..] else { panic!("{earlier:?}") };
    let lies = harness.data.join("objects/deltas");
    std::fs::rename(lies.join(&deltas(&harness)[0]), lies.join(name)).unwrap();
    // What nobody knows is swept away at the start.
    std::fs::write(lies.join("stray"), b"").unwrap();
    harness.restart().await;
    until("a sweep", || !lies.join("stray").exists()).await;
    assert_eq!(harness.get(&path, &token).await.expect(200).body, delta);
    let with = |mut options: Options| {
        options.signing_keys = vec![key(1)];
        options
    };
    harness.restart_with(with).await;
    let signed = harness.delta(&token, &path).await.expect(200).body;
    assert_eq!(signers(&signed, &[key(1)]).len(), 1);
    assert_eq!(deltas(&harness), [format!("{name}-{}", skiff_testkit::sha256_hex(&signed))]);
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 0.0);
    harness.server.shut_down();
}

#[tokio::test]
async fn deltas_are_signed_and_those_from_before_a_key_when_they_are_asked_for() {
    let keys = [key(1), key(2)];
    let ids = |used: &[PrivateKey]| {
        let mut ids: Vec<KeyId> = used.iter().map(|key| *key.public().id()).collect();
        ids.sort();
        ids
    };
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let token = harness.device("pumps", "pump-1").await;
    let path = format!("/v1/deltas/{old}/{new}?{ALL}");
    let plain = harness.delta(&token, &path).await.expect(200);
    assert_eq!(signers(&plain.body, &keys), []);
    // With one key, with another one beside it, and without the first.
    for used in [&keys[..1], &keys, &keys[1..]] {
        let with = |mut options: Options| {
            options.signing_keys = used.to_vec();
            options
        };
        harness.restart_with(with).await;
        let delta = harness.delta(&token, &path).await.expect(200);
        // A signature more does no harm: only one that is missing has a delta signed anew, by the keys that there are.
        let expected = if used.len() == 1 && used[0].public() == keys[1].public() { &keys[..] } else { used };
        assert_eq!(signers(&delta.body, &keys), ids(expected));
        assert_eq!(delta.header("etag"), format!("\"{}\"", skiff_testkit::sha256_hex(&delta.body)));
        assert_ne!(delta.header("etag"), plain.header("etag"));
        assert_eq!(harness.metric("skiff_deltas_kept_bytes").await, delta.body.len() as f64);
        assert_eq!(harness.metric("skiff_delta_computations_total").await, 0.0, "it was made anew");
    }
    // So is nobody's way back but the one that was chosen.
    let back = harness.delta(&token, &format!("/v1/deltas/{new}/{old}?{ALL}")).await;
    assert_eq!(back.expect(404).code(), "target-unknown");
    // One that is damaged where it lies is made anew.
    let kept = harness.data.join("objects/deltas").join(&deltas(&harness)[0]);
    let mut bytes = std::fs::read(&kept).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&kept, bytes).unwrap();
    let third = [key(3)];
    let with = |mut options: Options| {
        options.signing_keys = third.to_vec();
        options
    };
    harness.restart_with(with).await;
    let delta = harness.delta(&token, &path).await.expect(200);
    assert_eq!(signers(&delta.body, &third), ids(&third));
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 1.0);
    // And one that is sound, and not the one that was put there: nobody has that signed.
    let kept = harness.data.join("objects/deltas").join(&deltas(&harness)[0]);
    std::fs::write(kept, &plain.body).unwrap();
    let with = |mut options: Options| {
        options.signing_keys = vec![key(4)];
        options
    };
    harness.restart_with(with).await;
    let delta = harness.delta(&token, &path).await.expect(200);
    assert_eq!(signers(&delta.body, &[key(4)]), ids(&[key(4)]));
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 1.0);
    harness.server.shut_down();
}
