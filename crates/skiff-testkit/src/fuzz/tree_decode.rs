use skiff_tree::{ContentDigest, Limits, Skeleton, Tree, section};

use super::Reached;
use super::input::Input;
use super::release;

/// The tree's decoders: the first byte chooses between the canonical encoding and the tree section of a delta.
///
/// A canonical encoding that is taken is the only one of its tree. A section that is taken tells a sound tree, and that
/// tree told again is the same tree.
///
/// # Panics
/// Where one of these does not hold.
pub fn tree_decode(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    if input.byte() % 2 == 1 { told(input.rest()) } else { canonical(input.rest()) }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.entries, limits.bytes) = (5_000, 1 << 20);
    limits
}

fn canonical(data: &[u8]) -> Reached {
    let Ok(tree) = Tree::decode(data, &limits()) else { return Reached::Refused };
    assert!(tree.entries().len() as u64 <= limits().entries, "more entries than the limit");
    let mut bytes = Vec::new();
    tree.encode(&mut bytes).expect("because a vector takes everything");
    assert!(bytes == data, "a tree has two encodings");
    Reached::Accepted
}

fn told(data: &[u8]) -> Reached {
    let base = release::base().tree;
    let Ok(skeleton) = Skeleton::decode(&base, data, &limits()) else { return Reached::Refused };
    assert!(skeleton.entries().len() as u64 <= limits().entries, "more entries than the limit");
    // Digests that no content of the base has.
    let digest = |number: usize| ContentDigest::of(format!("new content {number}").as_bytes());
    let digests: Vec<ContentDigest> = (0..skeleton.new_contents().len()).map(digest).collect();
    let tree = skeleton.complete(&digests).expect("because a skeleton is as sound as a tree");

    let again = section::encode(&base, &tree);
    let decoded =
        Skeleton::decode(&base, &again.bytes, &Limits::default()).expect("because the encoder wrote it");
    assert_eq!(decoded.new_contents(), again.new_contents, "encoder and decoder number contents differently");
    let digests: Vec<ContentDigest> = again
        .new_contents
        .iter()
        .map(|new| {
            tree.entries()[new.entry as usize].as_file().expect("because only files have contents").digest
        })
        .collect();
    assert_eq!(decoded.complete(&digests).ok(), Some(tree), "a tree told again is another tree");
    Reached::Accepted
}
