//! How a server behaves.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skiff_diff::Level;
use skiff_keys::PrivateKey;
use skiff_tree::ReleaseId;
use url::Url;

use crate::Database;

/// How a server behaves. Everything but the directory has a default.
#[derive(Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where everything lies that is not said to lie elsewhere: the database, images, deltas and spools.
    pub data: PathBuf,
    /// Where the state is kept. Default: in SQLite, in the file `state.db` of the directory.
    pub database: Option<Box<dyn Database>>,
    /// Where images and deltas are kept, as [`object_store`] spells it, such as `s3://bucket/prefix`; the features `aws`, `azure`
    /// and `gcp` know these. Default: in `objects` of the directory.
    pub objects: Option<Url>,
    /// Under which URL devices find what is kept there: they are then sent on to `URL/deltas/NAME` instead of being served.
    /// Default: they are served.
    pub public_objects: Option<Url>,
    /// Where images may be released from as `oci:DIRECTORY[:TAG]`. Default: nowhere.
    pub image_directory: Option<PathBuf>,
    /// How images are fetched from registries.
    pub registry: skiff_registry::ClientOptions,
    /// How many deltas are made at the same time. Default: 1, which uses every core.
    pub workers: NonZeroUsize,
    /// How many deltas may wait to be made; beyond, devices are told to come back. Default: 1,024.
    pub queue: usize,
    /// How many of these one device may have asked for first; beyond, it is told to come back. Those that are made ahead, and those that
    /// another device asked for before, are not counted. Default: 16.
    pub queue_per_device: usize,
    /// The keys that deltas are signed with, 16 at most. One that was made before there was a key is signed when it is asked for.
    /// Default: none.
    pub signing_keys: Vec<PrivateKey>,
    /// How hard to try. Default: [`Level::Default`].
    pub level: Level,
    /// About how many bytes of memory each of the workers uses. Default: 1 GiB.
    pub memory: u64,
    /// How many flattened images are kept at hand between deltas; their contents lie in spools. Default: 4.
    pub flat_images: NonZeroUsize,
    /// How many bytes of deltas are kept. Beyond, those that were asked for longest ago go. Default: 16 GiB.
    pub delta_bytes: u64,
    /// With [`Options::objects`]: how many bytes of images are kept in the directory too, for the deltas that are made of them. Beyond,
    /// those that were used longest ago go. Default: 16 GiB.
    pub copied_bytes: u64,
    /// The largest image that may be sent, in bytes. Default: 16 GiB.
    pub upload_bytes: u64,
    /// The largest signature that may be sent, in bytes. Default: 256 MiB.
    pub signature_bytes: u64,
    /// How many signatures are kept that one device sent, one at least. The next one takes the place of what it sent longest ago. Default: 4.
    pub signatures_per_device: usize,
    /// How many bytes of signatures are kept that one device sent; none that is larger is taken. Default: 512 MiB.
    pub signature_bytes_per_device: u64,
    /// How many requests may be under way that do something, polls not counted. Default: 512.
    pub requests: usize,
    /// How many images, deltas and signatures may be under way, to the server or from it. Small deltas, which lie in memory, are not
    /// counted. Default: 1,024.
    pub transfers: usize,
    /// How many polls and event streams may be held. Default: 100,000.
    pub polls: usize,
    /// How long a request may take to be received and answered, transfers of images and deltas not counted. Default: 30 s.
    pub request_timeout: Duration,
    /// How long a transfer may go without a byte moving. Default: 60 s.
    pub idle_timeout: Duration,
    /// The longest that a poll is held. Default: 5 minutes.
    pub poll_timeout: Duration,
    /// Told the base and the target of each delta before it is made. Default: nobody is.
    pub before_each: Option<BeforeEach>,
}

impl Options {
    /// The defaults, in this directory, which is made if it is not there.
    #[must_use]
    pub fn new(data: impl AsRef<Path>) -> Self {
        Self {
            data: data.as_ref().into(),
            database: None,
            objects: None,
            public_objects: None,
            image_directory: None,
            registry: skiff_registry::ClientOptions::default(),
            workers: NonZeroUsize::MIN,
            queue: 1024,
            queue_per_device: 16,
            signing_keys: Vec::new(),
            level: Level::Default,
            memory: 1 << 30,
            flat_images: NonZeroUsize::MIN.saturating_add(3),
            delta_bytes: 16 << 30,
            copied_bytes: 16 << 30,
            upload_bytes: 16 << 30,
            signature_bytes: 256 << 20,
            signatures_per_device: 4,
            signature_bytes_per_device: 512 << 20,
            requests: 512,
            transfers: 1024,
            polls: 100_000,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            poll_timeout: Duration::from_secs(300),
            before_each: None,
        }
    }
}

/// Called before each delta is made, in the thread that makes it: the delta waits for as long as it takes.
#[derive(Clone)]
pub struct BeforeEach(pub Arc<dyn Fn(ReleaseId, ReleaseId) + Send + Sync>);

impl fmt::Debug for BeforeEach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeforeEach(..)")
    }
}
