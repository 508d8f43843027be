//! Deltas against a base of which there is no more than a signature, and against files too long to be held.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use common::*;
use proptest::prelude::*;
use skiff_diff::{Options, Report, diff_against};
use skiff_patch::Codec;
use skiff_replay::{Limits, ReplayError, replay};
use skiff_signature::{Signed, TreeSignature, sign_tree};
use skiff_tree::*;

/// Images of some megabytes.
const UNIT: usize = 128 << 10;

fn signature(base: &Image, block_len: fn(u64) -> u32) -> TreeSignature {
    let config = base.config.as_deref().map(ConfigDigest::of);
    let signed = Signed { tree: &base.tree, contents: &base.contents, config };
    let mut bytes = Vec::new();
    sign_tree(&signed, &skiff_signature::Options::default().with_block_len(block_len), &mut bytes).unwrap();
    TreeSignature::read(&bytes[..], &Default::default()).unwrap()
}

fn made_against(base: &TreeSignature, target: &Image, threads: usize) -> (Vec<u8>, Report) {
    let options = Options { threads: NonZeroUsize::new(threads), ..Options::default() };
    let mut delta = Vec::new();
    let report = diff_against(base, &target.release(), &options, &mut delta).unwrap();
    assert_eq!(report.delta_bytes, delta.len() as u64);
    (delta, report)
}

/// Follows a delta on the side that has the base, every file of it checked.
fn check(delta: &[u8], base: &Image, target: &Image) {
    let mut sink = Memory::default();
    let replayed = replay(delta, base.base(), &mut sink, Limits::default()).unwrap();
    assert_eq!(replayed.release, target.release().id());
    assert_eq!(replayed.tree, target.tree);
    check_result(&sink, target);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_two_images((old, new, config) in (files(), files(), prop::option::of(prop::collection::vec(any::<u8>(), 0..50)))) {
        let (base, target) = (Image::new(&old, config), Image::new(&new, None));
        let signature = signature(&base, |_| 32);
        prop_assert_eq!(signature.release_id(), base.release().id());
        let (delta, report) = made_against(&signature, &target, 1);
        prop_assert_eq!(report.base, base.release().id());
        prop_assert_eq!(&delta, &made_against(&signature, &target, 3).0);
        check(&delta, &base, &target);
    }
}

#[test]
fn blocks_that_the_base_has_are_not_sent() {
    let (base, target) = images_of(UNIT);
    let (delta, report) = made_against(&signature(&base, skiff_signature::block_len), &target, 2);
    check(&delta, &base, &target);
    let block = report.codecs.iter().find(|used| used.codec == Codec::Block).unwrap();
    assert!(block.output_bytes > 9 * UNIT as u64, "{report:?}");
    // Ten parts of it are new, and of the nine that changed a block of four kilobytes in each fifty.
    assert!((10 * UNIT as u64..11 * UNIT as u64).contains(&report.delta_bytes), "{report:?}");
}

#[test]
fn another_base_is_refused() {
    let (base, target) = images_of(UNIT);
    let signature = signature(&base, skiff_signature::block_len);
    let (delta, _) = made_against(&signature, &target, 2);
    let mut other = BTreeMap::new();
    other.insert("a".to_owned(), b"something else".to_vec());
    let other = Image::new(&other, None);
    let result = replay(&delta[..], other.base(), &mut Memory::default(), Limits::default());
    assert!(matches!(result, Err(ReplayError::WrongBase { .. })), "{result:?}");
}

#[test]
fn a_signature_that_lies_makes_a_delta_that_is_refused() {
    let (base, target) = images_of(UNIT);
    // What is signed as `a` is not what the tree says that it is: made by hand, as `sign_tree` does not do that.
    let mut lying = base.contents.clone();
    let path = EntryPath::new("a").unwrap();
    let mut bytes = read_all(&*base.contents.open(&path).unwrap()).unwrap();
    bytes[500_000] ^= 1;
    lying.insert(path, bytes);
    let signed = Signed { tree: &base.tree, contents: &lying, config: None };
    let result = sign_tree(&signed, &Default::default(), Vec::new());
    assert!(matches!(result, Err(skiff_signature::SignatureError::Changed { .. })), "{result:?}");

    let honest = signature(&base, skiff_signature::block_len);
    let (delta, _) = made_against(&honest, &target, 2);
    let damaged = skiff_replay::Base { contents: &lying, ..base.base() };
    let result = replay(&delta[..], damaged, &mut Memory::default(), Limits::default());
    assert!(matches!(result, Err(ReplayError::BaseDamaged { .. })), "{result:?}");
}

#[test]
fn files_too_long_to_be_held_are_made_of_blocks() {
    let (base, target) = images_of(UNIT);
    // Less than the file that changed and its base.
    let options = Options { memory: 20 * UNIT as u64, ..Options::default() };
    let mut delta = Vec::new();
    let report = skiff_diff::diff(&base.release(), &target.release(), &options, &mut delta).unwrap();
    check(&delta, &base, &target);
    assert!(report.codecs.iter().any(|used| used.codec == Codec::Block), "{report:?}");
    // One byte in fifty thousand changed, and around it nothing is sent, as the base is there to compare with.
    assert!(report.delta_bytes < 10 * UNIT as u64 + (4 << 10), "{report:?}");
}
