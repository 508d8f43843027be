//! Files that the budget does not let be held.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use skiff_diff::{DiffError, Ideas, Level, Options, Report, diff};
use skiff_patch::Codec;
use skiff_replay::{Limits, replay};

use crate::common::{Image, Memory, check_result, images_of, noise};

/// Less than any of the files here takes.
const MEMORY: u64 = 1 << 20;

fn image(bytes: Vec<u8>) -> Image {
    Image::new(&BTreeMap::from([("a".to_owned(), bytes)]), None)
}

/// A delta that was replayed; the same one on any number of threads.
fn checked(base: &Image, target: &Image, options: &Options<'_>) -> Report {
    let deltas = [1, 3].map(|threads| {
        let options = Options { threads: NonZeroUsize::new(threads), ..*options };
        let mut delta = Vec::new();
        let report = diff(&base.release(), &target.release(), &options, &mut delta).unwrap();
        (report, delta)
    });
    let [(report, delta), (_, other)] = deltas;
    assert!(delta == other, "threads tell");
    let mut sink = Memory::default();
    replay(&delta[..], base.base(), &mut sink, Limits::default()).unwrap();
    check_result(&sink, target);
    report
}

fn made(old: Vec<u8>, new: Vec<u8>) -> Report {
    checked(&image(old), &image(new), &Options { memory: MEMORY, ..Options::default() })
}

fn uses(report: &Report, codec: Codec) -> bool {
    report.codecs.iter().any(|used| used.codec == codec)
}

#[test]
fn what_was_inserted_changed_and_moved_is_all_that_is_sent() {
    let old = noise(1, 4 << 20);
    let mut new = [&old[3 << 20..], &noise(2, 5_000), &old[..2 << 20], b"!", &old[2 << 20..3 << 20]].concat();
    // Too many for a block to be left between them.
    for at in (1_500_000..1_700_000).step_by(200) {
        new[at] ^= 0x55;
    }
    let report = made(old, new);
    assert!(uses(&report, Codec::Align) && !uses(&report, Codec::Block), "{report:?}");
    assert!(report.delta_bytes < 5_000 + 1_000 + 1_500, "{report:?}");
}

#[test]
fn every_level_and_every_device_is_served() {
    let (base, target) = images_of(1 << 17);
    for level in [Level::Fast, Level::Default, Level::Best] {
        for max_decoder_memory in [None, Some(24 << 20), Some(11 << 20)] {
            let options = Options { level, max_decoder_memory, memory: 64 << 10, ..Options::default() };
            match max_decoder_memory {
                Some(granted) => assert!(checked(&base, &target, &options).decoder_memory <= granted),
                None => assert!(uses(&checked(&base, &target, &options), Codec::Align), "{level:?}"),
            }
        }
    }
    let options = Options { ideas: Ideas::NONE, memory: 64 << 10, ..Options::default() };
    assert!(uses(&checked(&base, &target, &options), Codec::Block), "without models blocks are left");
}

#[test]
fn what_has_no_base_is_sent_as_it_is() {
    let base = image(noise(1, 1_000));
    let files = BTreeMap::from([("b".to_owned(), noise(2, 3 << 20))]);
    let options = Options { memory: MEMORY, ..Options::default() };
    let report = checked(&base, &Image::new(&files, None), &options);
    assert!(uses(&report, Codec::Data) && report.delta_bytes < (3 << 20) + (8 << 10), "{report:?}");
}

#[test]
fn what_has_little_in_common_is_sent_as_it_is() {
    let old = noise(1, 3 << 20);
    let new = [&noise(2, 3 << 20), &old[1_000_000..1_010_000], &noise(3, 100_000)].concat();
    let report = made(old, new);
    assert!(report.delta_bytes < (3 << 20) + 100_000 + (8 << 10), "{report:?}");
}

#[test]
fn what_repeats_itself_takes_no_longer() {
    let period = noise(3, 1_000);
    let (head, tail) = (noise(4, 10_000), noise(5, 10_000));
    for body in [vec![0; 3 << 20], period.repeat(3_000)] {
        let old = [&head[..], &body, &tail].concat();
        let mut new = [&tail[..], &body[..1 << 20], &head, &body, &body].concat();
        for at in (2_000_000..2_100_000).step_by(100) {
            new[at] ^= 1;
        }
        let report = made(old, new);
        assert!(report.delta_bytes < 6_000, "{report:?}");
    }
}

#[test]
fn a_file_that_changed_under_the_encoder_is_told() {
    let (base, target) = (image(noise(1, 1 << 20)), image(noise(2, 1 << 20)));
    let options = Options { memory: MEMORY, ..Options::default() };
    for (side, of) in [("base", &base), ("target", &target)] {
        let mut other = Image::new(&BTreeMap::new(), None);
        other.tree = of.tree.clone();
        other.contents.insert(skiff_tree::EntryPath::new("a").unwrap(), noise(3, 1 << 20));
        let (base, target) = if side == "base" { (&other, &target) } else { (&base, &other) };
        let result = diff(&base.release(), &target.release(), &options, Vec::new());
        assert!(matches!(result, Err(DiffError::Changed { side: told, .. }) if told == side), "{result:?}");
    }
}
