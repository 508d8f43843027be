//! What an explanation says adds up to the delta, to the byte.

use std::collections::BTreeMap;

use crate::common::*;
use proptest::prelude::*;
use skiff_diff::{FileKind, Level, Machine, Options, Report, SourceFile, diff};
use skiff_patch::Codec;

fn explained(base: &Image, target: &Image, level: Level) -> Report {
    let mut delta = Vec::new();
    let options = Options { level, explain: true, ..Options::default() };
    let report = diff(&base.release(), &target.release(), &options, &mut delta).unwrap();
    assert_eq!(delta, made(base, target, &Options { explain: false, ..options }), "asking changes nothing");
    report
}

fn check(report: &Report) {
    let explanation = report.explanation.as_ref().unwrap();
    let contents = explanation.sections.contents;
    assert_eq!(explanation.sections.sum(), report.delta_bytes);
    assert_eq!(explanation.codecs.iter().map(|share| share.delta_bytes).sum::<u64>(), contents);
    assert_eq!(explanation.kinds.iter().map(|share| share.delta_bytes).sum::<u64>(), contents);
    assert_eq!(explanation.files.iter().map(|share| share.delta_bytes).sum::<u64>(), contents);
    assert_eq!(explanation.codecs.iter().map(|share| share.new_bytes).sum::<u64>(), report.new_bytes);
    assert_eq!(explanation.kinds.iter().map(|share| share.new_bytes).sum::<u64>(), report.new_bytes);
    assert_eq!(explanation.files.iter().map(|share| share.new_bytes).sum::<u64>(), report.new_bytes);
    let records = |used: &skiff_diff::CodecReport| (used.codec, used.records);
    let mut told: Vec<_> = explanation.codecs.iter().map(|share| (share.codec, share.records)).collect();
    told.sort_unstable();
    assert_eq!(told, report.codecs.iter().map(records).collect::<Vec<_>>());
    assert!(explanation.files.is_sorted_by(|a, b| a.delta_bytes >= b.delta_bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn shares_add_up((old, new, config) in (files(), files(), prop::option::of(prop::collection::vec(any::<u8>(), 0..50)))) {
        let (base, target) = (Image::new(&old, None), Image::new(&new, config));
        check(&explained(&base, &target, Level::Fast));
    }
}

#[test]
fn shares_of_files_that_span_frames_add_up() {
    let (base, target) = images_of(1 << 19);
    let report = explained(&base, &target, Level::Fast);
    check(&report);
    let files = &report.explanation.unwrap().files;
    let of = |name: &str| files.iter().find(|share| share.path.as_bytes() == name.as_bytes());
    let (changed, new) = (of("a").unwrap(), of("again").unwrap());
    // Noise costs what it has; the other is made from its base.
    assert!(new.delta_bytes > 10 << 19 && changed.delta_bytes < 100_000, "{files:?}");
    assert_eq!((&new.codecs[..], new.sources.len()), (&[Codec::Data][..], 0));
    assert_eq!(changed.sources, [SourceFile::Base(changed.path.clone())]);
    assert!(of("kept").is_none() && of("empty").is_none(), "which send nothing");
}

#[test]
fn files_are_told_by_kind() {
    let elf = [&b"\x7fELF\x02\x01\x01"[..], &[0; 11], &[183, 0], &[7; 99]].concat();
    let new = BTreeMap::from([
        ("program".to_owned(), elf),
        ("readme".to_owned(), b"text".repeat(99)),
        ("notes".to_owned(), b"more text".repeat(99)),
    ]);
    let (base, target) = (Image::new(&BTreeMap::new(), None), Image::new(&new, None));
    let report = explained(&base, &target, Level::Default);
    check(&report);
    let mut kinds: Vec<_> =
        report.explanation.unwrap().kinds.iter().map(|share| (share.kind, share.files)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [(FileKind::Elf(Machine::AArch64), 1), (FileKind::Text, 2)]);
}
