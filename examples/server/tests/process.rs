//! The program as a process: with a registry and skopeo beside it, and killed at work.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skiff_apply::{InstallInput, OnePassDelta, Store, StoreOptions};
use skiff_image::{FlattenOptions, Image as Opened, ImageRef, OpenOptions};
use skiff_testkit::{DockerRegistry, Image, Layer, OciLayout, noise, run_program, sha256_hex};
use ureq::http::Response;

const ADMINISTRATOR: &str = "an administrator's token of 32 bytes at least";
const CAPABILITIES: &str = "formats=1&codecs=1,2,3,4,5,6,7";

/// The server, listening on a free port. Killed when it is dropped, whatever happened.
struct Running {
    process: Child,
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Running {
    fn start(directory: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-server"));
        command.arg("--data").arg(directory.join("data")).arg("--images").arg(directory);
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        command.env("SKIFF_SERVER_TOKEN", ADMINISTRATOR).env("SKIFF_LOG", "warn");
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, url: String::new() };
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        server.url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        server
    }

    fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Vec<u8>) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json");
        let body = body.map_or(String::new(), |body| body.to_string());
        let (parts, body) = match method {
            "GET" => agent.run(request.body(()).unwrap()),
            _ => agent.run(request.body(body).unwrap()),
        }
        .map(Response::into_parts)
        .unwrap();
        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes).unwrap();
        (parts.status.as_u16(), bytes)
    }

    #[track_caller]
    fn json(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, bytes) = self.call(method, path, ADMINISTRATOR, body);
        assert!(status < 300, "{status}: {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Makes a fleet with one device, and returns the device's token.
    fn fleet(&self) -> String {
        self.json("POST", "/v1/fleets", Some(json!({ "name": "pumps" })));
        let device = self.json("POST", "/v1/fleets/pumps/devices", Some(json!({ "name": "pump-1" })));
        device["token"].as_str().unwrap().to_owned()
    }

    /// Releases an image, and returns what it is called and its manifest, once devices can have it.
    fn release(&self, image: &str) -> (String, String) {
        let begun = self.json("POST", "/v1/fleets/pumps/releases", Some(json!({ "image": image })));
        let path = format!("/v1/fleets/pumps/releases/{}", begun["number"]);
        until(|| {
            let state = self.json("GET", &path, None)["state"].take();
            assert_ne!(state["state"], "failed", "{state}");
            let text = |name: &str| Some(state[name].as_str()?.to_owned());
            text("release").zip(text("manifest"))
        })
    }

    fn delta(&self, path: &str, token: &str) -> Vec<u8> {
        until(|| match self.call("GET", path, token, None) {
            (200, delta) => Some(delta),
            (202, _) => None,
            (status, body) => panic!("{status}: {}", String::from_utf8_lossy(&body)),
        })
    }

    fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.call("GET", "/metrics", "", None).1).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

