//! Lists of checksums, renewed.

use md5::{Digest as _, Md5};

use super::bytes::sha256;
use super::section::Told;
use super::tree::{self, Content, Node};

struct Line<'a> {
    path: &'a [u8],
    /// What stands before the checksum, how it is written, and what stands behind it (and behind the size).
    before: &'a [u8],
    form: Form,
    behind: &'a [u8],
}

#[derive(Clone, Copy)]
enum Form {
    Md5,
    Sha256,
    Base64,
}

pub(crate) fn renew(
    list: &[u8],
    path: &[u8],
    told: &Told,
    (contents, is_whole): (&[Vec<u8>], &dyn Fn(usize) -> bool),
) -> Vec<u8> {
    let own = above(path);
    let mut renewed = Vec::new();
    for line in list.split_inclusive(|&byte| byte == b'\n') {
        let new = read_line(line).and_then(|line| {
            let content =
                [own, above(own), b""].iter().find_map(|directory| find(directory, line.path, told))?;
            let Content::New { number, .. } = content else { return None };
            is_whole(number).then(|| line.with(&contents[number]))
        });
        renewed.extend(new.unwrap_or_else(|| line.to_vec()));
    }
    renewed
}

/// The directory of a path, which for the root is the root.
fn above(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(b"", |slash| &path[..slash])
}

/// The content of the file that the target has there.
fn find(directory: &[u8], path: &[u8], told: &Told) -> Option<Content> {
    let path = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")).unwrap_or(path);
    let whole = if directory.is_empty() { path.to_vec() } else { [directory, path].join(&b'/') };
    if path.is_empty() || !tree::is_path(path) || !tree::is_path(&whole) {
        return None;
    }
    let at = |path: &[u8]| told.entries.iter().find(|entry| entry.path == path);
    match &at(&whole)?.node {
        Node::Link(owner) => at(owner)?.file(),
        Node::Inode(..) => at(&whole)?.file(),
    }
}

fn read_line(line: &[u8]) -> Option<Line<'_>> {
    let without = line.strip_suffix(b"\n").unwrap_or(line);
    let without = without.strip_suffix(b"\r").unwrap_or(without);
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    for (count, form) in [(64, Form::Sha256), (32, Form::Md5)] {
        if let Some((digits, rest)) = without.split_at_checked(count)
            && digits.iter().all(is_digit)
            && let [b' ', b' ' | b'*', path @ ..] = rest
        {
            return Some(Line { path, before: b"", form, behind: &line[count..] });
        }
    }
    let comma = without.iter().rposition(|&byte| byte == b',')?;
    let size = &without[comma + 1..];
    let digits = comma.checked_sub(43)?;
    let path = without[..digits].strip_suffix(b",sha256=")?;
    let fits = !size.is_empty() && size.iter().all(u8::is_ascii_digit);
    fits.then_some(Line { path, before: &line[..digits], form: Form::Base64, behind: &line[without.len()..] })
}

impl Line<'_> {
    fn with(&self, content: &[u8]) -> Vec<u8> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let checksum = match self.form {
            Form::Md5 => hex(&Md5::digest(content)),
            Form::Sha256 => hex(&sha256(content)),
            Form::Base64 => format!("{},{}", base64(&sha256(content)), content.len()),
        };
        [self.before, checksum.as_bytes(), self.behind].concat()
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |place: usize| bytes.get(place / 8).map_or(0, |byte| byte >> (7 - place % 8) & 1);
    let digits = (0..bytes.len() * 8).step_by(6);
    digits
        .map(|start| (start..start + 6).fold(0, |digit, place| digit << 1 | bit(place)))
        .map(|digit| char::from(ALPHABET[usize::from(digit)]))
        .collect()
}
