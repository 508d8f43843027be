//! Releasing images to fleets.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};

use skiff_image::{ImageRef, Platform};
use skiff_protocol::{Event, ImageDigest, Name, Problem, ProblemCode, Release, ReleaseState, Text};
use skiff_registry::Reference;
use skiff_tree::ReleaseId;
use tokio::sync::{broadcast, watch};

use crate::ServerError;
use crate::book::{Book, Books, ready, remove};
use crate::clock::now;
use crate::database::Change;
use crate::deltas::{Deltas, Wanted};
use crate::images::{Images, Source, pull_bytes};
use crate::objects::blocking;
use crate::record::{DeviceRecord, FleetRecord, ImageRecord, Record as _};
use crate::variant::Variant;

/// Releases images.
#[derive(Debug)]
pub(crate) struct Releases {
    pub(crate) books: Arc<Books>,
    pub(crate) images: Arc<Images>,
    pub(crate) deltas: Arc<Deltas>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) changes: Changes,
    pub(crate) image_directory: Option<PathBuf>,
    /// Where images lie that were sent, until they are taken in.
    pub(crate) uploads: PathBuf,
    /// One image at a time: it takes the disk's and all processors' time.
    pub(crate) taking: tokio::sync::Mutex<()>,
}

/// Removes images that were sent for no release that is being prepared: a server ended before it had noted it, or had removed it.
pub(crate) fn remove_stray_uploads(uploads: &Path, book: &Book) -> Result<(), ServerError> {
    let preparing = book.releases.values().filter(|release| release.state == ReleaseState::Preparing);
    let needed: BTreeSet<OsString> = preparing.map(|release| upload_name(release).into()).collect();
    for entry in std::fs::read_dir(uploads).map_err(ServerError::io("reading", uploads))? {
        let entry = entry.map_err(ServerError::io("reading", uploads))?;
        if !needed.contains(&entry.file_name()) {
            std::fs::remove_file(entry.path()).map_err(ServerError::io("removing", entry.path()))?;
        }
    }
    Ok(())
}

/// What an image's file is called that was sent to be released.
fn upload_name(release: &Release) -> String {
    format!("{}-{}", release.fleet, release.number)
}

/// Tells those who wait that something may have changed about their fleet.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<HashMap<Name, watch::Sender<()>>>);

impl Changes {
    /// Told of every change of the fleet from now on.
    pub(crate) fn of(&self, fleet: &Name) -> watch::Receiver<()> {
        let mut fleets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fleets.entry(fleet.clone()).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Tells of a change.
    pub(crate) fn tell(&self, fleet: &Name) {
        let mut fleets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = fleets.get(fleet) {
            sender.send_replace(());
            if sender.is_closed() {
                fleets.remove(fleet);
            }
        }
    }
}

impl Releases {
    /// Begins to release an image from elsewhere, or one that was sent and lies in a file.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        fleet: Name,
        image: Option<String>,
        (platform, sent): (Option<String>, Option<tempfile::TempPath>),
    ) -> Result<Release, ServerError> {
        // Whatever is wrong with it is told at once, as far as that can be.
        self.source(image.as_deref(), &self.uploads)?;
        parse_platform(platform.as_deref())?;
        let this = Arc::clone(self);
        let begun = move || {
            let mut kept = None;
            let begun = this.books.change(|book| {
                let missing = || Problem::new(ProblemCode::NotFound, format!("there is no fleet {fleet}"));
                let removed = book.fleets.get(&fleet).ok_or_else(missing)?.numbered;
                let newest = book.releases_of(&fleet).next_back().map_or(0, |newest| newest.number);
                let number = newest.max(removed).saturating_add(1);
                let state = ReleaseState::Preparing;
                let release = Release { fleet, number, image, platform, created: now(), state };
                if let Some(sent) = sent {
                    let path = this.upload(&release);
                    sent.persist(&path).map_err(|error| ServerError::io("keeping", &path)(error.error))?;
                    kept = Some(path);
                }
                Ok::<_, ServerError>((vec![release.put()], release))
            });
            if let (Err(_), Some(kept)) = (&begun, kept)
                && let Err(error) = std::fs::remove_file(&kept)
            {
                tracing::error!(%error, file = %kept.display(), "an image lies there of no release");
            }
            begun
        };
        // In a task of its own: a release that is noted is gone on with, whether whoever sent it waits or not.
        let this = Arc::clone(self);
        let going_on = tokio::spawn(async move {
            let release = blocking(begun).await?;
            this.go_on_with(release.clone());
            Ok(release)
        });
        going_on.await.unwrap_or(Err(ServerError::GoingDown))
    }

