//! What clients may hold, and what is told of what happens.

mod common;

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use common::{ALL, Harness};
use serde_json::{Value, json};
use skiff_server::{BeforeEach, Connections, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

#[tokio::test]
async fn events_are_told_as_they_happen() {
    let harness = Harness::new().await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let request =
        Request::get("/v1/events").header("authorization", format!("Bearer {}", harness.administrator));
    let response = harness.server.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let old = harness.release("pumps", "1").await;
    harness.running(&token, &old).await;
    let new = harness.release("pumps", "2").await;
    harness.delta(&token, &format!("/v1/deltas/{old}/{new}?{ALL}")).await.expect(200);
    harness.server.shut_down();
    // The stream ends with the server.
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let events: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["release", "device", "release", "delta"], "{text}");
    assert_eq!((&events[0]["release"], &events[1]["device"]), (&json!(old), &json!("pump-1")));
    assert_eq!((&events[3]["base"], &events[3]["target"]), (&json!(old), &json!(new)));
}

#[tokio::test]
async fn more_polls_than_may_be_held_are_told_to_come_back() {
    let harness = Harness::with(|mut options| {
        options.polls = 1;
        options
    })
    .await;
    harness.fleet("pumps").await;
    let token = harness.device("pumps", "pump-1").await;
    let first = harness.get("/v1/device/target", &token).await.expect(200);
    let poll = || harness.poll(&token, first.header("etag"), 60);
    let refused = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let refused = poll().await.expect(503);
        assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("busy", "10"));
        harness.server.shut_down();
    };
    tokio::join!(poll(), refused).0.expect(304);
}

#[tokio::test]
async fn what_is_sent_too_slowly_or_is_too_long_is_refused_and_leaves_nothing() {
    let harness = Harness::with(|mut options| {
        (options.idle_timeout, options.upload_bytes) = (Duration::from_millis(200), 1000);
        options
    })
    .await;
    harness.fleet("pumps").await;
    let send = |body: Body| harness.upload("pumps", body);
    assert_eq!(send(Body::from(vec![0; 1001])).await.expect(413).code(), "too-large");
    let stalled = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    assert_eq!(send(Body::from_stream(stalled)).await.expect(408).code(), "timed-out");
    let cut = futures_util::stream::iter([Ok(vec![0; 10]), Err(std::io::Error::other("cut"))]);
    assert_eq!(send(Body::from_stream(cut)).await.expect(400).code(), "bad-request");
    for directory in ["spool", "uploads"] {
        assert_eq!(std::fs::read_dir(harness.data.join(directory)).unwrap().count(), 0, "{directory}");
    }
    assert_eq!(harness.admin("GET", "/v1/fleets/pumps/releases", None).await.expect(200).json(), json!([]));
    harness.server.shut_down();
}

#[tokio::test]
async fn more_transfers_than_may_be_under_way_are_told_to_come_back() {
    let harness = Harness::with(|mut options| {
        options.transfers = 1;
        options
    })
    .await;
    harness.fleet("pumps").await;
    let send = |body: Body| harness.upload("pumps", body);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    // One that is under way until it is told to break.
    let slow = futures_util::stream::once(async {
        let _ = ended.await;
        Err::<Vec<u8>, _>(std::io::Error::other("cut"))
    });
    let second = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(send(Body::from("second")).await.expect(503).code(), "busy");
        end.send(()).unwrap();
    };
    assert_eq!(tokio::join!(send(Body::from_stream(slow)), second).0.expect(400).code(), "bad-request");
    send(Body::from("third")).await.expect(202);
    harness.server.shut_down();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_does_not_fill_the_queue() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let blocked = BeforeEach(std::sync::Arc::new(move |_, _| {
        let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(30));
    }));
    let harness = Harness::with(|mut options| {
        (options.before_each, options.queue_per_device) = (Some(blocked), 2);
        options
    })
    .await;
    harness.fleet("pumps").await;
    let (greedy, other) = (harness.device("pumps", "pump-1").await, harness.device("pumps", "pump-2").await);
    let (old, new) = (harness.release("pumps", "1").await, harness.release("pumps", "2").await);
    let path = |memory: u32| format!("/v1/deltas/{old}/{new}?{ALL}&memory={}", memory << 20);
    for memory in [32, 48, 32] {
        harness.get(&path(memory), &greedy).await.expect(202);
    }
    let refused = harness.get(&path(64), &greedy).await.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("busy", "10"));
    // What it asked for is made still, and nobody else is in its way; what another asks for first is not counted.
    harness.get(&path(48), &greedy).await.expect(202);
    harness.get(&path(64), &other).await.expect(202);
    harness.get(&path(64), &greedy).await.expect(202);
    harness.get(&path(96), &harness.administrator).await.expect(202);
    harness.get(&path(128), &greedy).await.expect(503);
    // There is room again once one is made.
    go.send(()).unwrap();
    for _ in 0..1000 {
        if harness.metric("skiff_deltas_waiting").await == 3.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    harness.get(&path(128), &greedy).await.expect(202);
    drop(go);
    harness.server.shut_down();
}

