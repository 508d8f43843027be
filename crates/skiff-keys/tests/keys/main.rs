//! Keys, what they sign, and what is believed of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod golden;

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt as _;

use skiff_format::{
    BaseInfo, Compression, DetachedSignature, Digest, Encoder, Event, Facts, FormatError, Header,
    HeaderFields, Limits, Reader, Section, Signatures, TargetInfo, compress, replace_signatures,
};
use skiff_keys::{KeyError, KeyId, PrivateKey, PublicKey, TrustError, check, sign};
use skiff_testkit::key;

/// A delta that leads to a release of this name.
fn delta(target: &str) -> Vec<u8> {
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    encoder.add(compress(Section::Tree, b"tree", &Compression::Stored).unwrap()).unwrap();
    let (release, tree) = (Digest::of(target.as_bytes()), Digest::of(b"tree"));
    let fields = HeaderFields {
        codecs: Vec::new(),
        bases: vec![BaseInfo { release: tree, tree }],
        target: TargetInfo { release, tree, config: None, manifest: None },
        facts: Facts::default(),
    };
    let mut delta = Vec::new();
    encoder.finish(&fields, &mut delta).unwrap();
    delta
}

fn header(delta: &[u8]) -> Header {
    let Some(Event::Header(header)) = Reader::new(delta, Limits::default()).next_event().unwrap() else {
        panic!("the first event is the header")
    };
    *header
}

fn signed(delta: &[u8], keys: &[PrivateKey]) -> Vec<u8> {
    let mut out = Vec::new();
    sign(delta, &mut out, keys).unwrap();
    out
}

/// The delta under signatures that somebody made up.
fn forged(delta: &[u8], signatures: impl IntoIterator<Item = DetachedSignature>) -> Header {
    let mut all = Signatures::default();
    signatures.into_iter().for_each(|signature| all.add(signature).unwrap());
    let choose = |_: &Header| Ok::<_, FormatError>(all);
    replace_signatures(delta, Limits::default(), Vec::new(), choose).unwrap()
}

#[test]
fn a_key_is_one_line_of_text() {
    let public = key(7).public().clone();
    let line = public.to_string();
    let again: PublicKey = line.parse().unwrap();
    assert_eq!((&again, again.comment()), (&public, "of a test"));
    assert_eq!(format!("{line}\n").parse::<PublicKey>().unwrap(), public);
    // RFC 8032, test 1 of section 7.1: its seed makes its public key.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let private: PrivateKey = format!("skiff-private-key ed25519 {seed}").parse().unwrap();
    let expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(private.public().to_string(), format!("skiff-public-key ed25519 {expected}"));
    let wrong = [
        "",
        "ssh-ed25519 AAAA",
        &line.replace("ed25519", "rsa"),
        &line.replace(" ", "  "),
        &format!("{line}\n\n"),
        &format!("{line}\nmore"),
        &line[..60],
        &line.replace(&line[26..90], &line[26..90].to_uppercase()),
        // The identity, which is of small order: anybody can make signatures that hold for it.
        &format!("skiff-public-key ed25519 01{}", "00".repeat(31)),
        // The same point in another form: y plus the field's prime.
        &format!("skiff-public-key ed25519 ee{}7f", "ff".repeat(30)),
        // No point at all.
        &format!("skiff-public-key ed25519 02{}", "00".repeat(31)),
    ];
    for text in wrong {
        assert!(matches!(text.parse::<PublicKey>(), Err(KeyError::NotAKey { .. })), "{text}");
    }
}

