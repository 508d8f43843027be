//! The whole: what runs is kept running, and made what it shall be.

use std::fmt;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use skiff_apply::{ApplyError, Recovered, ReleaseInfo, Store, Trial};
use skiff_fs::Control;
use skiff_protocol::{Outcome, Phase, Report, Settings, Target, Text};
use skiff_tree::ReleaseId;

use crate::configuration::LocalVariables;
use crate::device::{Device, capabilities};
use crate::download::Stop;
use crate::fetch::Fetch;
use crate::journal::{Journal, Refused, Underway};
use crate::keeper::Keeper;
use crate::policy::{Again, Failure};
use crate::runner::Runner;
use crate::server::Trouble;
use crate::tell::{Observer, Teller};
use crate::trial::Verdict;
use crate::update::{Arrived, Update, forget_images};
use crate::{Event, OnExit, Options, SupervisorError, work};

/// A device's supervisor.
#[derive(Debug)]
pub struct Supervisor {
    pub(crate) device: Device,
}

/// What a supervisor is made of, beside its [`Options`].
pub struct Parts {
    /// The device's releases.
    pub store: Store,
    /// The way to the server.
    pub fetch: Box<dyn Fetch>,
    /// What runs releases.
    pub runner: Box<dyn Runner>,
    /// What is set on the device itself.
    pub local: LocalVariables,
    /// Whom events are told, from any thread.
    pub observer: Observer,
}

/// What came of asking what the device shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checked {
    /// The server names no release yet.
    NoTarget,
    /// It runs what it shall.
    UpToDate,
    /// It runs another release now.
    Updated {
        /// Whether a delta led to it.
        by_delta: bool,
    },
    /// The release did not get healthy: the one before it runs, where there is one.
    RolledBack {
        /// Why.
        cause: String,
    },
    /// The release did not get healthy once, and is not tried again.
    Refused {
        /// Why.
        cause: String,
    },
    /// The update was given up.
    GivenUp {
        /// Why.
        failure: Failure,
        /// What was said.
        cause: String,
    },
}

