//! What the parts of a supervisor share.

use std::fmt::Display;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skiff_apply::{ApplyError, Claim, Options as ApplyOptions, Phase as StorePhase, ReleaseInfo, Store};
use skiff_fs::Control;
use skiff_protocol::{Capabilities, Codec, Settings, WrongValue};

use crate::configuration::LocalVariables;
use crate::fetch::Fetch;
use crate::journal::{Entries, Journal};
use crate::keeper::Keeper;
use crate::server::Server;
use crate::tell::Teller;
use crate::{Event, Failure, Options};

/// How long it is waited for whoever else works on the store, and how often it is looked.
const BUSY_FOR: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A device, as its supervisor sees it.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) options: Options,
    pub(crate) local: LocalVariables,
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) store: Store,
    /// Two supervisors of one store would undo each other's work.
    pub(crate) _claim: Claim,
    pub(crate) keeper: Keeper,
    pub(crate) teller: Teller,
    pub(crate) journal: Mutex<Journal>,
    /// What was told of wrong values already.
    pub(crate) told: Mutex<Vec<WrongValue>>,
    /// Everything ends.
    pub(crate) is_over: AtomicBool,
}

impl Device {
    /// What it can apply.
    pub(crate) fn capabilities(&self) -> Capabilities {
        capabilities(&self.options)
    }

    /// What it goes by, and what is wrong of that.
    pub(crate) fn settings(&self) -> (Settings, Vec<WrongValue>) {
        let entries = self.entries();
        self.local.settings(entries.configuration.as_ref())
    }

    /// Wrong values that were not told yet.
    pub(crate) fn new_wrong_values(&self) -> Vec<WrongValue> {
        let (_, wrong) = self.settings();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let new = wrong.iter().filter(|wrong| !told.contains(wrong)).cloned().collect();
        *told = wrong;
        new
    }

    /// The server, asked for what a device needs to be told anything at all: in the time that is the default, as one that was set
    /// wrong could not be set right any more.
    pub(crate) fn server(&self) -> Server<'_> {
        Server { fetch: &*self.fetch, answer_within: Settings::default().request_timeout }
    }

    /// Tells that something is to be looked at.
    pub(crate) fn alarm(&self, failure: Failure, cause: &dyn Display) {
        self.teller.tell(&Event::Alarm { failure, cause: cause.to_string(), again_after_s: None });
    }

    /// For what only the end of everything ends.
    pub(crate) fn until_over(&self) -> Control<'_> {
        Control { cancel: Some(&self.is_over), ..Control::default() }
    }

    /// What is known beside the store.
    pub(crate) fn entries(&self) -> Entries {
        self.lock().entries().clone()
    }

    /// Changes what is known beside the store.
    ///
    /// What cannot be written down is told, and no reason to end: what runs is to go on where the disk is full.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Entries)) {
        let changed = self.lock().change(change);
        if let Err(error) = changed {
            let failure = if error.is_no_space() { Failure::NoSpace } else { Failure::ApplyFailed };
            self.alarm(failure, &format!("the supervisor's state cannot be written: {error}"));
        }
    }

    /// Does something to the store once nobody else works on it.
    pub(crate) fn once_free<T>(
        &self,
        control: &Control<'_>,
        work: impl Fn() -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let begun = Instant::now();
        loop {
            match work() {
                Err(ApplyError::Busy { .. }) if begun.elapsed() < BUSY_FOR => control.wait(LOOK_EVERY)?,
                other => return other,
            }
        }
    }

    /// The current release; none where there is none, or what there is is damaged: then it is told.
    pub(crate) fn current(&self) -> Result<Option<ReleaseInfo>, ApplyError> {
        match self.store.current() {
            Err(error @ ApplyError::StoreDamaged { .. }) => {
                self.alarm(Failure::VerificationFailed, &error);
                Ok(None)
            }
            other => other,
        }
    }

    /// Counts bytes that came for the update that goes on.
    pub(crate) fn received(&self, bytes: u64) {
        self.change(|entries| {
            if let Some(update) = &mut entries.update {
                update.received = update.received.saturating_add(bytes);
            }
        });
    }

    /// How the store is changed here.
    pub(crate) fn store_options<'c>(
        &'c self,
        control: Control<'c>,
        on_phase: Option<&'c (dyn Fn(StorePhase, u64) + Send + Sync)>,
    ) -> ApplyOptions<'c> {
        let options = &self.options;
        let mut changed = ApplyOptions::default();
        changed.limits.format.decoder_memory = options.decoder_memory;
        ApplyOptions {
            control,
            on_phase,
            signed_by: options.signers.as_ref().map(|signers| &signers.keys[..]),
            ownership: options.ownership,
            links: options.links,
            verification: options.verification,
            trial_starts: Some(options.trial_starts),
            ..changed
        }
    }

    fn lock(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn capabilities(options: &Options) -> Capabilities {
    let codecs = skiff_patch::Codec::ALL.iter();
    Capabilities {
        formats: [skiff_format::VERSION].into(),
        codecs: codecs.map(|codec| Codec { id: codec.id(), version: codec.version() }).collect(),
        decoder_memory: Some(options.decoder_memory),
    }
}
