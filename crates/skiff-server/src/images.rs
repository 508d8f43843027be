//! Images: taken in, checked, and flattened when deltas are made of them.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use skiff_fs::Control;
use skiff_image::{BlobDigest, FlatImage, FlattenOptions, Image, ImageRef, OpenOptions, Platform, Selection};
use skiff_protocol::Text;
use skiff_registry::{Client, Layout, Reference};
use skiff_tree::{ManifestDigest, ReleaseId};

use crate::ServerError;
use crate::copies;
use crate::objects::{Objects, blocking};
use crate::record::{ImageRecord, LayerRecord};

/// How long the beginning of a blob is kept: whoever releases the image again goes on from there.
const PART_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Where an image comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Registry(Reference),
    File(ImageRef),
}

/// Keeps images, and the flattened ones that were used last.
#[derive(Debug)]
pub(crate) struct Images {
    objects: Objects,
    /// The layout whose blobs are on this machine: where objects are kept, or copies of them.
    layout: Layout,
    spool: PathBuf,
    client: Client<'static>,
    /// The one used last stands last.
    flat: Mutex<VecDeque<(ReleaseId, Arc<FlatImage>)>>,
    capacity: usize,
    copied_bytes: u64,
    /// Held by those who use copies, and by one who removes some.
    copies: tokio::sync::RwLock<()>,
    /// One image is flattened at a time, so that two deltas of one do not do it twice.
    flattening: tokio::sync::Mutex<()>,
    cancel: Arc<AtomicBool>,
}

/// What is needed to keep images.
pub(crate) struct Settings {
    pub(crate) objects: Objects,
    pub(crate) data: PathBuf,
    pub(crate) client: Client<'static>,
    pub(crate) capacity: usize,
    /// How many bytes of copies are kept of what is kept elsewhere.
    pub(crate) copied_bytes: u64,
    pub(crate) cancel: Arc<AtomicBool>,
}

