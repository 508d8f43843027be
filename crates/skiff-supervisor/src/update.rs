//! From the release that runs to the one that shall: by a delta, or by the whole image.

use std::fs::File;
use std::io::Seek as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use skiff_apply::{ApplyError, Expectation, InstallInput, Options as ApplyOptions, Phase as StorePhase};
use skiff_fs::{Control, Root};
use skiff_image::{FlattenOptions, Image, OpenOptions};
use skiff_protocol::{DeltaRequest, ImageSource, Phase, Settings};
use skiff_signature::Signed;
use skiff_tree::ReleaseId;

use crate::device::Device;
use crate::download::{Download, Stop, Trying, patient_until};
use crate::fetch::{FetchError, Pull};
use crate::policy::{Attempts, Failure, Then};
use crate::server::{Server, Trouble};
use crate::{Event, Signers, SupervisorError, UnsignedPulls};

/// Where an image is kept while it is pulled.
const IMAGES: &str = "images";
/// What is left free on the disk beside an image that is pulled, in bytes.
const MARGIN: u64 = 16 << 20;

/// Why an image is not pulled where signatures are asked for.
const NO_PULL: &str = "and the whole image is not pulled, as no signed delta leads to it from what runs";

/// An update that goes on.
pub(crate) struct Update<'a> {
    pub(crate) device: &'a Device,
    pub(crate) settings: Settings,
    pub(crate) control: Control<'a>,
    pub(crate) target: ReleaseId,
    pub(crate) image: Option<&'a ImageSource>,
    /// Whether a delta came that is signed as it has to be, applies to what runs and leads to the target.
    pub(crate) is_vouched_for: AtomicBool,
}

/// How a release came into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) by_delta: bool,
}

