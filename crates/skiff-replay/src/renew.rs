//! Lists of checksums, brought up to date: what an image holds of a changed file's checksum, whoever has the file can compute.
//!
//! Two kinds of lines are known, those that `md5sum` and `sha256sum` write and dpkg keeps of each package, and those that Python
//! keeps of each package that was installed. `doc/format.md` has the rules.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use md5::{Digest as _, Md5};
use skiff_tree::{EntryPath, ReadAt};

use crate::base::hash_into;

/// The MD5 of a content's first bytes, `size` of them.
///
/// # Errors
/// Those of reading it.
pub fn md5(content: &dyn ReadAt, size: u64) -> io::Result<[u8; 16]> {
    let mut hasher = Md5::new();
    hash_into(content, size, &mut hasher)?;
    Ok(hasher.finalize().into())
}

/// The most bytes of a list.
pub const MAX_LIST: u64 = 1 << 20;

/// What a list has of each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// As dpkg's lists have it.
    Md5,
    /// As Python's lists have it.
    Sha256,
}

/// What a path of a list leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// No file of the target.
    Nothing,
    /// One whose checksum stays as it is in the list: it is as it was, or yet to be made.
    Kept,
    /// A new content that is there.
    New {
        /// Its bytes.
        size: u64,
        /// Its checksum, the one that was asked for: 16 or 32 bytes.
        checksum: Vec<u8>,
    },
}

/// The list with the checksums of new contents in place of those it has. `path` is that of the list that is to be made from this one;
/// `find` tells what a path of the target leads to.
///
/// # Errors
/// Those of `find`.
///
/// ```
/// use skiff_replay::renew::{Checksum, Named, renew};
/// use skiff_tree::EntryPath;
///
/// let list = b"00000000000000000000000000000000  usr/bin/motd\n";
/// let find = |path: &EntryPath, checksum: Checksum| {
///     assert_eq!(checksum, Checksum::Md5);
///     let is_there = path.as_bytes() == b"usr/bin/motd";
///     Ok::<_, std::convert::Infallible>(match is_there {
///         true => Named::New { size: 5, checksum: vec![0xab; 16] },
///         false => Named::Nothing,
///     })
/// };
/// let path = EntryPath::new("var/lib/dpkg/info/motd.md5sums").unwrap();
/// let renewed = renew(list, &path, find).unwrap();
/// assert_eq!(renewed, b"abababababababababababababababab  usr/bin/motd\n");
/// ```
pub fn renew<E>(
    list: &[u8],
    path: &EntryPath,
    mut find: impl FnMut(&EntryPath, Checksum) -> Result<Named, E>,
) -> Result<Vec<u8>, E> {
    let directories = directories(path);
    let mut renewed = Vec::with_capacity(list.len());
    for line in list.split_inclusive(|&byte| byte == b'\n') {
        let Some(told) = Told::of(line) else {
            renewed.extend_from_slice(line);
            continue;
        };
        let mut named = Named::Nothing;
        for path in directories.iter().filter_map(|directory| within(directory, told.path)) {
            named = find(&path, told.checksum)?;
            if named != Named::Nothing {
                break;
            }
        }
        match named {
            Named::New { size, checksum } => told.put(&mut renewed, size, &checksum),
            Named::Nothing | Named::Kept => renewed.extend_from_slice(line),
        }
    }
    Ok(renewed)
}

/// Where the paths of a list begin: its own directory, the one that this is in, or the root.
fn directories(path: &EntryPath) -> [EntryPath; 3] {
    let own = path.parent().unwrap_or_else(EntryPath::root);
    let above = own.parent().unwrap_or_else(EntryPath::root);
    [own, above, EntryPath::root()]
}

fn within(directory: &EntryPath, path: &[u8]) -> Option<EntryPath> {
    let path = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")).unwrap_or(path);
    if path.is_empty() {
        return None;
    }
    let joined = if directory.is_root() { path.to_vec() } else { [directory.as_bytes(), path].join(&b'/') };
    EntryPath::new(joined).ok()
}

/// A line that has a checksum.
struct Told<'l> {
    path: &'l [u8],
    checksum: Checksum,
    form: Form,
    line: &'l [u8],
}

#[derive(Clone, Copy)]
enum Form {
    /// Hexadecimal digits, two more bytes, the path.
    Sums,
    /// The path, `,sha256=`, the checksum in base64, a comma, the size in bytes; the line ends after so many bytes more.
    Record { end: usize },
}

impl<'l> Told<'l> {
    fn of(line: &'l [u8]) -> Option<Self> {
        Self::of_sums(line).or_else(|| Self::of_record(line))
    }

