//! Starting a release, and seeing whether it gets healthy.

use std::time::{Duration, Instant};

use skiff_apply::{ApplyError, ErrorClass, RolledBack};
use skiff_fs::{Control, Interrupted};
use skiff_protocol::{Outcome, Phase, Text};
use skiff_tree::ReleaseId;

use crate::device::Device;
use crate::journal::Refused;
use crate::lock::{Found, UpdateLock, UpdateLocked};
use crate::policy::Failure;
use crate::runner::{RunState, RunnerError};
use crate::{Event, SupervisorError};

/// How often it is looked whether a program runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a command is run that has not ended well yet.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// After how long it is tried again to start what could not be started.
const START_AGAIN: Duration = Duration::from_secs(1);

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The release stays.
    Healthy,
    /// It does not, and why.
    Unhealthy(String),
}

impl Device {
    /// Starts the store's current release, and sees whether it gets healthy, where it has not shown that already. One that does not
    /// is rolled back. Whatever ends this, what runs is kept running.
    pub(crate) fn try_current(
        &self,
        release: ReleaseId,
        control: &Control<'_>,
    ) -> Result<Verdict, SupervisorError> {
        self.teller.phase(Phase::Swapping, 0);
        let verdict = self.judge(release, control).inspect_err(|_| self.keeper.keep())?;
        match &verdict {
            Verdict::Healthy => self.confirm(release)?,
            Verdict::Unhealthy(cause) => self.roll_back(release, cause)?,
        }
        Ok(verdict)
    }

