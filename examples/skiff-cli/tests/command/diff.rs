//! The options of `skiff diff`, and what it tells of a delta.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use skiff_testkit::{Image, Layer, OciLayout};
use tempfile::TempDir;

/// A place with `oci:images:old`, `:new`, which changes a file and adds one, and `:tiny`, which is smaller than any delta.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let text = |word: &str| (0..3000).map(|line| format!("{word} {line} ")).collect::<String>();
        let noise: Vec<u8> = (0..9999_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let old = Image::new().layer(Layer::new().file("etc/motd", text("ahoy")).file("etc/kept", "kept"));
        let new = Image::new()
            .layer(Layer::new().file("etc/motd", text("ahoy") + "land").file("etc/kept", "kept"))
            .layer(Layer::new().file("bin/tool", [&b"\x7fELF\x02\x01\x01"[..], &noise].concat()));
        let tiny = Image::new().layer(Layer::new().file("a", "b"));
        OciLayout::new()
            .image("old", old)
            .image("new", new)
            .image("tiny", tiny)
            .write_directory(&place.path("images"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `skiff diff` from `old` with these options.
    fn diff(&self, target: &str, options: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.args(["diff", "oci:images:old", &format!("oci:images:{target}"), "-o", "update.skiff"]);
        command.args(options).current_dir(self.0.path()).output().unwrap()
    }

    fn json(&self, target: &str, options: &[&str]) -> Value {
        let output = self.diff(target, &[options, &["--json"]].concat());
        assert!(output.status.success(), "{options:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sum(rows: &Value, key: &str) -> u64 {
    rows.as_array().unwrap().iter().map(|row| row[key].as_u64().unwrap()).sum()
}

#[test]
fn an_explanation_adds_up_in_json() {
    let place = Place::new();
    let report = place.json("new", &["--explain"]);
    let told = &report["explanation"];
    let sections = &told["sections"];
    let section = |name: &str| sections[name].as_u64().unwrap();
    let whole = ["header", "config", "manifest", "tree", "contents"].map(section).iter().sum::<u64>();
    assert_eq!(report["delta_bytes"], whole);
    for rows in ["codecs", "kinds", "files"] {
        assert_eq!(sum(&told[rows], "delta_bytes"), section("contents"), "{rows}");
        assert_eq!(sum(&told[rows], "new_bytes"), report["new_bytes"].as_u64().unwrap(), "{rows}");
    }
    assert_eq!(report["pull_bytes"], sum(&told["pulled_layers"], "bytes"));
    assert_eq!(told["pulled_layers"].as_array().unwrap().len(), 2);

    let files = told["files"].as_array().unwrap();
    assert_eq!((&files[0]["path"], &files[0]["kind"]), (&"/bin/tool".into(), &"elf other".into()));
    assert_eq!(files[1]["path"], "/etc/motd");
    assert_eq!(files[1]["sources"][0], serde_json::json!({ "side": "base", "path": "/etc/motd" }));
    assert!(place.json("new", &[])["explanation"].is_null(), "only where it is asked for");
}

#[test]
fn an_explanation_is_told_to_people() {
    let place = Place::new();
    let output = place.diff("new", &["--explain"]);
    let told = text(&output.stdout);
    for words in
        ["missing layer", "section", "manifest", "kind of file", "elf other", "2 costliest of 2 new contents"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(told.lines().any(|line| line.contains("/bin/tool from nothing")), "{told}");
    assert!(told.lines().any(|line| line.ends_with("/etc/motd")), "{told}");
    let refused = place.diff("new", &["--explain", "-o", "-"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
}

#[test]
fn a_delta_for_a_small_device_takes_no_more_than_granted() {
    let place = Place::new();
    let granted = place.json("new", &["--max-decoder-memory", "10M", "--memory", "64M", "--spool", "."]);
    assert!(granted["decoder_memory"].as_u64().unwrap() <= 10 << 20, "{granted}");
    for (size, message) in
        [("1K", "1024 were granted"), ("8X", "no unit"), ("", "integer"), ("99999999999G", "counted")]
    {
        let refused = place.diff("new", &["--max-decoder-memory", size]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains(message), "{size}: {}", text(&refused.stderr));
    }
    let nowhere = place.diff("new", &["--spool", "nowhere"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", text(&nowhere.stderr));
}

#[test]
fn a_delta_that_is_not_smaller_than_a_pull_says_so() {
    let place = Place::new();
    let output = place.diff("tiny", &["--json"]);
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["delta_bytes"].as_u64() >= report["pull_bytes"].as_u64(), "{report}");
    assert_eq!(report["smaller_than_pull"], false);
    assert!(text(&output.stderr).contains("not smaller than pulling"), "{}", text(&output.stderr));
    assert!(place.path("update.skiff").exists());
    assert!(text(&place.diff("tiny", &[]).stdout).contains("not smaller"), "people are told too");
    assert_eq!(place.json("new", &[])["smaller_than_pull"], true);
}
