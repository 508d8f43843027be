//! Deltas: asked for, made once however many ask, kept, and collected.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skiff_diff::{DiffError, Level};
use skiff_image::ImageError;
use skiff_keys::PrivateKey;
use skiff_protocol::{Event, Name, Pending, Problem, ProblemCode, Stage, Text};
use skiff_signature::TreeSignature;
use skiff_tree::ReleaseId;
use tokio::sync::{Semaphore, broadcast, oneshot};

use crate::book::{Books, remove};
use crate::clock::now;
use crate::encode::{Encoded, Side, Work, useless};
use crate::images::Images;
use crate::metrics::Metrics;
use crate::objects::{Objects, blocking};
use crate::progress::Progress;
use crate::record::{DeltaRecord, Found, ImageRecord, JobRecord, Record as _, object_name};
use crate::signatures::signature_name;
use crate::variant::Variant;
use crate::{Options, ServerError};

/// Which delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) base: ReleaseId,
    pub(crate) target: ReleaseId,
    pub(crate) variant: Variant,
}

/// What became of a delta.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// It is there.
    Made(DeltaRecord),
    /// It is being made.
    Pending(Pending),
    /// There is none.
    None(Problem),
}

/// Makes and keeps deltas.
#[derive(Debug)]
pub(crate) struct Deltas {
    pub(crate) parts: Parts,
    pub(crate) settings: Settings,
    jobs: Mutex<Jobs>,
    workers: Semaphore,
}

/// How they are made and kept.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) queue: usize,
    pub(crate) queue_per_device: usize,
    pub(crate) keys: Arc<[PrivateKey]>,
    pub(crate) level: Level,
    pub(crate) memory: u64,
    pub(crate) kept_bytes: u64,
    pub(crate) before_each: Option<crate::BeforeEach>,
}

impl Settings {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            workers: options.workers.get(),
            queue: options.queue,
            queue_per_device: options.queue_per_device,
            keys: options.signing_keys.clone().into(),
            level: options.level,
            memory: options.memory,
            kept_bytes: options.delta_bytes,
            before_each: options.before_each.clone(),
        }
    }
}

#[derive(Debug, Default)]
struct Jobs {
    running: HashMap<Wanted, Job>,
    /// Those that failed for a reason that may pass, until they are tried again.
    failed: HashMap<Wanted, Instant>,
}

/// A delta that is being made or waits to be.
#[derive(Debug)]
struct Job {
    progress: Arc<Progress>,
    /// The device that asked for it first; none where it is made ahead or for an administrator.
    by: Option<Name>,
}

/// A delta that is being made, until this is dropped.
struct Running {
    deltas: Arc<Deltas>,
    wanted: Wanted,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.deltas.jobs().running.remove(&self.wanted);
        self.deltas.parts.metrics.waiting.dec();
    }
}

/// Told that a delta is noted as one that is to be made, or why not.
type Tell = oneshot::Sender<Result<(), ServerError>>;

/// How long a delta is not tried again that failed for a reason that may pass.
const RETRY: Duration = Duration::from_secs(60);

impl Wanted {
    /// What it is called.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}-{}", self.base, self.target, self.variant.name())
    }

    fn job(&self, by: Option<Name>) -> JobRecord {
        let Self { base, target, variant } = *self;
        JobRecord { name: self.name(), base: Text(base), target: Text(target), variant, by }
    }
}

/// The parts that deltas are made with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) books: Arc<Books>,
    pub(crate) images: Arc<Images>,
    pub(crate) objects: Objects,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) cancel: Arc<AtomicBool>,
}

impl Deltas {
    pub(crate) fn new(parts: Parts, settings: Settings) -> Self {
        let workers = Semaphore::new(settings.workers);
        Self { parts, settings, jobs: Mutex::default(), workers }
    }

    /// Goes on with what was to be made when the server ended.
    pub(crate) fn go_on(self: &Arc<Self>) {
        let jobs: Vec<JobRecord> = self.parts.books.read().jobs.values().cloned().collect();
        for JobRecord { base, target, variant, by, .. } in jobs {
            let wanted = Wanted { base: base.0, target: target.0, variant };
            self.begin(&mut self.jobs(), (wanted, by), None);
        }
    }

