//! Deltas against a base of which there is no more than a signature, and against files too long to be held.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use crate::common::*;
use proptest::prelude::*;
use skiff_block::{SignatureKind, SignatureParams, write_signature};
use skiff_diff::{DiffError, Options, Report, diff_against};
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
fn a_file_that_changed_is_not_signed_and_not_read_as_a_source() {
    let (base, target) = images_of(UNIT);
    // What the disk has of `a` is not what the tree says.
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

/// The signature of a tree whose only file is `a`, which says that `a` has the blocks of other bytes.
fn lying(base: &Image, blocks_of: &[u8]) -> TreeSignature {
    let mut encoding = Vec::new();
    base.tree.encode(&mut encoding).unwrap();
    let mut bytes = b"\x89SKS\r\n\x1a\n\x01\0\0\0\0".to_vec();
    let length = encoding.len() as u8;
    assert!(length < 128, "an integer of one byte");
    bytes.push(length);
    bytes.extend(encoding);
    bytes.push(2);
    let params = SignatureParams::new(SignatureKind::default(), 1000, 16).unwrap();
    write_signature(blocks_of, &params, NonZeroUsize::MIN, &mut bytes).unwrap();
    bytes.push(0);
    let digest = ContentDigest::of(&bytes);
    bytes.extend(digest.as_bytes());
    TreeSignature::read(&bytes[..], &Default::default()).unwrap()
}

#[test]
fn a_signature_that_lies_makes_no_delta_that_leads_elsewhere() {
    let noise = |seed: u32, length: u32| -> Vec<u8> {
        (0..length).map(|index| ((index ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    };
    let image = |bytes: Vec<u8>| Image::new(&BTreeMap::from([("a".to_owned(), bytes)]), None);
    let new = noise(1, 30_000);
    let (base, target) = (image(noise(2, 9_500)), image(new.clone()));
    // Nine blocks and a short one, of which all, the short one too, hash as blocks of the new file do.
    for blocks_of in [&new[..10_000], &[new[..9_000].to_vec(), new[..1_000].to_vec()].concat()] {
        let mut delta = Vec::new();
        match diff_against(&lying(&base, blocks_of), &target.release(), &Options::default(), &mut delta) {
            Err(DiffError::Signature(_)) => {}
            Err(other) => panic!("{other:?}"),
            Ok(_) => {
                let result = replay(&delta[..], base.base(), &mut Memory::default(), Limits::default());
                assert!(matches!(result, Err(ReplayError::WrongResult { .. })), "{result:?}");
            }
        }
    }
}

#[test]
fn making_blocks_of_a_file_too_long_to_be_held_can_be_cancelled() {
    let (base, target) = images_of(UNIT);
    let cancel = std::sync::atomic::AtomicBool::new(false);
    // Set once the first bytes of a file too long to be held were read.
    let cancelling = Cancelling { contents: &base.contents, cancel: &cancel };
    let control = skiff_fs::Control { cancel: Some(&cancel), ..Default::default() };
    let options = Options { memory: 20 * UNIT as u64, control, ..Options::default() };
    let release = skiff_diff::Release::new(&base.tree, &cancelling);
    let result = skiff_diff::diff(&release, &target.release(), &options, Vec::new());
    assert!(matches!(result, Err(DiffError::Interrupted(_))), "{result:?}");
}

/// Contents whose reading sets a flag.
struct Cancelling<'a> {
    contents: &'a MemoryContents,
    cancel: &'a std::sync::atomic::AtomicBool,
}

impl ContentSource for Cancelling<'_> {
    fn open(&self, path: &EntryPath) -> std::io::Result<Box<dyn ReadAt + '_>> {
        if path.as_bytes() == b"a" {
            self.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        self.contents.open(path)
    }
}
