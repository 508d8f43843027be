//! Keeps the current release's program running.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skiff_apply::{Lease, Store};
use skiff_tree::ReleaseId;

use crate::runner::{RunState, Runnable, Runner};
use crate::tell::Teller;
use crate::{Event, SupervisorError};

/// How long after it ended a program is started again: the first time, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A program that ran for so long did not fail at its start.
const RAN_WELL: Duration = Duration::from_secs(60);

/// Holds the runner. Whoever starts or stops something waits for whoever does.
pub(crate) struct Keeper(Mutex<Kept>);

struct Kept {
    runner: Box<dyn Runner>,
    /// What shall run, held so that it is not collected.
    wanted: Option<Lease>,
    /// Whether it is started again when it ends.
    is_kept: bool,
    started: Instant,
    /// How often in a row it ended soon.
    falls: u32,
    /// When it is started again, once it ended.
    due: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(runner: Box<dyn Runner>) -> Self {
        let started = Instant::now();
        Self(Mutex::new(Kept { runner, wanted: None, is_kept: false, started, falls: 0, due: None }))
    }

    /// Makes a release run in the place of whatever does, unless it runs already. It is not kept running yet.
    pub(crate) fn start(
        &self,
        store: &Store,
        release: ReleaseId,
        grace: Duration,
    ) -> Result<(), SupervisorError> {
        let mut kept = self.lock();
        kept.is_kept = false;
        (kept.falls, kept.due) = (0, None);
        let lease = store.lease(release)?;
        if kept.runner.state()? != RunState::Running(release) {
            kept.runner.stop(grace)?;
            kept.wanted = Some(lease);
            start(&mut *kept.runner, store, release)?;
        } else {
            kept.wanted = Some(lease);
        }
        kept.started = Instant::now();
        Ok(())
    }

    /// From now on what was started is started again when it ends.
    pub(crate) fn keep(&self) {
        self.lock().is_kept = true;
    }

    /// Stops what runs.
    pub(crate) fn stop(&self, grace: Duration) -> Result<(), SupervisorError> {
        let mut kept = self.lock();
        kept.runner.stop(grace)?;
        (kept.wanted, kept.is_kept) = (None, false);
        Ok(())
    }

    pub(crate) fn state(&self) -> Result<RunState, SupervisorError> {
        Ok(self.lock().runner.state()?)
    }

    pub(crate) fn probe(&self, command: &[String], timeout: Duration) -> Result<bool, SupervisorError> {
        Ok(self.lock().runner.probe(command, timeout)?)
    }

    /// Removes what is kept for other releases than these.
    pub(crate) fn collect(&self, keep: &[ReleaseId]) -> Result<(), SupervisorError> {
        Ok(self.lock().runner.collect(keep)?)
    }

    /// Looks whether what shall run does, and starts it again once that is due.
    pub(crate) fn look(&self, store: &Store, teller: &Teller) {
        let mut kept = self.lock();
        let Some(release) = kept.wanted.as_ref().map(Lease::release).filter(|_| kept.is_kept) else { return };
        if let Some(due) = kept.due {
            if Instant::now() < due {
                return;
            }
            kept.due = None;
            match start(&mut *kept.runner, store, release) {
                Ok(()) => {
                    kept.started = Instant::now();
                    teller.tell(&Event::Started { release: release.into() });
                }
                Err(error) => kept.fell(release, error.to_string(), teller),
            }
            return;
        }
        match kept.runner.state() {
            Ok(RunState::Running(running)) if running == release => {
                if kept.started.elapsed() >= RAN_WELL {
                    kept.falls = 0;
                }
            }
            Ok(RunState::Ended { how, .. }) => kept.fell(release, how, teller),
            Ok(other) => kept.fell(release, other.to_string(), teller),
            Err(error) => kept.fell(release, error.to_string(), teller),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn fell(&mut self, release: ReleaseId, how: String, teller: &Teller) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.falls.min(6)).min(LONGEST_WAIT);
        self.falls = self.falls.saturating_add(1);
        self.due = Instant::now().checked_add(wait);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        teller.tell(&Event::Ended { release: release.into(), how, wait_ms });
    }
}

fn start(runner: &mut dyn Runner, store: &Store, release: ReleaseId) -> Result<(), SupervisorError> {
    let config = store.config(release)?;
    let rootfs = store.rootfs(release);
    Ok(runner.start(&Runnable::new(release, &rootfs, config.as_deref()))?)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}