    /// Whether what is made is signed.
    pub(crate) fn signs(&self) -> bool {
        !self.settings.keys.is_empty()
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The delta, where it is there; else it is begun to be made, for the device that asks where one does. The base is an image or a
    /// signature that is here, the target an image.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        wanted: Wanted,
        by: Option<Name>,
    ) -> Result<Answer, ServerError> {
        let name = wanted.name();
        let noted = {
            let mut jobs = self.jobs();
            if let Some(job) = jobs.running.get(&wanted) {
                return Ok(Answer::Pending(job.progress.pending()));
            }
            // Looked at with the jobs held: a job notes what came of it before it is one no longer.
            match self.parts.books.read().deltas.get(&name) {
                Some(record) if self.settings.is_to_be_signed(&record.found) => {}
                Some(record) => {
                    return Ok(match &record.found {
                        Found::Made { .. } => Answer::Made(record.clone()),
                        Found::None { problem, .. } => Answer::None(problem.clone()),
                    });
                }
                None => {}
            }
            if let Some(failed) = jobs.failed.get(&wanted) {
                if failed.elapsed() < RETRY {
                    let detail =
                        "it could not be made, for a reason that may pass; the server's log says which";
                    return Err(Problem::new(ProblemCode::Busy, detail).into());
                }
                jobs.failed.remove(&wanted);
            }
            self.has_room(&jobs, by.as_ref())?;
            let (tell, noted) = oneshot::channel();
            self.begin(&mut jobs, (wanted, by), Some(tell));
            noted
        };
        // It is not told, where it ended before that.
        noted.await.unwrap_or(Err(ServerError::GoingDown))?;
        Ok(Answer::Pending(Pending { stage: Stage::Waiting, done: 0, total: 0 }))
    }

    /// Whether one more delta may wait to be made, for a device where one asks.
    fn has_room(&self, jobs: &Jobs, by: Option<&Name>) -> Result<(), Problem> {
        let Settings { queue, queue_per_device, workers, .. } = self.settings;
        let busy = |detail| Err(Problem::new(ProblemCode::Busy, detail));
        if jobs.running.len() >= queue.saturating_add(workers) {
            return busy(format!("{queue} deltas wait to be made"));
        }
        let own = jobs.running.values().filter(|job| by.is_some() && job.by.as_ref() == by).count();
        if own >= queue_per_device {
            return busy(format!(
                "{own} deltas that this device asked for are not made yet: ask again once one is"
            ));
        }
        Ok(())
    }

