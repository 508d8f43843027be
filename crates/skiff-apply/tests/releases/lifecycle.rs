//! The life of a store, as an ordinary user has one.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::AtomicBool;

use crate::common::*;
use skiff_apply::*;

#[test]
fn install_apply_verify_roll_back_and_apply_again() {
    let (old, new) = (old(), new());
    let fixture = Fixture::empty();
    assert!(fixture.store.current().unwrap().is_none());
    let installed = fixture.install(&old).unwrap();
    assert_eq!((installed.outcome, installed.previous), (InstallOutcome::Installed, None));
    fixture.assert_current(&old);

    let delta = delta(&old, &new);
    let applied = fixture.apply(&delta, &new).unwrap();
    assert_eq!((applied.outcome, applied.previous), (Outcome::Applied, Some(old.id())));
    assert!(applied.leftover.is_none() && applied.sharing.hard_linked_bytes == 0);
    fixture.assert_current(&new);
    let status = fixture.store.status().unwrap();
    assert_eq!(status.previous.unwrap().id, old.id());
    let current = status.current.unwrap();
    assert!(matches!(current.origin, Origin::Apply { delta_bytes, base, .. }
        if delta_bytes == delta.len() as u64 && base == old.id()));
    assert_eq!(current.ownership, Ownership::Record);
    assert_eq!(current.trial, Trial::OnTrial { starts: None });
    assert_eq!(fixture.names("staging"), [""; 0]);

    assert_eq!(fixture.apply(&delta, &new).unwrap().outcome, Outcome::AlreadyCurrent);
    assert_eq!(fixture.store.rollback(&rootless()).unwrap(), RolledBack { from: new.id(), to: old.id() });
    fixture.assert_current(&old);
    assert!(matches!(fixture.store.rollback(&rootless()), Err(ApplyError::NoPrevious)));

    // It is still there, so that only the delta's header is read.
    let mut source = Watched::new(&delta);
    let applied = fixture.store.apply(&mut source, Expectation::TrustDelta, &rootless()).unwrap();
    assert_eq!(applied.outcome, Outcome::Reused);
    assert_eq!(source.read, frames(&delta).bytes().len() as u64);
    fixture.assert_current(&new);
    assert_eq!(fixture.store.status().unwrap().previous.unwrap().id, old.id());
    let recovered = fixture.store.recover(&rootless()).unwrap();
    assert!(recovered.found_nothing(), "{recovered:?}");
}

/// The layout is a promise to who mounts releases and to who looks after a device by hand.
#[test]
fn the_layout_is_the_documented_one() {
    let (old, new) = (old(), new());
    let fixture = Fixture::with(&old);
    fixture.apply(&delta(&old, &new), &new).unwrap();
    let store = fixture.store.path();
    assert_eq!(fixture.names(""), ["current", "lock", "releases", "staging"]);
    assert_eq!(
        fs::read_link(store.join("current")).unwrap().to_str(),
        Some(&*format!("releases/{}", new.id()))
    );
    let names = ["config.json", "lease", "manifest.json", "release.json", "rootfs", "tree"];
    assert_eq!(fixture.names("current"), names);
    for directory in ["releases", "staging", "current/"] {
        assert_eq!(fs::metadata(store.join(directory)).unwrap().mode() & 0o7777, 0o700, "{directory}");
    }
    assert_eq!(fs::read(store.join("current/config.json")).unwrap(), new.config.clone().unwrap());
    assert_eq!(fs::read(store.join("current/manifest.json")).unwrap(), new.manifest.clone().unwrap());
    assert_eq!(fixture.store.rootfs(new.id()), store.join(format!("releases/{}/rootfs", new.id())));
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(store.join("current/release.json")).unwrap()).unwrap();
    assert_eq!(json["previous"], old.id().to_string());
    assert_eq!(json["ownership"], "recorded");
    assert_eq!(json["trial"]["state"], "on-trial");
    let inode = |path: &str| fs::symlink_metadata(store.join("current/rootfs").join(path)).unwrap();
    assert_eq!(inode("bin/tool").ino(), inode("bin/tool-link").ino());
    assert_ne!(inode("etc/motd").ino(), inode("etc/motd.copy").ino());
    assert_eq!(inode("etc").mtime(), 23);
    assert!(
        fs::symlink_metadata(store.join("current/rootfs/zero")).is_err(),
        "a device made by a rootless store"
    );
}

