//! A process that is killed in the middle of an update. By itself, because a process that is being started would hold
//! other tests' locks for a moment.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod common;

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Cursor};
use std::process::{Command, Stdio};
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

#[test]
fn killed_after_a_checkpoint_it_reads_only_what_comes_after() {
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
    assert!(matches!(fixture.apply(&delta, &new), Err(ApplyError::Busy { .. })));
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
