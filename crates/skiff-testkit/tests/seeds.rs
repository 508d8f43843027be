//! Replays the committed seeds of every fuzz target, so that a plain `cargo test` keeps what fuzzing taught.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use skiff_testkit::fuzz::{Reached, TARGETS, any_programs, apply_store, delta_structure};

const AGAIN: &str = "write seeds anew: cargo run -p skiff-testkit --features fuzz --example write-seeds";

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}; {AGAIN}", directory.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    entries.map(|entry| name(entry).expect("because seeds have plain names")).collect()
}

#[test]
fn every_target_has_a_body_a_program_and_seeds() {
    let bodies: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs = names(&fuzz().join("fuzz_targets"));
    let programs: BTreeSet<String> =
        programs.iter().map(|name| name.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(bodies, programs);
    assert_eq!(bodies, names(&fuzz().join("seeds")));
}

#[test]
fn seeds_replay_and_the_good_ones_are_still_good() {
    for (target, body) in TARGETS {
        let directory = fuzz().join("seeds").join(target);
        let (mut accepted, mut all) = (0, 0);
        for name in names(&directory) {
            let bytes = fs::read(directory.join(&name)).expect("because the name was just listed");
            let reached = body(&bytes);
            let stale = name.starts_with("ok-") && reached == Reached::Refused;
            assert!(!stale, "{target} refuses {name}: the format has moved on; {AGAIN}");
            accepted += usize::from(reached == Reached::Accepted);
            all += 1;
        }
        assert!(
            accepted >= 2 && all >= 4,
            "{target} has too few seeds: {accepted} good ones of {all}; {AGAIN}"
        );
    }
}

/// Any changes of golden deltas: how many of so many were taken. More where `SKIFF_CHANGED_DELTAS` says how many times as many.
fn changed(body: fn(&[u8]) -> Reached, count: usize) -> (usize, usize) {
    let times = std::env::var("SKIFF_CHANGED_DELTAS").map_or(1, |times| times.parse().expect("a number"));
    let count = count * times;
    let taken = any_programs().take(count).filter(|program| {
        let reached = std::panic::catch_unwind(|| body(program));
        reached.unwrap_or_else(|_| panic!("this program: {program:?}")) == Reached::Accepted
    });
    (taken.count(), count)
}

#[test]
fn changed_deltas_are_decoded_as_a_naive_decoder_does() {
    let (taken, of) = changed(delta_structure, 600);
    println!("{taken} of {of} changed deltas were taken, each by both decoders");
    assert!(taken * 10 >= of, "the inside is not reached: {taken} of {of} were taken");
}

#[test]
fn changed_deltas_leave_a_store_with_the_old_or_the_new_release() {
    let (applied, of) = changed(apply_store, 150);
    println!("{applied} of {of} changed deltas were applied");
    assert!(applied * 20 >= of, "the inside is not reached: {applied} of {of} were applied");
}
