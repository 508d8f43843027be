//! Against docker's own registry (2.8, without the referrers API), with skopeo as the other client.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use skiff_testkit::{DockerRegistry, FlakyProxy, Image, Layer, OciLayout, noise_of, run_program};
use tempfile::TempDir;

/// How long a connection lasts that the proxy cuts.
const CUT_AFTER: u64 = 64 << 10;
/// More than the heads of one request and its answer take.
const HEADS: u64 = 2000;

/// A registry that runs, and images in it. Gone when it is dropped, whatever happened.
struct Place {
    registry: DockerRegistry,
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let images = OciLayout::new().image("1.0", image("old")).image("1.1", image("new"));
        images.write_directory(&directory.path().join("images"));
        let place = Self { registry: DockerRegistry::start(directory.path()), directory };
        for tag in ["1.0", "1.1"] {
            let from = format!("oci:{}:{tag}", place.path("images").display());
            place.registry.push(&from, &format!("app:{tag}"));
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn image(&self, tag: &str) -> String {
        self.registry.image(&format!("app:{tag}"))
    }

    /// Runs a program here, expects it to succeed, and returns what it printed.
    fn run(&self, program: &str, words: &[&str]) -> Vec<u8> {
        run_program(Command::new(program).args(words).current_dir(self.directory.path()))
    }

    fn skiff(&self, words: &[&str]) -> Value {
        let output = self.run(env!("CARGO_BIN_EXE_skiff"), &[words, &["--plain-http", "--json"]].concat());
        serde_json::from_slice(&output).unwrap()
    }

    fn sha256sum(&self, file: &str) -> String {
        let output = self.run("sha256sum", &[file]);
        String::from_utf8(output).unwrap().split(' ').next().unwrap().to_owned()
    }
}

/// Half a megabyte that both have, and as much that one has.
fn image(name: &str) -> Image {
    let noise = |name| noise_of(name, 500_000);
    Image::new().layer(Layer::new().file("lib", noise("lib"))).layer(Layer::new().file("app", noise(name)))
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn a_delta_goes_over_dockers_registry() {
    let place = Place::new();
    let (old, new) = (&place.image("1.0")[..], &place.image("1.1")[..]);
    let report = place.skiff(&["diff", old, new, "-o", "update.skiff", "--cache", "cache"]);
    let local = place.run(
        env!("CARGO_BIN_EXE_skiff"),
        &["diff", "oci:images:1.0", "oci:images:1.1", "-o", "local.skiff", "--json"],
    );
    assert_eq!(serde_json::from_slice::<Value>(&local).unwrap()["target"], report["target"]);

    let pushed = place.skiff(&["push", "update.skiff", new, "--base-image", old]);
    assert_eq!(pushed["listed_by"], "tag");
    let base = report["base"].as_str().unwrap();
    let found = place.skiff(&["find", new, "--base", base]);
    assert_eq!(found["deltas"].as_array().unwrap().len(), 1);
    place.skiff(&["pull", new, "--base", base, "-o", "pulled.skiff"]);
    assert_eq!(place.sha256sum("pulled.skiff"), place.sha256sum("update.skiff"));

    // A second delta joins the first under the tag; the same one does not.
    place.skiff(&["diff", new, new, "-o", "same.skiff"]);
    place.skiff(&["push", "same.skiff", new]);
    assert_eq!(place.skiff(&["push", "update.skiff", new, "--base-image", old])["transferred_bytes"], 0);
    assert_eq!(place.skiff(&["find", new])["deltas"].as_array().unwrap().len(), 2);

    // skopeo handles the artifact, and the list under the tag.
    let artifact =
        format!("docker://{}/app@{}", place.registry.address(), pushed["manifest"].as_str().unwrap());
    let inspect = ["inspect", "--raw", "--tls-verify=false"];
    let raw: Value =
        serde_json::from_slice(&place.run("skopeo", &[&inspect[..], &[&artifact]].concat())).unwrap();
    assert_eq!(raw["artifactType"], "application/vnd.skiff.delta.v1");
    let subject = raw["subject"]["digest"].as_str().unwrap().replacen(':', "-", 1);
    let list = format!("docker://{}/app:{subject}", place.registry.address());
    let raw: Value =
        serde_json::from_slice(&place.run("skopeo", &[&inspect[..], &[&list]].concat())).unwrap();
    assert_eq!(raw["manifests"].as_array().unwrap().len(), 2);
    place.run("skopeo", &["copy", "--src-tls-verify=false", &artifact, "oci:copied:delta"]);
    let layer = place.sha256sum("update.skiff");
    assert_eq!(place.sha256sum(&format!("copied/blobs/sha256/{layer}")), layer);
    // The layout that Skiff fetched into is one for skopeo, too.
    let index: Value = serde_json::from_slice(&fs::read(place.path("cache/index.json")).unwrap()).unwrap();
    let name = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    let fetched = format!("oci:cache:{}", name.as_str().unwrap());
    place.run("skopeo", &["copy", &fetched, "oci:again:1"]);
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn everything_arrives_over_connections_that_are_cut() {
    let place = Place::new();
    let proxy = FlakyProxy::start(place.registry.address(), CUT_AFTER);
    let image = |tag: &str| format!("docker://{}/app:{tag}", proxy.address());
    let (old, new) = (&image("1.0")[..], &image("1.1")[..]);
    let report = place.skiff(&["diff", old, new, "-o", "update.skiff", "--cache", "cache"]);
    let fetched: u64 = fs::read_dir(place.path("cache/blobs/sha256"))
        .unwrap()
        .map(|blob| blob.unwrap().metadata().unwrap().len())
        .sum();
    let (cuts, connections) = (proxy.cuts(), proxy.connections());
    assert!(cuts >= fetched / CUT_AFTER, "{cuts}");
    // What a cut loses of an answer is in no file, so it comes again: less than the proxy passes on at once.
    let again = proxy.bytes_down().saturating_sub(fetched + connections * HEADS);
    println!("fetch: {fetched} bytes, {cuts} cuts, {} came, {again} again", proxy.bytes_down());
    assert!(again <= cuts * (4 << 10), "{again} bytes again in {cuts} cuts");

    let size = fs::metadata(place.path("update.skiff")).unwrap().len();
    let before = (proxy.bytes_up(), proxy.cuts(), proxy.connections());
    place.skiff(&["push", "update.skiff", new]);
    let (up, cuts) = (proxy.bytes_up() - before.0, proxy.cuts() - before.1);
    let again = up.saturating_sub(size + (proxy.connections() - before.2) * HEADS);
    println!("push: {size} bytes, {cuts} cuts, {up} went, {again} again");
    // A chunk for each cut: the first is all of it, and the next one half of that. Most of the time much less is sent again, as a cut comes
    // after 64 KiB; but a registry that is slow may lose a chunk that it has taken as well.
    let chunks: u64 = (0..cuts).map(|cut| size.checked_shr(cut as u32).unwrap_or(0)).sum();
    assert!(cuts >= 1 && again <= chunks, "{again} bytes again in {cuts} cuts");

    let before = (proxy.bytes_down(), proxy.cuts(), proxy.connections());
    let base = report["base"].as_str().unwrap();
    place.skiff(&["pull", new, "--base", base, "-o", "pulled.skiff"]);
    let (down, cuts) = (proxy.bytes_down() - before.0, proxy.cuts() - before.1);
    let again = down.saturating_sub(size + (proxy.connections() - before.2) * HEADS);
    println!("pull: {size} bytes, {cuts} cuts, {down} came, {again} again");
    assert!(cuts >= size / CUT_AFTER && again <= cuts * (4 << 10), "{again} bytes again in {cuts} cuts");
    assert_eq!(place.sha256sum("pulled.skiff"), place.sha256sum("update.skiff"));
}