    fn of_sums(line: &'l [u8]) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = line.iter().take(SHA256_DIGITS + 1).take_while(|byte| is_digit(byte)).count();
        let checksum = match digits {
            MD5_DIGITS => Checksum::Md5,
            SHA256_DIGITS => Checksum::Sha256,
            _ => return None,
        };
        let [b' ', b' ' | b'*', path @ ..] = without_end(&line[digits..]) else { return None };
        Some(Self { path, checksum, form: Form::Sums, line })
    }

    fn of_record(line: &'l [u8]) -> Option<Self> {
        let told = without_end(line);
        let size = told.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let told_before = told[..told.len() - size].strip_suffix(b",").filter(|_| size > 0)?;
        let (before, _) = told_before.split_at_checked(told_before.len().checked_sub(BASE64_DIGITS)?)?;
        let path = before.strip_suffix(b",sha256=")?;
        let form = Form::Record { end: line.len() - told.len() };
        Some(Self { path, checksum: Checksum::Sha256, form, line })
    }

    fn put(&self, out: &mut Vec<u8>, size: u64, checksum: &[u8]) {
        match self.form {
            Form::Sums => {
                out.extend(checksum.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
                out.extend_from_slice(&self.line[2 * checksum.len()..]);
            }
            Form::Record { end } => {
                out.extend_from_slice(self.path);
                let digits = URL_SAFE_NO_PAD.encode(checksum);
                out.extend_from_slice(format!(",sha256={digits},{size}").as_bytes());
                out.extend_from_slice(&self.line[self.line.len() - end..]);
            }
        }
    }
}

const MD5_DIGITS: usize = 32;
const SHA256_DIGITS: usize = 64;
const BASE64_DIGITS: usize = 43;

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn renewed(list: &str, path: &str, known: &[(&str, Named)]) -> String {
        let find = |at: &EntryPath, _| {
            let found = known.iter().find(|(path, _)| path.as_bytes() == at.as_bytes());
            Ok::<_, Infallible>(found.map_or(Named::Nothing, |(_, named)| named.clone()))
        };
        let Ok(renewed) = renew(list.as_bytes(), &EntryPath::new(path).unwrap(), find);
        String::from_utf8(renewed).unwrap()
    }

    fn new(size: u64, length: usize) -> Named {
        Named::New { size, checksum: vec![0x5a; length] }
    }

    #[test]
    fn a_line_of_either_kind_is_renewed() {
        let (old, sum) = ("0".repeat(64), "5a".repeat(32));
        let list = format!("{old}  a\n{old} *./b\r\n{old}  /c");
        let known = [("d/a", new(1, 32)), ("b", new(1, 32)), ("c", new(1, 32))];
        assert_eq!(renewed(&list, "d/sums", &known), format!("{sum}  a\n{sum} *./b\r\n{sum}  /c"));
        let old = "A".repeat(43);
        let list = format!("a/b,c.py,sha256={old},9\r\na/d,sha256={old},10");
        let known = [("lib/a/b,c.py", new(1234, 32)), ("lib/a/d", new(5, 32))];
        let sum = "Wlpa".repeat(10) + "Wlo";
        assert_eq!(
            renewed(&list, "lib/p.dist-info/RECORD", &known),
            format!("a/b,c.py,sha256={sum},1234\r\na/d,sha256={sum},5")
        );
    }

    #[test]
    fn the_nearest_file_counts_whether_it_is_new_or_not() {
        let list = format!("{}  a\n", "0".repeat(32));
        let known = [("d/e/a", Named::Kept), ("d/a", new(1, 16)), ("a", new(1, 16))];
        assert_eq!(renewed(&list, "d/e/sums", &known), list);
        assert_ne!(renewed(&list, "d/e/sums", &known[1..]), list);
        assert_ne!(renewed(&list, "d/e/sums", &known[2..]), list);
        assert_eq!(renewed(&list, "d/e/f/sums", &known[1..2]), list);
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let [md5, sha256, base64] = [32, 64, 43].map(|count| "0".repeat(count));
        let list = format!(
            "{md5} a\n{md5}0  a\n{md5}  ../a\n{md5}  \n{md5}  /\n{}  a\n{sha256}\ta\n\
             a,sha256={base64}\na,sha256={base64},\na,sha256={base64}0,1\n,sha256={base64},1\na,md5={base64},1\n\n",
            "A".repeat(32)
        );
        assert_eq!(renewed(&list, "sums", &[("a", new(1, 32)), ("", new(1, 32))]), list);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_where_nothing_is_known(list in vec(prop_oneof![Just(b'\n'), Just(b','), Just(b'0'), any::<u8>()], 0..200)) {
            let path = EntryPath::new("a/b").unwrap();
            let Ok(renewed) = renew(&list, &path, |_, _| Ok::<_, Infallible>(Named::Kept));
            prop_assert_eq!(renewed, list);
        }
    }
}
