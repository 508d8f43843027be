//! The golden tree signature: what it holds, and how a script that shares nothing with this code reads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiff_signature::{Options, SignatureError, Signed, TreeSignature, sign_tree};
use skiff_tree::ConfigDigest;

use crate::images::{Image, folder};
use crate::write_missing;

const BASE: &str = "small-base";

pub(crate) fn file(base: &str) -> PathBuf {
    folder().join("valid").join(format!("signature-{base}.sks"))
}

pub(crate) fn make(base: &Image) -> Vec<u8> {
    let config = base.config.as_deref().map(ConfigDigest::of);
    let signed = Signed { tree: &base.tree, contents: &base.contents, config };
    let mut bytes = Vec::new();
    sign_tree(&signed, &Options::default().with_block_len(|_| 100), &mut bytes).unwrap();
    bytes
}

#[test]
fn the_golden_signature_is_that_of_its_image() {
    write_missing();
    let (base, bytes) = (Image::read(BASE), fs::read(file(BASE)).unwrap());
    let signature = TreeSignature::read(&bytes[..], &Default::default()).unwrap();
    assert_eq!(signature.tree(), &base.tree);
    assert_eq!(signature.release_id(), base.release().id());
    assert!(bytes == make(&base), "the same image is signed in the same bytes");
}

#[test]
fn a_signature_cut_anywhere_or_with_any_bit_flipped_is_an_error() {
    write_missing();
    let mut bytes = fs::read(file(BASE)).unwrap();
    let read = |bytes: &[u8]| TreeSignature::read(bytes, &Default::default());
    for length in 0..bytes.len() {
        assert!(matches!(read(&bytes[..length]), Err(SignatureError::Corrupt { .. })), "{length} bytes");
    }
    assert!(read(&[&bytes[..], &[0]].concat()).is_err(), "one more");
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
#[ignore = "needs python3"]
fn a_stranger_reads_the_same() {
    write_missing();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/stranger");
    let output =
        Command::new("python3").arg(&script).arg(file(BASE)).arg(folder().join("images").join(BASE)).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let base = Image::read(BASE);
    let expected = format!("{}\n{}\n", base.release().id(), base.tree.digest());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
