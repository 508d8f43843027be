//! What registries and those in between do, and what must not come of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::common::*;
use serde_json::json;
use skiff_fs::{Control, Interrupted};
use skiff_image::{BlobDigest, ImageError};
use skiff_registry::{
    Client, ClientOptions, Credentials, ErrorClass, Fetched, Layout, Limits, Login, NewDelta, RegistryError,
};
use skiff_testkit::{
    FlakyProxy, HttpAnswer, HttpRequest, HttpServer, Image, Layer, OciLayout, RegistryOptions, TestRegistry,
};

fn images() -> OciLayout {
    let layer = |name| Layer::new().file(name, noise_of(name, 50_000));
    OciLayout::new().image("1", Image::new().layer(layer("a")).layer(layer("b")))
}

/// A registry with an image `app:1`, where the script answers first.
fn registry(
    script: impl Fn(&HttpRequest, &[HttpRequest]) -> Option<HttpAnswer> + Send + Sync + 'static,
) -> TestRegistry {
    let registry = TestRegistry::scripted(RegistryOptions::default(), script);
    registry.put_layout("app", &images());
    registry
}

fn fetch(client: &Client<'_>, registry: &TestRegistry) -> Result<Fetched, RegistryError> {
    let work = Work::new();
    let layout = Layout::create(work.path("layout")).unwrap();
    client.fetch(&reference(registry, "app:1"), None, &layout)
}

fn login(registry: &TestRegistry, password: &str) -> ClientOptions {
    let login = Login::Basic { user: "robot".into(), password: password.into() };
    options().with_credentials(Credentials::default().with_login(&registry.address(), login))
}

const ROBOT: &str = "Basic cm9ib3Q6c2VjcmV0";

fn refusal(challenge: &str) -> HttpAnswer {
    let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]});
    HttpAnswer::new(401).header("www-authenticate", challenge).body(body.to_string())
}

/// A server that gives `token-1`, `token-2` and so on, to the robot.
fn token_server() -> (HttpServer, Arc<AtomicU32>) {
    let given = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&given);
    let server = HttpServer::start(move |request| {
        if request.header("authorization") != Some(ROBOT) {
            return HttpAnswer::new(401).body(r#"{"errors": [{"code": "DENIED", "message": "wrong"}]}"#);
        }
        assert_eq!(request.path, "/token");
        assert_eq!(request.query("service").as_deref(), Some("the registry"));
        let scope = request.query("scope").unwrap();
        assert!(matches!(&scope[..], "repository:app:pull" | "repository:app:pull,push"), "{scope}");
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        HttpAnswer::new(200).body(json!({"token": format!("token-{number}"), "expires_in": 300}).to_string())
    });
    (server, given)
}

#[test]
fn tokens_are_asked_for_once_and_renewed_when_they_end() {
    let (tokens, given) = token_server();
    let realm = format!(r#"Bearer realm="http://{}/token",service="the registry""#, tokens.address());
    let ended = AtomicBool::new(false);
    let refuses = realm.clone();
    let registry = registry(move |request, before| {
        let valid = if ended.load(Ordering::SeqCst) { "Bearer token-2" } else { "Bearer token-1" };
        // The third time that something is let in, the first token ends.
        let let_in = before.iter().filter(|request| request.header("authorization").is_some()).count();
        if let_in == 2 {
            ended.store(true, Ordering::SeqCst);
        }
        (request.header("authorization") != Some(valid)).then(|| refusal(&refuses))
    });
    let client = Client::new(login(&registry, "secret")).unwrap();
    fetch(&client, &registry).unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 2);
    // Another fetch knows what to say at once.
    let before = registry.requests().len();
    fetch(&client, &registry).unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 2);
    assert!(registry.requests()[before..].iter().all(|request| request.header("authorization").is_some()));
}

