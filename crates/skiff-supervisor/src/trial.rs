//! Starting a release, and seeing whether it gets healthy.

use std::time::{Duration, Instant};

use skiff_apply::{ApplyError, RolledBack};
use skiff_fs::{Control, Interrupted};
use skiff_protocol::{Outcome, Phase, Text};
use skiff_tree::ReleaseId;

use crate::device::Device;
use crate::journal::Refused;
use crate::lock::UpdateLock;
use crate::policy::Failure;
use crate::runner::RunState;
use crate::{Event, SupervisorError};

/// How often it is looked whether a program runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a command is run that has not ended well yet.
const PROBE_EVERY: Duration = Duration::from_secs(1);

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
    /// is rolled back.
    pub(crate) fn try_current(
        &self,
        release: ReleaseId,
        control: &Control<'_>,
    ) -> Result<Verdict, SupervisorError> {
        self.teller.phase(Phase::Swapping, 0);
        self.wait_for_lock(release, control)?;
        let verdict = match self.keeper.start(&self.store, release, self.options.stop_grace) {
            Ok(()) => {
                self.teller.running(Some(release));
                self.teller.tell(&Event::Started { release: release.into() });
                self.watch(release, control)?
            }
            Err(SupervisorError::Runner(error)) => Verdict::Unhealthy(error.to_string()),
            Err(error) => return Err(error),
        };
        match &verdict {
            Verdict::Healthy => self.confirm(release, control)?,
            Verdict::Unhealthy(cause) => self.roll_back(release, cause, control)?,
        }
        Ok(verdict)
    }

    /// Waits while somebody must not be restarted.
    fn wait_for_lock(&self, release: ReleaseId, control: &Control<'_>) -> Result<(), SupervisorError> {
        let Some(path) = &self.options.update_lock else { return Ok(()) };
        let lock = UpdateLock::new(path.clone());
        let mut is_told = false;
        while lock.is_held()? {
            if !std::mem::replace(&mut is_told, true) {
                self.teller.tell(&Event::Held { release: release.into() });
            }
            control.wait(LOOK_EVERY)?;
        }
        Ok(())
    }

    fn watch(&self, release: ReleaseId, control: &Control<'_>) -> Result<Verdict, SupervisorError> {
        let health = &self.options.health;
        let started = Instant::now();
        let mut probed: Option<Instant> = None;
        let mut is_well = health.command.is_none();
        loop {
            match self.keeper.state()? {
                RunState::Running(running) if running == release => {}
                other => return Ok(Verdict::Unhealthy(other.to_string())),
            }
            let is_due = probed.is_none_or(|probed| probed.elapsed() >= PROBE_EVERY);
            if let Some(command) = health.command.as_ref().filter(|_| !is_well && is_due) {
                // What cannot be run yet may be later: the time decides.
                is_well = self.keeper.probe(command, health.command_within).unwrap_or(false);
                probed = Some(Instant::now());
            }
            if is_well && started.elapsed() >= health.settle {
                return Ok(Verdict::Healthy);
            }
            if started.elapsed() >= health.within.max(health.settle) {
                let what = format!("it did not get healthy within {} s", health.within.as_secs_f64());
                return Ok(Verdict::Unhealthy(what));
            }
            control.wait(LOOK_EVERY)?;
        }
    }

    /// The release stays: from now on it is kept running.
    pub(crate) fn confirm(&self, release: ReleaseId, control: &Control<'_>) -> Result<(), SupervisorError> {
        self.once_free(control, || self.store.confirm())?;
        self.keeper.keep();
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

    /// Goes back to the release before, and remembers not to try this one again.
    pub(crate) fn roll_back(
        &self,
        from: ReleaseId,
        cause: &str,
        control: &Control<'_>,
    ) -> Result<(), SupervisorError> {
        let options = self.store_options(Control { progress: None, ..*control }, None);
        // Written down before, so that a cut does not make it forgotten.
        let refused = Refused { release: Text(from), cause: cause.into() };
        self.change(|entries| entries.refused = Some(refused));
        match self.once_free(control, || self.store.rollback(&options)) {
            Ok(RolledBack { to, .. }) => {
                self.refused(from, cause);
                self.teller.tell(&Event::RolledBack {
                    from: from.into(),
                    to: to.into(),
                    cause: cause.into(),
                });
                self.keeper.start(&self.store, to, self.options.stop_grace)?;
                self.keeper.keep();
                self.teller.running(Some(to));
                self.teller.tell(&Event::Started { release: to.into() });
            }
            Err(error @ (ApplyError::NoPrevious | ApplyError::VerificationFailed { .. })) => {
                // There is nothing better to run.
                self.refused(from, &format!("{cause}; {error}"));
                self.keeper.keep();
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
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
        let failure = Failure::Unhealthy;
        self.teller.tell(&Event::Alarm { failure, cause: cause.into(), again_after_s: None });
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
