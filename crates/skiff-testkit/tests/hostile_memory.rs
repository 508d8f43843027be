//! Deltas that ask for much, and changed ones, replayed: no more memory is taken than the limits grant. Counted by an allocator, which
//! does not see what C libraries take; a test of the command holds those.

use peak_alloc::PeakAlloc;
use skiff_replay::Limits;
use skiff_testkit::fuzz::{ChangedDelta, Reached, any_programs, bombs};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: u64 = 1 << 20;

/// What replaying may take beside the base's tree, as the limits are documented.
fn granted(limits: &Limits) -> u64 {
    let container = &limits.format;
    let frames = 4 * container.header_bytes + 2 * container.frame_bytes + container.dictionary_bytes + MIB;
    // Entries are told to take about 200 bytes beside their paths and attributes; a section is held beside them, and to complete a
    // tree makes it anew.
    let tree = 2 * (limits.tree.bytes + limits.tree.entries * 200) + limits.sections.0;
    // What waits to be written, and the files of the base that are held for a record.
    let replay = MIB + 4 * MIB;
    frames + tree + replay + limits.patch.memory_bytes + MIB
}

/// The most that is held while this is done, beside what was held before, and what came of it.
fn peak<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let done = work();
    (ALLOCATOR.peak_usage().saturating_sub(before) as u64, done)
}

/// One test, so that no other allocates meanwhile.
#[test]
fn hostile_deltas_take_no_more_memory_than_the_limits_grant() {
    let mut limits = Limits::default();
    limits.format.header_bytes = 64 << 10;
    limits.patch.memory_bytes = 32 * MIB;
    (limits.tree.entries, limits.tree.bytes, limits.sections.0) = (20_000, 8 * MIB, 4 * MIB);
    let bound = granted(&limits);
    for bomb in bombs() {
        let (held, ended) = peak(|| bomb.replay_to_nowhere(limits.clone()));
        println!("{}: {} bytes of delta, {held} held of {bound}: {ended:?}", bomb.name, bomb.delta.len());
        assert!(bomb.delta.len() < 128 << 10, "{} is no bomb: {} bytes", bomb.name, bomb.delta.len());
        let is_refused_for_size = ended.as_ref().is_err_and(|error| error.contains("limit"));
        assert!(ended.is_ok() == bomb.is_honest || is_refused_for_size, "{}: {ended:?}", bomb.name);
        let is_no_bomb = ended.as_ref().is_err_and(|error| error.contains("far more than comes of it"));
        assert!(!is_no_bomb, "{}: it was refused before it could grow: {ended:?}", bomb.name);
        assert!(held <= bound, "{}: {held} bytes held, {bound} granted", bomb.name);
    }

    let (mut most, mut taken) = (0, 0);
    for program in any_programs().take(200) {
        let changed = ChangedDelta::read(&program);
        let (held, ended) = peak(|| changed.replay_to_nowhere());
        most = most.max(held);
        taken += usize::from(ended == Reached::Accepted);
        assert!(held <= granted(&changed.limits()), "{program:?}: {held} bytes held");
    }
    println!("200 changed deltas, {taken} taken: {most} held at most");
}