impl Supervisor {
    /// A supervisor of a store, which it claims: two of one device would undo each other's work. Nothing is done yet.
    ///
    /// # Errors
    /// [`SupervisorError::Store`] where another one has the store ([`ApplyError::Busy`]); [`SupervisorError`] where its state cannot
    /// be read, or another one has it.
    pub fn new(parts: Parts, options: Options) -> Result<Self, SupervisorError> {
        let Parts { store, fetch, runner, local, observer } = parts;
        let claim = store.claim()?;
        let path = &options.state;
        let failed = |source| SupervisorError::Io { op: "making directory", path: path.clone(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let (journal, is_damaged) = Journal::open(path, options.root.clone())?;
        let outcome = journal.entries().outcome.clone();
        let teller = Teller::new(observer, capabilities(&options), outcome);
        if is_damaged {
            let what = "the supervisor's state was damaged: what it said of earlier updates is forgotten";
            teller.tell(&Event::Recovered { what: what.into() });
        }
        let (keeper, journal) = (Keeper::new(runner), Mutex::new(journal));
        Ok(Self {
            device: Device {
                options,
                local,
                fetch,
                store,
                _claim: claim,
                keeper,
                teller,
                journal,
                told: Mutex::default(),
                is_over: AtomicBool::new(false),
            },
        })
    }

    /// Does everything, until `cancel` is set: starts what is current, keeps it running, asks the server what it shall be, and brings
    /// that.
    ///
    /// # Errors
    /// [`SupervisorError`] where the store, the runner or its own state cannot be worked with. What may be over soon (a server that is
    /// down, an update that fails) is no such error.
    pub fn run(&self, cancel: &AtomicBool) -> Result<(), SupervisorError> {
        work::run(self, cancel)
    }

    /// Puts right what a cut left, and starts the current release; where it is on trial, sees whether it gets healthy. What
    /// [`run`](Self::run) begins with.
    ///
    /// # Errors
    /// [`SupervisorError`].
    pub fn start(&self, control: &Control<'_>) -> Result<(), SupervisorError> {
        let device = &self.device;
        self.refuse_what_is_over();
        let options = device.store_options(Control { progress: None, ..*control }, None);
        match device.once_free(control, || device.store.recover(&options)) {
            Ok(recovered) => self.tell_recovered(&recovered),
            Err(ApplyError::Interrupted(interrupted)) => return Err(interrupted.into()),
            // What is current runs all the same: the disk may be full because it did.
            Err(error) => device.alarm(Failure::of_store(&error).unwrap_or(Failure::ApplyFailed), &error),
        }
        self.tell_wrong_values();
        let Some(current) = device.current()? else {
            device.teller.running(None);
            return Ok(());
        };
        self.finish_roll_back(&current);
        let settled = self.settle(&current, control);
        device.teller.phase(Phase::Idle, 0);
        settled.map(drop)
    }

    /// Asks the server once what the device shall run, and brings that.
    ///
    /// # Errors
    /// [`SupervisorError::Server`] where it cannot be asked; any other [`SupervisorError`].
    pub fn check(&self, control: &Control<'_>) -> Result<Checked, SupervisorError> {
        let server = self.device.server();
        let failed = |Trouble { failure, cause, .. }| SupervisorError::Server { failure, cause };
        match server.target(None, std::time::Duration::ZERO).map_err(failed)? {
            Some((target, _)) => self.bring(&target, control),
            None => Ok(Checked::UpToDate),
        }
    }

    /// What the device is at, as the server is told it.
    #[must_use]
    pub fn report(&self) -> Report {
        self.device.teller.report()
    }

    /// What it goes by: what the server sent last, and what is set on the device.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.device.settings().0
    }

    /// Ends what goes on with the server, soon: to be called from another thread once a [`Control`]'s flag is set, so that nothing
    /// waits on. [`run`](Self::run) does that by itself.
    pub fn interrupt(&self) {
        self.device.fetch.interrupt();
    }

    /// Keeps the current release running: to be called now and then by who does not [`run`](Self::run) the supervisor.
    pub fn look(&self) {
        self.device.keeper.look(&self.device.store, &self.device.teller);
    }

    /// Ends as [`Options::on_exit`] says. What [`run`](Self::run) ends with.
    ///
    /// # Errors
    /// [`SupervisorError::Runner`] where what runs cannot be stopped.
    pub fn finish(&self) -> Result<(), SupervisorError> {
        match self.device.options.on_exit {
            OnExit::Stop => self.device.keeper.stop(self.device.options.stop_grace),
            OnExit::LeaveRunning => Ok(()),
        }
    }

    /// Makes the device run what it shall.
    pub(crate) fn bring(&self, target: &Target, control: &Control<'_>) -> Result<Checked, SupervisorError> {
        let device = &self.device;
        let current = device.current()?;
        device.change(|entries| {
            entries.configuration = Some(target.configuration.clone());
            // What did not get healthy stays refused while it is there to be gone back from.
            let is_current =
                |refused: &Refused| current.as_ref().is_some_and(|current| current.id == refused.release.0);
            entries
                .refused
                .take_if(|refused| Some(refused.release) != target.release && !is_current(refused));
        });
        self.tell_wrong_values();
        let Some(Text(release)) = target.release else { return Ok(Checked::NoTarget) };
        let refused = device.entries().refused.filter(|refused| refused.release.0 == release);
        match current {
            Some(current) if current.id == release || self.is_to_be_left(&current) => {
                match self.settle(&current, control)? {
                    Some(Verdict::Unhealthy(cause)) => return Ok(Checked::RolledBack { cause }),
                    Some(Verdict::Healthy) if current.id == release => {
                        device.teller.phase(Phase::Idle, 0);
                        return Ok(Checked::UpToDate);
                    }
                    _ if current.id == release && refused.is_none() => return Ok(Checked::UpToDate),
                    _ => {}
                }
            }
            // It runs until the next one does, whether it was judged or not.
            _ => device.keeper.keep(),
        }
        if let Some(refused) = refused {
            return Ok(Checked::Refused { cause: refused.cause });
        }
        device.teller.target(Some(release));
        device.teller.tell(&Event::Target { release: release.into() });
        let checked = self.update(release, target, control);
        device.teller.target(None);
        device.teller.phase(Phase::Idle, 0);
        checked
    }

    fn update(
        &self,
        release: ReleaseId,
        target: &Target,
        control: &Control<'_>,
    ) -> Result<Checked, SupervisorError> {
        let device = &self.device;
        // What was pulled for another release, or for one that is to come by a delta now, takes room that this one needs.
        if device.entries().update.is_none_or(|update| update.target.0 != release) {
            forget_images(device);
        }
        device.change(|entries| {
            let received = entries.update.as_ref().filter(|update| update.target.0 == release);
            let received = received.map_or(0, |update| update.received);
            let target = Text(release);
            entries.update = Some(Underway { target, received, by_delta: true, cause: None });
        });
        let update = Update {
            device,
            settings: device.settings().0,
            control: *control,
            target: release,
            image: target.image.as_ref(),
            is_vouched_for: AtomicBool::new(false),
        };
        match update.bring() {
            Ok(Arrived { by_delta }) => Ok(match device.try_current(release, control)? {
                Verdict::Healthy => Checked::Updated { by_delta },
                Verdict::Unhealthy(cause) => Checked::RolledBack { cause },
            }),
            Err(Stop::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(Stop::Trouble(trouble)) => Ok(self.give_up(release, *trouble)),
        }
    }

    fn give_up(&self, release: ReleaseId, trouble: Trouble) -> Checked {
        let Trouble { failure, cause, .. } = trouble;
        if failure == Failure::NoSpace {
            forget_images(&self.device);
        }
        let received = self.device.entries().update.map_or(0, |update| update.received);
        let told = Some(format!("{failure}: {cause}"));
        let outcome =
            Outcome { target: Text(release), succeeded: false, by_delta: false, cause: told, received };
        let is_final = failure.rule().again == Again::WithNextTarget;
        let refused = is_final.then(|| Refused { release: Text(release), cause: cause.clone() });
        self.device.ended(outcome, refused);
        Checked::GivenUp { failure, cause }
    }

    /// Whether a release did not get healthy, and is current still.
    fn is_to_be_left(&self, current: &ReleaseInfo) -> bool {
        let is_refused = self.device.entries().refused.is_some_and(|refused| refused.release.0 == current.id);
        is_refused && current.trial != Trial::Confirmed && current.previous.is_some()
    }

    /// Makes of the current release what it is to be: one that did not get healthy is gone back from, one on trial is tried, any other
    /// runs. Tells how a trial ended, where there was one.
    fn settle(
        &self,
        current: &ReleaseInfo,
        control: &Control<'_>,
    ) -> Result<Option<Verdict>, SupervisorError> {
        let device = &self.device;
        if self.is_to_be_left(current) {
            let cause = "it did not get healthy, and was not gone back from yet";
            device.roll_back(current.id, cause)?;
            return Ok(Some(Verdict::Unhealthy(cause.into())));
        }
        let is_refused = device.entries().refused.is_some_and(|refused| refused.release.0 == current.id);
        if current.trial != Trial::Confirmed && !is_refused {
            return device.try_current(current.id, control).map(Some);
        }
        if device.keeper.wanted() != Some(current.id) {
            device.run(current.id)?;
        }
        // Where power went after it was confirmed, and before that was written down.
        let is_unfinished = device.entries().update.is_some_and(|update| update.target.0 == current.id);
        if is_unfinished && current.trial == Trial::Confirmed {
            device.confirm(current.id)?;
        }
        Ok(None)
    }

    /// Tells of a roll-back that was cut off after the store's part of it.
    fn finish_roll_back(&self, current: &ReleaseInfo) {
        let device = &self.device;
        let entries = device.entries();
        let (Some(refused), Some(update)) = (entries.refused, entries.update) else { return };
        if refused.release == update.target && current.id != refused.release.0 {
            device.refused(refused.release.0, &refused.cause);
            let (from, to) = (refused.release, current.id.into());
            device.teller.tell(&Event::RolledBack { from, to, cause: refused.cause });
        }
    }

    /// Writes down that a release is not to be tried again before the store rolls it back, lest a cut in between makes it forgotten.
    fn refuse_what_is_over(&self) {
        let Ok(Some(current)) = self.device.store.current() else { return };
        let is_over = matches!(current.trial, Trial::OnTrial { starts: Some(starts) } if current.starts_taken >= starts);
        if !is_over || current.previous.is_none() {
            return;
        }
        let cause =
            format!("power went {} times before it got healthy", current.starts_taken.saturating_add(1));
        let refused = Refused { release: Text(current.id), cause };
        self.device.change(|entries| entries.refused = Some(refused));
    }

    fn tell_recovered(&self, recovered: &Recovered) {
        let device = &self.device;
        for path in &recovered.removed {
            device.teller.tell(&Event::Recovered { what: format!("removed what a cut left: {path}") });
        }
        if let Some(error) = &recovered.unresolved {
            device.alarm(Failure::VerificationFailed, error);
        }
        if let Some(rolled_back) = recovered.rolled_back {
            let refused = device.entries().refused;
            let cause = refused.map_or("its trial was over".into(), |refused| refused.cause);
            device.refused(rolled_back.from, &cause);
            let (from, to) = (rolled_back.from.into(), rolled_back.to.into());
            device.teller.tell(&Event::RolledBack { from, to, cause });
        }
    }

    fn tell_wrong_values(&self) {
        for wrong in self.device.new_wrong_values() {
            let (name, takes) = (wrong.name.to_string(), wrong.takes.to_owned());
            self.device.teller.tell(&Event::WrongValue { name, value: wrong.value, takes });
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("store", &self.store).finish_non_exhaustive()
    }
}
