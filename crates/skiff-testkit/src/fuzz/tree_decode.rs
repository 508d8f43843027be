use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use skiff_signature::TreeSignature;
use skiff_tree::{ContentDigest, Limits, ReleaseId, Skeleton, Tree, section};

use super::Reached;
use super::input::Input;
use super::release;

/// More bytes of signatures than are taken here.
const SIGNATURES: u64 = 1 << 20;

/// The tree's decoders: the first byte chooses between the canonical encoding, the tree section of a delta, and a tree signature
/// without its digest.
///
/// A canonical encoding that is taken is the only one of its tree. A section that is taken tells a sound tree, and that
/// tree told again is the same tree. A signature that is taken has for each file it signs as many blocks as that file's size makes,
/// and no more of all than allowed.
///
/// # Panics
/// Where one of these does not hold.
pub fn tree_decode(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => canonical(input.rest()),
        1 => told(input.rest()),
        _ => signed(input.rest()),
    }
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

fn signed(data: &[u8]) -> Reached {
    let digest: [u8; 32] = Sha256::digest(data).into();
    let data = [data, &digest].concat();
    let mut limits = skiff_signature::Limits::default();
    limits.tree = self::limits();
    limits.block = limits.block.with_signature_bytes(SIGNATURES);
    let Ok(signature) = TreeSignature::read(&data[..], &limits) else { return Reached::Refused };
    let tree = signature.tree();
    let mut seen = HashMap::new();
    for (index, _, content) in tree.files() {
        let Some(signature) = signature.of_file(index) else { continue };
        let block_len = u64::from(signature.params().block_len());
        assert_eq!(signature.blocks() as u64, content.size.div_ceil(block_len), "blocks of another file");
        seen.insert(content.digest, signature.bytes());
    }
    assert!(seen.values().sum::<u64>() <= SIGNATURES, "more than allowed is held");
    assert_eq!(signature.release_id(), ReleaseId::new(tree.digest(), signature.config()));
    Reached::Accepted
}