    /// Begins to make a delta in a task of its own, which goes on whether whoever asked waits or not. It is noted first where
    /// somebody is to be told of that.
    fn begin(self: &Arc<Self>, jobs: &mut Jobs, (wanted, by): (Wanted, Option<Name>), tell: Option<Tell>) {
        let progress = Arc::new(Progress::default());
        jobs.running.insert(wanted, Job { progress: Arc::clone(&progress), by: by.clone() });
        self.parts.metrics.waiting.inc();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let running = Running { deltas: Arc::clone(&this), wanted };
            if let Some(tell) = tell {
                let noted = this.note(wanted.job(by)).await;
                if let Err(error) = noted {
                    // Whoever asks next finds it not begun.
                    drop(running);
                    return drop(tell.send(Err(error)));
                }
                // Nobody may be waiting any more.
                let _ = tell.send(Ok(()));
            }
            let making = Arc::clone(&this);
            // In a task of its own, so that a defect in one delta ends that task alone.
            let made = tokio::spawn(async move { making.make(wanted, &progress).await }).await;
            let made = made.unwrap_or_else(|error| {
                tracing::error!(%error, delta = wanted.name(), "making a delta panicked");
                let problem =
                    Problem::new(ProblemCode::DeltaFailed, "the server has a defect that this pair shows");
                Err(problem.into())
            });
            this.end(running, made).await;
        });
    }

    /// Notes that a delta is to be made, so that it is after a restart.
    async fn note(&self, job: JobRecord) -> Result<(), ServerError> {
        let books = Arc::clone(&self.parts.books);
        blocking(move || books.change(|_| Ok::<_, ServerError>((vec![job.put()], ())))).await
    }

    async fn make(&self, wanted: Wanted, progress: &Arc<Progress>) -> Result<Encoded, ServerError> {
        let _permit = self.workers.acquire().await.map_err(|_| ServerError::GoingDown)?;
        if self.parts.cancel.load(Ordering::Relaxed) {
            return Err(ServerError::GoingDown);
        }
        if let Some(signed) = self.sign_kept(&wanted).await? {
            return Ok(signed);
        }
        self.parts.metrics.computations.inc();
        progress.enter(Stage::Reading, 0);
        let started = Instant::now();
        let (image, base) = {
            let book = self.parts.books.read();
            let base = book.images.get(&wanted.base).cloned();
            let signature = book.signatures.get(&wanted.base).map(|signature| signature.bytes);
            let image = book.images.get(&wanted.target).cloned();
            (image, base.map(BaseIs::Image).or(signature.map(BaseIs::Signature)))
        };
        let gone = || Problem::new(ProblemCode::NotFound, "it was removed meanwhile");
        let (image, base) = (image.ok_or_else(gone)?, base.ok_or_else(gone)?);
        let target = self.parts.images.flat(&image).await?;
        let side = match base {
            BaseIs::Image(record) => Side::Image(self.parts.images.flat(&record).await?),
            BaseIs::Signature(bytes) => {
                let name = signature_name(&wanted.base);
                let bytes = self.parts.objects.bytes(&name, bytes).await?;
                Side::Signature(Box::new(TreeSignature::read(
                    &bytes[..],
                    &skiff_signature::Limits::default(),
                )?))
            }
        };
        let work = Work {
            wanted,
            base: side,
            target,
            settings: self.settings.clone(),
            spool: self.parts.images.spool().to_owned(),
            cancel: Arc::clone(&self.parts.cancel),
            progress: Arc::clone(progress),
        };
        let (encoded, report) = blocking(move || work.encode()).await?;
        let seconds = started.elapsed().as_secs_f64();
        self.parts.metrics.seconds.observe(seconds);
        let useless = useless(&wanted, &report);
        // Devices that want signatures do not pull.
        let is_wanted = |problem: &Problem| problem.code == ProblemCode::PullCheaper && self.signs();
        if let Some(problem) = useless.filter(|problem| !is_wanted(problem)) {
            return Err(problem.into());
        }
        tracing::info!(
            base = %wanted.base, target = %wanted.target, bytes = report.delta_bytes,
            pull_bytes = report.pull_bytes, seconds, "made a delta"
        );
        Ok(encoded)
    }

    /// Keeps a delta, remembers what is to be remembered of one that could not be made, and tells of it.
    async fn end(self: &Arc<Self>, running: Running, made: Result<Encoded, ServerError>) {
        let wanted = running.wanted;
        let made = match made {
            Ok(encoded) => Ok(encoded),
            // It stays noted as one that is to be made.
            Err(ServerError::GoingDown) => return,
            Err(error) => match permanent(&error) {
                Some(problem) => Err(problem),
                None => return self.put_off(wanted, &error),
            },
        };
        if let Err(error) = self.settle(wanted, &made).await {
            return self.put_off(wanted, &error);
        }
        drop(running);
        if let Err(problem) = &made {
            self.parts.metrics.failed(problem);
        }
        let bytes = made.as_ref().ok().map(|encoded| encoded.bytes);
        let (base, target) = (Text(wanted.base), Text(wanted.target));
        // Nobody may be listening.
        let _ = self.parts.events.send(Event::Delta { base, target, bytes, problem: made.err() });
        if let Err(error) = self.collect(&wanted.name()).await {
            tracing::error!(%error, "collecting deltas failed");
        }
    }

    /// Has a delta tried again later that failed for a reason that may pass.
    fn put_off(&self, wanted: Wanted, error: &ServerError) {
        tracing::error!(%error, delta = wanted.name(), "making a delta failed");
        self.parts.metrics.failed(&error.problem());
        let mut jobs = self.jobs();
        jobs.failed.retain(|_, failed| failed.elapsed() < RETRY);
        jobs.failed.insert(wanted, Instant::now());
    }

    /// Keeps a delta and notes what came of it: both, or neither. Where it takes the place of another, that stays until this is noted.
    async fn settle(&self, wanted: Wanted, made: &Result<Encoded, Problem>) -> Result<(), ServerError> {
        let _keeping = self.parts.objects.keeping().await;
        let name = wanted.name();
        let found = match made {
            Ok(Encoded { bytes, digest, keys, file }) => {
                let object = object_name(&name, digest);
                self.parts.objects.keep(&object, file).await?;
                let keys = keys.iter().copied().map(Text).collect();
                Some(Found::Made { bytes: *bytes, digest: digest.clone(), keys, object: Some(object) })
            }
            // It may be there again.
            Err(problem) if matches!(problem.code, ProblemCode::NotFound | ProblemCode::BaseUnknown) => None,
            Err(problem) => Some(Found::none(problem.clone())),
        };
        let (base, target) = (Text(wanted.base), Text(wanted.target));
        let record = found.map(|found| DeltaRecord { name, base, target, found, used: now() });
        // A signature that no delta can be made from makes room for another one.
        let is_useless = matches!(made, Err(problem) if problem.code == ProblemCode::BaseUnknown);
        let signature =
            self.parts.books.read().signatures.get(&wanted.base).filter(|_| is_useless).map(remove);
        let done = signature.into_iter().chain([remove(&wanted.job(None))]);
        let changes = record.iter().map(DeltaRecord::put).chain(done).collect();
        let (before, books) = (self.kept_as(&wanted), Arc::clone(&self.parts.books));
        let noted = blocking(move || books.change(|_| Ok::<_, ServerError>((changes, ())))).await;
        let after = self.kept_as(&wanted);
        let objects = [before, record.as_ref().and_then(DeltaRecord::object)];
        for object in objects.into_iter().flatten().filter(|object| Some(object) != after.as_ref()) {
            if let Err(error) = self.parts.objects.remove(&object).await {
                tracing::error!(%error, object, "a delta lies there that is not noted");
            }
        }
        noted
    }

    /// The object that is noted to have a delta.
    fn kept_as(&self, wanted: &Wanted) -> Option<String> {
        self.parts.books.read().deltas.get(&wanted.name()).and_then(DeltaRecord::object)
    }
}

enum BaseIs {
    Image(ImageRecord),
    Signature(u64),
}

/// What is told to everyone who asks from now on, where a failure comes again however often it is tried.
fn permanent(error: &ServerError) -> Option<Problem> {
    match error {
        ServerError::Refused(problem) => Some(problem.clone()),
        ServerError::Diff(error @ DiffError::DecoderMemory { .. }) => {
            Some(Problem::new(ProblemCode::NotForDevice, error.to_string()))
        }
        // The disk may be full, or be mended.
        ServerError::Image(ImageError::Io { .. } | ImageError::Fs(_)) => None,
        // Another one may be sent.
        ServerError::Diff(DiffError::Signature(_)) | ServerError::Signature(_) => {
            Some(Problem::new(ProblemCode::BaseUnknown, error.to_string()))
        }
        // It comes out of the same images each time.
        ServerError::Diff(error @ (DiffError::TooLarge(_) | DiffError::Codec(_) | DiffError::Proof(_))) => {
            tracing::error!(%error, "a delta cannot be made");
            Some(Problem::new(ProblemCode::DeltaFailed, error.to_string()))
        }
        ServerError::Image(_) => Some(Problem::new(ProblemCode::DeltaFailed, error.to_string())),
        _ => None,
    }
}