    /// Goes on with what was to be released when the server ended.
    pub(crate) fn go_on(self: &Arc<Self>) {
        let preparing: Vec<Release> = {
            let book = self.books.read();
            book.releases
                .values()
                .filter(|release| release.state == ReleaseState::Preparing)
                .cloned()
                .collect()
        };
        for release in preparing {
            self.go_on_with(release);
        }
    }

    fn go_on_with(self: &Arc<Self>, release: Release) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            // Until it is noted: or what was taken in would be swept away as what nobody names.
            let _taking = this.taking.lock().await;
            let (taking, taken) = (Arc::clone(&this), release.clone());
            let made = tokio::spawn(async move { taking.take(&taken).await }).await;
            let made = made.unwrap_or_else(|error| {
                tracing::error!(%error, fleet = %release.fleet, number = release.number, "reading an image panicked");
                Err(Problem::new(ProblemCode::Internal, "the server has a defect that this image shows").into())
            });
            match made {
                // It stays noted as one that is being prepared.
                Err(ServerError::GoingDown) => {}
                made => {
                    if let Err(error) = this.end(release, made).await {
                        tracing::error!(%error, "what came of a release could not be noted");
                    }
                }
            }
        });
    }

    async fn take(self: &Arc<Self>, release: &Release) -> Result<ImageRecord, ServerError> {
        let source = self.source(release.image.as_deref(), &self.upload(release))?;
        self.images.take(source, parse_platform(release.platform.as_deref())?).await
    }

    fn upload(&self, release: &Release) -> PathBuf {
        self.uploads.join(upload_name(release))
    }

    async fn end(
        self: &Arc<Self>,
        release: Release,
        made: Result<ImageRecord, ServerError>,
    ) -> Result<(), ServerError> {
        if let Err(error) = &made {
            tracing::warn!(%error, fleet = %release.fleet, number = release.number, "an image cannot be released");
        }
        // The same release may be here with layers that were compressed otherwise: it stays what it is, for who pulls it.
        let known =
            |image: ImageRecord| self.books.read().images.get(&image.release.0).cloned().unwrap_or(image);
        let made = made.map(known);
        let state = state(&made);
        let problem = match &state {
            ReleaseState::Failed { problem } => Some(problem.clone()),
            _ => None,
        };
        let (fleet, number) = (release.fleet.clone(), release.number);
        let id = made.as_ref().ok().map(|image| image.release);
        let tellable = Event::Release { fleet: fleet.clone(), number, release: id, problem };
        let (this, upload) = (Arc::clone(self), self.upload(&release));
        blocking(move || {
            this.books.change(|book| {
                // It went with its fleet, and another one may have its name.
                let is_there = book.releases.get(&(release.fleet.clone(), number)) == Some(&release);
                let changes =
                    if is_there { outcome(book, release, state, made.as_ref().ok()) } else { Vec::new() };
                Ok::<_, ServerError>((changes, ()))
            })?;
            match std::fs::remove_file(&upload) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(ServerError::io("removing", &upload)(error))
                }
                _ => Ok(()),
            }
        })
        .await?;
        // Nobody may be listening.
        let _ = self.events.send(tellable);
        self.changes.tell(&fleet);
        self.make_ahead(&fleet).await;
        Ok(())
    }

    /// Has the deltas made that the devices of a fleet will ask for.
    pub(crate) async fn make_ahead(self: &Arc<Self>, fleet: &Name) {
        let wanted: BTreeSet<(ReleaseId, ReleaseId, Variant)> = {
            let book = self.books.read();
            let Some(target) = book.fleets.get(fleet).and_then(|fleet| fleet.target) else { return };
            let wanted = book.devices_of(fleet).filter_map(|device| {
                let report = &device.status.as_ref()?.report;
                let base = report.running?.0;
                let is_known = book.is_known(base) && book.may_start_from(device, base);
                let variant = Variant::of(report.capabilities.as_ref()?).ok()?;
                (base != target.0 && is_known).then_some((base, target.0, variant))
            });
            wanted.collect()
        };
        for (base, target, variant) in wanted {
            if let Err(error) = self.deltas.ask(Wanted { base, target, variant }, None).await {
                tracing::warn!(%error, %base, %target, "a delta is not made ahead");
            }
        }
    }

    /// Where an image is taken from.
    fn source(&self, image: Option<&str>, upload: &Path) -> Result<Source, ServerError> {
        let refuse = |detail: String| Err(Problem::new(ProblemCode::Unprocessable, detail).into());
        let Some(image) = image else {
            return Ok(Source::File(ImageRef::OciArchive { file: upload.into(), image: None }));
        };
        if image.starts_with("docker://") {
            return match Reference::from_str(image) {
                Ok(reference) => Ok(Source::Registry(reference)),
                Err(error) => refuse(error.to_string()),
            };
        }
        let reference = match ImageRef::from_str(image) {
            Ok(ImageRef::Oci { directory, image }) => (directory, image),
            Ok(_) => {
                return refuse(
                    "images are released from docker://HOST/NAME and oci:DIRECTORY, or sent".into(),
                );
            }
            Err(error) => return refuse(error.to_string()),
        };
        let (directory, image) = reference;
        let Some(root) = &self.image_directory else {
            return refuse("this server has no directory that images are released from".into());
        };
        // Whatever links lead to: nothing outside is read.
        match (root.join(&directory).canonicalize(), root.canonicalize()) {
            (Ok(directory), Ok(root)) if directory.starts_with(&root) => {
                Ok(Source::File(ImageRef::Oci { directory, image }))
            }
            _ => refuse(format!("{} is not in the server's directory for images", directory.display())),
        }
    }
}

