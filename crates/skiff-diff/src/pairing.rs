//! Which file of the base a new content is made from.

use std::collections::HashMap;

use skiff_tree::{EntryPath, Node, Tree};

use crate::{Idea, Ideas};

/// The files of the base, found by path, by path with its versions left out, and by name with its versions left out.
pub(crate) struct Pairing<'a> {
    base: &'a Tree,
    ideas: Ideas,
    by_path: HashMap<Vec<u8>, Vec<u32>>,
    by_name: HashMap<Vec<u8>, Vec<u32>>,
}

/// A name that so many files have says nothing about which of them is like another.
const MOST_NAMESAKES: usize = 64;

impl<'a> Pairing<'a> {
    pub(crate) fn new(base: &'a Tree, ideas: Ideas) -> Self {
        let mut by_path: HashMap<_, Vec<u32>> = HashMap::new();
        let mut by_name: HashMap<_, Vec<u32>> = HashMap::new();
        for (index, entry, content) in base.files() {
            if content.size == 0 {
                continue;
            }
            let index = u32::try_from(index).expect("because a tree in memory has fewer than 2^32 entries");
            by_path.entry(unversioned(entry.path.as_bytes())).or_default().push(index);
            by_name.entry(unversioned(entry.path.name().unwrap_or_default())).or_default().push(index);
        }
        Self { base, ideas, by_path, by_name }
    }

    /// The file of the base that a new content of `size` bytes at `path` is most likely like: the same path, the same path
    /// in another version, or the same name elsewhere.
    pub(crate) fn base_for(&self, path: &EntryPath, size: u64) -> Option<u32> {
        if let Some(same) = self.same_path(path) {
            return Some(same);
        }
        if !self.ideas.has(Idea::Siblings) {
            return None;
        }
        let tells = |list: &&Vec<u32>| list.len() <= MOST_NAMESAKES;
        let siblings = self.by_path.get(&unversioned(path.as_bytes())).filter(tells);
        let namesakes = || self.by_name.get(&unversioned(path.name().unwrap_or_default())).filter(tells);
        let candidates = siblings.or_else(namesakes)?;
        candidates.iter().copied().max_by_key(|&index| self.likeness(index, path, size))
    }

    fn same_path(&self, path: &EntryPath) -> Option<u32> {
        let mut index = self.base.position(path)?;
        if let Node::HardLink { owner } = &self.base.entries()[index].node {
            index = self.base.position(owner)?;
        }
        let content = self.base.entries()[index].as_file()?;
        u32::try_from(index).ok().filter(|_| content.size > 0)
    }

    /// Compares bytes in common at both ends of the path, then the sizes; the index makes the order total.
    fn likeness(
        &self,
        index: u32,
        path: &EntryPath,
        size: u64,
    ) -> (usize, std::cmp::Reverse<u64>, std::cmp::Reverse<u32>) {
        let entry = &self.base.entries()[index as usize];
        let (a, b) = (entry.path.as_bytes(), path.as_bytes());
        let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let back = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
        let base_size = entry.as_file().map_or(0, |content| content.size);
        (front + back, std::cmp::Reverse(base_size.abs_diff(size)), std::cmp::Reverse(index))
    }
}

/// The path with everything that looks like a version or a hash replaced: each word with a digit in it becomes `#`, and
/// neighbouring ones become one, so that `libssl.so.3.0.15` and `libssl.so.3.0.16` meet.
fn unversioned(path: &[u8]) -> Vec<u8> {
    let is_separator = |byte: &u8| matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~' | b'+');
    let mut out = Vec::with_capacity(path.len());
    // The separator before the word, held back until the word is known not to continue a version.
    let mut pending: Option<u8> = None;
    let mut after_version = false;
    for word in path.split_inclusive(is_separator) {
        let (word, separator) = match word.split_last() {
            Some((last, rest)) if is_separator(last) => (rest, Some(*last)),
            _ => (word, None),
        };
        let is_version = word.iter().any(u8::is_ascii_digit);
        let continues = is_version && after_version && pending != Some(b'/');
        if !continues {
            out.extend(pending);
            out.extend_from_slice(if is_version { b"#" } else { word });
        }
        after_version = is_version;
        pending = separator;
    }
    out.extend(pending);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_tree::{Entry, FileContent, Kind, Metadata};

    fn tree(files: &[(&str, usize)]) -> Tree {
        let path = |text: &str| EntryPath::new(text).unwrap();
        let mut entries = std::collections::BTreeMap::new();
        for (name, size) in files {
            let mut parent = path(name).parent();
            while let Some(directory) = parent {
                parent = directory.parent();
                entries
                    .insert(directory.clone(), Entry::inode(directory, Metadata::default(), Kind::Directory));
            }
            let kind = Kind::File(FileContent::of(&vec![1; *size]));
            entries.insert(path(name), Entry::inode(path(name), Metadata::default(), kind));
        }
        Tree::new(entries.into_values().collect()).unwrap()
    }

    #[test]
    fn versions_are_left_out() {
        for (one, other) in [
            ("usr/lib/libssl.so.3.0.15", "usr/lib/libssl.so.3.0.16"),
            ("lib/numpy-1.26.0.dist-info/RECORD", "lib/numpy-1.26.4.dist-info/RECORD"),
            ("libopenblas64_p-r0-0cf96a72.3.23.dev.so", "libopenblas64_p-r0-5007b62f.3.24.dev.so"),
            ("linux-6.1.0-13/x", "linux-6.1.0-18/x"),
        ] {
            assert_eq!(unversioned(one.as_bytes()), unversioned(other.as_bytes()), "{one}");
        }
        assert_ne!(unversioned(b"a-1/b"), unversioned(b"a-1/c"));
        assert_ne!(unversioned(b"1/2"), unversioned(b"1"));
    }

    #[test]
    fn the_same_path_then_a_sibling_then_a_namesake() {
        let base =
            tree(&[("a/lib.so.1.2", 10), ("a/lib.so.1.3", 90), ("b/tool", 5), ("c/tool", 50), ("x", 3)]);
        let pairing = Pairing::new(&base, Ideas::ALL);
        let found = |path: &str, size| {
            let index = pairing.base_for(&EntryPath::new(path).unwrap(), size)?;
            Some(base.entries()[index as usize].path.to_string())
        };
        assert_eq!(found("x", 1).as_deref(), Some("/x"));
        assert_eq!(found("a/lib.so.1.4", 80).as_deref(), Some("/a/lib.so.1.3"));
        assert_eq!(found("d/tool", 51).as_deref(), Some("/c/tool"));
        assert_eq!(found("d/other", 51), None);
    }
}
