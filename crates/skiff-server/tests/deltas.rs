//! Deltas on request.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use common::{ALL, Harness};
use serde_json::json;
use skiff_server::BeforeEach;

#[tokio::test]
async fn a_device_gets_what_leads_from_what_it_runs_to_what_it_shall_run() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let old = harness.release("pumps", "1").await;
    let target = harness.get("/v1/device/target", &token).await.expect(200);
    assert_eq!(target.json()["release"], old.as_str());
    harness.running(&token, &old).await;
    let new = harness.release("pumps", "2").await;
    let target = harness.get("/v1/device/target", &token).await.expect(200).json();
    assert_eq!((&target["release"], &target["image"]["repository"]), (&json!(new), &json!("pumps")));

    let path = format!("/v1/deltas/{old}/{new}?{ALL}");
    let delta = harness.delta(&token, &path).await.expect(200);
    assert_eq!(delta.header("skiff-delta-base"), old);
    assert_eq!(delta.header("etag"), format!("\"{}\"", skiff_testkit::sha256_hex(&delta.body)));
    let header = skiff_format::Header::parse(&delta.body[..header_len(&delta.body)]).unwrap();
    assert_eq!(header.target().release.to_string().trim_start_matches("sha256:"), new);
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 1.0);

    // The rest of it, after a cut.
    let rest = Request::get(&path).header("authorization", format!("Bearer {token}"));
    let rest = rest.header("range", "bytes=100-").header("if-range", delta.header("etag"));
    let rest = harness.send(rest.body(Body::empty()).unwrap()).await.expect(206);
    assert_eq!(rest.body, &delta.body[100..]);
    assert_eq!(
        rest.header("content-range"),
        format!("bytes 100-{}/{}", delta.body.len() - 1, delta.body.len())
    );
    let same = Request::get(&path).header("authorization", format!("Bearer {token}"));
    let same = same.header("if-none-match", delta.header("etag")).body(Body::empty()).unwrap();
    assert!(harness.send(same).await.expect(304).body.is_empty());
    harness.server.shut_down();
}

/// Where the header ends: behind it stands what it says at its beginning.
fn header_len(delta: &[u8]) -> usize {
    (0..=delta.len())
        .find(|&len| skiff_format::Header::parse(&delta[..len]).is_ok())
        .expect("because it begins with a header")
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_a_delta_is_made_once() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (counted, seen) = (Arc::clone(&running), Arc::clone(&most));
    let slow = BeforeEach(Arc::new(move |_, _| {
        seen.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        counted.fetch_sub(1, Ordering::SeqCst);
    }));
    let harness = Harness::with(|mut options| {
        options.before_each = Some(slow);
        options
    })
    .await;
    harness.fleet("pumps").await;
    let [a, b, c] = [
        harness.release("pumps", "1").await,
        harness.release("pumps", "2").await,
        harness.release("pumps", "3").await,
    ];
    let token = harness.device("pumps", "pump-1").await;
    let paths = [format!("/v1/deltas/{a}/{c}?{ALL}"), format!("/v1/deltas/{b}/{c}?{ALL}")];
    let asked = (0..200).map(|index| harness.delta(&token, &paths[index % 2]));
    let answers = futures_util::future::join_all(asked).await;
    for (index, answer) in answers.into_iter().enumerate() {
        let answer = answer.expect(200);
        assert_eq!(answer.header("skiff-delta-base"), [&a, &b][index % 2]);
    }
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 2.0);
    // One worker, unless more are asked for.
    assert_eq!(most.load(Ordering::SeqCst), 1);
    harness.server.shut_down();
}

#[tokio::test]
async fn of_several_bases_the_cheapest_is_taken_and_unknown_ones_do_no_harm() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let [old, near, new] = [
        harness.release("pumps", "1").await,
        harness.release("pumps", "2").await,
        harness.release("pumps", "3").await,
    ];
    let token = harness.device("pumps", "pump-1").await;
    let unknown = "00".repeat(32);
    let delta =
        harness.delta(&token, &format!("/v1/deltas/{unknown}/{new}?{ALL}&also={old}")).await.expect(200);
    assert_eq!(delta.header("skiff-delta-base"), old);
    let cheaper =
        harness.delta(&token, &format!("/v1/deltas/{old}/{new}?{ALL}&also={near}")).await.expect(200);
    assert_eq!(cheaper.header("skiff-delta-base"), near);
    assert!(cheaper.body.len() + 4000 < delta.body.len());
    // Who has the target already has nothing to pull, which no delta is cheaper than.
    assert_eq!(
        harness.delta(&token, &format!("/v1/deltas/{new}/{new}?{ALL}")).await.expect(409).code(),
        "pull-cheaper"
    );
    assert_eq!(
        harness.delta(&token, &format!("/v1/deltas/{unknown}/{new}?{ALL}")).await.expect(404).code(),
        "base-unknown"
    );
    assert_eq!(
        harness.delta(&token, &format!("/v1/deltas/{old}/{unknown}?{ALL}")).await.expect(404).code(),
        "target-unknown"
    );
    harness.server.shut_down();
}