#[tokio::test]
async fn more_downloads_than_may_be_under_way_are_told_to_come_back() {
    let harness = Harness::with(|mut options| {
        options.transfers = 1;
        options
    })
    .await;
    // What is larger is not sent from memory.
    let large: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    let image = skiff_testkit::Image::new().layer(skiff_testkit::Layer::new().file("app", large));
    skiff_testkit::OciLayout::new().image("1", image).write_directory(&harness.images().join("large"));
    harness.fleet("pumps").await;
    let path = "/v1/fleets/pumps/releases";
    harness.admin("POST", path, Some(json!({ "image": "oci:large:1" }))).await.expect(202);
    harness.ready("pumps", 1).await;
    let token = harness.device("pumps", "pump-1").await;
    let manifest = harness.get("/v2/pumps/manifests/latest", &token).await.expect(200).json();
    let blob = format!("/v2/pumps/blobs/{}", manifest["layers"][0]["digest"].as_str().unwrap());
    let request = Request::get(&blob).header("authorization", format!("Bearer {token}"));
    let first = harness.server.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(first.status(), 200);
    let refused = harness.get(&blob, &token).await.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("busy", "10"));
    // What lies in memory takes no place.
    harness.get("/v2/pumps/manifests/latest", &token).await.expect(200);
    drop(first);
    assert!(harness.get(&blob, &token).await.expect(200).body.len() > 1 << 20);
    harness.server.shut_down();
}

#[tokio::test]
async fn connections_that_stall_end() {
    let harness = Harness::new().await;
    let mut limits = Connections::default();
    (limits.head_timeout, limits.stall_timeout) = (Duration::from_millis(200), Duration::from_millis(500));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    // Something to send that no buffer of the system takes whole.
    let large = axum::routing::get(|| async { vec![0_u8; 64 << 20] });
    let router = harness.server.router().route("/large", large);
    let serving = tokio::spawn(serve(listener, router, limits, async {
        let _ = ended.await;
    }));
    // A head that does not come.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut Vec::new())).await.is_ok());
    // A client that takes nothing.
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut taken = Vec::new();
    let _ = idle.read_to_end(&mut taken).await;
    assert!(taken.len() < 64 << 20);
    // And one that does as it should, while the server goes down.
    let mut good = TcpStream::connect(address).await.unwrap();
    good.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    good.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    end.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    harness.server.shut_down();
}

#[tokio::test]
async fn methods_that_are_none_are_counted_as_one() {
    let harness = Harness::new().await;
    for method in ["GET", "AAAA", "AAAB"] {
        harness.call(method, "/v1/fleets", "", None).await;
    }
    let text = String::from_utf8(harness.get("/metrics", "").await.expect(200).body).unwrap();
    assert_eq!(text.matches("route=\"/v1/fleets\",method=\"other\"").count(), 1, "{text}");
    assert!(!text.contains("AAA"), "{text}");
    harness.server.shut_down();
}
