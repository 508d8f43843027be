//! A process that is killed in the middle of an update, and several at one store. By themselves, because a process that is being
//! started would hold other tests' locks for a moment.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod common;

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Cursor};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::*;
use skiff_apply::*;

const CHILD: &str = "SKIFF_TEST_STORE";

/// Not a test by itself: the process that the test below kills.
#[test]
fn the_process_to_be_killed() {
    let Ok(path) = env::var(CHILD) else { return };
    let store = Store::open(&path, &StoreOptions::default()).unwrap();
    let delta = fs::read(format!("{path}.delta")).unwrap();
    let progress = |_| {
        if store.status().unwrap().staged.is_some_and(|staged| staged.resume_offset > delta.len() as u64 / 3)
        {
            println!("\nafter a checkpoint");
            std::thread::sleep(Duration::from_secs(60));
        }
    };
    let control = Control { progress: Some(&progress), ..Control::default() };
    let mut source = SeekableDelta::new(Cursor::new(&delta));
    store.apply(&mut source, Expectation::TrustDelta, &with_control(control)).unwrap();
}

/// Whatever changes a store that another process is changing is told so, and changes nothing; looking is allowed.
fn assert_all_busy(store: &Store, [old, new]: [&Image; 2], delta: &[u8]) {
    let staged = store.status().unwrap().staged;
    assert!(staged.is_some());
    let attempts = [
        ("apply", apply(store, delta, new).map(drop)),
        ("install", store.install(&new.input(), &rootless()).map(drop)),
        ("roll back", store.rollback(&rootless()).map(drop)),
        ("confirm", store.confirm().map(drop)),
        ("collect", store.collect(&rootless()).map(drop)),
        ("recover", store.recover(&rootless()).map(drop)),
    ];
    for (what, result) in attempts {
        let error = result.expect_err(what);
        assert!(matches!(error, ApplyError::Busy { .. }), "{what}: {error}");
        assert_eq!(error.class(), ErrorClass::Busy);
    }
    assert_sound(store, old);
    assert_eq!(store.status().unwrap().staged, staged);
}

/// One test at a time: see `mount::alone`.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn of_processes_at_one_store_each_is_done_or_told_that_another_is_at_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (old, new) = (old(), new());
    let delta = in_small_frames(&old, &new);
    let mut busy = 0;
    for _ in 0..8 {
        let fixture = Fixture::quick(&old);
        let path = fixture.store.path().to_str().unwrap();
        fs::write(format!("{path}.delta"), &delta).unwrap();
        let start = || {
            let mut child = Command::new(env::current_exe().unwrap());
            child.args(["--exact", "the_process_that_is_one_of_several", "--nocapture"]).env(CHILD, path);
            child.stdout(Stdio::piped()).spawn().unwrap()
        };
        let mut children = [start(), start()];
        while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            // What they staged is theirs, however often somebody recovers meanwhile.
            if let Err(error) = fixture.store.recover(&rootless()) {
                assert!(matches!(error, ApplyError::Busy { .. }), "{error}");
                busy += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let told = children.map(outcome);
        assert!(told.iter().all(|told| told == "done" || told == "busy"), "{told:?}");
        if !told.contains(&"done".into()) {
            // Each met the other, or the one who recovers.
            fixture.assert_current(&old);
            fixture.apply(&delta, &new).unwrap();
        }
        fixture.assert_current(&new);
        assert_eq!(fixture.names("staging"), [""; 0]);
    }
    assert!(busy > 0);
}

/// What a child told.
fn outcome(mut child: Child) -> String {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told: Vec<String> = lines.filter_map(|line| Some(line.strip_prefix("told ")?.to_owned())).collect();
    assert!(child.wait().unwrap().success());
    told.concat()
}

/// Not a test by itself: one of the processes of the test above.
#[test]
fn the_process_that_is_one_of_several() {
    let Ok(path) = env::var(CHILD) else { return };
    let store = Store::open(&path, &StoreOptions::default()).unwrap();
    let delta = fs::read(format!("{path}.delta")).unwrap();
    let mut source = SeekableDelta::new(Cursor::new(&delta));
    match store.apply(&mut source, Expectation::TrustDelta, &rootless()) {
        Ok(_) => println!("\ntold done"),
        Err(ApplyError::Busy { .. }) => println!("\ntold busy"),
        Err(other) => println!("\ntold {other}"),
    }
}

#[test]
fn killed_after_a_checkpoint_it_reads_only_what_comes_after() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (old, new) = (old(), new());
    let delta = in_small_frames(&old, &new);
    let fixture = Fixture::quick(&old);
    let path = fixture.store.path().to_str().unwrap();
    fs::write(format!("{path}.delta"), &delta).unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_process_to_be_killed", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reached = lines.map_while(Result::ok).any(|line| line == "after a checkpoint");
    assert!(reached, "the child ended by itself");
    // It holds the lock for as long as it lives.
    assert_all_busy(&fixture.store, [&old, &new], &delta);
    child.kill().unwrap();
    child.wait().unwrap();

    fixture.assert_current(&old);
    let offset = fixture.store.recover(&rootless()).unwrap().staged.unwrap().resume_offset;
    let mut source = Watched::new(&delta);
    let applied = fixture.store.apply(&mut source, Expectation::TrustDelta, &rootless()).unwrap();
    assert_eq!(applied.outcome, Outcome::Resumed { offset });
    assert_eq!(source.read, frames(&delta).bytes().len() as u64 + delta.len() as u64 - offset);
    fixture.assert_current(&new);
}
