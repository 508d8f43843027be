use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::{Credentials, Throttle};

/// How a [`Client`](crate::Client) talks to registries.
///
/// ```
/// use skiff_registry::{Client, ClientOptions, Credentials};
///
/// let options = ClientOptions::default().with_credentials(Credentials::from_docker_config()?);
/// let client = Client::new(options)?;
/// # Ok::<(), skiff_registry::RegistryError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Who asks. Default: nobody that has a name.
    pub credentials: Credentials,
    /// Whether registries are asked without TLS. Default: they are not, whatever they say.
    pub transport: Transport,
    /// Files with certificates in PEM, of authorities that are trusted beside those that the system trusts. Default: none.
    pub authorities: Vec<PathBuf>,
    /// How often what failed is tried again. Default: that of [`Retries`].
    pub retries: Retries,
    /// How long is waited. Default: that of [`Timeouts`].
    pub timeouts: Timeouts,
    /// What a registry may send. Default: that of [`Limits`].
    pub limits: Limits,
    /// Bytes of an upload that go with one request; smaller ones are tried where connections do not last that long. Default
    /// 5 MiB, which is the least that some registries take.
    pub upload_chunk: u64,
    /// How fast blobs are fetched, together with whatever else has the same one. Default: as fast as they come.
    pub throttle: Option<Arc<Throttle>>,
    /// What the client calls itself. Default: `skiff/` and the version.
    pub user_agent: String,
}

/// Whether a registry is talked to with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// With TLS, and only with it.
    #[default]
    Tls,
    /// Without: everything can be read and changed on the way. What is fetched by digest is still what the digest names.
    Plain,
}

/// How often what failed is tried again: connections that fail or break, and the statuses 408, 429 and 500 to 599.
///
/// The wait before an attempt is twice that before the last one, less up to half of it by chance, so that many clients do not
/// come back at once. A transfer that got further begins to count anew, and goes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retries {
    /// How many attempts may fail in a row without getting further; at least 1. Default 6.
    pub attempts: u32,
    /// The first wait. Default 250 ms.
    pub first_wait: Duration,
    /// The longest wait, also where the registry asks for a longer one. Default 20 s.
    pub longest_wait: Duration,
}

/// How long is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For a connection. Default 20 s.
    pub connect: Duration,
    /// For the next byte to come or go. Default 60 s.
    pub idle: Duration,
    /// For the whole of what a method does, with everything that is tried again. Default: as long as it takes; a deadline of the
    /// [`Control`](skiff_fs::Control) does the same.
    pub whole: Option<Duration>,
}

/// What a registry may send, and so make the client write or hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Stops bloated documents, which are held in memory: the bytes of a manifest, an index, a config, a list or an error.
    /// Default 4 MiB, which is what registries take.
    pub document: u64,
    /// Stops full disks: the bytes of one blob. Default 16 GiB.
    pub blob: u64,
    /// Stops full disks: the bytes of an image's blobs together. Default 64 GiB.
    pub image: u64,
    /// Stops floods of layers. Default 1,000; engines stop at 127.
    pub layers: u64,
    /// Stops floods of deltas: how many artifacts of one image are looked at. Default 10,000.
    pub referrers: u64,
    /// Stops endless lists: the pages of one. Default 100.
    pub pages: u32,
    /// Stops chases: how many redirects one answer takes. Default 8.
    pub redirects: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            transport: Transport::default(),
            authorities: Vec::new(),
            retries: Retries::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            throttle: None,
            upload_chunk: 5 << 20,
            user_agent: concat!("skiff/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 6, first_wait: Duration::from_millis(250), longest_wait: Duration::from_secs(20) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), idle: Duration::from_secs(60), whole: None }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: 4 << 20,
            blob: 16 << 30,
            image: 64 << 30,
            layers: 1_000,
            referrers: 10_000,
            pages: 100,
            redirects: 8,
        }
    }
}

impl ClientOptions {
    /// These options, for somebody.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { credentials, ..self }
    }

    /// These options, with TLS or without.
    #[must_use]
    pub fn with_transport(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// These options, with one more file of certificates.
    #[must_use]
    pub fn with_authority(mut self, file: impl AsRef<Path>) -> Self {
        self.authorities.push(file.as_ref().into());
        self
    }

    /// These options, with other retries.
    #[must_use]
    pub fn with_retries(self, retries: Retries) -> Self {
        Self { retries, ..self }
    }

    /// These options, with other timeouts.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// These options, with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// These options, with so many bytes of an upload in one request, at least 1.
    #[must_use]
    pub fn with_upload_chunk(self, bytes: u64) -> Self {
        Self { upload_chunk: bytes.max(1), ..self }
    }

    /// These options, with not more bytes in a second than this grants.
    #[must_use]
    pub fn with_throttle(self, throttle: Arc<Throttle>) -> Self {
        Self { throttle: Some(throttle), ..self }
    }

    /// These options, under another name.
    #[must_use]
    pub fn with_user_agent(self, user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), ..self }
    }
}