impl Update<'_> {
    /// Makes the target the store's current release.
    pub(crate) fn bring(&self) -> Result<Arrived, Stop> {
        let current = self.device.current().map_err(|error| self.stopped(&error))?;
        let current = current.map(|current| current.id);
        let mut cause = None;
        // Where an image may not be pulled there is no other way, whatever the server has configured.
        if let Some(base) = current.filter(|_| self.settings.is_delta_enabled || !self.may_pull()) {
            match self.by_delta(base) {
                Ok(()) => return Ok(Arrived { by_delta: true }),
                Err(Stop::Trouble(trouble)) if trouble.failure.rule().then == Then::FullPull => {
                    if !self.may_pull() {
                        let cause = format!("{}; {NO_PULL}", trouble.cause);
                        return Err(Trouble { cause, ..*trouble }.into());
                    }
                    let Trouble { failure, cause: told, .. } = *trouble;
                    self.device.teller.tell(&Event::FallBack { failure, cause: told.clone() });
                    cause = Some(format!("{failure}: {told}"));
                }
                Err(stop) => return Err(stop),
            }
        }
        if !self.may_pull() {
            let cause = format!("there is no release here that a signed delta could lead on from; {NO_PULL}");
            return Err(Trouble::new(Failure::Untrusted, cause).into());
        }
        // Written down before, so that a cut does not make it forgotten.
        self.device.change(|entries| {
            if let Some(update) = &mut entries.update {
                (update.by_delta, update.cause) = (false, cause);
            }
        });
        self.pull()?;
        Ok(Arrived { by_delta: false })
    }

    /// Whether the whole image may be pulled: nobody signs that.
    fn may_pull(&self) -> bool {
        match &self.device.options.signers {
            Some(Signers { pulls: UnsignedPulls::Refused, .. }) => {
                self.is_vouched_for.load(Ordering::Relaxed)
            }
            Some(Signers { pulls: UnsignedPulls::Allowed, .. }) | None => true,
        }
    }

    /// The server, asked for deltas: in the time that is configured.
    fn server(&self) -> Server<'_> {
        Server { fetch: &*self.device.fetch, answer_within: self.settings.request_timeout }
    }

    /// Tries until it is done, or given up.
    fn by_delta(&self, base: ReleaseId) -> Result<(), Stop> {
        let request =
            DeltaRequest { bases: vec![base], target: self.target, capabilities: self.device.capabilities() };
        let path = request.path();
        // Only deltas from what it is recorded to run are for a device. What fails here fails below, where it counts.
        let _ = self.device.server().report(&self.device.teller.report());
        let deadline = self.settings.apply_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let deadline = deadline.into_iter().chain(self.control.deadline).min();
        let trying = Trying {
            control: Control { deadline, ..self.control },
            settings: &self.settings,
            teller: &self.device.teller,
            patient_until: patient_until(self.device.options.patience),
        };
        let mut attempts = Attempts::default();
        let mut has_signed = false;
        loop {
            let stop = match self.attempt(&path, trying) {
                Ok(()) => return Ok(()),
                Err(Stop::Interrupted(_)) if self.control.check().is_ok() => {
                    Trouble::new(Failure::ApplyTimedOut, "applying took longer than is configured")
                }
                Err(Stop::Interrupted(interrupted)) => return Err(interrupted.into()),
                Err(Stop::Trouble(trouble)) => *trouble,
            };
            if stop.wants_signature && !has_signed {
                match self.sign(base, &trying.control) {
                    Ok(()) => has_signed = true,
                    Err(Stop::Trouble(trouble)) => trying.again(&mut attempts, *trouble)?,
                    Err(stop) => return Err(stop),
                }
                continue;
            }
            // What took too long is not to end this as well.
            Trying { control: self.control, ..trying }.again(&mut attempts, stop)?;
        }
    }

    /// Tries once, but that a download which breaks goes on.
    fn attempt(&self, path: &str, trying: Trying<'_>) -> Result<(), Stop> {
        let device = self.device;
        let staged = device.store.status().map_err(|error| self.stopped(&error))?.staged;
        let staged = staged.filter(|staged| staged.release == self.target);
        let header_bytes = staged.map(|staged| staged.header_bytes);
        let mut download = Download::new(self.server(), trying, path.to_owned(), header_bytes);
        if let Err(stop) = download.prepare() {
            return Err(exhausted(stop));
        }
        let applied = self.with_store_options(trying.control, |options| {
            device.store.apply(&mut download, Expectation::Release(self.target), options)
        });
        device.received(download.received());
        match applied {
            Ok(applied) => {
                if let Some(leftover) = applied.leftover {
                    device.teller.tell(&Event::Recovered { what: format!("nothing collected: {leftover}") });
                }
                Ok(())
            }
            Err(error) => Err(match download.take_stop() {
                Some(stop) => exhausted(stop),
                None => self.stopped(&error),
            }),
        }
    }

    /// Sends the server a signature of what runs here.
    fn sign(&self, base: ReleaseId, control: &Control<'_>) -> Result<(), Stop> {
        let device = self.device;
        let failed = |error: &dyn std::fmt::Display| Stop::from(Trouble::new(Failure::ApplyFailed, error));
        let held = device.store.hold_current().map_err(|error| self.stopped(&error))?;
        if held.id != base {
            return Err(failed(&"what runs here changed meanwhile"));
        }
        let mut file = tempfile_in(device).map_err(|error| failed(&error))?;
        let signed = Signed { tree: &held.tree, contents: &held.contents, config: held.config };
        let mut options = skiff_signature::Options::default();
        options.control = *control;
        let signed = skiff_signature::sign_tree(&signed, &options, &mut file);
        control.check()?;
        signed.map_err(|error| failed(&error))?;
        file.rewind().map_err(|error| failed(&error))?;
        Ok(self.server().sign(base, &file)?)
    }

    /// Pulls the whole image, and installs it.
    fn pull(&self) -> Result<(), Stop> {
        let device = self.device;
        let Some(image) = self.image else {
            let cause = "the server does not say where the release's image is";
            return Err(Trouble::new(Failure::NotKnown, cause).into());
        };
        let directory = device.options.state.join(IMAGES);
        self.check_space(image.bytes)?;
        device.teller.phase(Phase::Downloading, image.bytes);
        let progress = |bytes| device.teller.advance(bytes);
        let control = Control { progress: Some(&progress), ..self.control };
        let pull = Pull {
            repository: &image.repository,
            manifest: image.manifest.0,
            directory: &directory,
            control,
        };
        let pulled = device.fetch.pull(&pull).map_err(|error| self.failed_to_pull(&error))?;
        device.received(pulled.received);

        device.teller.phase(Phase::Applying, 0);
        let failed = |error: skiff_image::ImageError| match self.control.check() {
            Err(interrupted) => interrupted.into(),
            Ok(()) => Stop::from(Trouble::new(Failure::Corrupt, error)),
        };
        let open = OpenOptions::default().with_spool_directory(&*directory).with_control(self.control);
        let image = Image::open(&pulled.image, &open).map_err(failed)?;
        let flat = image.flatten(&FlattenOptions::default().with_control(self.control)).map_err(failed)?;
        let input = InstallInput {
            config: flat.config.as_deref(),
            manifest: flat.manifest.as_deref(),
            ..InstallInput::new(&flat.tree, &flat.contents)
        };
        let release = input.release();
        if release != self.target {
            let cause = format!("the image is release {release}, and {} is wanted", self.target);
            return Err(Trouble::new(Failure::WrongImage, cause).into());
        }
        self.with_store_options(self.control, |options| device.store.install(&input, options))
            .map_err(|error| self.stopped(&error))?;
        drop(flat);
        forget_images(device);
        Ok(())
    }

    fn check_space(&self, image_bytes: u64) -> Result<(), Stop> {
        let state = Root::open(&self.device.options.state);
        let free = state.and_then(|state| state.free_space());
        let free = free.map_err(|error| Stop::from(Trouble::new(Failure::ApplyFailed, error)))?;
        let needed = image_bytes.saturating_add(MARGIN);
        if free.bytes >= needed {
            return Ok(());
        }
        let cause = format!("pulling the image takes {needed} bytes and there are {}; make room", free.bytes);
        Err(Trouble::new(Failure::NoSpace, cause).into())
    }

    fn failed_to_pull(&self, error: &FetchError) -> Stop {
        match self.control.check() {
            Err(interrupted) => interrupted.into(),
            Ok(()) => Trouble::of_fetch(error).into(),
        }
    }

    fn stopped(&self, error: &ApplyError) -> Stop {
        stopped(error, &self.control)
    }

    /// Does something to the store, and tells its phases as the update's.
    fn with_store_options<T>(&self, control: Control<'_>, work: impl FnOnce(&ApplyOptions<'_>) -> T) -> T {
        let teller = &self.device.teller;
        let is_delta_written = AtomicBool::new(false);
        let on_phase = |phase, total| {
            use Ordering::Relaxed;
            // While a delta is written, what counts is how much of it came.
            let is_downloading = teller.report().phase == Phase::Downloading;
            is_delta_written.store(phase == StorePhase::Writing && is_downloading, Relaxed);
            match phase {
                StorePhase::Writing if is_downloading => {}
                StorePhase::Verifying => teller.phase(Phase::Verifying, total),
                StorePhase::Syncing => {}
                _ => teller.phase(Phase::Applying, total),
            }
        };
        let progress = |bytes| {
            if !is_delta_written.load(Ordering::Relaxed) {
                teller.advance(bytes);
            }
        };
        let on_signed = |release| {
            if release == self.target {
                self.is_vouched_for.store(true, Ordering::Relaxed);
            }
        };
        let control = Control { progress: Some(&progress), ..control };
        let options = self.device.store_options(control, Some(&on_phase));
        work(&ApplyOptions { on_signed: Some(&on_signed), ..options })
    }
}

