//! What is cut off.

use std::path::Path;

use skiff_apply::*;
use skiff_tree::Kind;

use crate::common::*;
use crate::explore::{Case, Verdict};

fn open(path: &Path, options: &StoreOptions) -> Result<Store, ApplyError> {
    Store::open(path, options)
}

fn create(path: &Path, options: &StoreOptions) -> Result<Store, ApplyError> {
    Store::create(path, options)
}

/// Installs or applies: an image after another.
fn update(
    name: &'static str,
    [old, new]: [fn() -> Image; 2],
    operation: impl Fn(&Store) -> Result<Option<Outcome>, ApplyError> + 'static,
) -> Case {
    Case {
        name,
        set_up: Box::new(move || Fixture::quick(&old())),
        opens: open,
        old: Some(old()),
        old_is_damaged: false,
        new: new(),
        operation: Box::new(operation),
        holds: Box::new(|_, _| Ok(())),
        needed_elsewhere: &[],
    }
}

fn install(image: fn() -> Image) -> impl Fn(&Store) -> Result<Option<Outcome>, ApplyError> {
    let image = image();
    move |store| store.install(&image.input(), &rootless()).map(|_| None)
}

fn apply_delta(
    delta: Vec<u8>,
    target: Image,
    options: Options<'static>,
) -> impl Fn(&Store) -> Result<Option<Outcome>, ApplyError> {
    move |store| {
        let mut source = SeekableDelta::new(std::io::Cursor::new(&delta[..]));
        let applied = store.apply(&mut source, Expectation::Release(target.id()), &options)?;
        Ok(Some(applied.outcome).filter(|outcome| *outcome != Outcome::AlreadyCurrent))
    }
}

/// Next to nothing.
fn little_before() -> Image {
    Builder::new().build(None)
}

fn little_after() -> Image {
    Builder::new().inode("f", metadata(0o600, 1), Kind::Fifo).build(None)
}

pub(crate) fn installing_a_pipe() -> Case {
    update("installing a pipe", [little_before, little_after], install(little_after))
}

pub(crate) fn installing_a_link() -> Case {
    let after = || Builder::new().inode("s", metadata(0o777, 1), Kind::Symlink((*b"t").into())).build(None);
    update("installing a link", [little_before, after], install(after))
}

pub(crate) fn applying_little() -> Case {
    let after = || Builder::default().directory("", 0o750, 2).build(None);
    let operation = apply_delta(delta(&little_before(), &after()), after(), rootless());
    update("applying little", [little_before, after], operation)
}

/// In a directory that is there and empty.
pub(crate) fn making() -> Case {
    let set_up = || {
        let fixture = Fixture::empty();
        for name in names(fixture.store.path()) {
            let path = fixture.store.path().join(name);
            if path.is_dir() {
                std::fs::remove_dir(path).unwrap()
            } else {
                std::fs::remove_file(path).unwrap()
            }
        }
        fixture
    };
    let case = update("making a store and installing", [before, little_after], install(little_after));
    Case { set_up: Box::new(set_up), opens: create, old: None, ..case }
}

pub(crate) fn installing() -> Case {
    update("installing", [before, after], install(after))
}

pub(crate) fn installing_much() -> Case {
    update("installing much", [old, new], install(new))
}

/// The damaged release and the whole one change places by one exchange, which is on the disk once either directory is; `current` names the right one
/// all along. Where the release is moved to a place that was free, each of the three is needed: see the other cases.
pub(crate) fn repairing() -> Case {
    let set_up = || {
        let fixture = Fixture::quick(&before());
        fixture.install(&after()).unwrap();
        let release = format!("releases/{}/rootfs/e", after().id());
        std::fs::write(fixture.store.path().join(release), b"bad").unwrap();
        fixture
    };
    let case = update("repairing", [after, after], install(after));
    let needed_elsewhere = &["fsync of releases", "fsync of staging/", "fsync of ."];
    Case { set_up: Box::new(set_up), old_is_damaged: true, needed_elsewhere, ..case }
}

pub(crate) fn applying() -> Case {
    let delta = in_small_frames(&before(), &after());
    update("applying", [before, after], apply_delta(delta, after(), rootless()))
}

pub(crate) fn applying_with_hard_links() -> Case {
    let options = Options { links: LinkPolicy::HardLinkUnchanged, ..rootless() };
    let operation = apply_delta(delta(&before(), &after()), after(), options);
    update("applying with hard links", [before, after], operation)
}

pub(crate) fn applying_much() -> Case {
    let delta = in_small_frames(&old(), &new());
    update("applying much", [old, new], apply_delta(delta, new(), rootless()))
}

/// After half of the delta the connection was lost.
pub(crate) fn going_on() -> Case {
    let delta = in_small_frames(&before(), &after());
    let until = frames(&delta).frames().last().unwrap().offset;
    let first = delta.clone();
    let set_up = move || {
        let fixture = Fixture::quick(&before());
        let mut source = Watched::failing_at(&first, until);
        fixture.store.apply(&mut source, Expectation::TrustDelta, &rootless()).unwrap_err();
        assert!(fixture.store.status().unwrap().staged.is_some());
        fixture
    };
    let case = update("going on", [before, after], apply_delta(delta, after(), rootless()));
    Case { set_up: Box::new(set_up), ..case }
}

fn trial(starts: u32) -> Options<'static> {
    Options { trial_starts: Some(starts), ..rootless() }
}

