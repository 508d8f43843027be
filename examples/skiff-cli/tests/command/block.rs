//! `skiff block` as its users run it, and as those of rdiff do.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A place with two files, `old` and `new`.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let old: Vec<u8> = (0..50_000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
        let new = [&old[..70_001], b"something new", &old[50_001..]].concat();
        fs::write(place.path("old"), old).unwrap();
        fs::write(place.path("new"), new).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.arg("block").args(words).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs it, expects it to succeed, and returns what it said on standard error.
    fn passes(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        said
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn fails(&self, words: &[&str], code: i32, message: &str) {
        let output = self.run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(message), "{words:?}: {said}");
    }

    /// Whether there is a file that is not finished.
    fn has_parts(&self) -> bool {
        let mut files = fs::read_dir(self.0.path()).unwrap();
        files.any(|file| file.unwrap().file_name().to_string_lossy().starts_with(".skiff-"))
    }

    /// Runs it with a file on standard input, and returns standard output.
    fn pipe(&self, words: &[&str], input: &str) -> Vec<u8> {
        let mut child = self.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut pipe, bytes) = (child.stdin.take().unwrap(), self.read(input));
        let writer = std::thread::spawn(move || pipe.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "{words:?}");
        output.stdout
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn from_files_to_files() {
    let place = Place::new();
    let signed = place.json(&["signature", "old", "sig"]);
    assert_eq!(signed["old_bytes"], 200_000);
    assert_eq!(signed["signature_bytes"], place.read("sig").len());
    assert_eq!((&signed["hash"], &signed["rollsum"]), (&"blake2".into(), &"rabinkarp".into()));
    assert_eq!(signed["sum_size"], 32);
    let made = place.json(&["delta", "sig", "new", "delta"]);
    assert_eq!(made["delta_bytes"], place.read("delta").len());
    let with_old = place.json(&["delta", "sig", "new", "smaller", "--old", "old", "--threads", "1"]);
    assert!(with_old["delta_bytes"].as_u64().unwrap() < 50);
    assert!(with_old["extended_bytes"].as_u64().unwrap() > 0);
    for delta in ["delta", "smaller"] {
        let patched = place.json(&["patch", "old", delta, "made", "--force"]);
        assert_eq!(patched["new_bytes"], place.read("new").len());
        assert!(place.read("made") == place.read("new"));
    }
    let mut names: Vec<_> =
        fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["delta", "made", "new", "old", "sig", "smaller"]);
}

#[test]
fn from_pipe_to_pipe() {
    let place = Place::new();
    // Of what comes through a pipe the size is not known.
    let signature = place.pipe(&["signature"], "old");
    assert_eq!(signature[4..8], 2048_u32.to_be_bytes());
    fs::write(place.path("sig"), signature).unwrap();
    let delta = place.pipe(&["delta", "sig"], "new");
    fs::write(place.path("delta"), &delta).unwrap();
    assert!(place.pipe(&["delta", "-", "new", "-"], "sig") == delta);
    assert!(place.pipe(&["patch", "old"], "delta") == place.read("new"));
    // A file on standard input can be read from any place on, a pipe cannot.
    let from_file = place
        .command(&["patch", "-", "delta"])
        .stdin(fs::File::open(place.path("old")).unwrap())
        .output()
        .unwrap();
    assert!(from_file.stdout == place.read("new"));
    place.fails(&["patch", "-", "-"], 2, "both");
    place.fails(&["delta", "-", "-"], 2, "both");
    place.fails(&["delta", "sig", "new", "--json"], 2, "standard output");
}

