//! The command as its users run it: arguments in, exit codes, text and JSON out.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use skiff_testkit::{Encoding, Image, Layer, OciLayout, write_docker_archive};
use tempfile::TempDir;

/// A place with two images, `oci:images:1.0` and `:1.1`.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        OciLayout::new()
            .image("1.0", image("ahoy "))
            .image("1.1", image("land ahoy "))
            .write_directory(&place.path("images"));
        write_docker_archive(&place.path("saved.tar"), &[(&["app:1.0"], &image("ahoy "))]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Whether there is a file that is not finished.
    pub(crate) fn has_parts(&self) -> bool {
        let mut files = fs::read_dir(self.0.path()).unwrap();
        files.any(|file| file.unwrap().file_name().to_string_lossy().starts_with(".skiff-"))
    }

    /// Runs `skiff` here, with nothing on standard input.
    pub(crate) fn skiff(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.args(words).current_dir(self.0.path());
        command
    }

    /// Runs it, expects it to succeed, and reads its JSON.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self.skiff(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs it, and expects this exit code and a message with these words.
    pub(crate) fn fails(&self, words: &[&str], code: i32, message: &str) {
        let output = self.skiff(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(message), "{words:?}: {said}");
    }

    /// Makes the delta and the store, and returns the target's name.
    pub(crate) fn prepare(&self) -> String {
        let report = self.json(&["diff", "oci:images:1.0", "oci:images:1.1", "-o", "update.skiff"]);
        self.json(&["install", "oci:images:1.0", "--store", "store", "--rootless"]);
        report["target"].as_str().unwrap().to_owned()
    }

    pub(crate) fn motd(&self) -> String {
        fs::read_to_string(self.path("store/current/rootfs/etc/motd")).unwrap()[..9].to_owned()
    }
}

