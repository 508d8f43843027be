use std::num::NonZeroUsize;

use skiff_diff::{Level, Options, diff};
use skiff_replay::{Limits, ReplayError};
use skiff_tree::{ContentSource, read_all};

use super::Reached;
use super::input::Input;
use super::release::{Builder, Release};
use super::sink;

/// Two small releases, the second made from the first by edits, and a delta between them.
///
/// The delta leads from the first to the second, with every content as it was; it is the same on one thread and on two; and
/// nothing but the first release takes it.
///
/// # Panics
/// Where one of these does not hold.
pub fn roundtrip(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let flags = input.byte();
    let mut builder = Builder::default();
    builder.edit(&mut Input::new(input.part()));
    let base = builder.clone().finish();
    builder.edit(&mut input);
    let target = builder.finish();

    let level = if flags & 1 == 1 { Level::Fast } else { Level::Default };
    let delta = make(&base, &target, level, 1);
    if flags & 2 == 2 {
        assert!(delta == make(&base, &target, level, 2), "the delta depends on the number of threads");
    }
    let (sink, replayed) = sink::replay(&delta, &base, &Limits::default());
    let replayed = replayed.expect("because the encoder proved the delta");
    assert_eq!(replayed.tree, target.tree);
    check_contents(&base, &target, &sink.contents.into_values().collect::<Vec<_>>());

    if base.tree != target.tree {
        let refused =
            matches!(sink::replay(&delta, &target, &Limits::default()).1, Err(ReplayError::WrongBase { .. }));
        assert!(refused, "a delta was taken by a release it is not for");
    }
    Reached::Accepted
}

fn make(base: &Release, target: &Release, level: Level, threads: usize) -> Vec<u8> {
    let options = Options { level, threads: NonZeroUsize::new(threads), ..Options::default() };
    let mut delta = Vec::new();
    diff(&base.as_side(), &target.as_side(), &options, &mut delta)
        .expect("because both sides are sound and in memory");
    delta
}

/// Every content of the target is one of the base's or one that was written.
fn check_contents(base: &Release, target: &Release, written: &[Vec<u8>]) {
    let contents = |release: &Release| -> Vec<Vec<u8>> {
        let read = |(_, entry, _): (usize, &skiff_tree::Entry, _)| {
            let content = release.contents.open(&entry.path).expect("because every file has a content");
            read_all(&content).expect("because it is in memory")
        };
        release.tree.files().map(read).collect()
    };
    let had = contents(base);
    for content in contents(target) {
        assert!(had.contains(&content) || written.contains(&content), "a content came from nowhere");
    }
}
