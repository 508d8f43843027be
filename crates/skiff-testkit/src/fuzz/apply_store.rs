use std::fs;
use std::io::Cursor;
use std::path::Path;

use skiff_apply::{
    Applied, ApplyError, ErrorClass, Expectation, InstallInput, LinkPolicy, Options, Outcome, SeekableDelta,
    Store, StoreOptions, Verification,
};
use skiff_tree::ReleaseId;

use super::Reached;
use super::changed::{ChangedDelta, limits};
use super::golden::Golden;
use super::naive::{self, Refusal};

/// A golden delta with its inside changed and its digests right, applied to a store that has its base.
///
/// Afterwards the store has the old release, or the new one, which then is the one that a naive decoder comes to; whichever it is is
/// sound to the last byte. What is staged is this delta's or nothing; nothing beside the store is touched; and
/// the delta as it was before still applies.
///
/// # Panics
/// Where one of these does not hold.
pub fn apply_store(data: &[u8]) -> Reached {
    let changed = ChangedDelta::read(data);
    let device = Device::with(changed.golden);
    let options = changed.options();
    if changed.says(2) {
        device.lose(&changed, &options);
    }
    if changed.says(4) {
        device.store.recover(&options).expect("because nothing stands in the way");
    }
    let applied = device.apply(&changed.delta, changed.expectation(), &options);
    let reached = device.check(&changed, &applied, &options);
    device.check_outside();
    if applied.is_err() && changed.says(8) {
        let applied = device.apply(&changed.golden.delta, Expectation::TrustDelta, &options);
        let applied = applied.expect("because the golden delta is sound");
        device.assert_current(applied.release, &options);
    }
    reached
}

impl ChangedDelta {
    fn says(&self, bit: u8) -> bool {
        self.flags & bit != 0
    }

    fn options(&self) -> Options<'static> {
        let mut options = Options { checkpoint_bytes: 1, limits: limits(), ..Options::rootless() };
        if self.says(16) {
            options.links = LinkPolicy::HardLinkUnchanged;
            options.verification = Verification::WrittenOnly;
        }
        options
    }

    fn expectation(&self) -> Expectation {
        if self.says(1) { self.golden.target().into() } else { Expectation::TrustDelta }
    }
}

impl Golden {
    fn target(&self) -> ReleaseId {
        let header = skiff_format::Reader::new(&self.delta[..], limits().format).next_event();
        let Ok(Some(skiff_format::Event::Header(header))) = header else {
            panic!("a delta without a header")
        };
        ReleaseId::from_bytes(*header.target().release.as_bytes())
    }
}

/// A store with the base, and beside it what must not be touched.
struct Device {
    directory: tempfile::TempDir,
    store: Store,
    base: ReleaseId,
}

const CANARY: &str = "outside";
const SONG: &str = "still singing";

impl Device {
    fn with(golden: &Golden) -> Self {
        let place = Path::new("/dev/shm");
        let place = if place.is_dir() { place.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("skiff-fuzz-").tempdir_in(place);
        let directory = directory.expect("because there is room");
        fs::write(directory.path().join(CANARY), SONG).expect("because there is room");
        let store = Store::create(directory.path().join("store"), &StoreOptions::default());
        let store = store.expect("because the directory is empty");
        let base = &golden.base;
        let input =
            InstallInput { config: base.config.as_deref(), ..InstallInput::new(&base.tree, &base.contents) };
        store.install(&input, &Options::rootless()).expect("because golden images are sound");
        let base = ReleaseId::new(base.tree.digest(), base.config_digest());
        Self { directory, store, base }
    }

    fn apply(
        &self,
        delta: &[u8],
        expectation: Expectation,
        options: &Options<'_>,
    ) -> Result<Applied, ApplyError> {
        self.store.apply(&mut SeekableDelta::new(Cursor::new(delta)), expectation, options)
    }

    /// The delta comes as far as half of it, and the line is lost.
    fn lose(&self, changed: &ChangedDelta, options: &Options<'_>) {
        let half = &changed.delta[..changed.delta.len() * 3 / 4];
        let lost = self.apply(half, changed.expectation(), options);
        let is_here_already = matches!(&lost, Ok(applied) if applied.outcome == Outcome::AlreadyCurrent);
        assert!(lost.is_err() || is_here_already, "a delta without its end was applied");
        self.assert_current(self.base, options);
    }

    fn check(
        &self,
        changed: &ChangedDelta,
        applied: &Result<Applied, ApplyError>,
        options: &Options<'_>,
    ) -> Reached {
        let expected = naive::decode(&changed.delta, &changed.golden.naive, &options.limits);
        match applied {
            Ok(applied) if applied.outcome == Outcome::AlreadyCurrent => {
                self.assert_current(self.base, options);
                Reached::Accepted
            }
            Ok(applied) => {
                self.assert_current(applied.release, options);
                let tree = self.store.path().join(format!("releases/{}/tree", applied.release));
                let tree = fs::read(tree).expect("because each release has one");
                match expected {
                    Ok(expected) => assert_eq!(expected.tree, tree, "another tree than the naive decoder's"),
                    Err(Refusal::TooMuch) => {}
                    Err(refusal) => panic!("applied what the naive decoder refuses: {refusal:?}"),
                }
                if let Expectation::Release(wanted) = changed.expectation() {
                    assert_eq!(wanted, applied.release, "another release than was asked for");
                }
                Reached::Accepted
            }
            Err(error) => {
                self.assert_current(self.base, options);
                assert_eq!(self.names("releases").len(), 1, "a release more than there was: {error}");
                assert!(self.names("staging").len() <= 1, "more is staged than one release: {error}");
                let is_corrupt = error.class() == ErrorClass::CorruptInput;
                assert!(
                    !(is_corrupt && expected.is_ok()),
                    "the naive decoder takes what is refused: {error}"
                );
                let is_the_stores =
                    matches!(error.class(), ErrorClass::Damaged | ErrorClass::Usage | ErrorClass::Busy);
                assert!(!is_the_stores, "neither store nor caller is at fault: {error}");
                let recovered = self.store.recover(options).expect("because nothing stands in the way");
                assert!(recovered.unresolved.is_none() && recovered.rolled_back.is_none());
                assert_eq!(recovered.staged.is_some(), !self.names("staging").is_empty());
                Reached::Refused
            }
        }
    }

    fn assert_current(&self, release: ReleaseId, options: &Options<'_>) {
        let report = self.store.verify(options).expect("because the current release can be read");
        assert_eq!(report.release, release);
        assert_eq!(report.mismatches, [], "the current release is not as its tree says");
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.store.path().join(directory)).expect("because each store has it");
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    fn check_outside(&self) {
        let canary = fs::read_to_string(self.directory.path().join(CANARY));
        assert_eq!(canary.ok().as_deref(), Some(SONG), "a file beside the store was changed");
        let beside = fs::read_dir(self.directory.path()).map(Iterator::count).ok();
        assert_eq!(beside, Some(2), "something came beside the store");
    }
}
