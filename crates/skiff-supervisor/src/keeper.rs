//! Keeps the current release's program running.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skiff_apply::{Lease, Store};
use skiff_tree::ReleaseId;

use crate::lock::UpdateLocked;
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

    /// Makes a release run in the place of whatever does, unless it runs already. It is not kept running yet. The update lock, where
    /// it was taken, is let go once nothing runs any more.
    pub(crate) fn start(
        &self,
        store: &Store,
        release: ReleaseId,
        grace: Duration,
        lock: Option<UpdateLocked>,
    ) -> Result<(), SupervisorError> {
        let mut kept = self.lock();
        let lease = store.lease(release)?;
        kept.is_kept = false;
        (kept.falls, kept.due) = (0, None);
        // What ran before is held until it is stopped.
        let before = kept.wanted.replace(lease);
        kept.started = Instant::now();
        if kept.runner.state().is_ok_and(|state| state == RunState::Running(release)) {
            return Ok(());
        }
        kept.runner.stop(grace)?;
        drop((before, lock));
        start(&mut *kept.runner, store, release)
    }

    /// What was to be started could not be: it is tried again.
    pub(crate) fn failed(&self, release: ReleaseId, how: String, teller: &Teller) {
        let event = self.lock().fell(release, how);
        teller.tell(&event);
    }

    /// What shall run.
    pub(crate) fn wanted(&self) -> Option<ReleaseId> {
        self.lock().wanted.as_ref().map(Lease::release)
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
        // Told once the lock is let go: whoever is told may look as well.
        if let Some(event) = self.lock().look(store) {
            teller.tell(&event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn look(&mut self, store: &Store) -> Option<Event> {
        let release = self.wanted.as_ref().map(Lease::release).filter(|_| self.is_kept)?;
        if let Some(due) = self.due {
            if Instant::now() < due {
                return None;
            }
            self.due = None;
            return Some(match start(&mut *self.runner, store, release) {
                Ok(()) => {
                    self.started = Instant::now();
                    Event::Started { release: release.into() }
                }
                Err(error) => self.fell(release, error.to_string()),
            });
        }
        match self.runner.state() {
            Ok(RunState::Running(running)) if running == release => {
                if self.started.elapsed() >= RAN_WELL {
                    self.falls = 0;
                }
                None
            }
            Ok(RunState::Ended { how, .. }) => Some(self.fell(release, how)),
            Ok(other) => Some(self.fell(release, other.to_string())),
            Err(error) => Some(self.fell(release, error.to_string())),
        }
    }

    fn fell(&mut self, release: ReleaseId, how: String) -> Event {
        let wait = FIRST_WAIT.saturating_mul(1 << self.falls.min(6)).min(LONGEST_WAIT);
        self.falls = self.falls.saturating_add(1);
        self.due = Instant::now().checked_add(wait);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Event::Ended { release: release.into(), how, wait_ms }
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