#[test]
fn pushing_asks_for_more_than_pulling() {
    let (tokens, _) = token_server();
    let realm = format!(r#"Bearer realm="http://{}/token",service="the registry""#, tokens.address());
    let registry = registry(move |request, _| {
        let is_robot = request.header("authorization").is_some_and(|text| text.starts_with("Bearer token-"));
        (!is_robot).then(|| refusal(&realm))
    });
    let work = Work::new();
    let client = Client::new(login(&registry, "secret")).unwrap();
    let image = client.resolve(&reference(&registry, "app:1"), None).unwrap();
    let file = delta(&work, ("old", "new"), None, 1000);
    let repository = image.reference.repository();
    client.push_delta(repository, &NewDelta::new(&file, &image.manifest)).unwrap();
    let first = |method: &str| {
        let requests = registry.requests();
        let found = requests
            .iter()
            .find(|request| request.method == method && request.header("authorization").is_some());
        found.unwrap().header("authorization").unwrap().to_owned()
    };
    assert_ne!(first("GET"), first("HEAD"));
    assert_eq!(first("HEAD"), first("PATCH"));
}

#[test]
fn names_and_passwords_are_sent_where_they_are_asked_for() {
    let registry = registry(|request, _| {
        (request.header("authorization") != Some(ROBOT)).then(|| refusal(r#"Basic realm="x""#))
    });
    fetch(&Client::new(login(&registry, "secret")).unwrap(), &registry).unwrap();
    let refused =
        registry.requests().iter().filter(|request| request.header("authorization").is_none()).count();
    assert_eq!(refused, 1);

    for options in [login(&registry, "wrong"), options()] {
        let before = registry.requests().len();
        let error = fetch(&Client::new(options).unwrap(), &registry).unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
        assert!(error.to_string().contains("who are you?"), "{error}");
        assert_eq!(error.class(), ErrorClass::Unauthorized);
        // It is not tried again and again.
        assert!(registry.requests().len() - before <= 2);
    }
}

#[test]
fn a_wrong_password_at_the_server_of_tokens_is_told() {
    let (tokens, _) = token_server();
    let realm = format!(r#"Bearer realm="http://{}/token",service="the registry""#, tokens.address());
    let registry = registry(move |_, _| Some(refusal(&realm)));
    let error = fetch(&Client::new(login(&registry, "wrong")).unwrap(), &registry).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    // And a registry that refuses every token is not asked for ever.
    let error = fetch(&Client::new(login(&registry, "secret")).unwrap(), &registry).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
}

#[test]
fn blobs_elsewhere_are_fetched_without_credentials() {
    let blobs = Arc::new(images().files());
    let store = HttpServer::start(move |request| {
        assert_eq!(request.header("authorization"), None, "{request:?}");
        let name = request.path.replacen("/store/", "blobs/sha256/", 1);
        let start = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        match start.and_then(|start| start.parse::<usize>().ok()) {
            None => HttpAnswer::new(200).body(blobs[&name].clone()).cut_after(20_000),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", blobs[&name].len() - 1, blobs[&name].len());
                HttpAnswer::new(206).header("content-range", range).body(&blobs[&name][start..])
            }
        }
    });
    let address = store.address();
    let registry = registry(move |request, _| {
        if request.header("authorization") != Some(ROBOT) {
            return Some(refusal("Basic"));
        }
        let digest = request.path.strip_prefix("/v2/app/blobs/sha256:")?;
        Some(HttpAnswer::new(307).header("location", format!("http://{address}/store/{digest}")))
    });
    let fetched = fetch(&Client::new(login(&registry, "secret")).unwrap(), &registry).unwrap();
    assert!(fetched.transferred > 100_000);
}

#[test]
fn refusals_and_redirects_do_not_cost_connections() {
    let registry = registry(|request, _| {
        if request.header("authorization") != Some(ROBOT) {
            return Some(refusal("Basic"));
        }
        let digest = request.path.strip_prefix("/v2/app/blobs/")?;
        (request.query.is_empty())
            .then(|| HttpAnswer::new(307).header("location", format!("{digest}?here")).body("<a>here</a>"))
    });
    let proxy = FlakyProxy::start(&registry.address(), u64::MAX);
    let login = Login::Basic { user: "robot".into(), password: "secret".into() };
    let credentials = Credentials::default().with_login(&proxy.address(), login);
    let client = Client::new(options().with_credentials(credentials)).unwrap();
    let work = Work::new();
    let layout = Layout::create(work.path("layout")).unwrap();
    client.fetch(&at(&proxy.address(), "app:1"), None, &layout).unwrap();
    assert!(registry.requests().len() >= 8);
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn redirects_in_circles_end() {
    let registry = registry(|request, _| Some(HttpAnswer::new(302).header("location", request.path.clone())));
    let error = fetch(&client(), &registry).unwrap_err();
    assert!(matches!(error, RegistryError::LimitExceeded { limit: 8, .. }), "{error}");
    assert_eq!(registry.requests().len(), 9);
}

#[test]
fn a_busy_registry_is_asked_again_and_not_for_ever() {
    let registry = registry(|_, before| match before.len() {
        0 => Some(HttpAnswer::new(503)),
        1 => Some(HttpAnswer::new(429).header("retry-after", "0")),
        2 => Some(HttpAnswer::new(500)),
        _ => None,
    });
    fetch(&client(), &registry).unwrap();

    let registry = self::registry(|_, _| Some(HttpAnswer::new(429).header("retry-after", "7")));
    let error = fetch(&client(), &registry).unwrap_err();
    let RegistryError::Unavailable { tried: 6, status: 429, retry_after, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*retry_after, Some(Duration::from_secs(7)));
    assert_eq!((registry.requests().len(), error.class()), (6, ErrorClass::Unavailable));

    let nobody = HttpServer::start(|_| HttpAnswer::new(200)).address();
    let error = client().resolve(&at(&nobody, "app:1"), None).unwrap_err();
    assert!(matches!(error, RegistryError::Network { tried: 6, .. }), "{error}");
}

#[test]
fn what_is_not_there_is_not_found() {
    let registry = registry(|_, _| None);
    for name in ["app:2", "other:1"] {
        let error = client().resolve(&reference(&registry, name), None).unwrap_err();
        assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_a_registry_refuses_is_told_in_its_words() {
    let registry = registry(|_, _| {
        let body = r#"{"errors": [{"code": "TOO_BAD", "message": "no\u0007pe", "detail": {}}]}"#;
        Some(HttpAnswer::new(418).body(body))
    });
    let error = fetch(&client(), &registry).unwrap_err();
    let RegistryError::Refused { status: 418, code, message, .. } = &error else { panic!("{error}") };
    assert_eq!((&code[..], &message[..]), ("TOO_BAD", "no\\u{7}pe"));
}

#[test]
fn other_bytes_than_the_digest_names_are_refused() {
    // Of the same length.
    let change = |request: &HttpRequest, part: &str| {
        let name = request.path.rsplit_once("sha256:")?.1;
        let mut bytes = images().files().get(&format!("blobs/sha256/{name}"))?.clone();
        *bytes.last_mut()? ^= 1;
        request.path.contains(part).then(|| HttpAnswer::new(200).body(bytes))
    };
    let registry = registry(move |request, _| change(request, "/blobs/"));
    let work = Work::new();
    let layout = Layout::create(work.path("layout")).unwrap();
    let error = client().fetch(&reference(&registry, "app:1"), None, &layout).unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    // Nothing of it is kept.
    assert_eq!(std::fs::read_dir(work.path("layout/blobs/sha256")).unwrap().count(), 1);
    let parts = std::fs::read_dir(work.path("layout/.skiff")).unwrap();
    let parts: Vec<_> = parts.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(parts, ["lock"]);

    let files = images().files();
    let index: serde_json::Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let registry = self::registry(move |request, _| change(request, "/manifests/"));
    let error = client().resolve(&reference(&registry, &format!("app@{digest}")), None).unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
}

#[test]
fn a_registry_that_sends_more_than_it_said_is_cut_off() {
    let long = |request: &HttpRequest| request.path.contains("/blobs/").then(|| vec![7; 3_000_000]);
    let registry = registry(move |request, _| Some(HttpAnswer::new(200).body(long(request)?)));
    let error = fetch(&client(), &registry).unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error}");
    // As well where it does not say how much it sends.
    let registry =
        self::registry(move |request, _| Some(HttpAnswer::new(200).body(long(request)?).without_length()));
    let error = fetch(&client(), &registry).unwrap_err();
    assert!(error.to_string().contains("more than the"), "{error}");

    // Documents go into memory.
    for answer in [HttpAnswer::new(200), HttpAnswer::new(200).without_length()] {
        let answer = answer.body(vec![b' '; 5 << 20]);
        let registry = self::registry(move |_, _| Some(answer.clone()));
        let error = client().resolve(&reference(&registry, "app:1"), None).unwrap_err();
        assert!(matches!(error, RegistryError::LimitExceeded { .. }), "{error}");
    }
}

#[test]
fn limits_hold_before_anything_is_fetched() {
    let registry = registry(|_, _| None);
    for change in [
        (|limits: &mut Limits| limits.layers = 1) as fn(&mut Limits),
        |limits| limits.image = 1000,
        |limits| limits.blob = 10,
    ] {
        let mut limits = Limits::default();
        change(&mut limits);
        let error = fetch(&Client::new(options().with_limits(limits)).unwrap(), &registry).unwrap_err();
        assert!(matches!(error, RegistryError::LimitExceeded { .. }), "{error}");
    }
    assert!(registry.requests().iter().all(|request| !request.path.contains("/blobs/")));
}

#[test]
fn a_registry_without_ranges_is_read_from_the_start() {
    let registry = registry(|request, before| {
        let name = request.path.strip_prefix("/v2/app/blobs/sha256:")?;
        let bytes = images().files()[&format!("blobs/sha256/{name}")].clone();
        let again = before.iter().filter(|other| other.path == request.path).count();
        let answer = HttpAnswer::new(200).body(bytes);
        Some(if again == 0 { answer.cut_after(30_000) } else { answer })
    });
    fetch(&client(), &registry).unwrap();
    // One that never gets further ends.
    let registry = self::registry(|request, _| {
        let name = request.path.strip_prefix("/v2/app/blobs/sha256:")?;
        let bytes = images().files()[&format!("blobs/sha256/{name}")].clone();
        Some(HttpAnswer::new(200).body(bytes).cut_after(100))
    });
    let error = fetch(&client(), &registry).unwrap_err();
    assert!(matches!(error, RegistryError::Network { tried: 6, .. }), "{error}");
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let registry = registry(|request, _| {
        let name = request.path.strip_prefix("/v2/app/blobs/sha256:")?;
        let bytes = images().files()[&format!("blobs/sha256/{name}")].clone();
        if request.header("range").is_none() {
            return Some(HttpAnswer::new(200).body(bytes).cut_after(100));
        }
        let range = format!("bytes 7-{}/{}", bytes.len() - 1, bytes.len());
        Some(HttpAnswer::new(206).header("content-range", range).body(&bytes[7..]))
    });
    let error = fetch(&client(), &registry).unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error}");
}

#[test]
fn the_image_for_the_platform_is_taken() {
    let image = |architecture: &str| {
        let layer = Layer::new().file("etc/arch", architecture.as_bytes());
        Image::new().architecture(architecture).layer(layer)
    };
    let registry = TestRegistry::start(RegistryOptions::default());
    let images = OciLayout::new()
        .multi_platform_image("many", vec![image("amd64"), image("arm64")])
        .image("one", image("amd64"));
    registry.put_layout("app", &images);
    let work = Work::new();
    let layout = Layout::create(work.path("layout")).unwrap();
    let fetch = |tag: &str, platform: &str| {
        client().fetch(&reference(&registry, tag), Some(&platform.parse().unwrap()), &layout)
    };
    let arm = fetch("app:many", "linux/arm64").unwrap();
    let amd = fetch("app:many", "linux/amd64").unwrap();
    assert_ne!(arm.manifest, amd.manifest);
    // Both can be opened from the one layout.
    for fetched in [&arm, &amd] {
        skiff_image::Image::open(&fetched.image, &skiff_image::OpenOptions::default()).unwrap();
    }
    for tag in ["app:many", "app:one"] {
        let error = fetch(tag, "linux/riscv64").unwrap_err();
        let RegistryError::Image { source, .. } = &error else { panic!("{error}") };
        assert!(matches!(**source, ImageError::NotFound { .. }), "{error}");
        assert_eq!(error.class(), ErrorClass::Usage);
    }
}

#[test]
fn old_and_hostile_manifests_are_refused() {
    let serve = |kind: &'static str, body: serde_json::Value| {
        let registry = registry(move |_, _| {
            Some(HttpAnswer::new(200).header("content-type", kind).body(body.to_string()))
        });
        client().resolve(&reference(&registry, "app:1"), None).unwrap_err()
    };
    let error = serve("application/vnd.docker.distribution.manifest.v1+prettyjws", json!({"fsLayers": []}));
    assert!(matches!(error, RegistryError::Unsupported { .. }), "{error}");
    // Both an index and a manifest.
    let blob = json!({"digest": BlobDigest::of(b"").to_string(), "size": 0});
    let both = json!({"manifests": [], "config": blob, "layers": []});
    let error = serve("application/vnd.oci.image.manifest.v1+json", both);
    assert!(matches!(error, RegistryError::Image { .. }), "{error}");
    // An index that names itself, as far as anybody can tell.
    let error =
        serve("", json!({"manifests": [{"digest": format!("sha256:{}", "00".repeat(32)), "size": 1}]}));
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    let error = serve("", json!({"config": {"digest": "md5:00", "size": u64::MAX}, "layers": []}));
    assert!(matches!(error, RegistryError::LimitExceeded { .. }), "{error}");
}

#[test]
fn whoever_waits_can_be_called_off() {
    let registry = registry(|_, _| Some(HttpAnswer::new(200).delay(Duration::from_secs(20))));
    let start = Instant::now();
    let cancel = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            cancel.store(true, Ordering::Relaxed);
        });
        let client = client();
        let client = client.with_control(Control { cancel: Some(&cancel), ..Control::default() });
        let error = client.resolve(&reference(&registry, "app:1"), None).unwrap_err();
        assert!(matches!(error, RegistryError::Interrupted(Interrupted::Cancelled)), "{error}");
    });
    let deadline = Some(Instant::now() + Duration::from_millis(100));
    let client = client();
    let error = client
        .with_control(Control { deadline, ..Control::default() })
        .resolve(&reference(&registry, "app:1"), None)
        .unwrap_err();
    assert!(matches!(error, RegistryError::Interrupted(Interrupted::DeadlinePassed)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_silent_registry_is_given_up() {
    let registry = registry(|_, _| Some(HttpAnswer::new(200).delay(Duration::from_secs(20))));
    let mut options = options();
    options.timeouts.idle = Duration::from_millis(50);
    options.retries.attempts = 2;
    let error = Client::new(options).unwrap().resolve(&reference(&registry, "app:1"), None).unwrap_err();
    assert!(matches!(error, RegistryError::Network { tried: 2, .. }), "{error}");
    let mut options = self::options();
    options.timeouts.whole = Some(Duration::from_millis(50));
    let error = Client::new(options).unwrap().resolve(&reference(&registry, "app:1"), None).unwrap_err();
    assert!(matches!(error, RegistryError::Interrupted(Interrupted::DeadlinePassed)), "{error}");
}
