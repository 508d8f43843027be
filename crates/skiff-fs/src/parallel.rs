//! The same work on many things, by a few threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{panic, thread};

use crate::FsError;

/// As many threads as the machine runs at once; one where it does not say.
pub(crate) fn available() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Does `work` on every job with `threads` threads, this one included, each with a state of its own from `state`.
/// The results come in no particular order. The first error ends it.
pub(crate) fn for_each<J: Sync, S, R: Send>(
    threads: NonZeroUsize,
    jobs: &[J],
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &J) -> Result<R, FsError> + Sync,
) -> Result<Vec<R>, FsError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = || {
        let mut own = state();
        let mut results = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            match work(&mut own, job) {
                Ok(result) => results.push(result),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(results)
    };
    let helpers = threads.min(available()).get().min(jobs.len()).saturating_sub(1);
    thread::scope(|scope| {
        // A thread that cannot be started is one fewer; the work gets done all the same.
        let spawned: Vec<_> = (0..helpers)
            .map_while(|_| thread::Builder::new().name("skiff-fs".into()).spawn_scoped(scope, run).ok())
            .collect();
        let mut all = run();
        for helper in spawned {
            let theirs = helper.join().unwrap_or_else(|payload| panic::resume_unwind(payload));
            all = match (all, theirs) {
                (Ok(mut all), Ok(theirs)) => {
                    all.extend(theirs);
                    Ok(all)
                }
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        all
    })
}