#[test]
fn words_of_rdiff() {
    let place = Place::new();
    // Before the command or after it, and the command cut short.
    let said = place.passes(&["-H", "md4", "-R", "rollsum", "-b", "512", "-S", "8", "sig", "old", "one"]);
    assert!(said.contains("warning") && said.lines().count() == 1, "{said}");
    place.passes(&[
        "signature",
        "old",
        "two",
        "--hash=md4",
        "--rollsum=rollsum",
        "--block-size=512",
        "--sum-size=8",
    ]);
    assert!(place.read("one") == place.read("two"));
    assert_eq!(place.read("one")[..12], [0x72, 0x73, 1, 0x36, 0, 0, 2, 0, 0, 0, 0, 8]);
    let said =
        place.passes(&["-s", "-v", "-f", "-S", "-1", "-b", "0", "-I", "9", "-O", "9", "sig", "old", "one"]);
    assert!(said.contains("blocks") && !said.contains("warning"), "{said}");
    assert_eq!(place.read("one")[8..12], 16_u32.to_be_bytes());
    assert!(place.passes(&["-H", "md4", "-f", "signature", "old", "one"]).contains("MD4"));
    let said = place.passes(&["-b", "512", "-s", "delta", "two", "new", "delta"]);
    assert!(
        said.contains("change nothing here") && !said.contains("warning") && said.contains("copied"),
        "{said}"
    );
    assert!(place.passes(&["patch", "-s", "old", "delta", "made"]).contains("new bytes"));
}

#[test]
fn what_is_replaced_hands_on_its_mode_and_its_neighbours_stay() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let place = Place::new();
    fs::write(place.path("sig"), "mine").unwrap();
    fs::write(place.path("sig.part"), "mine too").unwrap();
    fs::set_permissions(place.path("sig"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("sig", place.path("link")).unwrap();
    place.passes(&["signature", "-f", "-f", "old", "link"]);
    assert!(fs::symlink_metadata(place.path("link")).unwrap().is_symlink());
    assert_eq!(fs::metadata(place.path("sig")).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_ne!(place.read("sig"), b"mine");
    assert_eq!(place.read("sig.part"), b"mine too");
}

#[test]
fn numbers_are_read_as_rdiff_reads_them() {
    let place = Place::new();
    for (text, length) in [("1024", 1024), ("0x400", 1024), ("02000", 1024), ("0", 832)] {
        let report = place.json(&["signature", "-f", "-b", text, "old", "sig"]);
        assert_eq!(report["block_size"], length, "{text}");
    }
    place.fails(&["signature", "-b", "09", "old", "sig"], 2, "09");
}

#[test]
fn what_exists_is_kept() {
    let place = Place::new();
    fs::write(place.path("sig"), "mine").unwrap();
    place.fails(&["signature", "old", "sig"], 2, "--force");
    assert_eq!(place.read("sig"), b"mine");
    // Forced, but without success.
    fs::write(place.path("delta"), b"rs\x02\x36\x03ab").unwrap();
    place.fails(&["-f", "patch", "old", "delta", "sig"], 4, "corrupt");
    assert_eq!(place.read("sig"), b"mine");
    // An output may be an input.
    place.passes(&["-f", "signature", "old", "sig"]);
    place.passes(&["-f", "delta", "sig", "new", "delta"]);
    place.passes(&["-f", "patch", "old", "delta", "old"]);
    assert!(place.read("old") == place.read("new"));
    place.passes(&["signature", "old", "/dev/null"]);
}

#[test]
fn what_is_wrong_has_a_code() {
    let place = Place::new();
    place.passes(&["signature", "old", "sig"]);
    place.passes(&["delta", "sig", "new", "delta"]);
    place.fails(&["signature", "none", "other"], 2, "none");
    place.fails(&["signature", "-S", "33", "old", "other"], 2, "33");
    place.fails(&["signature", "-S", "-2", "old", "other"], 2, "-2");
    place.fails(&["signature", "-S", "17", "-H", "md4", "old", "other"], 2, "17");
    place.fails(&["signature", "-H", "md5", "old", "other"], 2, "md5");
    place.fails(&["delta", "delta", "new", "other"], 4, "signature is corrupt");
    place.fails(&["patch", "old", "sig", "other"], 4, "delta is corrupt");
    fs::write(place.path("short"), "short").unwrap();
    place.fails(&["patch", "short", "delta", "other"], 3, "made for another file");
    place.fails(&["patch", "old", "delta", "other", "--max-output", "1000"], 4, "limit");
    place.fails(&["delta", "sig", "new", "other", "--old", "new"], 3, "not the one that was signed");
    assert!(!place.path("other").exists() && !place.has_parts());
    let output = place.run(&["patch", "short", "delta", "other", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["exit_code"], 3);
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let place = Place::new();
    let mut child = place.command(&["signature", "-", "sig"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&place.read("old")).unwrap();
    while !place.has_parts() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert!(!place.path("sig").exists() && !place.has_parts());
}