#[test]
fn wrong_deltas_are_refused_before_anything_is_written() {
    let (old, new) = (old(), new());
    let other = Builder::new().file("x", b"x").build(None);
    let forward = delta(&old, &new);
    let fixture = Fixture::empty();
    let error = fixture.apply(&forward, &new).unwrap_err();
    assert!(matches!(error, ApplyError::WrongBase { found: None, expected } if expected == old.id()));
    fixture.install(&other).unwrap();
    let error = fixture.apply(&forward, &new).unwrap_err();
    assert!(matches!(error, ApplyError::WrongBase { found, expected }
        if found == Some(other.id()) && expected == old.id()));
    assert_eq!(error.class(), ErrorClass::WrongRelease);

    let fixture = Fixture::with(&old);
    let error = fixture.apply(&forward, &other).unwrap_err();
    assert!(matches!(error, ApplyError::WrongTarget { found, expected }
        if found == new.id() && expected == other.id()));
    assert_eq!(fixture.names("staging"), [""; 0]);
    let options = Options { ownership: Ownership::Record, ..Options::default() };
    let mut limited = options.clone();
    limited.limits.format.decoder_memory = 1;
    let mut source = SeekableDelta::new(Cursor::new(&forward));
    let error = fixture.store.apply(&mut source, Expectation::TrustDelta, &limited).unwrap_err();
    assert!(matches!(error, ApplyError::LimitExceeded { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Unsupported);
    assert_eq!(fixture.names("staging"), [""; 0]);
    fixture.assert_current(&old);
}

#[test]
fn config_alone_makes_another_release() {
    let (first, second) = (old(), Image { config: Some(b"other".to_vec()), ..old() });
    let fixture = Fixture::with(&first);
    let applied = fixture.apply(&delta(&first, &second), &second).unwrap();
    assert_eq!(applied.written_bytes, 0);
    fixture.assert_current(&second);
    let third = Image { config: None, manifest: None, ..old() };
    fixture.apply(&delta(&second, &third), &third).unwrap();
    fixture.assert_current(&third);
    assert!(!fixture.store.path().join("current/config.json").exists());
    assert_eq!(fixture.names("releases").len(), 2, "the first is garbage");
}

#[test]
fn what_is_no_store_is_not_taken_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::default();
    let nothing = directory.path().join("nothing");
    for path in [&nothing, directory.path()] {
        let error = Store::open(path, &options).unwrap_err();
        assert!(matches!(error, ApplyError::NotAStore { .. }), "{error}");
        assert_eq!(error.class(), ErrorClass::Usage);
    }
    assert!(!nothing.exists());
    fs::write(directory.path().join("letters"), "dear").unwrap();
    assert!(matches!(Store::create(directory.path(), &options), Err(ApplyError::NotAStore { .. })));
    // The mount point of a file system of its own.
    let mount = directory.path().join("mount");
    fs::create_dir_all(mount.join("lost+found")).unwrap();
    let store = Store::create(&mount, &options).unwrap();
    assert!(matches!(store.verify(&rootless()), Err(ApplyError::NotAStore { .. })));
    assert!(matches!(store.rollback(&rootless()), Err(ApplyError::NotAStore { .. })));
    assert_eq!(store.status().unwrap(), Store::open(&mount, &options).unwrap().status().unwrap());
}

#[test]
fn one_at_a_time() {
    let (old, new) = (old(), new());
    let fixture = Fixture::with(&old);
    let other = Store::open(fixture.store.path(), &StoreOptions::default()).unwrap();
    let busy = AtomicBool::new(false);
    let progress = |_| {
        for result in
            [other.confirm().err(), other.rollback(&rootless()).err(), other.recover(&rootless()).err()]
        {
            assert!(matches!(result, Some(ApplyError::Busy { .. })), "{result:?}");
        }
        assert_eq!(other.status().unwrap().current.unwrap().id, old.id());
        busy.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let options = with_control(Control { progress: Some(&progress), ..Control::default() });
    let delta = delta(&old, &new);
    let mut source = OnePassDelta::new(&delta[..]);
    fixture.store.apply(&mut source, Expectation::TrustDelta, &options).unwrap();
    assert!(busy.into_inner());
    fixture.assert_current(&new);
}

#[test]
fn one_decides_what_runs_and_keeps_nobody_from_working() {
    let (old, new) = (old(), new());
    let fixture = Fixture::with(&old);
    let other = Store::open(fixture.store.path(), &StoreOptions::default()).unwrap();
    let claim = fixture.store.claim().unwrap();
    let refused = other.claim().unwrap_err();
    let releases = other.path().join("releases");
    assert!(matches!(&refused, ApplyError::Busy { path } if *path == releases), "{refused}");
    // Somebody else who could open it could keep the device from starting.
    assert_eq!(std::fs::metadata(&releases).unwrap().permissions().mode() & 0o077, 0);
    apply(&other, &delta(&old, &new), &new).unwrap();
    other.recover(&rootless()).unwrap();
    drop(claim);
    other.claim().unwrap();
    fixture.assert_current(&new);
}

fn collect(fixture: &Fixture, keep: KeepPolicy) -> Result<Collected, ApplyError> {
    fixture.store.collect(&Options { keep, ..rootless() })
}

#[test]
fn leased_releases_stay() {
    let images: Vec<Image> = (0..4).map(|n| Builder::new().file("n", &[n]).build(None)).collect();
    let fixture = Fixture::with(&images[0]);
    let lease = fixture.store.lease(images[0].id()).unwrap();
    let second = fixture.store.lease(images[0].id()).unwrap();
    fixture.install(&images[1]).unwrap();
    let installed = fixture.install(&images[2]).unwrap();
    assert_eq!(installed.collected.leased, [images[0].id()]);
    assert_eq!(fixture.store.status().unwrap().others, [images[0].id()]);
    drop(lease);
    assert_eq!(collect(&fixture, KeepPolicy::CurrentAndPrevious).unwrap().leased, [images[0].id()]);
    drop(second);
    assert_eq!(collect(&fixture, KeepPolicy::CurrentAndPrevious).unwrap().removed, [images[0].id()]);
    assert!(matches!(fixture.store.lease(images[0].id()), Err(ApplyError::NoSuchRelease { .. })));

    let keep_all = Options { keep: KeepPolicy::Everything, ..rootless() };
    fixture.store.install(&images[3].input(), &keep_all).unwrap();
    assert_eq!(fixture.names("releases").len(), 3);
    // On trial there has to be a way back.
    let collected = collect(&fixture, KeepPolicy::CurrentOnly).unwrap();
    assert_eq!(collected.removed, [images[1].id()]);
    fixture.store.confirm().unwrap();
    assert_eq!(collect(&fixture, KeepPolicy::CurrentOnly).unwrap().removed, [images[2].id()]);
    assert!(matches!(fixture.store.rollback(&rootless()), Err(ApplyError::NoPrevious)));
}

#[test]
fn a_trial_that_takes_too_many_starts_is_rolled_back() {
    let (old, new) = (old(), new());
    let fixture = Fixture::with(&old);
    fixture.store.confirm().unwrap();
    let options = Options { trial_starts: Some(2), ..rootless() };
    let delta = delta(&old, &new);
    let mut source = SeekableDelta::new(Cursor::new(&delta));
    fixture.store.apply(&mut source, Expectation::TrustDelta, &options).unwrap();
    for start in 1..=2 {
        let recovered = fixture.store.recover(&rootless()).unwrap();
        assert_eq!((recovered.starts_taken, recovered.rolled_back), (Some(start), None));
        assert_eq!(fixture.store.current().unwrap().unwrap().starts_taken, start);
    }
    let recovered = fixture.store.recover(&rootless()).unwrap();
    assert_eq!(recovered.rolled_back, Some(RolledBack { from: new.id(), to: old.id() }));
    fixture.assert_current(&old);
    assert_eq!(fixture.store.recover(&rootless()).unwrap().starts_taken, None, "it was confirmed");

    // Once more, and this time it proves itself.
    fixture.store.apply(&mut source, Expectation::TrustDelta, &options).unwrap();
    fixture.store.recover(&rootless()).unwrap();
    assert_eq!(fixture.store.confirm().unwrap(), new.id());
    for _ in 0..5 {
        assert!(fixture.store.recover(&rootless()).unwrap().found_nothing());
    }
    assert_eq!(fixture.store.current().unwrap().unwrap().trial, Trial::Confirmed);
    assert_eq!(fixture.store.current().unwrap().unwrap().starts_taken, 0);
}

#[test]
fn trials_one_on_another_lead_back_to_what_proved_itself() {
    let fixture = Fixture::with(&old());
    fixture.store.confirm().unwrap();
    let options = Options { trial_starts: Some(1), ..rootless() };
    let third = Builder::new().file("third", b"3").build(None);
    fixture.store.install(&new().input(), &options).unwrap();
    fixture.store.install(&third.input(), &options).unwrap();
    let mut back = Vec::new();
    for _ in 0..4 {
        back.extend(fixture.store.recover(&rootless()).unwrap().rolled_back.map(|back| back.to));
    }
    assert_eq!(back, [new().id(), old().id()]);
    fixture.assert_current(&old());
}

#[test]
fn a_trial_without_a_way_back_stays_and_says_so() {
    let options = Options { trial_starts: Some(0), ..rootless() };
    let fixture = Fixture::empty();
    fixture.store.install(&old().input(), &options).unwrap();
    let recovered = fixture.store.recover(&rootless()).unwrap();
    assert!(matches!(recovered.unresolved, Some(ApplyError::NoPrevious)), "{recovered:?}");
    fixture.assert_current(&old());
    // A count that was lost ends the trial as well.
    let fixture = Fixture::with(&old());
    fixture.store.install(&new().input(), &Options { trial_starts: Some(9), ..rootless() }).unwrap();
    fs::write(fixture.store.path().join("current/attempts"), "\0\0").unwrap();
    assert!(fixture.store.recover(&rootless()).unwrap().rolled_back.is_some());
    fixture.assert_current(&old());
}

#[test]
fn damage_is_told_and_a_full_pull_heals_it() {
    let (old, new) = (old(), new());
    let delta = delta(&old, &new);
    let fixture = Fixture::with(&old);
    let at = |name: &str| fixture.store.path().join("current").join(name);

    // A source of a patch.
    let mut tool = fs::read(at("rootfs/bin/tool")).unwrap();
    tool[77] ^= 1;
    fs::write(at("rootfs/bin/tool"), &tool).unwrap();
    let report = fixture.store.verify(&rootless()).unwrap();
    assert!(!report.is_sound());
    assert!(report.mismatches.iter().all(|mismatch| mismatch.path == path("bin/tool")), "{report:?}");
    let error = fixture.apply(&delta, &new).unwrap_err();
    assert!(matches!(&error, ApplyError::BaseDamaged { path: at, .. } if *at == path("bin/tool")), "{error}");
    assert_eq!(error.class(), ErrorClass::Damaged);
    assert_eq!(fixture.names("staging"), [""; 0]);
    assert_eq!(fixture.install(&old).unwrap().outcome, InstallOutcome::Repaired);
    fixture.assert_current(&old);
    assert_eq!(fixture.install(&old).unwrap().outcome, InstallOutcome::AlreadyCurrent);

    // An unchanged file: found when everything is read back.
    fs::write(at("rootfs/bin/su"), "unchanged but touched").unwrap();
    let error = fixture.apply(&delta, &new).unwrap_err();
    assert!(
        matches!(&error, ApplyError::VerificationFailed { mismatches, .. }
        if mismatches.iter().all(|mismatch| mismatch.path == path("bin/su"))),
        "{error}"
    );
    assert_eq!(fixture.names("staging"), [""; 0]);
    fixture.install(&old).unwrap();

    // The store's own files.
    for (name, bytes) in [("tree", &b"skiff-tree 1\n"[..]), ("config.json", b"{}"), ("release.json", b"{")] {
        fs::write(at(name), bytes).unwrap();
        let error = fixture.apply(&delta, &new).unwrap_err();
        assert!(matches!(error, ApplyError::StoreDamaged { .. }), "{name}: {error}");
        let recovered = fixture.store.recover(&rootless()).unwrap();
        assert_eq!(recovered.unresolved.is_some(), name == "release.json", "{name}");
        assert_eq!(fixture.install(&old).unwrap().outcome, InstallOutcome::Repaired, "{name}");
        fixture.assert_current(&old);
    }
    // The link itself.
    fs::remove_file(fixture.store.path().join("current")).unwrap();
    symlink("/etc", fixture.store.path().join("current")).unwrap();
    assert!(matches!(fixture.store.status(), Err(ApplyError::StoreDamaged { .. })));
    assert!(matches!(fixture.apply(&delta, &new), Err(ApplyError::StoreDamaged { .. })));
    assert!(fixture.store.recover(&rootless()).unwrap().unresolved.is_some());
    fixture.install(&new).unwrap();
    fixture.assert_current(&new);
}

#[test]
fn a_damaged_release_that_somebody_runs_is_replaced_and_removed_later() {
    let image = old();
    let fixture = Fixture::with(&image);
    let lease = fixture.store.lease(image.id()).unwrap();
    fs::write(fixture.store.rootfs(image.id()).join("bin/su"), "damaged").unwrap();
    let installed = fixture.install(&image).unwrap();
    assert_eq!(installed.outcome, InstallOutcome::Repaired);
    assert!(matches!(installed.leftover, Some(ApplyError::Busy { .. })), "{installed:?}");
    fixture.assert_current(&image);
    fixture.store.recover(&rootless()).unwrap();
    let replaced = fixture.store.path().join("staging").join(image.id().to_string());
    assert_eq!(fs::read(replaced.join("release/rootfs/bin/su")).unwrap(), b"damaged");
    drop(lease);
    assert_eq!(fixture.store.recover(&rootless()).unwrap().removed.len(), 1);
    assert_eq!(fixture.names("staging"), [""; 0]);
}

#[test]
fn a_damaged_previous_release_is_not_rolled_back_to() {
    let (old, new) = (old(), new());
    let fixture = Fixture::with(&old);
    fixture.apply(&delta(&old, &new), &new).unwrap();
    fs::write(fixture.store.rootfs(old.id()).join("bin/su"), "x").unwrap();
    let error = fixture.store.rollback(&rootless()).unwrap_err();
    assert!(
        matches!(error, ApplyError::VerificationFailed { release, .. } if release == old.id()),
        "{error}"
    );
    fixture.assert_current(&new);
    // A delta that leads there writes it anew.
    let applied = fixture.apply(&delta(&new, &old), &old).unwrap();
    assert_eq!(applied.outcome, Outcome::Applied);
    fixture.assert_current(&old);
}

#[test]
fn hard_links_where_content_and_metadata_are_equal() {
    let (old, new) = (old(), new());
    let fixture = Fixture::with(&old);
    let options = Options { links: LinkPolicy::HardLinkUnchanged, ..rootless() };
    let delta = delta(&old, &new);
    let mut source = SeekableDelta::new(Cursor::new(&delta));
    let applied = fixture.store.apply(&mut source, Expectation::Release(new.id()), &options).unwrap();
    fixture.assert_current(&new);
    let inode = |release: &Image, path: &str| {
        fs::symlink_metadata(fixture.store.rootfs(release.id()).join(path)).unwrap().ino()
    };
    let sharing = applied.sharing;
    if sharing.reflinked_bytes == 0 {
        assert_eq!(inode(&old, "bin/su"), inode(&new, "bin/su"));
        assert_eq!(inode(&old, "etc/kept"), inode(&new, "etc/kept"));
        assert_ne!(inode(&new, "etc/kept"), inode(&new, "etc/kept-too"));
        assert_ne!(inode(&old, "etc/touched"), inode(&new, "etc/touched"));
        assert_eq!(sharing.copied_for_metadata_bytes, "touched ".len() as u64 * 300);
    }
    assert_eq!(fixture.store.rollback(&rootless()).unwrap().to, old.id());
    fixture.assert_current(&old);
}

#[test]
fn written_files_alone_are_read_back_where_that_is_wanted() {
    let (old, new) = (old(), new());
    let fixture = Fixture::with(&old);
    let delta = delta(&old, &new);
    let totals = std::sync::Mutex::new(Vec::new());
    let on_phase = |phase, total| totals.lock().unwrap().push((phase, total));
    let options = Options {
        verification: Verification::WrittenOnly,
        links: LinkPolicy::HardLinkUnchanged,
        on_phase: Some(&on_phase),
        ..rootless()
    };
    let mut source = SeekableDelta::new(Cursor::new(&delta));
    let applied = fixture.store.apply(&mut source, Expectation::TrustDelta, &options).unwrap();
    let unwritten = applied.sharing.hard_linked_bytes + applied.sharing.reflinked_bytes;
    let totals = totals.into_inner().unwrap();
    let phases: Vec<Phase> = totals.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, [Phase::Writing, Phase::Completing, Phase::Syncing, Phase::Verifying]);
    assert_eq!(totals[3].1 + unwritten, new.tree.totals().content_bytes);
    assert_eq!(totals[0].1, applied.written_bytes);
    assert_eq!(totals[0].1 + totals[1].1, new.tree.totals().content_bytes);
    fixture.assert_current(&new);
}

#[test]
fn stores_can_be_used_from_any_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<Store>();
    assert_send::<Options<'_>>();
    assert_send::<Lease>();
    assert_send::<Applied>();
    assert_send::<ApplyError>();
}
