use skiff_format::FormatError;
use skiff_patch::PatchError;
use skiff_replay::ReplayError;
use skiff_tree::TreeError;

use super::Reached;
use super::changed::{ChangedDelta, limits};
use super::naive::{self, Refusal, Target};
use super::sink::{self, CheckedSink, Refusal as Refused};

/// A golden delta with its inside changed and its digests right, decoded twice: by the product, and by a naive decoder written from
/// `doc/format.md`.
///
/// Both take it or both refuse it, and what they take is the same tree with the same contents.
///
/// # Panics
/// Where one of these does not hold.
pub fn delta_structure(data: &[u8]) -> Reached {
    let changed = ChangedDelta::read(data);
    compare(&changed)
}

fn compare(changed: &ChangedDelta) -> Reached {
    let ChangedDelta { golden, delta, .. } = changed;
    let expected = naive::decode(delta, &golden.naive, &limits());
    let (sink, replayed) = sink::replay(delta, &golden.base, &limits());
    match (expected, replayed) {
        (Ok(expected), Ok(replayed)) => {
            let mut tree = Vec::new();
            replayed.tree.encode(&mut tree).expect("because a vector takes everything");
            let found = Target {
                tree,
                contents: contents(sink),
                config: replayed.config,
                manifest: replayed.manifest,
            };
            assert_eq!(found, expected, "two decoders come to different targets");
            Reached::Accepted
        }
        // Whoever passes a limit first is of no interest here.
        (Err(Refusal::TooMuch), _) => Reached::Refused,
        (_, Err(error)) if is_limit(&error) => Reached::Refused,
        (Err(_), Err(_)) => Reached::Refused,
        (expected, replayed) => panic!(
            "from {}, one decoder takes what the other refuses: {:?} and {:?}",
            golden.name,
            expected.map(|_| ()),
            replayed.map(|_| ())
        ),
    }
}

fn contents(sink: CheckedSink) -> Vec<Vec<u8>> {
    sink.contents.into_values().collect()
}

fn is_limit(error: &Refused) -> bool {
    matches!(
        error,
        ReplayError::LimitExceeded { .. }
            | ReplayError::Format(FormatError::LimitExceeded { .. })
            | ReplayError::Tree(TreeError::LimitExceeded { .. })
            | ReplayError::Patch { source: PatchError::LimitExceeded { .. }, .. }
    )
}
