//! Keys, signatures, and deltas that have to have some.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::commands::Place;

/// A place with a delta, a store, and the keys `one` and `two`; and the target's name.
fn signing() -> (Place, String) {
    let place = Place::new();
    let target = place.prepare();
    for name in ["one", "two"] {
        place.json(&["keygen", name, "--comment", "of a test"]);
    }
    (place, target)
}

/// Everything in a directory: paths, with what files hold.
fn picture(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            all.extend(picture(&path));
        }
        all.insert(path.clone(), fs::read(&path).unwrap_or_default());
    }
    all
}

const APPLY: [&str; 5] = ["apply", "update.skiff", "--store", "store", "--rootless"];

fn apply_for(key: &'static str) -> Vec<&'static str> {
    [&APPLY[..], &["--require-signature", key]].concat()
}

#[test]
fn keys_are_made_once() {
    let place = Place::new();
    let made = place.json(&["keygen", "release.key", "--comment", "releases of 2026"]);
    let private = place.path("release.key");
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    let (secret, public) =
        (fs::read(&private).unwrap(), fs::read_to_string(place.path("release.key.pub")).unwrap());
    assert_eq!(format!("{}\n", made["public_key"].as_str().unwrap()), public);
    assert!(public.starts_with("skiff-public-key ed25519 ") && public.ends_with(" releases of 2026\n"));
    place.fails(&["keygen", "release.key"], 2, "release.key");
    assert_eq!(fs::read(&private).unwrap(), secret);
    place.fails(&["keygen", "nowhere/key"], 2, "nowhere");
    place.fails(&["keygen", "other.key", "--comment", "two\nlines"], 2, "comment");
    assert!(!place.path("other.key").exists());
}

#[test]
fn a_signed_delta_is_applied_where_a_signature_is_required() {
    let (place, target) = signing();
    let plain = place.json(&["inspect", "update.skiff"]);
    assert_eq!(
        (&plain["signatures"], &plain["proven_signer"]),
        (&serde_json::json!([]), &serde_json::Value::Null)
    );
    let signed = place.json(&["sign", "update.skiff", "--key", "one"]);
    assert_eq!((signed["target"].as_str(), &signed["delta"]), (Some(&*target), &plain["digest"]));
    let inspected = place.json(&["inspect", "update.skiff", "--require-signature", "one.pub"]);
    assert_eq!(inspected["proven_signer"], inspected["signatures"][0]["key"]);
    assert_eq!(
        (&inspected["digest"], &inspected["signatures"][0]["algorithm"]),
        (&plain["digest"], &"ed25519".into())
    );

    // Once more changes nothing; another key comes beside it.
    let once = fs::read(place.path("update.skiff")).unwrap();
    place.json(&["sign", "update.skiff", "--key", "one"]);
    assert_eq!(fs::read(place.path("update.skiff")).unwrap(), once);
    let both = place.json(&["sign", "update.skiff", "--key", "two", "-o", "both.skiff"]);
    assert_eq!(both["signatures"].as_array().unwrap().len(), 2);
    assert_eq!(fs::read(place.path("update.skiff")).unwrap(), once);
    assert!(!place.has_parts());

    // A signature says itself where the delta leads; a target may be named beside it.
    place.fails(&APPLY, 2, "--target");
    let applied = place.json(&apply_for("one.pub"));
    assert_eq!((applied["release"].as_str(), applied["outcome"].as_str()), (Some(&*target), Some("applied")));
    place.json(&["rollback", "--store", "store"]);
    let words = ["apply", "both.skiff", "--store", "store", "--rootless", "--target", &target];
    place.json(&[&words[..], &["--require-signature", "two.pub"]].concat());
    assert_eq!(place.motd(), "land ahoy");
}

#[test]
fn whoever_signs_says_what_is_meant_and_another_delta_is_not_signed() {
    let (place, target) = signing();
    let base = place.json(&["inspect", "update.skiff"])["bases"][0].as_str().unwrap().to_owned();
    let other = "ab".repeat(32);
    let delta = fs::read(place.path("update.skiff")).unwrap();
    let sign = ["sign", "update.skiff", "--key", "one"];
    for (more, code, told) in [
        (&["--target", &*other][..], 3, &*target),
        (&["--target", &base], 3, &base),
        (&["--base", &other], 3, &base),
        (&["--base", &target, "--base", &other], 3, "no base that you mean"),
        (&["--target", &other, "--base", &base], 3, &other),
        (&["--target", &target, "--base", &target], 3, &base),
        (&["--target", "4f5c"], 2, "4f5c"),
        (&["--base", ""], 2, "digits"),
    ] {
        place.fails(&[&sign[..], more].concat(), code, told);
        place.fails(&[&sign[..], more, &["-o", "signed.skiff"]].concat(), code, told);
    }
    assert_eq!(fs::read(place.path("update.skiff")).unwrap(), delta);
    assert!(!place.path("signed.skiff").exists() && !place.has_parts());

    let meant = ["--target", &*target, "--base", &other, "--base", &base];
    let signed = place.json(&[&sign[..], &meant].concat());
    assert_eq!((&signed["bases"], &signed["target"]), (&serde_json::json!([base]), &target.into()));
    assert_eq!(signed["signatures"].as_array().unwrap().len(), 1);
    // Whoever is not a program is told as well.
    let told = place.skiff(&sign);
    let told = String::from_utf8(told.stdout).unwrap();
    for release in [&base, signed["target"].as_str().unwrap()] {
        assert!(told.contains(release), "{told}");
    }
}

#[test]
fn a_delta_may_be_signed_as_it_is_made_or_goes_by() {
    let (place, _) = signing();
    let words = ["diff", "oci:images:1.0", "oci:images:1.1", "--sign", "one", "-o", "signed.skiff"];
    let made = place.json(&words);
    place.json(&["sign", "update.skiff", "--key", "one"]);
    let signed = fs::read(place.path("signed.skiff")).unwrap();
    assert_eq!(signed, fs::read(place.path("update.skiff")).unwrap());
    assert_eq!(made["delta_bytes"], signed.len());
    let explained = place.json(&[&words[..], &["--explain"]].concat());
    let sections = explained["explanation"]["sections"].as_object().unwrap();
    assert_eq!(sections.values().filter_map(serde_json::Value::as_u64).sum::<u64>(), signed.len() as u64);

    let mut sign = place.command(&["sign", "-", "--key", "two", "-o", "-"]);
    let mut sign = sign.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sign.stdin.take().unwrap().write_all(&signed).unwrap();
    let output = sign.wait_with_output().unwrap();
    assert!(output.status.success());
    fs::write(place.path("piped.skiff"), output.stdout).unwrap();
    place.json(&["inspect", "piped.skiff", "--require-signature", "two.pub"]);
    place.fails(&["sign", "-", "--key", "two"], 2, "--output");
    place.fails(&["sign", "store", "--key", "two"], 2, "no file");
}

#[test]
fn what_is_not_signed_as_it_has_to_be_is_refused_and_nothing_written() {
    let (place, target) = signing();
    place.json(&["sign", "update.skiff", "--key", "two", "-o", "by-two.skiff"]);
    place.json(&["sign", "update.skiff", "--key", "one", "-o", "by-one.skiff"]);
    // Its last byte before the first frame is the signature's.
    let signed = fs::read(place.path("by-one.skiff")).unwrap();
    let mut altered = signed.clone();
    altered[header_len(&signed) - 1] ^= 1;
    fs::write(place.path("altered.skiff"), altered).unwrap();
    let mut damaged = signed.clone();
    damaged[60] ^= 1;
    fs::write(place.path("damaged.skiff"), damaged).unwrap();
    // Signed as it should be, and leading elsewhere.
    place.json(&["flatten", "oci:images:1.1", "-o", "other.tar"]);
    place.json(&["diff", "oci:images:1.0", "tar:other.tar", "--sign", "one", "-o", "elsewhere.skiff"]);

    let before = picture(&place.path("store"));
    for (delta, code, message) in [
        ("update.skiff", 10, "not signed"),
        ("by-two.skiff", 10, "is required"),
        ("altered.skiff", 10, "is false"),
        ("damaged.skiff", 4, "corrupt"),
        ("elsewhere.skiff", 3, "is wanted"),
    ] {
        let words = ["apply", delta, "--store", "store", "--rootless", "--target", &target];
        place.fails(&[&words[..], &["--require-signature", "one.pub"]].concat(), code, message);
        assert_eq!(picture(&place.path("store")), before, "{delta}");
        if code == 10 {
            place.fails(&["inspect", delta, "--require-signature", "one.pub"], 10, message);
        }
    }
    // The private key is none to ask for, nor the public one to sign with.
    place.fails(&apply_for("one"), 2, "private key");
    place.fails(&apply_for("none.pub"), 2, "none.pub");
    place.fails(&["sign", "update.skiff", "--key", "one.pub"], 2, "public key");
    place.fails(&["sign", "damaged.skiff", "--key", "one"], 4, "damaged.skiff");
    place.fails(&["sign", "none.skiff", "--key", "one"], 2, "none.skiff");
    let trusting = [&apply_for("one.pub")[..], &["--trust-delta"]].concat();
    place.fails(&trusting, 2, "--trust-delta");
    assert_eq!(picture(&place.path("store")), before);
    assert!(!place.has_parts());
}

/// How long the header is with its signatures, which end it.
fn header_len(delta: &[u8]) -> usize {
    let length = |at: usize| u32::from_le_bytes(delta[at..at + 4].try_into().unwrap()) as usize;
    52 + length(12) + length(48)
}
