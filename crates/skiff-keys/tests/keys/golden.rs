//! Golden files: a delta that is signed, and deltas that nobody is to believe. `tests/golden/keys` has the keys.
//!
//! `SKIFF_WRITE_GOLDEN=1 cargo test -p skiff-keys --features sign` writes them out of `delta-example`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use skiff_format::{DetachedSignature, Digest, FormatError, Header, Limits, Signatures, replace_signatures};
use skiff_keys::{PrivateKey, PublicKey, TrustError, check};

use crate::header;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn key(name: &str) -> PrivateKey {
    // Whoever has the files may read these, which are for tests.
    std::fs::read_to_string(folder("keys").join(format!("{name}.key"))).unwrap().parse().unwrap()
}

fn public(name: &str) -> PublicKey {
    PublicKey::read(folder("keys").join(format!("{name}.key.pub"))).unwrap()
}

/// The example under these signatures.
fn under(signatures: Vec<DetachedSignature>) -> Vec<u8> {
    let example = fs::read(folder("valid").join("delta-example.skiff")).unwrap();
    let mut all = Signatures::default();
    signatures.into_iter().for_each(|signature| all.add(signature).unwrap());
    let mut signed = Vec::new();
    let choose = |_: &Header| Ok::<_, FormatError>(all);
    replace_signatures(&example[..], Limits::default(), &mut signed, choose).unwrap();
    signed
}

/// The files' names and what is in them; all but the first are not to be believed by who asks for the key `one`.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let digest = *header(&fs::read(folder("valid").join("delta-example.skiff")).unwrap()).digest();
    let (one, two) = (key("one").signature(&digest), key("two").signature(&digest));
    // What a later version may add.
    let later =
        DetachedSignature { algorithm: 1_300, key: Digest::of(b"a key of another kind"), bytes: vec![7; 90] };
    let mut altered = one.clone();
    altered.bytes[40] ^= 4;
    let elsewhere = key("one").signature(&Digest::of(b"another header"));
    let renamed = DetachedSignature { key: one.key, ..two.clone() };
    let renumbered = DetachedSignature { algorithm: 1_300, ..one.clone() };
    vec![
        ("signed-example", under(vec![one, two.clone(), later.clone()])),
        ("untrusted-unsigned", under(vec![])),
        ("untrusted-other-key", under(vec![two.clone(), later])),
        ("untrusted-other-algorithm", under(vec![renumbered])),
        ("untrusted-altered", under(vec![altered, two.clone()])),
        ("untrusted-other-delta", under(vec![elsewhere])),
        ("untrusted-other-key-renamed", under(vec![renamed, two])),
    ]
}

fn path(name: &str) -> PathBuf {
    let folder = folder(if name.starts_with("signed-") { "valid" } else { "errors" });
    folder.join(format!("{name}.skiff"))
}

fn write_anew() {
    if std::env::var_os("SKIFF_WRITE_GOLDEN").is_some() {
        for (name, bytes) in files() {
            // What is there stays as it is.
            if !path(name).exists() {
                fs::write(path(name), bytes).unwrap();
            }
        }
    }
}

#[test]
fn golden_signatures_hold_and_others_do_not() {
    write_anew();
    assert_eq!(public("one"), *key("one").public());
    let keys = [public("one")];
    for (name, expected) in files() {
        let bytes = fs::read(path(name)).unwrap();
        assert_eq!(bytes, expected, "{name}: signatures are the same each time");
        let found = check(&header(&bytes), &keys);
        match name {
            "signed-example" => assert_eq!(found, Ok(&keys[0])),
            "untrusted-unsigned" => assert!(matches!(found, Err(TrustError::Unsigned { .. })), "{name}"),
            "untrusted-other-key" | "untrusted-other-algorithm" => {
                assert!(matches!(found, Err(TrustError::KeyUnknown { .. })), "{name}");
            }
            _ => assert!(matches!(found, Err(TrustError::WrongSignature { .. })), "{name}"),
        }
    }
    let signed = header(&fs::read(path("signed-example")).unwrap());
    assert_eq!(check(&signed, &[public("two")]).unwrap().comment(), "a key of tests, which everybody has");
}

#[test]
#[ignore = "needs python3"]
fn a_stranger_believes_the_same() {
    write_anew();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stranger.py");
    let run = |name: &str, key: &str| -> Output {
        let key = folder("keys").join(format!("{key}.key.pub"));
        Command::new("python3").arg(&script).arg(path(name)).arg(key).output().unwrap()
    };
    for (name, _) in files() {
        let output = run(name, "one");
        let said = String::from_utf8_lossy(&output.stderr);
        if name == "signed-example" {
            assert!(output.status.success(), "{said}");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", public("one").id()));
        } else {
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(said.contains("refused"), "{name}: {said}");
        }
    }
    assert!(run("signed-example", "two").status.success());
}
