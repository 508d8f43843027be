//! What a disk that fails, or a process that is killed, leaves: at every call that changes the disk.

use std::sync::Arc;

use crate::common::*;
use skiff_apply::*;
use skiff_format::Section;
use skiff_fs::{DiskStorage, Fault, FaultyStorage};
use skiff_replay::renew::md5;

fn disk(fault: Option<(usize, Fault)>) -> Arc<FaultyStorage<DiskStorage>> {
    let disk = FaultyStorage::new(DiskStorage);
    Arc::new(match fault {
        Some((at, fault)) => disk.failing_at(at, fault),
        None => disk,
    })
}

/// In what ways calls that change the disk fail.
const FAULTS: [Fault; 7] = [
    Fault::Stop,
    Fault::ReadOnly,
    Fault::BROKEN,
    Fault::NO_SPACE,
    Fault::NO_QUOTA,
    Fault::INTERRUPTED,
    Fault::Short,
];

/// Whether a call only does less than it was asked for, so that what remains has to be asked for again.
fn is_partial(fault: Fault, call: &str) -> bool {
    let moves_bytes = matches!(call, "read" | "write" | "copy_range");
    fault == Fault::Short || (fault == Fault::INTERRUPTED && moves_bytes)
}

/// Asserts that an error is of the right class.
fn assert_class(error: &ApplyError, fault: Fault, context: &str) {
    let class = match fault {
        Fault::NO_SPACE | Fault::NO_QUOTA => ErrorClass::NoSpace,
        _ => ErrorClass::Io,
    };
    assert_eq!(error.class(), class, "{context}: {error}");
}

/// What is done to a store in a state that is made anew for each time.
struct Case<'a, S, O> {
    set_up: S,
    operation: O,
    /// The image that is current before, and the one that is then.
    images: [&'a Image; 2],
}

impl<S: Fn() -> Fixture, O: Fn(&Store) -> Result<(), ApplyError>> Case<'_, S, O> {
    /// Does it on a disk that only counts.
    fn counted(&self) -> Arc<FaultyStorage<DiskStorage>> {
        let (fixture, counting) = ((self.set_up)(), disk(None));
        (self.operation)(&fixture.through(Arc::clone(&counting))).unwrap();
        fixture.assert_current(self.images[1]);
        counting
    }

    /// Does it on this disk, and asserts that the current release is then the one before or the one after, whole, and that after
    /// recovering it can be done again to its end. Tells how it went the first time, and whether the new one was current then.
    fn fails(
        &self,
        disk: FaultyStorage<DiskStorage>,
        (fault, context): (Fault, &str),
    ) -> (Result<(), ApplyError>, bool) {
        let [old, new] = self.images;
        let fixture = (self.set_up)();
        let result = (self.operation)(&fixture.through(Arc::new(disk)));
        let current = fixture.store.current().unwrap().unwrap().id;
        let found = if current == new.id() { new } else { old };
        assert_sound(&fixture.store, found);
        assert!(result.is_err() || current == new.id(), "{context}: it said that it was done");
        if let Err(error) = &result {
            assert_class(error, fault, context);
            if error.class() == ErrorClass::NoSpace {
                assert_eq!(fixture.names("staging"), [""; 0], "{context}");
            }
        }

        let recovered = fixture.store.recover(&rootless());
        let recovered = recovered.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(recovered.unresolved.is_none(), "{context}: {recovered:?}");
        assert_eq!(
            fixture.names("staging").len(),
            usize::from(recovered.staged.is_some()),
            "{context}: {recovered:?}"
        );
        assert_sound(&fixture.store, found);
        if current != new.id() {
            (self.operation)(&fixture.store).unwrap_or_else(|error| panic!("{context}: again: {error}"));
        }
        assert_sound(&fixture.store, new);
        fixture.store.recover(&rootless()).unwrap();
        assert_eq!(fixture.names(""), ["current", "lock", "releases", "staging"], "{context}");
        assert_eq!(fixture.names("staging"), [""; 0], "{context}");
        fixture.store.collect(&rootless()).unwrap();
        assert!(fixture.names("releases").len() <= 2, "{context}");
        (result, current == new.id())
    }

    /// Lets each call that changes the disk fail, in each way.
    fn fails_at_every_call(&self) {
        let calls = self.counted().calls();
        let swap = position_of_swap(&calls);
        let mut outcomes = [0, 0];
        for (at, &call) in calls.iter().enumerate() {
            for fault in FAULTS {
                if fault == Fault::Short && !is_partial(Fault::INTERRUPTED, call) {
                    continue;
                }
                let context = format!("{fault:?} at call {at} of {}, {call}", calls.len());
                let disk = FaultyStorage::new(DiskStorage).failing_at(at, fault);
                let (result, is_new) = self.fails(disk, (fault, &context));
                let is_partial = is_partial(fault, call);
                let unheard = at <= swap && !is_partial && result.is_ok();
                assert!(!unheard, "{context}: a failure before the swap went unheard");
                assert!(result.is_ok() || !is_partial, "{context}: {result:?}");
                outcomes[usize::from(is_new)] += 1;
            }
        }
        println!("faults at {} calls: old {}, new {}", calls.len(), outcomes[0], outcomes[1]);
        assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
    }

    /// Lets each read of a file's content fail, in each way.
    fn fails_at_every_read(&self) {
        let reads = self.counted().reads();
        let mut unheard = 0;
        for at in 0..reads {
            for fault in [Fault::BROKEN, Fault::INTERRUPTED, Fault::Short] {
                let context = format!("{fault:?} at read {at} of {reads}");
                let disk = FaultyStorage::new(DiskStorage).failing_at_read(at, fault);
                let (result, _) = self.fails(disk, (fault, &context));
                assert!(result.is_ok() || fault == Fault::BROKEN, "{context}: {result:?}");
                unheard += usize::from(fault == Fault::BROKEN && result.is_ok());
            }
        }
        println!("faults at {reads} reads: {}, made good {unheard}", 3 * reads);
        assert!(reads > unheard, "no read that failed mattered");
    }
}

