//! What the encoder writes, the decoder turns into the target; on any number of threads, byte for byte.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use crate::common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use skiff_diff::{Level, Options};
use skiff_replay::{Base, Limits, Replay, ReplayError, SavedPrelude, replay};
use skiff_tree::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_two_images((old, new, config) in (files(), files(), prop::option::of(vec(any::<u8>(), 0..50))), fast: bool) {
        let (base, target) = (Image::new(&old, None), Image::new(&new, config));
        let level = if fast { Level::Fast } else { Level::Default };
        let one = Options { level, threads: NonZeroUsize::new(1), ..Options::default() };
        let many = Options { threads: NonZeroUsize::new(3), ..one };
        let delta = made(&base, &target, &one);
        prop_assert_eq!(&delta, &made(&base, &target, &many));

        let mut sink = Memory::default();
        let replayed = replay(&delta[..], base.base(), &mut sink, Limits::default()).unwrap();
        prop_assert_eq!(replayed.release, target.release().id());
        prop_assert_eq!(&replayed.tree, &target.tree);
        prop_assert_eq!(&replayed.config, &target.config);
        check_result(&sink, &target);
    }
}

#[test]
fn a_replay_goes_on_from_every_checkpoint() {
    let (base, target) = large();
    let delta = made(&base, &target, &Options { level: Level::Fast, ..Options::default() });
    let mut whole = Memory::default();
    replay(&delta[..], base.base(), &mut whole, Limits::default()).unwrap();
    check_result(&whole, &target);
    assert!(
        whole.checkpoints.len() > 2
            && whole.checkpoints.iter().any(|(checkpoint, _)| checkpoint.open.is_some())
    );

    for (checkpoint, contents) in &whole.checkpoints {
        let mut sink =
            Memory { contents: contents.clone(), prelude: whole.prelude.clone(), ..Memory::default() };
        let prelude = whole.prelude.clone().unwrap();
        let saved = SavedPrelude {
            header: prelude.header.clone(),
            config: prelude.config,
            manifest: prelude.manifest,
            tree_section: prelude.tree_section,
        };
        let next = checkpoint.next_frame as usize;
        let offset = prelude.header.frames().get(next).map_or(delta.len() as u64, |frame| frame.offset);
        let limits = Limits::default();
        let mut reader =
            skiff_format::Reader::resume(&delta[offset as usize..], prelude.header, next, limits.format)
                .unwrap();
        let mut damaged = sink.clone();
        let first = damaged.contents.values_mut().find(|bytes| !bytes.is_empty()).unwrap();
        first[0] ^= 1;
        let refused = Replay::resume(base.base(), saved.clone(), checkpoint, &damaged, limits.clone());
        assert!(
            matches!(refused, Err(ReplayError::Checkpoint { .. })),
            "damage is found before the rest is read"
        );
        let mut replay = Replay::resume(base.base(), saved, checkpoint, &sink, limits).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            replay.event(event, &mut sink).unwrap();
        }
        assert_eq!(replay.finish(&mut sink).unwrap().release, target.release().id());
        check_result(&sink, &target);
    }
}

#[test]
fn a_wrong_or_changed_base_is_refused() {
    let (base, target) = large();
    let delta = made(&base, &target, &Options { level: Level::Fast, ..Options::default() });
    let mut sink = Memory::default();
    let wrong = replay(&delta[..], target.base(), &mut sink, Limits::default());
    assert!(matches!(wrong, Err(ReplayError::WrongBase { .. })), "{wrong:?}");
    assert!(sink.prelude.is_none(), "nothing was begun");

    let mut changed = base.contents.clone();
    let path = EntryPath::new("a").unwrap();
    let mut bytes = read_all(&*base.contents.open(&path).unwrap()).unwrap();
    bytes[5 << 20] ^= 1;
    changed.insert(path.clone(), bytes);
    let damaged = Base { contents: &changed, ..base.base() };
    let refused = replay(&delta[..], damaged, &mut Memory::default(), Limits::default());
    assert!(
        matches!(&refused, Err(ReplayError::BaseDamaged { path: named, .. }) if *named == path),
        "{refused:?}"
    );
}

#[test]
fn a_cut_off_delta_is_an_error_wherever_it_is_cut() {
    let old = BTreeMap::from([("a".to_owned(), b"one two three".repeat(40))]);
    let new =
        BTreeMap::from([("a".to_owned(), b"one two three".repeat(41)), ("b".to_owned(), b"b".to_vec())]);
    let (base, target) = (Image::new(&old, None), Image::new(&new, None));
    let delta = made(&base, &target, &Options::default());
    for length in 0..delta.len() {
        let cut = replay(&delta[..length], base.base(), &mut Memory::default(), Limits::default());
        assert!(matches!(cut, Err(ReplayError::Format(_))), "{length}: {cut:?}");
    }
    for bit in 0..delta.len() * 8 {
        let mut flipped = delta.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            replay(&flipped[..], base.base(), &mut Memory::default(), Limits::default()).is_err(),
            "{bit}"
        );
    }
}