/// What something is at last: within a minute.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it takes more than a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two images of so many bytes, `1` and `2`, in the layout `images`: much of each file is in the other's.
fn write_images(directory: &Path, size: usize) {
    let mut layout = OciLayout::new();
    for number in [1, 2] {
        let mut app = noise(7, size);
        for at in (0..size).step_by(2000) {
            app[at] ^= number;
        }
        let layer = Layer::new().file("app", app).file("version", number.to_string());
        layout = layout.image(&number.to_string(), Image::new().layer(layer));
    }
    layout.write_directory(&directory.join("images"));
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn images_go_from_a_registry_to_devices() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write_images(path, 300_000);
    let registry = DockerRegistry::start(path);
    let place = |tag: &str| format!("oci:{}:{tag}", path.join("images").display());
    for tag in ["1", "2"] {
        registry.push(&place(tag), &format!("app:{tag}"));
    }
    let server = Running::start(path, &["--plain-http"]);
    let token = server.fleet();
    let (old, _) = server.release(&registry.image("app:1"));

    // The device has the first one installed, from elsewhere.
    let reference: ImageRef = place("1").parse().unwrap();
    let image = Opened::open(&reference, &OpenOptions::default()).unwrap();
    let flat = image.flatten(&FlattenOptions::default()).unwrap();
    let store = Store::create(path.join("store"), &StoreOptions::default()).unwrap();
    let options = skiff_apply::Options::rootless();
    let input =
        InstallInput { config: flat.config.as_deref(), ..InstallInput::new(&flat.tree, &flat.contents) };
    assert_eq!(store.install(&input, &options).unwrap().release.to_string(), old);
    let report = json!({ "running": old, "phase": "idle" });
    assert_eq!(server.call("PUT", "/v1/device/status", &token, Some(report)).0, 204);

    let (new, manifest) = server.release(&registry.image("app:2"));
    let delta = server.delta(&format!("/v1/deltas/{old}/{new}?{CAPABILITIES}"), &token);
    let wanted: skiff_tree::ReleaseId = new.parse().unwrap();
    let applied = store.apply(&mut OnePassDelta::new(&delta[..]), wanted.into(), &options).unwrap();
    assert_eq!(applied.release, wanted);
    assert_eq!(std::fs::read(store.rootfs(wanted).join("version")).unwrap(), b"2");
    assert!(store.verify(&options).unwrap().is_sound());

    // And the whole image, by who knows nothing of deltas.
    let from = format!("docker://{}/pumps:latest", server.url.strip_prefix("http://").unwrap());
    let credentials = format!("x:{token}");
    let words = ["copy", "--src-creds", &credentials, "--src-tls-verify=false", &from, "oci:pulled:latest"];
    run_program(Command::new("skopeo").args(words).current_dir(path));
    let index: Value =
        serde_json::from_slice(&std::fs::read(path.join("pulled/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], format!("sha256:{}", manifest.trim_start_matches("sha256:")));
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.process.id())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let (soft, rest) = files.trim().split_once(' ').unwrap();
    assert_eq!(soft, rest.trim().split(' ').next().unwrap(), "{files}");
    drop(server);
    // Where it does not go far enough, that is told.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 100 && ulimit -Hn 200 && exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_skiff-server")).arg("--data").arg(directory.path().join("data"));
    let output = command.arg("--new-token").env("SKIFF_LOG", "warn").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("200") && told.contains("120000"), "{told}");
}

#[test]
fn wrong_options_and_other_failures_end_with_statuses_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let status = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-server"));
        command.args(arguments).args(["--data", &data]).env_remove("SKIFF_SERVER_TOKEN");
        command.stdin(Stdio::null()).output().unwrap().status.code()
    };
    assert_eq!(status(&["--workers", "0"]), Some(2));
    assert_eq!(status(&["--new-token"]), Some(2));
    assert_eq!(status(&["--token", "short", "--listen", "127.0.0.1:0"]), Some(2));
    assert_eq!(status(&["--objects", "gopher://nowhere/at-all"]), Some(2));
    // A public key signs nothing, and no file is no key.
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/keys");
    assert_eq!(status(&["--signing-key", &format!("{keys}/one.key.pub")]), Some(2));
    assert_eq!(status(&["--signing-key", &format!("{keys}/none.key")]), Some(2));
    assert_eq!(status(&["--version"]), Some(0));
    // Taken already.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(status(&["--listen", &taken.local_addr().unwrap().to_string()]), Some(1));
}

#[test]
fn what_a_kill_cut_off_is_made_without_anyone_asking_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write_images(path, 2_000_000);
    let data = path.join("data");
    let mut server = Running::start(path, &[]);
    let token = server.fleet();
    let ((old, _), (new, _)) = (server.release("oci:images:1"), server.release("oci:images:2"));
    let asked = format!("/v1/deltas/{old}/{new}?{CAPABILITIES}");
    assert_eq!(server.call("GET", &asked, &token, None).0, 202);
    // SIGKILL.
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    assert!(!data.join("objects/deltas").exists(), "the delta was there before the kill");
    // Where a kill at other moments would have left something.
    for left in ["spool/left", "uploads/left-1", "objects/deltas/left", "objects/trees/.left"] {
        std::fs::create_dir_all(data.join(left).parent().unwrap()).unwrap();
        std::fs::write(data.join(left), b"left").unwrap();
    }

    let server = Running::start(path, &[]);
    until(|| (server.metric("skiff_delta_seconds_count") == 1.0).then_some(()));
    until(|| (server.metric("skiff_deltas_waiting") == 0.0).then_some(()));
    let (status, delta) = server.call("GET", &asked, &token, None);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&delta));
    assert_eq!(server.metric("skiff_delta_computations_total"), 1.0);
    // It is whole, and the only thing there.
    let files = |directory: &str| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(data.join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let kept = until(|| Some(files("objects/deltas")).filter(|files| files.len() == 1));
    assert_eq!(sha256_hex(&std::fs::read(&kept[0]).unwrap()), sha256_hex(&delta));
    until(|| (files("objects/trees").len() == 2).then_some(()));
    assert!(files("uploads").is_empty());
    assert!(!data.join("spool/left").exists());
}