    fn judge(&self, release: ReleaseId, control: &Control<'_>) -> Result<Verdict, SupervisorError> {
        let mut lock = self.wait_for_lock(release, control)?;
        let begun = Instant::now();
        loop {
            match self.keeper.start(&self.store, release, self.options.stop_grace, lock.take()) {
                Ok(()) => break,
                // What the one before, or the system, is at fault for passes.
                Err(SupervisorError::Runner(error))
                    if !matches!(error, RunnerError::Config { .. }) && begun.elapsed() < self.within() =>
                {
                    control.wait(START_AGAIN)?;
                }
                Err(SupervisorError::Runner(error)) => return Ok(Verdict::Unhealthy(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        self.teller.running(Some(release));
        self.teller.tell(&Event::Started { release: release.into() });
        self.watch(release, control)
    }

    /// Within what time a release has to get healthy.
    fn within(&self) -> Duration {
        self.options.health.within.max(self.options.health.settle)
    }

    /// Waits while somebody must not be restarted. Where nothing else runs, nobody is.
    fn wait_for_lock(
        &self,
        release: ReleaseId,
        control: &Control<'_>,
    ) -> Result<Option<UpdateLocked>, SupervisorError> {
        let Some(path) = &self.options.update_lock else { return Ok(None) };
        let lock = UpdateLock::new(path.clone());
        let mut is_told = false;
        loop {
            if !matches!(self.keeper.state(), Ok(RunState::Running(running)) if running != release) {
                return Ok(None);
            }
            if let Found::Free(lock) = lock.take() {
                return Ok(lock);
            }
            if !std::mem::replace(&mut is_told, true) {
                self.teller.tell(&Event::Held { release: release.into() });
            }
            control.wait(LOOK_EVERY)?;
        }
    }

    fn watch(&self, release: ReleaseId, control: &Control<'_>) -> Result<Verdict, SupervisorError> {
        let health = &self.options.health;
        let started = Instant::now();
        let mut probed: Option<Instant> = None;
        let mut is_well = health.command.is_none();
        loop {
            // What cannot be told now may be later: the time decides.
            let is_running = match self.keeper.state() {
                Ok(RunState::Running(running)) => running == release,
                Ok(other) => return Ok(Verdict::Unhealthy(other.to_string())),
                Err(_) => false,
            };
            let is_due = probed.is_none_or(|probed| probed.elapsed() >= PROBE_EVERY);
            if let Some(command) = health.command.as_ref().filter(|_| !is_well && is_due) {
                is_well = self.keeper.probe(command, health.command_within).unwrap_or(false);
                probed = Some(Instant::now());
            }
            if is_running && is_well && started.elapsed() >= health.settle {
                return Ok(Verdict::Healthy);
            }
            if started.elapsed() >= self.within() {
                let what = format!("it did not get healthy within {} s", self.within().as_secs_f64());
                return Ok(Verdict::Unhealthy(what));
            }
            control.wait(LOOK_EVERY)?;
        }
    }

    /// The release stays: from now on it is kept running.
    pub(crate) fn confirm(&self, release: ReleaseId) -> Result<(), SupervisorError> {
        self.keeper.keep();
        self.once_free(&self.until_over(), || self.store.confirm())?;
        let update = self.entries().update.filter(|update| update.target.0 == release);
        let outcome = update.map(|update| Outcome {
            target: update.target,
            succeeded: true,
            by_delta: update.by_delta,
            cause: update.cause,
            received: update.received,
        });
        if let Some(outcome) = outcome {
            let (by_delta, received) = (outcome.by_delta, outcome.received);
            self.ended(outcome, None);
            self.teller.tell(&Event::Updated { release: release.into(), by_delta, received });
        }
        self.tidy();
        Ok(())
    }

    /// Goes back to the release before, and remembers not to try this one again. Another target does not end this, as what runs
    /// does not work.
    pub(crate) fn roll_back(&self, from: ReleaseId, cause: &str) -> Result<(), SupervisorError> {
        let control = self.until_over();
        let options = self.store_options(control, None);
        // Written down before, so that a cut does not make it forgotten.
        let refused = Refused { release: Text(from), cause: cause.into() };
        self.change(|entries| entries.refused = Some(refused));
        match self.once_free(&control, || self.store.rollback(&options)) {
            Ok(RolledBack { to, .. }) => {
                self.refused(from, cause);
                self.teller.tell(&Event::RolledBack {
                    from: from.into(),
                    to: to.into(),
                    cause: cause.into(),
                });
                self.run(to)
            }
            Err(error) if matches!(error, ApplyError::NoPrevious) || error.class() == ErrorClass::Damaged => {
                // There is nothing better to run.
                self.refused(from, &format!("{cause}; {error}"));
                self.run(from)
            }
            Err(error) => {
                self.keeper.keep();
                Err(error.into())
            }
        }
    }

    /// Starts a release that is run whatever comes of it, and keeps it running.
    pub(crate) fn run(&self, release: ReleaseId) -> Result<(), SupervisorError> {
        let started = self.keeper.start(&self.store, release, self.options.stop_grace, None);
        self.keeper.keep();
        match started {
            Ok(()) => {
                self.teller.running(Some(release));
                self.teller.tell(&Event::Started { release: release.into() });
                Ok(())
            }
            Err(SupervisorError::Runner(error)) => {
                self.keeper.failed(release, error.to_string(), &self.teller);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers that a release did not get healthy, and tells.
    pub(crate) fn refused(&self, release: ReleaseId, cause: &str) {
        let update = self.entries().update.filter(|update| update.target.0 == release);
        let outcome = Outcome {
            target: Text(release),
            succeeded: false,
            by_delta: update.as_ref().is_some_and(|update| update.by_delta),
            cause: Some(format!("{}: {cause}", Failure::Unhealthy)),
            received: update.map_or(0, |update| update.received),
        };
        self.ended(outcome, Some(Refused { release: Text(release), cause: cause.into() }));
        self.alarm(Failure::Unhealthy, &cause);
    }

    /// Remembers how an update ended, and tells the server.
    pub(crate) fn ended(&self, outcome: Outcome, refused: Option<Refused>) {
        self.change(|entries| {
            entries.update = None;
            entries.outcome = Some(outcome.clone());
            if refused.is_some() {
                entries.refused = refused;
            }
        });
        self.teller.outcome(Some(outcome));
    }

    /// Removes what no release needs any more.
    fn tidy(&self) {
        let tidied = self.store.status().map_err(SupervisorError::from).and_then(|status| {
            let kept: Vec<_> = status.current.iter().chain(&status.previous).map(|info| info.id).collect();
            self.keeper.collect(&kept)
        });
        if let Err(error) = tidied {
            self.teller.tell(&Event::Recovered { what: format!("nothing removed: {error}") });
        }
    }
}

impl From<Interrupted> for SupervisorError {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}
