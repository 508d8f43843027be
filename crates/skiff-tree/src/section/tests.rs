use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Device, EntryPath, Kind, Limits, Metadata, Mode, Mtime, Xattrs};

fn metadata() -> impl Strategy<Value = Metadata> {
    let xattrs = vec((0..3_u8, any::<u8>()), 0..3).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(name, value)| (vec![b'u', name + 1].into(), vec![value].into()))
            .collect::<Xattrs>()
    });
    (0..3_u32, 0..2_u32, -3..3_i64, 0..2_u32, xattrs).prop_map(|(mode, uid, seconds, nanoseconds, xattrs)| {
        Metadata {
            mode: Mode::new(0o644 + mode).unwrap(),
            uid,
            gid: u32::MAX - uid,
            mtime: Mtime::new(seconds << 40, nanoseconds * 999_999_999).unwrap(),
            xattrs,
        }
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => (0..6_u8).prop_map(|byte| Kind::File(FileContent::of(&vec![byte; usize::from(byte) * 40]))),
        1 => (1..3_u8).prop_map(|byte| Kind::Symlink(vec![byte; usize::from(byte)].into())),
        1 => (0..2_u32).prop_map(|major| Kind::CharDevice(Device { major, minor: u32::MAX })),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Directory),
    ]
}

/// Trees over few names, so that two of them have much in common; some paths are hard links.
pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let entry = ((0..4_u8, 0..4_u8), metadata(), kind(), any::<bool>());
    vec(entry, 0..24).prop_map(|list| {
        let mut entries = std::collections::BTreeMap::new();
        let directory = |path: EntryPath| Entry::inode(path, Metadata::default(), Kind::Directory);
        entries.insert(EntryPath::root(), directory(EntryPath::root()));
        for ((top, name), metadata, kind, link) in list {
            let parent = EntryPath::new(vec![b'a' + top]).unwrap();
            entries.insert(parent.clone(), directory(parent.clone()));
            let path = parent.join(&[b"-+0a"[usize::from(name)]]).unwrap();
            let earlier = entries.range(..&path).rev().find(|(_, entry)| entry.as_file().is_some());
            let entry = match earlier {
                Some((owner, _)) if link => Entry::hard_link(path.clone(), owner.clone()),
                _ => Entry::inode(path.clone(), metadata, kind),
            };
            let was_owner =
                entries.values().any(|e| matches!(&e.node, Node::HardLink { owner } if *owner == path));
            if !was_owner {
                entries.insert(path, entry);
            }
        }
        Tree::new(entries.into_values().collect()).unwrap()
    })
}

fn complete(skeleton: &Skeleton, target: &Tree) -> Tree {
    let digest = |new: &NewContent| target.entries()[new.entry as usize].as_file().unwrap().digest;
    skeleton.complete(&skeleton.new_contents().iter().map(digest).collect::<Vec<_>>()).unwrap()
}

proptest! {
    #[test]
    fn a_tree_comes_back_from_its_difference((base, target) in (tree(), tree())) {
        let told = encode(&base, &target);
        let skeleton = Skeleton::decode(&base, &told.bytes, &Limits::default()).unwrap();
        prop_assert_eq!(skeleton.new_contents(), &told.new_contents[..]);
        prop_assert_eq!(complete(&skeleton, &target), target);
    }

    #[test]
    fn a_damaged_section_is_an_error_or_a_sound_tree((base, target) in (tree(), tree()), at: prop::sample::Index, bit in 0..8_u32) {
        let mut bytes = encode(&base, &target).bytes;
        let index = at.index(bytes.len());
        bytes[index] ^= 1_u8 << bit;
        if let Ok(skeleton) = Skeleton::decode(&base, &bytes, &Limits::default()) {
            let digests = vec![ContentDigest::of(b""); skeleton.new_contents().len()];
            prop_assert!(skeleton.complete(&digests).is_ok());
        }
    }

    #[test]
    fn a_cut_section_is_an_error((base, target) in (tree(), tree())) {
        let bytes = encode(&base, &target).bytes;
        for length in 0..bytes.len() {
            prop_assert!(Skeleton::decode(&base, &bytes[..length], &Limits::default()).is_err());
        }
    }

    #[test]
    fn a_tree_comes_back_from_its_encoding(tree in tree()) {
        let mut bytes = Vec::new();
        tree.encode(&mut bytes).unwrap();
        prop_assert_eq!(crate::TreeDigest::of(&bytes), tree.digest());
        prop_assert_eq!(&Tree::decode(&bytes[..], &Limits::default()).unwrap(), &tree);
        for length in 0..bytes.len() {
            prop_assert!(Tree::decode(&bytes[..length], &Limits::default()).is_err());
        }
        bytes.push(0);
        prop_assert!(Tree::decode(&bytes[..], &Limits::default()).is_err());
    }
}

#[test]
fn equal_trees_are_told_in_a_few_bytes() {
    let mut entries = vec![Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory)];
    for number in 0..1000 {
        let path = EntryPath::new(format!("{number:04}")).unwrap();
        entries.push(Entry::inode(path, Metadata::default(), Kind::File(FileContent::of(b"x"))));
    }
    let tree = Tree::new(entries).unwrap();
    assert!(encode(&tree, &tree).bytes.len() < 24);
}

#[test]
fn limits_hold() {
    let tree =
        Tree::new(vec![Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory)]).unwrap();
    let told = encode(&tree, &tree);
    let limits = Limits { entries: 0, ..Limits::default() };
    assert!(matches!(Skeleton::decode(&tree, &told.bytes, &limits), Err(TreeError::LimitExceeded { .. })));
    let mut bytes = Vec::new();
    tree.encode(&mut bytes).unwrap();
    assert!(matches!(Tree::decode(&bytes[..], &limits), Err(TreeError::LimitExceeded { .. })));
    let limits = Limits { bytes: 14, ..Limits::default() };
    assert!(matches!(Tree::decode(&bytes[..], &limits), Err(TreeError::LimitExceeded { what: "bytes", .. })));
}

#[test]
fn long_paths_count_though_the_section_shortens_them() {
    let entry = |path: String, kind| Entry::inode(EntryPath::new(path).unwrap(), Metadata::default(), kind);
    let deep = vec!["d".repeat(250); 16].join("/");
    let mut entries = vec![entry(String::new(), Kind::Directory)];
    entries.extend((1..=16).map(|depth| entry(deep[..depth * 251 - 1].into(), Kind::Directory)));
    let base = Tree::new(entries.clone()).unwrap();
    entries.extend((0..500).map(|number| entry(format!("{deep}/{number:03}"), Kind::Fifo)));
    let told = encode(&base, &Tree::new(entries).unwrap());
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    assert!(told.bytes.len() < 8 << 10);
    let error = Skeleton::decode(&base, &told.bytes, &limits).unwrap_err();
    assert!(matches!(error, TreeError::LimitExceeded { what: "bytes", .. }), "{error}");
}