/// Editors and systems write lines in more ways than one: whoever has such a file is told what is wrong with it.
#[test]
fn what_is_wrong_with_a_keys_file_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let line = key(7).public().to_string();
    let private = format!("skiff-private-key ed25519 {}", "07".repeat(32));
    let with = |more: &[u8]| [line.as_bytes(), more].concat();
    for (bytes, told) in [
        (with(b"\r\n"), "carriage return"),
        (with(b"\r"), "carriage return"),
        (format!("{line}\r\n{line}\r\n").into(), "carriage return"),
        (format!("{line}\n{line}\n").into(), "a file of its own"),
        (with(b"\n\n"), "a file of its own"),
        (with(b" with\ta tab\n"), "control character"),
        (with(b" \xe9t\xe9\n"), "comment is no text"),
        (vec![0xff; 100], "it is no text"),
        (b"-----BEGIN PUBLIC KEY-----\n\xff".to_vec(), "it is no text"),
        (b"-----BEGIN PUBLIC KEY-----\r\nMCowBQYD\r\n".to_vec(), "begins with the words"),
        (Vec::new(), "begins with the words"),
        (format!("{private}\r\n").into(), "private key"),
    ] {
        fs::write(&file, &bytes).unwrap();
        let error = PublicKey::read(&file).unwrap_err();
        assert!(matches!(error, KeyError::File { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(told) && error.contains("key\""), "{error}: not {told}");
    }
    // Text that is not English is text, and the newline may be missing.
    for end in ["", "\n"] {
        fs::write(&file, with(format!(" été{end}").as_bytes())).unwrap();
        assert_eq!(PublicKey::read(&file).unwrap().comment(), "of a test été");
    }
    fs::write(&file, format!("{private}\r\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let error = PrivateKey::read(&file).unwrap_err().to_string();
    assert!(error.contains("carriage return") && !error.contains("0707"), "{error}");
}

#[test]
fn a_private_key_is_never_told() {
    let private = key(0xa5);
    let text = format!("skiff-private-key ed25519 {}", "a5".repeat(32));
    let errors = [
        text.parse::<PublicKey>().unwrap_err().to_string(),
        format!("{text}a5").parse::<PrivateKey>().unwrap_err().to_string(),
        text.replace("a5a5 ", "A5A5 ").to_uppercase().parse::<PrivateKey>().unwrap_err().to_string(),
        format!("{private:?}"),
    ];
    for error in errors {
        assert!(!error.to_lowercase().contains("a5a5"), "{error}");
    }
    assert!(matches!(text.parse::<PublicKey>(), Err(KeyError::PrivateGiven)));
    let public = private.public().to_string();
    assert!(matches!(public.parse::<PrivateKey>(), Err(KeyError::PublicGiven)));
}

#[test]
fn a_signature_holds_for_its_delta_and_key_alone() {
    let (wanted, other) = (delta("wanted"), delta("other"));
    let trusted = [key(1).public().clone(), key(2).public().clone()];
    let by = |byte: u8, of: &[u8]| key(byte).signature(header(of).digest());

    assert_eq!(check(&header(&signed(&wanted, &[key(1)])), &trusted), Ok(&trusted[0]));
    // One key of several is enough, on either side.
    assert_eq!(check(&header(&signed(&wanted, &[key(3), key(2)])), &trusted), Ok(&trusted[1]));
    assert_eq!(
        check(&header(&wanted), &trusted),
        Err(TrustError::Unsigned { delta: *header(&wanted).digest() })
    );
    let unknown = check(&header(&signed(&wanted, &[key(3)])), &trusted).unwrap_err();
    let found = vec![*key(3).public().id()];
    let required = trusted.iter().map(|key| *key.id()).collect();
    assert_eq!(unknown, TrustError::KeyUnknown { delta: *header(&wanted).digest(), found, required });
    for key in [key(1), key(2), key(3)] {
        assert!(unknown.to_string().contains(&key.public().id().to_string()), "{unknown}");
    }
    // With no keys, nobody is believed.
    assert!(check(&header(&signed(&wanted, &[key(1)])), &[]).is_err());

    let wrong =
        Err(TrustError::WrongSignature { delta: *header(&wanted).digest(), key: *key(1).public().id() });
    // Of another delta; by another key; right but for a bit, each; and beside one that holds.
    assert_eq!(check(&forged(&wanted, [by(1, &other)]), &trusted), wrong);
    let renamed = DetachedSignature { key: by(1, &wanted).key, ..by(3, &wanted) };
    assert_eq!(check(&forged(&wanted, [renamed.clone()]), &trusted), wrong);
    assert_eq!(check(&forged(&wanted, [renamed, by(2, &wanted)]), &trusted), wrong);
    for bit in 0..512 {
        let mut flipped = by(1, &wanted);
        flipped.bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(check(&forged(&wanted, [flipped]), &trusted), wrong, "bit {bit}");
    }
    // An algorithm that is not known says nothing, whoever's name it has.
    let later = DetachedSignature { algorithm: 2, ..by(1, &wanted) };
    assert!(matches!(check(&forged(&wanted, [later.clone()]), &trusted), Err(TrustError::KeyUnknown { .. })));
    assert_eq!(check(&forged(&wanted, [later, by(1, &wanted)]), &trusted), Ok(&trusted[0]));
}

/// A signature with the group's order added to its second half holds by the equation alone, and is another one.
#[test]
fn a_signature_has_one_form() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let wanted = delta("wanted");
    let mut second = key(1).signature(header(&wanted).digest());
    let mut carry = 0;
    for (byte, order) in second.bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    let trusted = [key(1).public().clone()];
    let refused = check(&forged(&wanted, [second]), &trusted);
    assert!(matches!(refused, Err(TrustError::WrongSignature { .. })), "{refused:?}");
}

/// A key that signs digests for something else signs no deltas by that.
#[test]
fn what_is_signed_is_signed_as_a_delta() {
    use ed25519_dalek::{Signer as _, SigningKey};

    let wanted = delta("wanted");
    let digest = *header(&wanted).digest();
    let raw = SigningKey::from_bytes(&[1; 32]);
    let under = |message: &[u8]| {
        let bytes = raw.sign(message).to_bytes().to_vec();
        let signature = DetachedSignature { bytes, ..key(1).signature(&digest) };
        check(&forged(&wanted, [signature]), &[key(1).public().clone()]).is_ok()
    };
    assert!(!under(digest.as_bytes()));
    assert!(!under(digest.to_string().as_bytes()));
    // As doc/format.md has it.
    assert!(under(&[b"skiff-delta-signature 1\n", &digest.as_bytes()[..]].concat()));
}

#[test]
fn to_sign_twice_is_to_sign_once() {
    let wanted = delta("wanted");
    let once = signed(&wanted, &[key(1)]);
    assert_eq!(signed(&once, &[key(1)]), once);
    let both = signed(&once, &[key(2)]);
    assert_eq!(both, signed(&signed(&wanted, &[key(2)]), &[key(1)]));
    assert_eq!(both, signed(&wanted, &[key(2), key(1)]));
    assert_eq!(header(&both).signatures().all().len(), 2);
    for signed in [&once, &both] {
        assert_eq!(header(signed).digest(), header(&wanted).digest());
        assert!(signed.ends_with(b"tree"));
    }
    // A false signature by the same key goes.
    let by_other = key(1).signature(header(&delta("other")).digest());
    let mut false_one = Vec::new();
    let mut signatures = Signatures::default();
    signatures.add(by_other).unwrap();
    let choose = |_: &Header| Ok::<_, FormatError>(signatures);
    replace_signatures(&wanted[..], Limits::default(), &mut false_one, choose).unwrap();
    assert_eq!(signed(&false_one, &[key(1)]), once);
}

#[test]
fn a_new_key_is_its_owners_alone_and_replaces_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("release.key");
    let private = PrivateKey::generate("releases").unwrap();
    let pair = private.write_new(&path).unwrap();
    assert_eq!(fs::metadata(&pair.private).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(pair.public, directory.path().join("release.key.pub"));
    assert_eq!(PrivateKey::read(&pair.private).unwrap().public(), private.public());
    assert_eq!(&PublicKey::read(&pair.public).unwrap(), private.public());
    for mode in [0o640, 0o604, 0o620, 0o602] {
        fs::set_permissions(&pair.private, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(PrivateKey::read(&pair.private), Err(KeyError::Exposed { .. })), "{mode:o}");
    }
    fs::set_permissions(&pair.private, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(private.public().id(), &KeyId::of(&public_bytes(&pair.public)));
    assert_ne!(PrivateKey::generate("").unwrap().public(), private.public());

    let before = fs::read(&pair.private).unwrap();
    let other = PrivateKey::generate("").unwrap();
    assert!(matches!(other.write_new(&path), Err(KeyError::Io { .. })));
    assert_eq!(fs::read(&pair.private).unwrap(), before);
    // Where only the public one is there, the private one is not made either.
    fs::remove_file(&pair.private).unwrap();
    assert!(matches!(other.write_new(&path), Err(KeyError::Io { .. })));
    assert!(!pair.private.exists());

    fs::write(&path, vec![b'x'; 5000]).unwrap();
    assert!(matches!(PublicKey::read(&path), Err(KeyError::File { .. })));
    fs::write(&path, [0xff; 10]).unwrap();
    assert!(matches!(PrivateKey::read(&path), Err(KeyError::File { .. })));
    assert!(matches!(PublicKey::read(directory.path().join("none")), Err(KeyError::Io { .. })));
    assert!(matches!(PrivateKey::generate("two\nlines"), Err(KeyError::NotAKey { .. })));
}

/// The 32 bytes that a public key's file has as digits.
fn public_bytes(path: &std::path::Path) -> Vec<u8> {
    let line = fs::read_to_string(path).unwrap();
    let digits = line.split(' ').nth(2).unwrap();
    (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}