fn image(word: &str) -> Image {
    Image::new()
        .layer(Layer::new().file("etc/motd", word.repeat(2000)).file("etc/kept", "kept"))
        .command(&["/bin/true"])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_server_without_the_devices_image_makes_a_delta_from_its_signature() {
    let place = Place::new();
    place.json(&["install", "oci:images:1.0", "--store", "store", "--rootless"]);
    let known = place.json(&["diff", "oci:images:1.0", "oci:images:1.1", "-o", "update.skiff"]);
    let signed = place.json(&["sign-tree", "store", "-o", "device.sks"]);
    assert_eq!(signed["release"], known["base"]);
    assert_eq!(signed["signature_bytes"], fs::metadata(place.path("device.sks")).unwrap().len());
    let piped = place.skiff(&["sign-tree", "store", "--threads", "1"]);
    assert!(piped.stdout == fs::read(place.path("device.sks")).unwrap(), "as to a file");

    // The image is not there any more.
    fs::rename(place.path("images"), place.path("elsewhere")).unwrap();
    let diff = ["diff", "--against", "device.sks", "oci:elsewhere:1.1", "-o", "update.skiff"];
    let report = place.json(&diff);
    assert_eq!((&report["base"], &report["target"]), (&known["base"], &known["target"]));
    let from_pipe = place.command(&["diff", "--against", "-", "oci:elsewhere:1.1", "-o", "piped.skiff"]);
    let status = { from_pipe }.stdin(fs::File::open(place.path("device.sks")).unwrap()).output().unwrap();
    assert!(status.status.success(), "{}", text(&status.stderr));
    assert!(fs::read(place.path("piped.skiff")).unwrap() == fs::read(place.path("update.skiff")).unwrap());
    let target = known["target"].as_str().unwrap();
    place.json(&["apply", "update.skiff", "--store", "store", "--target", target, "--rootless"]);
    assert_eq!(place.motd(), "land ahoy");
    // It was for the release before.
    place.fails(
        &[
            "apply",
            "update.skiff",
            "--store",
            "store",
            "--target",
            known["base"].as_str().unwrap(),
            "--rootless",
        ],
        3,
        "",
    );
}

#[test]
fn standard_output_has_the_result_and_nothing_else() {
    let place = Place::new();
    place.json(&["install", "oci:images:1.0", "--store", "store", "--rootless"]);
    for (words, file) in [
        (&["diff", "oci:images:1.0", "oci:images:1.1", "-o"][..], "update.skiff"),
        (&["flatten", "oci:images:1.0", "-o"], "rootfs.tar"),
        (&["sign-tree", "--store", "store", "-o"], "device.sks"),
    ] {
        place.json(&[words, &[file]].concat());
        let piped = place.skiff(&[words, &["-"]].concat());
        assert!(piped.status.success() && piped.stdout == fs::read(place.path(file)).unwrap(), "{words:?}");
        place.fails(&[words, &["-", "--json"]].concat(), 2, "name a file");
    }
    assert!(!place.path("-").exists());
}

#[test]
fn what_is_no_file_system_is_no_image() {
    let place = Place::new();
    fs::write(place.path("zeros.tar"), [0; 10_240]).unwrap();
    place.fails(&["flatten", "tar:zeros.tar", "-o", "x"], 4, "no entries");
    place.fails(&["install", "tar:zeros.tar", "--store", "new", "--rootless"], 4, "no entries");
    place.fails(&["flatten", "tar:images", "-o", "x"], 2, "not a regular file");
    place.json(&["install", "oci:images:1.0", "--store", "store", "--rootless"]);
    place.json(&["sign-tree", "store", "-o", "device.sks"]);
    place.json(&["diff", "oci:images:1.0", "oci:images:1.1", "-o", "update.skiff"]);
    place.fails(&["inspect", "device.sks"], 4, "tree signature");
    place.fails(&["diff", "--against", "update.skiff", "oci:images:1.1", "-o", "x"], 4, "it is a delta");
}

#[test]
fn signatures_that_cannot_be_made_or_read_are_refused() {
    let place = Place::new();
    place.fails(&["sign-tree", "nowhere"], 2, "nowhere");
    place.json(&["install", "oci:images:1.0", "--store", "store", "--rootless"]);
    place.fails(
        &["diff", "--against", "saved.tar", "oci:images:1.1", "-o", "x"],
        4,
        "does not begin as a tree signature",
    );
    place.fails(&["diff", "--against", "nowhere", "oci:images:1.1", "-o", "x"], 2, "nowhere");
    place.fails(
        &["diff", "--against", "saved.tar", "oci:images:1.0", "oci:images:1.1", "-o", "x"],
        2,
        "one image",
    );
    place.fails(&["diff", "oci:images:1.1", "-o", "x"], 2, "--against");
    let motd = place.path("store/current/rootfs/etc/motd");
    let changed = fs::read_to_string(&motd).unwrap().replace("ahoy", "avast");
    fs::write(&motd, &changed[..10_000]).unwrap();
    place.fails(&["sign-tree", "store", "-o", "device.sks"], 7, "motd");
    assert!(!place.path("device.sks").exists() && !place.path("x").exists());
}

#[test]
fn what_is_no_file_is_written_to_and_not_replaced() {
    let place = Place::new();
    let made = Command::new("mkfifo").arg(place.path("pipe")).status().unwrap();
    assert!(made.success());
    let pipe = place.path("pipe");
    let reader = std::thread::spawn(move || fs::read(pipe).unwrap());
    let report = place.json(&["diff", "oci:images:1.0", "oci:images:1.1", "-o", "pipe"]);
    assert_eq!(report["delta_bytes"], reader.join().unwrap().len());
    assert!(!fs::metadata(place.path("pipe")).unwrap().is_file());
    assert!(!place.has_parts());
}

#[test]
fn an_update_from_end_to_end() {
    let place = Place::new();
    let target = place.prepare();
    assert!(place.motd().starts_with("ahoy ahoy"));
    let size = fs::metadata(place.path("update.skiff")).unwrap().len();
    assert_eq!(place.json(&["inspect", "update.skiff"])["delta_bytes"], size);

    let applied =
        place.json(&["apply", "update.skiff", "--store", "store", "--target", &target, "--rootless"]);
    assert_eq!((&applied["release"], &applied["outcome"]), (&target.as_str().into(), &"applied".into()));
    assert_eq!(place.motd(), "land ahoy");
    assert_eq!(place.json(&["verify", "--store", "store"])["sound"], true);
    assert_eq!(place.json(&["status", "--store", "store"])["current"]["release"], target.as_str());

    let again = place.json(&["apply", "update.skiff", "--store", "store", "--target", &target, "--rootless"]);
    assert_eq!(again["outcome"], "already-current");
    assert_eq!(place.json(&["rollback", "--store", "store"])["from"], target.as_str());
    assert!(place.motd().starts_with("ahoy ahoy"));
    assert_eq!(place.json(&["recover", "--store", "store"])["rolled_back_to"], Value::Null);
    place.json(&["confirm", "--store", "store"]);
    assert_eq!(place.json(&["status", "--store", "store"])["current"]["confirmed"], true);
}

#[test]
fn a_delta_comes_through_standard_input() {
    let place = Place::new();
    let target = place.prepare();
    let delta = fs::File::open(place.path("update.skiff")).unwrap();
    let words = ["apply", "-", "--store", "store", "--target", &target, "--rootless"];
    let output = place.command(&words).stdin(delta).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "nothing but errors where there is no terminal");
    assert_eq!(place.motd(), "land ahoy");
}

