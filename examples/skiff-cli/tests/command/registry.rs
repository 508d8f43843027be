//! The commands that go over a registry, against one on loopback.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use skiff_testkit::{HttpAnswer, Image, Layer, OciLayout, RegistryOptions, TestRegistry};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
    registry: TestRegistry,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tmp")).unwrap();
        let registry = TestRegistry::start(RegistryOptions::default());
        let image = |word: &str| Image::new().layer(Layer::new().file("etc/motd", word.repeat(2000)));
        let images = OciLayout::new().image("1.0", image("ahoy ")).image("1.1", image("land ahoy "));
        registry.put_layout("app", &images);
        images.write_directory(&directory.path().join("images"));
        Self { directory, registry }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn image(&self, tag: &str) -> String {
        format!("docker://{}/app:{tag}", self.registry.address())
    }

    /// Runs `skiff` here, as nobody that has logged in anywhere.
    fn skiff(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.args(words).current_dir(self.directory.path());
        command.env_remove("REGISTRY_AUTH_FILE").env_remove("DOCKER_CONFIG").env("HOME", self.path("home"));
        command.env("TMPDIR", self.path("tmp")).output().unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.skiff(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn fails(&self, words: &[&str], code: i32, message: &str) {
        let output = self.skiff(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(message), "{words:?}: {said}");
    }
}

#[test]
fn an_image_in_a_registry_is_an_image_everywhere() {
    let place = Place::new();
    let (old, new) = (&place.image("1.0")[..], &place.image("1.1")[..]);
    let report = place.json(&["diff", old, new, "-o", "remote.skiff", "--plain-http"]);
    place.json(&["diff", "oci:images:1.0", "oci:images:1.1", "-o", "local.skiff"]);
    assert_eq!(fs::read(place.path("remote.skiff")).unwrap(), fs::read(place.path("local.skiff")).unwrap());
    // And from one to the other.
    let mixed = place.json(&["diff", "oci:images:1.0", new, "-o", "mixed.skiff", "--plain-http"]);
    assert_eq!(mixed["target"], report["target"]);

    place.json(&["flatten", new, "-o", "remote.tar", "--plain-http"]);
    place.json(&["flatten", "oci:images:1.1", "-o", "local.tar"]);
    assert_eq!(fs::read(place.path("remote.tar")).unwrap(), fs::read(place.path("local.tar")).unwrap());

    let installed = place.json(&["install", new, "--plain-http", "--store", "store", "--rootless"]);
    assert_eq!(installed["release"], report["target"]);
    // Nothing is left of what was fetched.
    assert_eq!(fs::read_dir(place.path("tmp")).unwrap().count(), 0);
}

#[test]
fn what_is_kept_is_not_fetched_again() {
    let place = Place::new();
    let new = &place.image("1.1")[..];
    let flatten = ["flatten", new, "-o", "x.tar", "--plain-http", "--cache", "cache"];
    place.json(&flatten);
    let before = place.registry.requests().len();
    place.json(&flatten);
    let requests = place.registry.requests();
    assert!(requests[before..].iter().all(|request| request.path.contains("/manifests/")), "{requests:?}");
    // It is a layout like any other.
    assert!(place.path("cache/index.json").exists());
}

#[test]
fn a_delta_goes_over_a_registry_to_a_device() {
    let place = Place::new();
    let new = &place.image("1.1")[..];
    let report = place.json(&["diff", "oci:images:1.0", "oci:images:1.1", "-o", "update.skiff"]);
    let (base, target) = (report["base"].as_str().unwrap(), report["target"].as_str().unwrap());
    assert_eq!(place.json(&["find", new, "--plain-http"])["deltas"], Value::Array(vec![]));

    let old = &place.image("1.0")[..];
    let pushed = place.json(&["push", "update.skiff", new, "--plain-http", "--base-image", old]);
    assert_eq!((&pushed["listed_by"], &pushed["target"]), (&"tag".into(), &report["target"]));
    assert!(pushed["base_manifest"].as_str().unwrap().starts_with("sha256:"));
    let found = place.json(&["find", new, "--plain-http", "--base", base]);
    assert_eq!(found["deltas"].as_array().unwrap().len(), 1);
    assert_eq!(found["deltas"][0]["delta_bytes"], report["delta_bytes"]);
    assert_eq!(found["deltas"][0]["manifest"], pushed["manifest"]);
    let text = place.skiff(&["find", new, "--plain-http"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains(base));
    // By the image's digest as well.
    let manifests = place.registry.requests().into_iter().find_map(|request| {
        request.path.strip_prefix("/v2/app/manifests/sha256-").map(|hex| format!("sha256:{hex}"))
    });
    let by_digest = format!("docker://{}/app@{}", place.registry.address(), manifests.unwrap());
    assert_eq!(place.json(&["find", &by_digest, "--plain-http"])["deltas"].as_array().unwrap().len(), 1);

    let pulled = place.json(&["pull", new, "--plain-http", "--base", base, "-o", "pulled.skiff"]);
    assert_eq!(pulled["transferred_bytes"], report["delta_bytes"]);
    assert_eq!(fs::read(place.path("pulled.skiff")).unwrap(), fs::read(place.path("update.skiff")).unwrap());
    place.json(&["install", "oci:images:1.0", "--store", "store", "--rootless"]);
    place.json(&["apply", "pulled.skiff", "--target", target, "--store", "store", "--rootless"]);

    // The delta leads to 1.1.
    place.fails(&["push", "update.skiff", old, "--plain-http"], 3, "leads to the image");
    let pull = ["pull", new, "--plain-http", "-o", "x", "--base"];
    place.fails(&[&pull[..], &[target]].concat(), 2, "there is no delta");
    place.fails(&[&pull[..], &[base, "--max-decoder-memory", "1K"]].concat(), 2, "there is no delta");
    assert!(!place.path("x").exists());
}

#[test]
fn what_fails_says_who_is_at_fault() {
    let place = Place::new();
    place.fails(&["flatten", "docker://app", "-o", "x"], 2, "docker://HOST");
    place.fails(&["flatten", &place.image("2"), "-o", "x", "--plain-http"], 2, "there is no docker://");
    // TLS is wanted unless it is not.
    place.fails(&["flatten", &place.image("1.0"), "-o", "x"], 6, "plain HTTP");
    place.fails(&["flatten", &place.image("1.0"), "-o", "x", "--ca", "none.pem"], 2, "none.pem");
    fs::write(place.path("auth.json"), "{").unwrap();
    let image = &place.image("1.0")[..];
    place.fails(&["find", image, "--plain-http", "--authfile", "auth.json"], 2, "not a file of credentials");
    fs::write(place.path("cut.skiff"), b"\x89SKF").unwrap();
    place.fails(&["push", "cut.skiff", image, "--plain-http"], 4, "cut.skiff");

    let closed = TestRegistry::scripted(RegistryOptions::default(), |request, _| {
        let robot = "Basic cm9ib3Q6c2VjcmV0";
        (request.header("authorization") != Some(robot))
            .then(|| HttpAnswer::new(401).header("www-authenticate", "Basic"))
    });
    let images = OciLayout::new().image("1", Image::new().layer(Layer::new().file("a", "b")));
    closed.put_layout("app", &images);
    let image = format!("docker://{}/app:1", closed.address());
    place.fails(&["flatten", &image, "-o", "x", "--plain-http"], 2, "refuses access");
    let auth = format!(r#"{{"auths": {{"{}": {{"auth": "cm9ib3Q6c2VjcmV0"}}}}}}"#, closed.address());
    fs::write(place.path("auth.json"), auth).unwrap();
    place.json(&["flatten", &image, "-o", "x", "--plain-http", "--authfile", "auth.json"]);
}

#[test]
fn a_signed_delta_goes_over_a_registry_untouched() {
    let place = Place::new();
    let new = &place.image("1.1")[..];
    place.json(&["keygen", "release.key"]);
    let words = ["diff", "oci:images:1.0", "oci:images:1.1", "-o", "update.skiff", "--sign", "release.key"];
    let report = place.json(&words);
    let base = report["base"].as_str().unwrap();
    let mut forged = fs::read(place.path("update.skiff")).unwrap();
    place.json(&["keygen", "second.key"]);
    place.json(&["sign", "update.skiff", "--key", "second.key"]);
    let signed = fs::read(place.path("update.skiff")).unwrap();
    place.json(&["push", "update.skiff", new, "--plain-http"]);
    // And unsigned, which is shorter, and would be chosen.
    place.json(&["diff", "oci:images:1.0", "oci:images:1.1", "-o", "unsigned.skiff"]);
    place.json(&["push", "unsigned.skiff", new, "--plain-http"]);
    let pull = ["pull", new, "--plain-http", "--base", base, "-o", "pulled.skiff"];
    let pulled = place.json(&pull);
    assert!(pulled["delta_bytes"].as_u64() < Some(signed.len() as u64));
    let pull = |key| [&pull[..], &["--require-signature", key]].concat();
    let pulled = place.json(&pull("release.key.pub"));
    assert_eq!(fs::read(place.path("pulled.skiff")).unwrap(), signed);
    let inspected = place.json(&["inspect", "pulled.skiff", "--require-signature", "release.key.pub"]);
    assert!(pulled["signed_by"].as_array().unwrap().contains(&inspected["proven_signer"]));
    // One that only says that it is signed, and is shorter still, hides none that is.
    let number = |at: usize| u32::from_le_bytes(forged[at..at + 4].try_into().unwrap()) as usize;
    let end_of_signature = 52 + number(12) + number(48);
    forged[end_of_signature - 1] ^= 1;
    fs::write(place.path("forged.skiff"), forged).unwrap();
    place.json(&["push", "forged.skiff", new, "--plain-http"]);
    place.json(&pull("release.key.pub"));
    assert_eq!(fs::read(place.path("pulled.skiff")).unwrap(), signed);
    place.json(&["keygen", "other.key"]);
    place.fails(&pull("other.key.pub"), 2, "signed as required");
}
