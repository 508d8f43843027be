//! A delta is never larger than one that sends the new contents as they are, compressed: any idea that does not help is not used.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::common::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use skiff_diff::{Idea, Ideas, Level, Options};

/// What a wrong guess may cost: choices are made by what a fast compressor says of each file alone.
const PER_FILE: usize = 24;

/// Bytes of which nothing can be made: noise, what is compressed, nothing, a single byte, and texts that are unlike.
fn odd() -> impl Strategy<Value = Vec<u8>> {
    let noise = vec(any::<u8>(), 0..3000);
    let compressed = (vec(0..7_u8, 0..9000), 0..10_u32).prop_map(|(bytes, level)| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap()
    });
    let damaged = (vec(any::<u8>(), 0..500)).prop_map(|rest| [&[0x1f, 0x8b, 8, 0][..], &rest].concat());
    let word = prop_oneof!["[a-f]{1,3}", "[x-z]{2}"];
    let text = vec(word, 0..400).prop_map(|words| words.join(" ").into_bytes());
    prop_oneof![
        Just(Vec::new()),
        noise,
        compressed,
        damaged,
        text,
        (any::<u8>(), 0..5000_usize).prop_map(|(byte, count)| vec![byte; count]),
        content(),
    ]
}

fn images() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    btree_map("(lib|app|etc)[-.]?[0-3]([.]gz)?", odd(), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_idea_makes_odd_images_larger(old in images(), new in images(), fast: bool) {
        let (base, target) = (Image::new(&old, None), Image::new(&new, None));
        let level = if fast { Level::Fast } else { Level::Default };
        let delta = made(&base, &target, &Options { level, ..Options::default() });
        let plain = made(&base, &target, &Options { level, ideas: Ideas::NONE.with(Idea::Mixed), ..Options::default() });
        prop_assert!(delta.len() <= plain.len() + PER_FILE * new.len(), "{} of {}", delta.len(), plain.len());
    }
}

/// Noise against noise is stored: it costs itself, and what names it.
#[test]
fn noise_costs_itself() {
    let noise = |seed| noise(seed, 1 << 18);
    let image = |seed| Image::new(&BTreeMap::from([("a".to_owned(), noise(seed))]), None);
    let delta = made(&image(1), &image(2), &Options::default());
    assert!(delta.len() < (1 << 18) + 1024, "{}", delta.len());
}

/// A device without memory for the code that learns gets differences all the same.
#[test]
fn little_memory_costs_little() {
    let old = noise(1, 200_000);
    let mut new = old.clone();
    new.iter_mut().step_by(20_000).for_each(|byte| *byte ^= 1);
    let image = |bytes: Vec<u8>| Image::new(&BTreeMap::from([("file".to_owned(), bytes)]), None);
    let (base, target) = (image(old), image(new));
    for level in [Level::Fast, Level::Default, Level::Best] {
        for mebibytes in [16, 24, 32, 64] {
            let options = Options { level, max_decoder_memory: Some(mebibytes << 20), ..Options::default() };
            let delta = made(&base, &target, &options).len();
            assert!(delta < 1_000, "{level:?}, {mebibytes} MiB: {delta} bytes");
        }
    }
}