/// The rename that decides: it follows the last symbolic link that is made.
fn position_of_swap(calls: &[&str]) -> usize {
    let link = calls.iter().rposition(|&call| call == "symlink").unwrap();
    assert_eq!(calls[link + 1], "rename");
    link + 1
}

/// What a power cut spares depends on this order: everything on the disk, then both names, then the swap, then its name.
#[test]
fn the_order_is_data_then_names_then_swap() {
    let (old, new) = (before(), after());
    for install in [false, true] {
        let fixture = Fixture::quick(&old);
        let counting = disk(None);
        let store = fixture.through(Arc::clone(&counting));
        if install {
            store.install(&new.input(), &rootless()).unwrap();
        } else {
            apply(&store, &delta(&old, &new), &new).unwrap();
        }
        let calls = counting.calls();
        let swap = position_of_swap(&calls);
        let steps = ["create_file", "sync", "rename", "sync", "sync", "remove", "symlink", "rename", "sync"];
        // The last file that is made is the lease, which is empty.
        assert_eq!(calls[swap - 7..=swap + 1], steps, "{install}");
    }
}

#[test]
fn applying_survives_a_fault_at_every_call() {
    let (old, new) = (before(), after());
    let delta = in_small_frames(&old, &new);
    let operation = |store: &Store| apply(store, &delta, &new).map(drop);
    Case { set_up: || Fixture::quick(&old), operation, images: [&old, &new] }.fails_at_every_call();
}

#[test]
fn applying_with_hard_links_survives_a_fault_at_every_call() {
    let (old, new) = (before(), after());
    let delta = delta(&old, &new);
    let options = Options { links: LinkPolicy::HardLinkUnchanged, ..rootless() };
    let apply = |store: &Store| {
        store.apply(&mut OnePassDelta::new(&delta[..]), Expectation::Release(new.id()), &options).map(drop)
    };
    Case { set_up: || Fixture::quick(&old), operation: apply, images: [&old, &new] }.fails_at_every_call();
}

/// Lists are told last, from what was written before, which is opened again.
#[test]
fn applying_with_lists_survives_a_fault_at_every_call() {
    let release = |version: &str| {
        let file = |name: &str| (name.to_owned(), format!("{name} {version}\n"));
        let files = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(file);
        let sum =
            |text: &str| md5(&text.as_bytes(), text.len() as u64).unwrap().map(|byte| format!("{byte:02x}"));
        let list: String =
            files.iter().map(|(name, text)| format!("{}  {name}\n", sum(text).concat())).collect();
        let builder =
            files.iter().fold(Builder::new(), |builder, (name, text)| builder.file(name, text.as_bytes()));
        builder.file("sums", list.as_bytes()).file("unchanged", b"as it was\n").build(None)
    };
    let (old, new) = (release("1"), release("2"));
    let delta = delta(&old, &new);
    assert_eq!(frames(&delta).frames().iter().filter(|frame| frame.section == Section::Contents).count(), 2);
    let operation = |store: &Store| apply(store, &delta, &new).map(drop);
    Case { set_up: || Fixture::quick(&old), operation, images: [&old, &new] }.fails_at_every_call();
}

#[test]
fn installing_survives_a_fault_at_every_call() {
    let (old, new) = (before(), after());
    let install = |store: &Store| store.install(&new.input(), &rootless()).map(drop);
    Case { set_up: || Fixture::quick(&old), operation: install, images: [&old, &new] }.fails_at_every_call();
}

type Dynamic<'a> = Case<'a, &'a dyn Fn() -> Fixture, &'a dyn Fn(&Store) -> Result<(), ApplyError>>;