/// What a store's refusal means for an update.
pub(crate) fn stopped(error: &ApplyError, control: &Control<'_>) -> Stop {
    match (Failure::of_store(error), control.check()) {
        (Some(failure), _) if failure != Failure::ApplyTimedOut => Trouble::new(failure, error).into(),
        (_, Err(interrupted)) => interrupted.into(),
        // A deadline of this update alone.
        (_, Ok(())) => Trouble::new(Failure::ApplyTimedOut, "it took longer than is configured").into(),
    }
}

/// What was tried as often as it may be is not tried again for the same reason.
fn exhausted(stop: Stop) -> Stop {
    match stop {
        Stop::Trouble(trouble) if trouble.failure != Failure::Changed => {
            Stop::Trouble(Box::new(Trouble { exhausted: true, ..*trouble }))
        }
        stop => stop,
    }
}

/// Removes what was pulled. Where it stays, it takes room until the next update, and nothing else.
pub(crate) fn forget_images(device: &Device) {
    let _ = std::fs::remove_dir_all(device.options.state.join(IMAGES));
}

/// A file that has no name.
fn tempfile_in(device: &Device) -> Result<File, SupervisorError> {
    let path = &device.options.state;
    tempfile::tempfile_in(path).map_err(|source| SupervisorError::Io {
        op: "making a file in",
        path: path.clone(),
        source,
    })
}
