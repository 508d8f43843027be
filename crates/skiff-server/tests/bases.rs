//! From what a device may have deltas, and signatures of what is not known.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{ALL, Harness};
use serde_json::json;

/// Says that a device runs a release, and what it can apply, so that deltas are made ahead.
async fn running_and_able(harness: &Harness, token: &str, release: &str) {
    let codecs = ["1", "2", "3", "4", "5", "6", "7"];
    let capabilities = json!({ "formats": [1], "codecs": codecs, "decoder_memory": null });
    let report = json!({ "running": release, "phase": "idle", "capabilities": capabilities });
    harness.call("PUT", "/v1/device/status", token, Some(report)).await.expect(204);
}

#[tokio::test]
async fn a_devices_word_makes_no_delta_from_what_another_fleet_has() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.fleet("valves").await;
    let token = harness.device("pumps", "pump-1").await;
    let secret = harness.release("valves", "3").await;
    let first = harness.release("pumps", "1").await;
    let asked = |target: &str| format!("/v1/deltas/{secret}/{target}?{ALL}");
    assert_eq!(harness.delta(&token, &asked(&first)).await.expect(404).code(), "base-unknown");
    running_and_able(&harness, &token, &secret).await;
    assert_eq!(harness.delta(&token, &asked(&first)).await.expect(404).code(), "base-unknown");
    let also = format!("/v1/deltas/{first}/{first}?{ALL}&also={secret}");
    assert_eq!(harness.delta(&token, &also).await.expect(409).code(), "pull-cheaper");
    // Of two devices, deltas are made ahead for the one that tells what may be.
    let honest = harness.device("pumps", "pump-2").await;
    running_and_able(&harness, &honest, &first).await;
    let second = harness.release("pumps", "2").await;
    let is_done = async || {
        harness.metric("skiff_deltas_waiting").await == 0.0 && !harness.names("objects/deltas").is_empty()
    };
    for _ in 0..1000 {
        if is_done().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let made = harness.names("objects/deltas");
    assert!(made.len() == 1 && made.iter().all(|name| name.starts_with(&first)), "{made:?}");
    // Whoever has all of it can tell what it consists of.
    let (signed, signature) = harness.signature("3");
    assert_eq!(signed, secret);
    assert_eq!(harness.sign(&token, &secret, &signature[..99]).await.expect(422).code(), "unprocessable");
    assert_eq!(harness.delta(&token, &asked(&second)).await.expect(404).code(), "base-unknown");
    harness.sign(&token, &secret, &signature).await.expect(204);
    harness.delta(&token, &asked(&second)).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test]
async fn what_a_device_ran_before_it_was_moved_is_remembered() {
    let mut harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.fleet("valves").await;
    let (told, silent) = (harness.device("pumps", "pump-1").await, harness.device("pumps", "pump-2").await);
    // Before it is released there.
    let (old, _) = harness.signature("1");
    harness.running(&silent, &old).await;
    assert_eq!(harness.release("pumps", "1").await, old);
    harness.running(&told, &old).await;
    let new = harness.release("valves", "2").await;
    let asked = format!("/v1/deltas/{old}/{new}?{ALL}");
    for (device, token) in [("pump-1", &told), ("pump-2", &silent)] {
        harness.moves(device, "valves").await;
        harness.delta(token, &asked).await.expect(200);
    }
    // And when it goes back to it.
    harness.running(&told, &new).await;
    harness.running(&told, &old).await;
    harness.restart().await;
    harness.delta(&told, &asked).await.expect(200);
    // Another device of the fleet did not run it.
    let other = harness.device("valves", "valve-1").await;
    harness.running(&other, &old).await;
    assert_eq!(harness.delta(&other, &asked).await.expect(404).code(), "base-unknown");
    harness.server.shut_down();
}