#[test]
fn every_way_to_name_an_image_leads_to_the_same_tree() {
    let place = Place::new();
    let flat = place.json(&["flatten", "oci:images:1.0", "-o", "rootfs.tar"]);
    place.json(&["flatten", "oci:images:1.0", "--rootfs", "rootfs", "--rootless"]);
    // The same tree in other layers, otherwise compressed.
    let upper =
        Layer::new().file("etc/kept", "kept").file("etc/motd", "ahoy ".repeat(2000)).whiteout("etc/lost");
    let otherwise = Image::new()
        .encoded_layer(Layer::new().file("etc/kept", "other").file("etc/lost", ""), Encoding::Zstd)
        .encoded_layer(upper, Encoding::Xz);
    write_docker_archive(&place.path("other.tar"), &[(&["app:1.0"], &otherwise)]);
    OciLayout::new().image("1.0", otherwise).write_archive(&place.path("layout.tar"));
    for image in [
        "docker-archive:saved.tar:app:1.0",
        "docker-archive:other.tar",
        "oci-archive:layout.tar:1.0",
        "tar:rootfs.tar",
    ] {
        let other = place.json(&["flatten", image, "-o", "again.tar"]);
        assert_eq!(other["tree"], flat["tree"], "{image}");
        assert_eq!(
            fs::read(place.path("again.tar")).unwrap(),
            fs::read(place.path("rootfs.tar")).unwrap(),
            "{image}"
        );
    }
    assert_eq!(fs::read_to_string(place.path("rootfs/etc/kept")).unwrap(), "kept");
    let output = place.skiff(&["flatten", "rootfs:rootfs", "-o", "-"]);
    assert!(output.status.success() && output.stdout.len() > 1024, "{}", text(&output.stderr));
}