#[tokio::test]
async fn what_a_device_can_do_decides_what_it_gets() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let token = harness.device("pumps", "pump-1").await;
    let ask = |query: &str| format!("/v1/deltas/{old}/{new}?{query}");
    let all = harness.delta(&token, &ask(ALL)).await.expect(200);
    let few = harness.delta(&token, &ask("formats=1,9&codecs=1,2&memory=20000000")).await.expect(200);
    assert_ne!(all.header("etag"), few.header("etag"));
    let header = skiff_format::Header::parse(&few.body[..header_len(&few.body)]).unwrap();
    assert!(header.codecs().iter().all(|codec| codec.id <= 2), "{:?}", header.codecs());
    assert!(header.facts().decoder_memory <= 20_000_000);
    for query in ["formats=7&codecs=1,2", "formats=1&codecs=1", "formats=1&codecs=1,2&memory=4096"] {
        assert_eq!(harness.delta(&token, &ask(query)).await.expect(409).code(), "not-for-device", "{query}");
    }
    for query in ["formats=1", "formats=x&codecs=1,2", "formats=1&codecs=1,2&colour=red"] {
        assert_eq!(harness.delta(&token, &ask(query)).await.expect(400).code(), "bad-request", "{query}");
    }
    harness.server.shut_down();
}

#[tokio::test]
async fn an_unknown_release_is_signed_and_then_has_deltas() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let new = harness.release("pumps", "2").await;
    let token = harness.device("pumps", "pump-1").await;
    let (old, signature) = harness.signature("1");

    let delta = format!("/v1/deltas/{old}/{new}?{ALL}");
    assert_eq!(harness.delta(&token, &delta).await.expect(404).code(), "base-unknown");
    // Only of what it is recorded to run.
    assert_eq!(harness.sign(&token, &old, &signature).await.expect(403).code(), "forbidden");
    harness.running(&token, &old).await;
    assert_eq!(harness.sign(&token, &old, &signature[..40]).await.expect(422).code(), "unprocessable");
    harness.sign(&token, &old, &signature).await.expect(204);
    let found = harness.delta(&token, &delta).await.expect(200);
    assert!(found.body.len() < 20_000, "{}", found.body.len());
    // Another release's signature is not taken for it.
    let other = "ab".repeat(32);
    harness.running(&token, &other).await;
    assert_eq!(harness.sign(&token, &other, &signature).await.expect(422).code(), "unprocessable");
    harness.server.shut_down();
}

#[tokio::test]
async fn deltas_are_made_ahead_for_what_devices_run() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let old = harness.release("pumps", "1").await;
    let capabilities =
        json!({ "formats": [1], "codecs": ["1", "2", "3", "4", "5", "6", "7"], "decoder_memory": null });
    let report = json!({ "running": old, "phase": "idle", "capabilities": capabilities });
    harness.call("PUT", "/v1/device/status", &token, Some(report)).await.expect(204);
    let new = harness.release("pumps", "2").await;
    for _ in 0..1000 {
        if harness.metric("skiff_delta_seconds_count").await == 1.0
            && harness.metric("skiff_deltas_waiting").await == 0.0
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nobody has asked for it yet.
    harness.get(&format!("/v1/deltas/{old}/{new}?{ALL}"), &token).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_cut_off_is_made_after_it() {
    let (asked, began) = std::sync::mpsc::channel();
    let blocked = BeforeEach(Arc::new(move |_, _| {
        let _ = asked.send(());
        std::thread::sleep(Duration::from_millis(300));
    }));
    let mut harness = Harness::with(|mut options| {
        options.before_each = Some(blocked);
        options
    })
    .await;
    harness.fleet("pumps").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let token = harness.device("pumps", "pump-1").await;
    let path = format!("/v1/deltas/{old}/{new}?{ALL}");
    assert_eq!(harness.get(&path, &token).await.expect(202).json()["stage"], "waiting");
    tokio::task::block_in_place(|| began.recv()).unwrap();
    harness.restart().await;
    // It is being made without anybody asking again.
    for _ in 0..1000 {
        if harness.metric("skiff_delta_seconds_count").await == 1.0
            && harness.metric("skiff_deltas_waiting").await == 0.0
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    harness.get(&path, &token).await.expect(200);
    // And once more is not.
    harness.restart().await;
    harness.get(&path, &token).await.expect(200);
    assert_eq!(harness.metric("skiff_delta_computations_total").await, 0.0);
    harness.server.shut_down();
}

#[tokio::test]
async fn deltas_that_were_asked_for_longest_ago_go_first() {
    let harness = Harness::with(|mut options| {
        options.delta_bytes = 1;
        options
    })
    .await;
    harness.fleet("pumps").await;
    let [a, b, c] = [
        harness.release("pumps", "1").await,
        harness.release("pumps", "2").await,
        harness.release("pumps", "3").await,
    ];
    let token = harness.device("pumps", "pump-1").await;
    for (old, new) in [(&a, &b), (&a, &c), (&b, &c)] {
        harness.delta(&token, &format!("/v1/deltas/{old}/{new}?{ALL}")).await.expect(200);
    }
    // The newest is kept, whatever the limit.
    for _ in 0..500 {
        if std::fs::read_dir(harness.data.join("objects/deltas")).unwrap().count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kept: Vec<_> = std::fs::read_dir(harness.data.join("objects/deltas"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].to_str().unwrap().starts_with(&format!("{b}-{c}")));
    // What went is made anew.
    harness.delta(&token, &format!("/v1/deltas/{a}/{b}?{ALL}")).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test]
async fn where_deltas_lie_elsewhere_devices_are_sent_there() {
    let harness = Harness::with(|mut options| {
        options.public_objects = Some("https://cdn.example/skiff/".parse().unwrap());
        options
    })
    .await;
    harness.fleet("pumps").await;
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let token = harness.device("pumps", "pump-1").await;
    let sent = harness.delta(&token, &format!("/v1/deltas/{old}/{new}?{ALL}")).await.expect(303);
    assert!(sent.header("location").starts_with(&format!("https://cdn.example/skiff/deltas/{old}-{new}-")));
    harness.server.shut_down();
}
