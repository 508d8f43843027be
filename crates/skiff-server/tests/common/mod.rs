//! A server with images to release, asked without a network.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use skiff_server::{Options, Server};
use skiff_testkit::{Image, Layer, OciLayout, noise};
use tower::ServiceExt as _;

/// What a device of this version can apply, as a query.
pub(crate) const ALL: &str = "formats=1&codecs=1,2,3,4,5,6,7";

pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) administrator: String,
    pub(crate) data: PathBuf,
    objects: Option<url::Url>,
    directory: tempfile::TempDir,
}

/// A response, all of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        self.json()["code"].as_str().unwrap_or_else(|| panic!("{self:?}")).into()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// Images that are alike: `count` of them, tagged from 1.
pub(crate) fn write_images(directory: &Path, count: usize) {
    let mut layout = OciLayout::new();
    for number in 1..=count {
        let mut changed = noise(7, 200_000);
        changed[number * 1000] ^= 1;
        let lower = Layer::new().file("usr/lib/large", noise(3, 200_000));
        let mut upper = Layer::new().file("usr/bin/app", changed).file("etc/version", number.to_string());
        // The next one has less that is new than the one after it.
        for part in 1..=number {
            upper = upper.file(format!("usr/share/{part}"), noise(100 + part as u64, 5000));
        }
        layout = layout.image(&number.to_string(), Image::new().layer(lower).layer(upper));
    }
    layout.write_directory(directory);
}

impl Harness {
    pub(crate) async fn new() -> Self {
        Self::with(|options| options).await
    }

    pub(crate) async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_images(&directory.path().join("images/app"), 3);
        let data = directory.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let server = Server::open(change(Self::options(directory.path()))).await.unwrap();
        let administrator = server.new_administrator().await.unwrap();
        Self { server, administrator, data, objects: None, directory }
    }

    /// One that keeps images and deltas at a URL.
    pub(crate) async fn with_objects(url: url::Url) -> Self {
        let objects = Some(url.clone());
        let harness = Self::with(|mut options| {
            options.objects = Some(url);
            options
        });
        Self { objects, ..harness.await }
    }

    fn options(directory: &Path) -> Options {
        let mut options = Options::new(directory.join("data"));
        options.image_directory = Some(directory.join("images"));
        options
    }

    /// Ends the server and starts another one on the same data.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(|options| options).await;
    }

    pub(crate) async fn restart_with(&mut self, change: impl Fn(Options) -> Options) {
        let options = || {
            let mut options = Self::options(self.directory.path());
            options.objects = self.objects.clone();
            change(options)
        };
        self.server.shut_down();
        let elsewhere = tempfile::tempdir().unwrap();
        // What it holds, a lock among it, goes with its last task.
        self.server = Server::open(Options::new(elsewhere.path())).await.unwrap();
        for _ in 0..2000 {
            match Server::open(options()).await {
                Ok(server) => return self.server = server,
                Err(skiff_server::ServerError::Busy { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the server has not ended after twenty seconds");
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.directory.path().join("images")
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.server.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.call("GET", path, token, None).await
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call(method, path, &self.administrator, body).await
    }

    pub(crate) async fn fleet(&self, name: &str) {
        self.admin("POST", "/v1/fleets", Some(json!({ "name": name }))).await.expect(201);
    }

    /// Makes a device and returns its token.
    pub(crate) async fn device(&self, fleet: &str, name: &str) -> String {
        let path = format!("/v1/fleets/{fleet}/devices");
        let made = self.admin("POST", &path, Some(json!({ "name": name }))).await.expect(201);
        made.json()["token"].as_str().unwrap().into()
    }

    /// Releases one of the images and waits until devices can have it.
    pub(crate) async fn release(&self, fleet: &str, tag: &str) -> String {
        let path = format!("/v1/fleets/{fleet}/releases");
        let image = format!("oci:app:{tag}");
        let begun = self.admin("POST", &path, Some(json!({ "image": image }))).await.expect(202).json();
        self.ready(fleet, begun["number"].as_u64().unwrap()).await
    }

    pub(crate) async fn ready(&self, fleet: &str, number: u64) -> String {
        for _ in 0..1000 {
            let release = self
                .admin("GET", &format!("/v1/fleets/{fleet}/releases/{number}"), None)
                .await
                .expect(200)
                .json();
            match release["state"]["state"].as_str().unwrap() {
                "ready" => return release["state"]["release"].as_str().unwrap().into(),
                "preparing" => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => panic!("{release}"),
            }
        }
        panic!("it is not ready after ten seconds");
    }

    /// Says that a device runs a release.
    pub(crate) async fn running(&self, token: &str, release: &str) {
        let report = json!({ "running": release, "phase": "idle" });
        self.call("PUT", "/v1/device/status", token, Some(report)).await.expect(204);
    }

    /// Asks for a delta until it is made or refused.
    pub(crate) async fn delta(&self, token: &str, path: &str) -> Answer {
        for _ in 0..2000 {
            let answer = self.get(path, token).await;
            if answer.status != StatusCode::ACCEPTED {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it is not made after twenty seconds");
    }

    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text =
            String::from_utf8(self.get("/metrics", &self.administrator).await.expect(200).body).unwrap();
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Polls for the target, for so many seconds while it is as the ETag has it.
    pub(crate) async fn poll(&self, token: &str, etag: &str, seconds: u64) -> Answer {
        let request = Request::get(format!("/v1/device/target?wait={seconds}"));
        let request =
            request.header("authorization", format!("Bearer {token}")).header("if-none-match", etag);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// What an image is called, and a signature of it, as a device makes them that runs it.
    pub(crate) fn signature(&self, tag: &str) -> (String, Vec<u8>) {
        let reference = format!("oci:{}:{tag}", self.images().join("app").display()).parse().unwrap();
        let image = skiff_image::Image::open(&reference, &skiff_image::OpenOptions::default()).unwrap();
        let flat = image.flatten(&skiff_image::FlattenOptions::default()).unwrap();
        let config = flat.config.as_deref().map(skiff_tree::ConfigDigest::of);
        let signed = skiff_signature::Signed { tree: &flat.tree, contents: &flat.contents, config };
        let mut signature = Vec::new();
        skiff_signature::sign_tree(&signed, &skiff_signature::Options::default(), &mut signature).unwrap();
        (flat.release_id().to_string(), signature)
    }

    /// Sends a signature.
    pub(crate) async fn sign(&self, token: &str, base: &str, signature: &[u8]) -> Answer {
        let request = Request::put(format!("/v1/signatures/{base}"));
        let request = request.header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::from(signature.to_vec())).unwrap()).await
    }

    /// Moves a device.
    pub(crate) async fn moves(&self, device: &str, fleet: &str) {
        let path = format!("/v1/devices/{device}/move");
        self.admin("POST", &path, Some(json!({ "fleet": fleet }))).await.expect(200);
    }

    /// Files in a directory of the data.
    pub(crate) fn names(&self, directory: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.data.join(directory)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Sends an image to be released.
    pub(crate) async fn upload(&self, fleet: &str, body: Body) -> Answer {
        let request = Request::post(format!("/v1/fleets/{fleet}/releases"));
        let request = request.header("authorization", format!("Bearer {}", self.administrator));
        self.send(request.header("content-type", "application/x-tar").body(body).unwrap()).await
    }
}