#[test]
fn a_platform_is_taken_out_of_several() {
    let place = Place::new();
    let version = |word: &str| {
        let variant =
            |variant: &str| image(&format!("{word} {variant} ")).architecture("arm").variant(variant);
        vec![variant("v6"), variant("v7"), image(word).architecture("vax")]
    };
    OciLayout::new()
        .multi_platform_image("1.0", version("ahoy"))
        .multi_platform_image("1.1", version("land ahoy"))
        .write_directory(&place.path("images"));
    let v6 = ["--platform", "linux/arm/v6"];
    let words = |words: &[&'static str]| [words, &v6[..]].concat();
    let report = place.json(&words(&["diff", "oci:images:1.0", "oci:images:1.1", "-o", "update.skiff"]));
    place.json(&words(&["install", "oci:images:1.0", "--store", "store", "--rootless"]));
    let motd = || fs::read_to_string(place.path("store/current/rootfs/etc/motd")).unwrap();
    assert!(motd().starts_with("ahoy v6 "));
    let target = report["target"].as_str().unwrap();
    place.json(&["apply", "update.skiff", "--store", "store", "--target", target, "--rootless"]);
    assert!(motd().starts_with("land ahoy v6 "));
    place.json(&["flatten", "oci:images:1.0", "--rootfs", "rootfs", "--rootless", "--platform", "linux/arm"]);
    assert!(fs::read_to_string(place.path("rootfs/etc/motd")).unwrap().starts_with("ahoy v7 "));

    let there_is = "there is: linux/arm/v6, linux/arm/v7, linux/vax";
    for command in [
        &["flatten", "oci:images:1.0", "-o", "x.tar"][..],
        &["install", "oci:images:1.0", "--store", "other", "--rootless"],
        &["diff", "oci:images:1.0", "oci:images:1.1", "-o", "x.skiff"],
    ] {
        place.fails(&[command, &["--platform", "linux/pdp11"]].concat(), 2, there_is);
        place.fails(&[command, &["--platform", "arm64"]].concat(), 2, "OS/ARCH[/VARIANT]");
    }
    let saved = ["flatten", "docker-archive:saved.tar", "-o", "x.tar", "--platform", "linux/vax"];
    place.fails(&saved, 2, "there is: linux/amd64");
    assert!(!place.path("other").exists() && !place.path("x.tar").exists());
}

#[test]
fn mistakes_have_exit_codes() {
    let place = Place::new();
    let target = place.prepare();
    place.fails(&["apply", "update.skiff", "--store", "store"], 2, "--target");
    place.fails(&["apply", "update.skiff", "--store", "store", "--target", "12"], 2, "64 hexadecimal digits");
    place.fails(&["apply", "missing.skiff", "--store", "store", "--trust-delta"], 2, "missing.skiff");
    place.fails(&["status", "--store", "nowhere"], 2, "is not a store");
    place.fails(&["diff", "oci:images:1.0", "oci:images:9", "-o", "x"], 2, "1.1");
    place.fails(&["diff", "oci:images:1.0", "docker:x", "-o", "x"], 2, "oci-archive");
    place.fails(&["rollback", "--store", "store"], 2, "no previous release");

    let wrong = ["apply", "update.skiff", "--store", "store", "--rootless", "--target", &"0".repeat(64)];
    place.fails(&wrong, 3, "leads to release");
    let mut bytes = fs::read(place.path("update.skiff")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(place.path("damaged.skiff"), &bytes).unwrap();
    place.fails(&["inspect", "damaged.skiff"], 4, "corrupt delta at byte");
    let damaged = ["apply", "damaged.skiff", "--store", "store", "--rootless", "--target", &target];
    place.fails(&damaged, 4, "corrupt delta at byte");
    assert!(place.motd().starts_with("ahoy ahoy"), "the old release is untouched");

    let reverse = place.json(&["diff", "oci:images:1.1", "oci:images:1.0", "-o", "back.skiff"]);
    let back = reverse["target"].as_str().unwrap();
    place.json(&["apply", "update.skiff", "--store", "store", "--target", &target, "--rootless"]);
    place.fails(
        &["apply", "update.skiff", "--store", "store", "--target", back, "--rootless"],
        3,
        "leads to release",
    );
    fs::write(place.path("store/current/rootfs/etc/kept"), "lost").unwrap();
    place.fails(&["verify", "--store", "store"], 7, "not as it was written");
}

#[test]
fn errors_are_json_where_that_was_asked_for() {
    let place = Place::new();
    let output = place.skiff(&["status", "--store", "nowhere", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["exit_code"], 2);
    assert!(told["error"].as_str().unwrap().contains("nowhere"));
}

#[test]
fn an_output_is_whole_or_not_there() {
    let place = Place::new();
    fs::write(place.path("update.skiff"), "older").unwrap();
    place.fails(&["diff", "oci:images:1.0", "oci:images:9", "-o", "update.skiff"], 2, "9");
    assert_eq!(fs::read_to_string(place.path("update.skiff")).unwrap(), "older");
    assert!(!place.has_parts());
}

#[test]
fn completions_and_manual_pages_are_generated() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = place.skiff(&["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("rollback"), "{shell}");
    }
    fs::create_dir(place.path("man")).unwrap();
    assert!(place.skiff(&["man", "man"]).status.success());
    for page in ["skiff.1", "skiff-diff.1", "skiff-apply.1"] {
        assert!(fs::read_to_string(place.path("man").join(page)).unwrap().contains(".SH"), "{page}");
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let place = Place::new();
    assert!(text(&place.skiff(&["--help"]).stdout).contains("Exit codes"));
    for command in
        ["diff", "inspect", "install", "apply", "verify", "rollback", "recover", "status", "flatten"]
    {
        assert!(text(&place.skiff(&[command, "--help"]).stdout).contains("Example"), "{command}");
    }
}

#[test]
fn a_report_that_nobody_reads_is_no_failure() {
    let place = Place::new();
    place.prepare();
    let closed = || -> Stdio {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer.into()
    };
    let ended = place.command(&["status", "--store", "store"]).stdout(closed()).output().unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    fs::write(place.path("store/current/rootfs/etc/kept"), "lost").unwrap();
    let ended = place.command(&["verify", "--store", "store"]).stdout(closed()).output().unwrap();
    assert_eq!(ended.status.code(), Some(7), "{}", text(&ended.stderr));

    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = place.command(&["status", "--store", "store"]).stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(6), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("is done, but the report"), "{}", text(&ended.stderr));
}

#[test]
fn a_report_in_json_is_one_object() {
    let place = Place::new();
    place.prepare();
    fs::write(place.path("store/current/rootfs/etc/kept"), "lost").unwrap();
    let output = place.skiff(&["verify", "--store", "store", "--json"]);
    assert_eq!(output.status.code(), Some(7));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["sound"], false);
    assert_eq!(told["mismatches"][0]["path"], "/etc/kept");
}

#[test]
fn a_signal_ends_the_wait_for_a_delta() {
    let place = Place::new();
    let target = place.prepare();
    let words = ["apply", "-", "--store", "store", "--target", &target, "--rootless"];
    let start = || place.command(&words).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut waiting = start();
    // Its signal handlers are there once it holds the store's lock.
    while place.skiff(&["rollback", "--store", "store"]).status.code() != Some(8) {
        // Whoever looks for the lock holds it for a moment, and it may have come just then.
        if let Some(ended) = waiting.try_wait().unwrap() {
            assert_eq!(ended.code(), Some(8), "it ended by itself");
            waiting = start();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().unwrap().success());
    assert_eq!(waiting.wait().unwrap().code(), Some(9));
}