fn rolling_back(fails: impl FnOnce(&Dynamic<'_>)) {
    let (old, new) = (before(), after());
    let set_up = || {
        let fixture = Fixture::quick(&old);
        fixture.install(&new).unwrap();
        fixture
    };
    let operation = |store: &Store| store.rollback(&rootless()).map(drop);
    fails(&Case { set_up: &set_up, operation: &operation, images: [&new, &old] });
}

#[test]
fn rolling_back_survives_a_fault_at_every_call() {
    rolling_back(|case| case.fails_at_every_call());
}

/// The third of three releases makes the first garbage: a fault while that is removed is no failure of the update.
#[test]
fn collecting_survives_a_fault_at_every_call() {
    let (first, old, new) = (Builder::new().file("first", b"1").build(None), before(), after());
    let delta = delta(&old, &new);
    let set_up = || {
        let fixture = Fixture::quick(&first);
        fixture.install(&old).unwrap();
        fixture
    };
    let operation = |store: &Store| apply(store, &delta, &new).map(drop);
    Case { set_up, operation, images: [&old, &new] }.fails_at_every_call();
}

#[test]
fn applying_survives_a_fault_at_every_read() {
    let (old, new) = (before(), after());
    let delta = in_small_frames(&old, &new);
    let operation = |store: &Store| apply(store, &delta, &new).map(drop);
    Case { set_up: || Fixture::quick(&old), operation, images: [&old, &new] }.fails_at_every_read();
}

/// What was staged is read again: where that fails, it is staged anew.
#[test]
fn going_on_survives_a_fault_at_every_read() {
    let (old, new) = (before(), after());
    let delta = in_small_frames(&old, &new);
    let set_up = || {
        let fixture = Fixture::quick(&old);
        let mut source = Watched::failing_at(&delta, frames(&delta).frames().last().unwrap().offset);
        fixture.store.apply(&mut source, Expectation::TrustDelta, &rootless()).unwrap_err();
        fixture
    };
    let operation = |store: &Store| apply(store, &delta, &new).map(drop);
    Case { set_up, operation, images: [&old, &new] }.fails_at_every_read();
}

#[test]
fn installing_survives_a_fault_at_every_read() {
    let (old, new) = (before(), after());
    let operation = |store: &Store| store.install(&new.input(), &rootless()).map(drop);
    Case { set_up: || Fixture::quick(&old), operation, images: [&old, &new] }.fails_at_every_read();
}

#[test]
fn rolling_back_survives_a_fault_at_every_read() {
    rolling_back(|case| case.fails_at_every_read());
}

/// Recovering is itself cut off, at every call, and done again.
#[test]
fn recovering_survives_a_fault_at_every_call() {
    let (old, new) = (before(), after());
    let delta = in_small_frames(&old, &new);
    let set_up = || {
        let fixture = Fixture::quick(&old);
        let options = Options { trial_starts: Some(0), ..rootless() };
        fixture.store.install(&new.input(), &options).unwrap();
        fixture
    };
    // What is staged leads from a release that is not current any more, and the trial of the current one is over.
    let leave_staged = |fixture: &Fixture| {
        fixture.store.rollback(&rootless()).unwrap();
        let other = Fixture::quick(&old);
        let mut source = Watched::failing_at(&delta, frames(&delta).frames().last().unwrap().offset);
        other.store.apply(&mut source, Expectation::TrustDelta, &rootless()).unwrap_err();
        let name = new.id().to_string();
        let (from, to) = (other.store.path().join("staging"), fixture.store.path().join("staging"));
        std::fs::rename(from.join(&name), to.join(&name)).unwrap();
        let link = fixture.store.path().join("current");
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(format!("releases/{name}"), &link).unwrap();
        std::fs::write(fixture.store.path().join("current.tmp"), "").unwrap();
    };
    let set_up = || {
        let fixture = set_up();
        leave_staged(&fixture);
        fixture
    };
    let counting = disk(None);
    let fixture = set_up();
    let recovered = fixture.through(Arc::clone(&counting)).recover(&rootless()).unwrap();
    assert_eq!(recovered.removed.len(), 2, "{recovered:?}");
    assert_eq!(recovered.rolled_back, Some(RolledBack { from: new.id(), to: old.id() }));
    let calls = counting.calls();
    for (at, call) in calls.iter().enumerate() {
        for fault in [Fault::Stop, Fault::BROKEN] {
            let fixture = set_up();
            let first = fixture.through(disk(Some((at, fault)))).recover(&rootless());
            fixture.store.recover(&rootless()).unwrap();
            let context = format!("{fault:?} at call {at}, {call}: {first:?}");
            assert_eq!(fixture.store.current().unwrap().unwrap().id, old.id(), "{context}");
            fixture.assert_current(&old);
            assert_eq!(fixture.names(""), ["current", "lock", "releases", "staging"], "{context}");
            assert_eq!(fixture.names("staging"), [""; 0], "{context}");
        }
    }
}
