use std::cmp::Ordering;
use std::fmt;

use crate::TreeError;

/// A path inside a tree: components joined by `/`, relative to the root, which is the empty path.
///
/// No component is empty, `.` or `..`, or longer than 255 bytes (the limit of every Linux file system); the whole is at
/// most 4,095 bytes and holds no NUL. It need not be UTF-8. The order is the canonical one: bytewise, component by
/// component, so that a directory's entries follow it at once and `a/b` comes before `a-b`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntryPath(Box<[u8]>);

impl EntryPath {
    /// The longest path, in bytes: what Linux takes in one system call.
    pub const MAX_LEN: usize = 4095;
    /// The longest component, in bytes.
    pub const MAX_COMPONENT: usize = 255;

    /// Checks the bytes and takes them as a path.
    ///
    /// # Errors
    /// [`TreeError::Path`] for anything that is not strictly in the form above; nothing is normalised.
    pub fn new(path: impl Into<Vec<u8>>) -> Result<Self, TreeError> {
        let path = path.into();
        match fault(&path) {
            None => Ok(Self(path.into_boxed_slice())),
            Some(what) => Err(TreeError::Path { path: escape(&path[..path.len().min(80)]), what }),
        }
    }

    /// The root of a tree: the empty path.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path's bytes, without a leading or trailing `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path of the directory this one lies in; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.parent_bytes().map(|parent| Self(parent.into()))
    }

    /// The last component; none for the root.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        if self.is_root() { None } else { self.0.rsplit(|&byte| byte == b'/').next() }
    }

    /// The components, from the top.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// This path with one more component.
    ///
    /// # Errors
    /// [`TreeError::Path`] where the component or the longer path is not allowed.
    pub fn join(&self, component: &[u8]) -> Result<Self, TreeError> {
        if component.is_empty() || component.contains(&b'/') {
            return Err(TreeError::Path { path: escape(component), what: "it is not a single component" });
        }
        let mut joined = self.0.to_vec();
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(component);
        Self::new(joined)
    }

    /// Whether this path is `other` or lies beneath it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        other.is_root()
            || self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    pub(crate) fn parent_bytes(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        Some(self.0.iter().rposition(|&byte| byte == b'/').map_or(&[][..], |slash| &self.0[..slash]))
    }
}

impl Ord for EntryPath {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"/{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for EntryPath {
    /// `/` and the path, with bytes that are not printable ASCII or valid UTF-8 escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", escape(&self.0))
    }
}

/// The canonical order of two paths' bytes. `/` sorts below every other byte, which is the same as comparing component
/// by component, because NUL, the only byte below it that could matter, occurs in no path.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    // Neighbours have most of their path in common: it is gone past in steps that are one instruction each.
    const STEP: usize = 16;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP)).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[steps * STEP..], &b[steps * STEP..]);
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    match a.iter().zip(b).find(|(x, y)| x != y) {
        Some((&x, &y)) => rank(x).cmp(&rank(y)),
        None => a.len().cmp(&b.len()),
    }
}

pub(crate) fn escape(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

fn fault(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() {
        return None;
    }
    if path.len() > EntryPath::MAX_LEN {
        return Some("it is longer than 4095 bytes");
    }
    if path.contains(&0) {
        return Some("it contains a NUL byte");
    }
    path.split(|&byte| byte == b'/').find_map(|component| match component {
        b"" => Some("it is absolute or has an empty component"),
        b"." | b".." => Some("it has a component `.` or `..`"),
        _ if component.len() > EntryPath::MAX_COMPONENT => Some("a component is longer than 255 bytes"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_goes_component_by_component() {
        let mut paths: Vec<EntryPath> = ["a-b", "a/b", "a", "", "a/b/c", "a0", "a\u{1}"]
            .iter()
            .map(|p| EntryPath::new(*p).unwrap())
            .collect();
        paths.sort();
        let sorted: Vec<&[u8]> = paths.iter().map(EntryPath::as_bytes).collect();
        let expected: [&[u8]; 7] = [b"", b"a", b"a/b", b"a/b/c", b"a\x01", b"a-b", b"a0"];
        assert_eq!(sorted, expected);
    }

    #[test]
    fn whatever_could_leave_the_root_is_refused() {
        for bad in ["/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b"] {
            assert!(EntryPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(EntryPath::new("x".repeat(255)).is_ok());
        assert!(EntryPath::new("x".repeat(256)).is_err());
        assert!(EntryPath::new("x/".repeat(2047) + "y").is_ok());
        assert!(EntryPath::new("x/".repeat(2047) + "yy").is_err());
    }

    #[test]
    fn parents_and_names() {
        let path = EntryPath::new("usr/lib/x").unwrap();
        assert_eq!(path.parent().unwrap().as_bytes(), b"usr/lib");
        assert_eq!(path.name(), Some(&b"x"[..]));
        assert_eq!(EntryPath::new("usr").unwrap().parent(), Some(EntryPath::root()));
        assert_eq!(EntryPath::root().parent(), None);
        assert!(path.starts_with(&EntryPath::new("usr").unwrap()));
        assert!(!path.starts_with(&EntryPath::new("us").unwrap()));
        assert!(EntryPath::root().join(b"..").is_err());
    }
}