/// The release was on trial before, and is again: from the beginning.
pub(crate) fn applying_again() -> Case {
    let set_up = || {
        let fixture = Fixture::quick(&before());
        fixture.store.install(&after().input(), &trial(9)).unwrap();
        fixture.store.recover(&rootless()).unwrap();
        fixture.store.rollback(&rootless()).unwrap();
        fixture
    };
    let operation = apply_delta(delta(&before(), &after()), after(), trial(9));
    let case = update("applying what is there", [before, after], operation);
    let holds = |store: &Store, _: bool| {
        let current = store.current().map_err(|error| error.to_string())?.unwrap();
        if current.id == after().id() && (current.starts_taken, current.previous) != (0, Some(before().id()))
        {
            return Err(format!("it does not begin anew: {current:?}"));
        }
        Ok(())
    };
    Case { set_up: Box::new(set_up), holds: Box::new(holds), ..case }
}

/// The release that is gone back to was on trial itself, which begins again.
pub(crate) fn rolling_back() -> Case {
    let set_up = || {
        let fixture = Fixture::quick(&little_before());
        fixture.store.install(&before().input(), &trial(9)).unwrap();
        fixture.store.recover(&rootless()).unwrap();
        fixture.install(&after()).unwrap();
        fixture
    };
    let roll_back = |store: &Store| {
        if store.current()?.is_some_and(|current| current.id == after().id()) {
            store.rollback(&rootless())?;
        }
        Ok(None)
    };
    let case = update("rolling back", [after, before], roll_back);
    Case { set_up: Box::new(set_up), holds: Box::new(begins_anew), ..case }
}

/// The trial of the release that was gone back to.
fn begins_anew(store: &Store, _: bool) -> Verdict {
    let current = store.current().map_err(|error| error.to_string())?.unwrap();
    if current.id == before().id() && current.starts_taken != 0 {
        return Err(format!("{} starts were counted already", current.starts_taken));
    }
    Ok(())
}

/// A release that took a start, and is sound.
fn on_trial(starts: u32) -> Fixture {
    let fixture = Fixture::quick(&before());
    fixture.store.install(&after().input(), &trial(starts)).unwrap();
    fixture
}

pub(crate) fn confirming() -> Case {
    let set_up = || {
        let fixture = on_trial(9);
        fixture.store.recover(&rootless()).unwrap();
        fixture
    };
    let case = update("confirming", [after, after], |store: &Store| store.confirm().map(|_| None));
    let holds = |store: &Store, is_done: bool| {
        let current = store.current().map_err(|error| error.to_string())?.unwrap();
        let is_confirmed = current.trial == Trial::Confirmed;
        if is_confirmed >= is_done { Ok(()) } else { Err("it is not confirmed".into()) }
    };
    Case { set_up: Box::new(set_up), holds: Box::new(holds), ..case }
}

/// It had one start, and is allowed two: a count that is lost would cost a third, and one that is torn the release.
pub(crate) fn counting() -> Case {
    let set_up = || {
        let fixture = on_trial(9);
        fixture.store.recover(&rootless()).unwrap();
        fixture
    };
    let recover = |store: &Store| store.recover(&rootless()).map(|_| None);
    let case = update("counting a start", [after, after], recover);
    let holds = |store: &Store, is_done: bool| {
        let taken = store.current().map_err(|error| error.to_string())?.unwrap().starts_taken;
        if (1 + u32::from(is_done)..=2).contains(&taken) {
            Ok(())
        } else {
            Err(format!("{taken} starts counted"))
        }
    };
    Case { set_up: Box::new(set_up), holds: Box::new(holds), ..case }
}

/// A trial is over, and an update that leads nowhere is staged.
pub(crate) fn recovering() -> Case {
    let set_up = || {
        let fixture = Fixture::quick(&little_before());
        fixture.store.install(&before().input(), &trial(9)).unwrap();
        fixture.store.recover(&rootless()).unwrap();
        fixture.store.install(&after().input(), &trial(0)).unwrap();
        let delta = in_small_frames(&little_before(), &after());
        let other = Fixture::quick(&little_before());
        let mut source = Watched::failing_at(&delta, frames(&delta).frames().last().unwrap().offset);
        other.store.apply(&mut source, Expectation::TrustDelta, &rootless()).unwrap_err();
        let staged = format!("staging/{}", after().id());
        std::fs::rename(other.store.path().join(&staged), fixture.store.path().join(&staged)).unwrap();
        std::os::unix::fs::symlink("nowhere", fixture.store.path().join("current.tmp")).unwrap();
        fixture
    };
    let recover = |store: &Store| store.recover(&rootless()).map(|_| None);
    let case = update("recovering", [after, before], recover);
    Case { set_up: Box::new(set_up), holds: Box::new(begins_anew), ..case }
}

/// The third of three releases makes the first garbage.
pub(crate) fn collecting() -> Case {
    let set_up = || {
        let fixture = Fixture::quick(&little_after());
        let keep = Options { keep: KeepPolicy::Everything, ..rootless() };
        fixture.store.install(&before().input(), &keep).unwrap();
        fixture.store.install(&after().input(), &keep).unwrap();
        fixture
    };
    let collect = |store: &Store| {
        store.collect(&rootless())?;
        assert_eq!(names(&store.path().join("releases")).len(), 2);
        Ok(None)
    };
    let case = update("collecting", [after, after], collect);
    Case { set_up: Box::new(set_up), ..case }
}
