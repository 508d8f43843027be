//! The power goes, at any instant, and the disk keeps what the model of [`skiff_testkit::crash`] lets it keep.
//!
//! Each operation is recorded once. Then, for every instant, every state of the disk is made that the model has, or, where they are
//! too many, a choice of them; a device is started on it, and has to find the old or the new release, whole, and to be able to go on. After that each sync
//! in turn is taken for one that does nothing: then a state has to be found on which that fails. A sync for which there is none
//! would not be worth its time.
//!
//! How many states there were is printed: `cargo test --workspace --test crash_states -- --nocapture`. With `SKIFF_DEPTH=1` in the
//! environment many more are tried.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod explore;

use cases::*;
use explore::{Case, Tally, prove, survive};
use skiff_testkit::crash::{Effort, Omissions};

/// For each run of the tests; for one at length where it is asked for.
fn quick() -> Effort {
    if std::env::var_os("SKIFF_DEPTH").is_some() {
        return deep();
    }
    Effort::default().exhaustive_up_to(1_000).with_random(60)
}

/// For small updates: everything.
fn whole() -> Effort {
    Effort::default().exhaustive_up_to(40_000)
}

/// For the long run.
fn deep() -> Effort {
    Effort::default().exhaustive_up_to(50_000).with_random(4_000).with_omissions(Omissions::OfEachPrefix)
}

#[test]
fn a_small_update_survives_every_state_there_is() {
    let cases: [fn() -> Case; 2] = [installing_a_pipe, installing_a_link];
    let prove_whole = |case: fn() -> Case| move || prove(&case(), &whole());
    let threads = cases.map(|case| std::thread::spawn(prove_whole(case)));
    let tallies = threads.map(|thread| thread.join().unwrap());
    assert!(tallies.iter().all(Tally::is_exhaustive), "{tallies:?}");
    let states: usize = tallies.iter().map(|tally| tally.states).sum();
    println!("{states} distinct states of two small updates, which are all");
    assert!(states >= 10_000, "{states} distinct states");
}

#[test]
fn making_a_store_survives_every_cut() {
    prove(&making(), &quick());
}

#[test]
fn installing_survives_every_cut() {
    prove(&installing(), &quick());
}

#[test]
fn installing_over_a_damaged_release_survives_every_cut() {
    prove(&repairing(), &quick());
}

#[test]
fn applying_survives_every_cut() {
    prove(&applying(), &quick());
}

#[test]
fn applying_with_hard_links_survives_every_cut() {
    prove(&applying_with_hard_links(), &quick());
}

#[test]
fn going_on_after_a_cut_survives_every_cut() {
    prove(&going_on(), &quick());
}

#[test]
fn applying_what_the_store_has_survives_every_cut() {
    prove(&applying_again(), &quick());
}

#[test]
fn rolling_back_survives_every_cut() {
    prove(&rolling_back(), &quick());
}

#[test]
fn confirming_survives_every_cut() {
    prove(&confirming(), &quick());
}

#[test]
fn counting_a_start_survives_every_cut() {
    prove(&counting(), &quick());
}

#[test]
fn recovering_survives_every_cut() {
    prove(&recovering(), &quick());
}

#[test]
fn collecting_survives_every_cut() {
    prove(&collecting(), &quick());
}

#[test]
fn a_change_of_one_file_survives_every_cut() {
    prove(&applying_little(), &quick());
}

// That each sync is needed is shown by the others, which sync in the same places.
#[test]
fn larger_updates_survive_many_cuts() {
    let states: usize =
        [installing_much(), applying_much()].iter().map(|case| survive(case, &quick()).states).sum();
    println!("{states} distinct states of two larger updates");
}
