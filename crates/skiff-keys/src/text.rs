//! Keys as a line of text: `skiff-public-key ed25519 HEX COMMENT`, and `skiff-private-key` likewise.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::KeyError;

pub(crate) const PUBLIC: &str = "skiff-public-key";
pub(crate) const PRIVATE: &str = "skiff-private-key";
pub(crate) const ALGORITHM: &str = "ed25519";
/// More than any key has.
const MAX_BYTES: u64 = 1024;

const CARRIAGE_RETURN: &str =
    "its line ends in a carriage return and a newline, as on Windows, and has to end in a newline alone";

/// The 32 bytes of a key of this kind, and its comment.
pub(crate) fn parse<'t>(text: &'t str, kind: &'static str) -> Result<([u8; 32], &'t str), KeyError> {
    let not = |what| KeyError::NotAKey { what };
    // First of all, so that what is no key at all is told as that, however it is written.
    match text.split(' ').next() {
        Some(found) if found == kind => {}
        Some(PRIVATE) => return Err(KeyError::PrivateGiven),
        Some(PUBLIC) => return Err(KeyError::PublicGiven),
        _ => return Err(not("a key begins with the words skiff-public-key or skiff-private-key")),
    }
    let line = text.strip_suffix('\n').unwrap_or(text);
    if line.ends_with('\r') || line.contains("\r\n") {
        return Err(not(CARRIAGE_RETURN));
    }
    if line.contains('\n') {
        return Err(not(
            "something follows its line, and a key is one line: put each key in a file of its own",
        ));
    }
    if line.contains(char::is_control) {
        return Err(not("a key is plain text, and there is a tab or another control character in it"));
    }
    let mut words = line.splitn(4, ' ').skip(1);
    if words.next() != Some(ALGORITHM) {
        return Err(not("the only kind of key that is known is ed25519"));
    }
    let digits = words.next().unwrap_or_default();
    // The fault of what is wrong is not passed on: it quotes the text, which may be a secret.
    let is_plain = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let bytes = skiff_wire::digest::parse(digits).ok().filter(|_| is_plain);
    let bytes = bytes.ok_or_else(|| not("a key has 64 hexadecimal digits, in small letters"))?;
    Ok((bytes, words.next().unwrap_or_default()))
}

/// The line that says a key, with its end.
pub(crate) fn write(kind: &str, bytes: &[u8; 32], comment: &str) -> String {
    // All at once, so that no shorter copy of a secret is left behind.
    let mut line = String::with_capacity(kind.len() + ALGORITHM.len() + comment.len() + 72);
    line.push_str(kind);
    line.push(' ');
    line.push_str(ALGORITHM);
    line.push(' ');
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            line.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
    if !comment.is_empty() {
        line.push(' ');
        line.push_str(comment);
    }
    line.push('\n');
    line
}

/// What a file of a key says.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    let failed = |op| move |source| KeyError::Io { op, path: path.into(), source };
    let file = File::open(path).map_err(failed("opening"))?;
    let mut bytes = Vec::with_capacity(1 + MAX_BYTES as usize);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed("reading"))?;
    if bytes.len() as u64 > MAX_BYTES {
        let source = Box::new(KeyError::NotAKey { what: "it is longer than any" });
        return Err(KeyError::File { path: path.into(), source });
    }
    Ok(bytes)
}

/// Makes a key of what a file says.
pub(crate) fn in_file<T>(
    path: &Path,
    bytes: &[u8],
    key: impl FnOnce(&str) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        // Behind three words there are comments only.
        let words = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b' ').count();
        let what = if words < 3 { "it is no text" } else { "its comment is no text in UTF-8" };
        KeyError::NotAKey { what }
    });
    text.and_then(key).map_err(|source| KeyError::File { path: path.into(), source: Box::new(source) })
}
