//! What the parts of a supervisor share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use skiff_apply::{Options as ApplyOptions, Phase as StorePhase, Store};
use skiff_fs::Control;
use skiff_protocol::{Capabilities, Codec, Settings, WrongValue};

use crate::configuration::LocalVariables;
use crate::fetch::Fetch;
use crate::journal::{Entries, Journal};
use crate::keeper::Keeper;
use crate::tell::Teller;
use crate::{Options, SupervisorError};

/// A device, as its supervisor sees it.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) options: Options,
    pub(crate) local: LocalVariables,
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) store: Store,
    pub(crate) keeper: Keeper,
    pub(crate) teller: Teller,
    pub(crate) journal: Mutex<Journal>,
    /// What was told of wrong values already.
    pub(crate) told: Mutex<Vec<WrongValue>>,
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

    /// What is known beside the store.
    pub(crate) fn entries(&self) -> Entries {
        self.lock().entries().clone()
    }

    /// Changes what is known beside the store.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Entries)) -> Result<(), SupervisorError> {
        Ok(self.lock().change(change)?)
    }

    /// Counts bytes that came for the update that goes on.
    pub(crate) fn received(&self, bytes: u64) -> Result<(), SupervisorError> {
        self.change(|entries| {
            if let Some(update) = &mut entries.update {
                update.received = update.received.saturating_add(bytes);
            }
        })
    }

    /// How the store is changed here.
    pub(crate) fn store_options<'c>(
        &self,
        control: Control<'c>,
        on_phase: Option<&'c (dyn Fn(StorePhase, u64) + Send + Sync)>,
    ) -> ApplyOptions<'c> {
        let options = &self.options;
        let mut changed = ApplyOptions::default();
        changed.limits.format.decoder_memory = options.decoder_memory;
        ApplyOptions {
            control,
            on_phase,
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