fn parse_platform(platform: Option<&str>) -> Result<Option<Platform>, ServerError> {
    let parse = |text: &str| {
        text.parse().map_err(|error: skiff_image::ImageError| {
            Problem::new(ProblemCode::Unprocessable, error.to_string())
        })
    };
    Ok(platform.map(parse).transpose()?)
}

/// What has become of a release that was prepared.
fn state(made: &Result<ImageRecord, ServerError>) -> ReleaseState {
    match made {
        Ok(image) => ReleaseState::Ready {
            release: image.release,
            manifest: Text(ImageDigest::from_bytes(*image.manifest.0.as_bytes())),
            bytes: pull_bytes(image),
            entries: image.entries,
        },
        Err(error) => ReleaseState::Failed { problem: error.problem() },
    }
}

/// What is noted of it: with its image, where there is one, which becomes the fleet's target where it is the newest.
fn outcome(book: &Book, release: Release, state: ReleaseState, image: Option<&ImageRecord>) -> Vec<Change> {
    let (name, number) = (release.fleet.clone(), release.number);
    let mut changes = vec![Release { state, ..release }.put()];
    if let (Some(image), Some(fleet)) = (image, book.fleets.get(&name)) {
        changes.push(image.put());
        // A later one may have been ready before.
        let is_newest =
            book.releases_of(&name).filter(|other| ready(other).is_some()).all(|other| other.number < number);
        if is_newest {
            changes.push(FleetRecord { target: Some(image.release), ..fleet.clone() }.put());
        }
    }
    changes
}

/// What takes a release away that devices do not need: one that failed, or that they shall not run. Those that run it may have deltas
/// from it still.
pub(crate) fn removal(book: &Book, fleet: &FleetRecord, release: &Release) -> Result<Vec<Change>, Problem> {
    let conflict = |detail: String| Err(Problem::new(ProblemCode::Conflict, detail));
    let (name, number) = (&fleet.name, release.number);
    if release.state == ReleaseState::Preparing {
        return conflict(format!("release {number} of {name} is being prepared: wait until that has ended"));
    }
    let id = ready(release);
    let is_there_twice = book.releases_of(name).filter(|other| ready(other) == id).count() > 1;
    if id.is_some_and(|id| fleet.target == Some(Text(id))) && !is_there_twice {
        return conflict(format!(
            "the devices of {name} shall run release {number}: set another target first"
        ));
    }
    let runs = |device: &&DeviceRecord| device.running() == id;
    let noted = id.into_iter().flat_map(|id| {
        book.devices_of(name).filter(runs).map(move |device| device.clone().with_base(id).put())
    });
    let fleet = FleetRecord { numbered: fleet.numbered.max(number), ..fleet.clone() };
    Ok(noted.chain([fleet.put(), remove(release)]).collect())
}

/// What a fleet's release is called in the image's repository.
pub(crate) fn by_tag<'b>(book: &'b Book, fleet: &Name, tag: &str) -> Option<&'b ImageRecord> {
    let id = match tag {
        "latest" => book.fleets.get(fleet)?.target?.0,
        number => {
            let number = number.parse().ok()?;
            ready(book.releases.get(&(fleet.clone(), number))?)?
        }
    };
    book.images.get(&id)
}

/// The image of a fleet that a manifest's digest names.
pub(crate) fn by_manifest<'b>(book: &'b Book, fleet: &Name, digest: &str) -> Option<&'b ImageRecord> {
    let ids = book.releases_of(fleet).filter_map(ready);
    ids.filter_map(|id| book.images.get(&id))
        .find(|image| image.manifest.to_string().trim_start_matches("sha256:") == digest)
}