impl Images {
    pub(crate) fn open(settings: Settings) -> Result<Self, ServerError> {
        let Settings { objects, data, client, capacity, copied_bytes, cancel } = settings;
        let layout = objects.local("").unwrap_or_else(|| data.join("copies"));
        let spool = data.join("spool");
        let layout = Layout::create(layout)?;
        // What a server left there that was killed is of no use.
        match fs::remove_dir_all(&spool) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ServerError::io("clearing", spool)(error));
            }
            _ => fs::create_dir_all(&spool).map_err(ServerError::io("making", &spool))?,
        }
        Ok(Self {
            objects,
            layout,
            spool,
            client,
            flat: Mutex::default(),
            capacity,
            copied_bytes,
            copies: tokio::sync::RwLock::default(),
            flattening: tokio::sync::Mutex::default(),
            cancel,
        })
    }

    /// Where temporary files go.
    pub(crate) fn spool(&self) -> &Path {
        &self.spool
    }

    /// Takes an image in: every digest is checked, and its tree kept.
    pub(crate) async fn take(
        self: &Arc<Self>,
        source: Source,
        platform: Option<Platform>,
    ) -> Result<ImageRecord, ServerError> {
        let images = Arc::clone(self);
        let using = self.copies.read().await;
        let (record, flat) = blocking(move || images.read(&source, platform)).await?;
        let encoded = Arc::clone(&flat);
        let tree = blocking(move || {
            let mut tree = Vec::new();
            encoded.tree.encode(&mut tree).map_err(|error| ServerError::Internal(error.to_string()))?;
            Ok(tree)
        });
        let tree = tree.await?;
        self.objects.keep_bytes(&tree_name(&record.release.0), tree).await?;
        for digest in blobs(&record) {
            let name = digest.blob_name();
            if self.objects.local(&name).is_none() && self.objects.size(&name).await?.is_none() {
                // A copy stays here for the deltas that are made of it next.
                let copy = self.spool.join(digest.to_string());
                let from = self.layout.blob_path(&digest);
                let copied = copy.clone();
                blocking(move || fs::copy(&from, &copied).map_err(ServerError::io("copying", from))).await?;
                self.objects.keep(&name, &copy).await?;
            }
        }
        self.remember(record.release.0, flat);
        drop(using);
        self.collect_copies_beside();
        Ok(record)
    }

    fn read(
        &self,
        source: &Source,
        platform: Option<Platform>,
    ) -> Result<(ImageRecord, Arc<FlatImage>), ServerError> {
        let control = Control { cancel: Some(&self.cancel), ..Control::default() };
        let mut options = OpenOptions::default();
        options.platform = platform;
        let options = options.with_spool_directory(&self.spool).with_control(control);
        let manifest = match source {
            Source::Registry(reference) => {
                self.client
                    .with_control(control)
                    .fetch(reference, options.platform.as_ref(), &self.layout)?
                    .manifest
            }
            Source::File(reference) => {
                Image::open(reference, &options)?.write_layout(self.layout.directory(), control)?
            }
        };
        let image = self.open_image(&manifest)?;
        let flat = image.flatten(&self.flatten_options())?;
        let bytes = flat.manifest.as_deref().unwrap_or_default();
        let config = flat.config.as_deref().map(BlobDigest::of);
        let layers = flat.layers.iter().map(|layer| LayerRecord {
            diff_id: Text(layer.diff_id),
            digest: Text(layer.digest.expect("because every layer of a layout has one")),
            size: layer.size,
        });
        let record = ImageRecord {
            release: Text(flat.release_id()),
            manifest: Text(ManifestDigest::of(bytes)),
            manifest_bytes: bytes.len() as u64,
            media_type: media_type(bytes),
            config: Text(config.expect("because every image of a layout has one")),
            layers: layers.collect(),
            entries: flat.tree.totals().entries,
        };
        Ok((record, Arc::new(flat)))
    }

    fn open_image(&self, manifest: &BlobDigest) -> Result<Image, ServerError> {
        let image = Some(Selection::Digest(*manifest));
        let reference = ImageRef::Oci { directory: self.layout.directory().into(), image };
        Ok(Image::open(&reference, &OpenOptions::default())?)
    }

    fn flatten_options(&self) -> FlattenOptions<'_> {
        let control = Control { cancel: Some(&self.cancel), ..Control::default() };
        FlattenOptions::default().with_spool_directory(&self.spool).with_control(control)
    }

    /// An image, flattened, however often it is asked for at once only one time.
    pub(crate) async fn flat(self: &Arc<Self>, record: &ImageRecord) -> Result<Arc<FlatImage>, ServerError> {
        let release = record.release.0;
        if let Some(flat) = self.remembered(release) {
            return Ok(flat);
        }
        let _flattening = self.flattening.lock().await;
        if let Some(flat) = self.remembered(release) {
            return Ok(flat);
        }
        let using = self.copies.read().await;
        for digest in blobs(record) {
            let (name, copy) = (digest.blob_name(), self.layout.blob_path(&digest));
            if self.objects.local(&name).is_some() {
                continue;
            }
            if copy.exists() {
                copies::mark_used(&copy)?;
            } else if !self.objects.fetch(&name, &copy).await? {
                return Err(ServerError::broken(&name, "it is gone from where images are kept"));
            }
        }
        let (images, manifest) = (Arc::clone(self), BlobDigest::from_bytes(*record.manifest.0.as_bytes()));
        let flat =
            blocking(move || Ok(Arc::new(images.open_image(&manifest)?.flatten(&images.flatten_options())?)));
        let flat = flat.await?;
        self.remember(release, Arc::clone(&flat));
        drop(using);
        self.collect_copies_beside();
        Ok(flat)
    }

    /// Has all images and blobs go but these: from memory, and from the layout.
    pub(crate) fn keep_only(
        &self,
        images: &HashSet<ReleaseId>,
        blobs: &HashSet<BlobDigest>,
    ) -> Result<(), ServerError> {
        let mut flat = self.flat.lock().unwrap_or_else(PoisonError::into_inner);
        flat.retain(|(release, _)| images.contains(release));
        drop(flat);
        let control = Control { cancel: Some(&self.cancel), ..Control::default() };
        Ok(self.layout.retain(|digest| blobs.contains(digest), control)?)
    }

    /// Removes beside whatever else is done what there are too many copies of; while somebody uses some, the next time does that.
    pub(crate) fn collect_copies_beside(self: &Arc<Self>) {
        if self.objects.local("").is_some() {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let collecting = Arc::clone(&this);
            let Ok(_alone) = this.copies.try_write() else { return };
            let collected = blocking(move || {
                let control = Control { cancel: Some(&collecting.cancel), ..Control::default() };
                copies::collect(&collecting.layout, collecting.copied_bytes, control)
            });
            match collected.await {
                Ok(()) | Err(ServerError::GoingDown) => {}
                Err(error) => tracing::error!(%error, "removing copies of blobs failed"),
            }
        });
    }

    /// Removes what was fetched of images that nobody went on with: none may be being taken in.
    pub(crate) fn discard_parts(&self) -> Result<(), ServerError> {
        let control = Control { cancel: Some(&self.cancel), ..Control::default() };
        let before = SystemTime::now().checked_sub(PART_KEPT).unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(self.layout.discard_parts(before, control)?)
    }

    fn remembered(&self, release: ReleaseId) -> Option<Arc<FlatImage>> {
        let mut flat = self.flat.lock().unwrap_or_else(PoisonError::into_inner);
        let found = flat.iter().position(|(other, _)| *other == release)?;
        let found = flat.remove(found)?;
        flat.push_back(found);
        flat.back().map(|(_, flat)| Arc::clone(flat))
    }

    fn remember(&self, release: ReleaseId, image: Arc<FlatImage>) {
        let mut flat = self.flat.lock().unwrap_or_else(PoisonError::into_inner);
        flat.retain(|(other, _)| *other != release);
        flat.push_back((release, image));
        while flat.len() > self.capacity {
            flat.pop_front();
        }
    }
}

/// Everything that a pull of an image may ask for.
pub(crate) fn blobs(record: &ImageRecord) -> impl Iterator<Item = BlobDigest> {
    let manifest = BlobDigest::from_bytes(*record.manifest.0.as_bytes());
    [manifest, record.config.0].into_iter().chain(record.layers.iter().map(|layer| layer.digest.0))
}

/// Where an image's tree is kept.
pub(crate) fn tree_name(release: &ReleaseId) -> String {
    format!("trees/{release}")
}

/// What a pull of all of an image takes, in bytes.
pub(crate) fn pull_bytes(record: &ImageRecord) -> u64 {
    record.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size))
}

/// What a manifest says that it is.
fn media_type(manifest: &[u8]) -> String {
    const DEFAULT: &str = "application/vnd.oci.image.manifest.v1+json";
    let parsed: Option<serde_json::Value> = serde_json::from_slice(manifest).ok();
    let said = parsed.as_ref().and_then(|manifest| manifest.get("mediaType")?.as_str());
    said.unwrap_or(DEFAULT).into()
}