#[tokio::test]
async fn one_signature_serves_its_fleet_and_no_other() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    harness.fleet("valves").await;
    let [first, second] = [harness.device("pumps", "pump-1").await, harness.device("pumps", "pump-2").await];
    let other = harness.device("valves", "valve-1").await;
    let (old, signature) = harness.signature("1");
    let pumps = harness.release("pumps", "2").await;
    let valves = harness.release("valves", "3").await;
    for token in [&first, &second, &other] {
        harness.running(token, &old).await;
    }
    harness.sign(&first, &old, &signature).await.expect(204);
    harness.delta(&second, &format!("/v1/deltas/{old}/{pumps}?{ALL}")).await.expect(200);
    let asked = format!("/v1/deltas/{old}/{valves}?{ALL}");
    assert_eq!(harness.delta(&other, &asked).await.expect(404).code(), "base-unknown");
    harness.sign(&other, &old, &signature).await.expect(204);
    harness.delta(&other, &asked).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test]
async fn signatures_of_one_device_take_only_so_much_room() {
    let harness = Harness::with(|mut options| {
        options.signatures_per_device = 1;
        options
    })
    .await;
    harness.fleet("pumps").await;
    let [token, other] = [harness.device("pumps", "pump-1").await, harness.device("pumps", "pump-2").await];
    let new = harness.release("pumps", "3").await;
    let [first, second] = [harness.signature("1"), harness.signature("2")];
    for (token, (release, signature)) in [(&other, &first), (&token, &second)] {
        harness.running(token, release).await;
        harness.sign(token, release, signature).await.expect(204);
    }
    assert_eq!(harness.names("objects/signatures").len(), 2);
    // What it sent before goes, and what others sent stays.
    let image = skiff_testkit::Image::new().layer(skiff_testkit::Layer::new().file("etc/motd", "ahoy"));
    skiff_testkit::OciLayout::new().image("9", image).write_directory(&harness.images().join("app"));
    let third = harness.signature("9");
    harness.running(&token, &third.0).await;
    harness.sign(&token, &third.0, &third.1).await.expect(204);
    assert_eq!(harness.names("objects/signatures"), [first.0.clone(), third.0.clone()].into());
    harness.running(&token, &second.0).await;
    let asked = format!("/v1/deltas/{}/{new}?{ALL}", second.0);
    assert_eq!(harness.delta(&token, &asked).await.expect(404).code(), "base-unknown");
    harness.sign(&token, &second.0, &second.1).await.expect(204);
    harness.delta(&token, &asked).await.expect(200);
    harness.server.shut_down();
}

#[tokio::test]
async fn a_signature_larger_than_a_devices_room_is_refused() {
    let harness = Harness::with(|mut options| {
        options.signature_bytes_per_device = 1000;
        options
    })
    .await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let (release, signature) = harness.signature("1");
    harness.running(&token, &release).await;
    assert_eq!(harness.sign(&token, &release, &signature).await.expect(413).code(), "too-large");
    harness.server.shut_down();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_signature_sent_by_many_at_once_does_no_harm() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let new = harness.release("pumps", "2").await;
    let (old, signature) = harness.signature("1");
    let mut tokens = Vec::new();
    for number in 0..6 {
        let token = harness.device("pumps", &format!("pump-{number}")).await;
        harness.running(&token, &old).await;
        tokens.push(token);
    }
    // The first one sends it four times.
    let senders = [0, 0, 0, 0, 1, 2, 3, 4, 5];
    let sent = futures_util::future::join_all(
        senders.iter().map(|&sender| harness.sign(&tokens[sender], &old, &signature)),
    );
    let statuses: Vec<u16> = sent.await.iter().map(|answer| answer.status.as_u16()).collect();
    assert!(statuses.iter().all(|status| [204, 503].contains(status)), "{statuses:?}");
    assert!(statuses[4..].iter().all(|&status| status == 204), "{statuses:?}");
    harness.sign(&tokens[0], &old, &signature).await.expect(204);
    assert_eq!(harness.names("objects/signatures").len(), 1);
    assert!(harness.names("spool").is_empty());
    harness.delta(&tokens[5], &format!("/v1/deltas/{old}/{new}?{ALL}")).await.expect(200);
    harness.server.shut_down();
}
