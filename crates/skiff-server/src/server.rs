//! A server: its parts, opened and put together.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use skiff_fs::{Lock, LockKind, Root};
use skiff_protocol::Event;
use skiff_registry::Client;
use skiff_tree::EntryPath;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::book::{Books, remove};
use crate::database::Sqlite;
use crate::deltas::{self, Deltas, Parts};
use crate::images::{self, Images};
use crate::kept;
use crate::metrics::Metrics;
use crate::objects::{Objects, blocking};
use crate::record::{Record as _, Role, TokenRecord};
use crate::releases::{self, Changes, Releases};
use crate::signatures::{Quota, Signatures};
use crate::{Options, ServerError, routes, tokens};

/// A delta server. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Server {
    pub(crate) parts: Arc<ServerParts>,
}

#[derive(Debug)]
pub(crate) struct ServerParts {
    pub(crate) books: Arc<Books>,
    pub(crate) objects: Objects,
    pub(crate) images: Arc<Images>,
    pub(crate) deltas: Arc<Deltas>,
    pub(crate) signatures: Arc<Signatures>,
    pub(crate) releases: Arc<Releases>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) requests: Semaphore,
    pub(crate) transfers: Arc<Semaphore>,
    pub(crate) polls: Arc<Semaphore>,
    pub(crate) limits: Limits,
    cancel: Arc<AtomicBool>,
    /// Becomes true when the server goes down.
    down: watch::Sender<bool>,
    /// What the routes are described as, once somebody asked.
    description: OnceLock<String>,
}

/// What requests keep to.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) upload_bytes: u64,
    pub(crate) signature_bytes: u64,
    pub(crate) request_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) poll_timeout: Duration,
    pub(crate) public_objects: Option<url::Url>,
}

/// How many events may wait for a listener before it misses some.
const EVENTS: usize = 1024;

impl Server {
    /// Opens what is in a directory, and goes on with what was being done when it was open last. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ServerError::Busy`] where another server works there; [`ServerError::Database`], [`ServerError::Objects`],
    /// [`ServerError::Io`], [`ServerError::Fs`], [`ServerError::Registry`].
    pub async fn open(options: Options) -> Result<Self, ServerError> {
        let server = blocking(move || Self::assemble(options)).await?;
        server.parts.deltas.go_on();
        server.parts.releases.go_on();
        server.parts.releases.sweep_beside();
        server.parts.releases.sweep_daily();
        Ok(server)
    }

    fn assemble(mut options: Options) -> Result<Self, ServerError> {
        check(&options)?;
        let Stored { books, objects, uploads } = Stored::open(&mut options)?;
        let cancel = Arc::new(AtomicBool::new(false));
        let metrics = Arc::new(Metrics::new());
        let events = broadcast::Sender::new(EVENTS);
        let images = Arc::new(Images::open(images::Settings {
            objects: objects.clone(),
            data: options.data.clone(),
            client: Client::new(options.registry.clone())?,
            capacity: options.flat_images.get(),
            copied_bytes: options.copied_bytes,
            cancel: Arc::clone(&cancel),
        })?);
        let parts = Parts {
            books: Arc::clone(&books),
            images: Arc::clone(&images),
            objects: objects.clone(),
            metrics: Arc::clone(&metrics),
            events: events.clone(),
            cancel: Arc::clone(&cancel),
        };
        let deltas = Arc::new(Deltas::new(parts, deltas::Settings::of(&options)));
        deltas.measure();
        let releases = Arc::new(Releases {
            books: Arc::clone(&books),
            images: Arc::clone(&images),
            deltas: Arc::clone(&deltas),
            events: events.clone(),
            changes: Changes::default(),
            image_directory: options.image_directory.clone(),
            uploads,
            taking: tokio::sync::Mutex::default(),
        });
        let signatures = Signatures::new(Arc::clone(&books), objects.clone(), Quota::of(&options));
        let parts = ServerParts {
            books,
            objects,
            images,
            deltas,
            signatures: Arc::new(signatures),
            releases,
            metrics,
            events,
            requests: Semaphore::new(options.requests),
            transfers: Arc::new(Semaphore::new(options.transfers)),
            polls: Arc::new(Semaphore::new(options.polls)),
            limits: Limits::of(&options),
            cancel,
            down: watch::Sender::new(false),
            description: OnceLock::new(),
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Everything under `/v1` and `/v2`, `/healthz` and `/metrics`, to be served or mounted.
    pub fn router(&self) -> axum::Router {
        routes::router(self).0
    }

    /// A description of the routes, as OpenAPI 3.1 in JSON.
    #[must_use]
    pub fn openapi(&self) -> String {
        self.description().to_owned()
    }

    pub(crate) fn description(&self) -> &str {
        self.parts.description.get_or_init(|| {
            let description = routes::router(self).1;
            description.to_json().expect("because a description is structs with keys that are text")
        })
    }

    /// Ends all tokens of administrators.
    ///
    /// # Errors
    /// [`ServerError::Database`].
    pub async fn revoke_administrators(&self) -> Result<(), ServerError> {
        let books = Arc::clone(&self.parts.books);
        let revoke = move || {
            books.change(|book| {
                let held = book.tokens.iter().filter(|(_, role)| **role == Role::Administrator);
                let token = |(digest, role): (&String, &Role)| TokenRecord {
                    digest: digest.clone(),
                    role: role.clone(),
                };
                Ok::<_, ServerError>((held.map(|held| remove(&token(held))).collect(), ()))
            })
        };
        blocking(revoke).await
    }

    /// Makes a token for an administrator. It is told this once: only its digest is kept.
    ///
    /// # Errors
    /// [`ServerError::Database`].
    pub async fn new_administrator(&self) -> Result<String, ServerError> {
        let token = tokens::new()?;
        let record = TokenRecord { digest: tokens::digest(&token), role: Role::Administrator };
        let books = Arc::clone(&self.parts.books);
        blocking(move || books.change(|_| Ok::<_, ServerError>((vec![record.put()], ())))).await?;
        Ok(token)
    }

    /// Lets an administrator's token be one that the caller chose, such as from a file of secrets.
    ///
    /// # Errors
    /// [`ServerError::Options`] where it is shorter than 32 bytes, [`ServerError::Database`].
    pub async fn allow_administrator(&self, token: &str) -> Result<(), ServerError> {
        if token.len() < 32 {
            return Err(ServerError::Options("an administrator's token takes 32 bytes at least".into()));
        }
        let record = TokenRecord { digest: tokens::digest(token), role: Role::Administrator };
        let books = Arc::clone(&self.parts.books);
        blocking(move || books.change(|_| Ok::<_, ServerError>((vec![record.put()], ())))).await
    }

    /// Begins to go down: polls and streams end, and what is being made is left, to be made after the next start. Requests that are
    /// under way are answered still.
    pub fn shut_down(&self) {
        self.parts.cancel.store(true, Ordering::Relaxed);
        self.parts.down.send_replace(true);
    }
}

/// What is kept: the state, and images and deltas.
struct Stored {
    books: Arc<Books>,
    objects: Objects,
    /// Where images lie that were sent, until they are taken in.
    uploads: PathBuf,
}

impl Stored {
    fn open(options: &mut Options) -> Result<Self, ServerError> {
        let data = &options.data;
        let uploads = data.join("uploads");
        // It holds what devices are told, and digests of tokens: nobody else's business.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&uploads);
        made.map_err(ServerError::io("making", &uploads))?;
        let lock = lock(data)?;
        let database = match options.database.take() {
            Some(database) => database,
            None => Box::new(Sqlite::open(&data.join("state.db"))?),
        };
        let books = Arc::new(Books::open(database, lock)?);
        kept::forget_outdated(&books)?;
        let objects = match &options.objects {
            Some(url) => Objects::at(url)?,
            None => Objects::in_directory(&data.join("objects"))?,
        };
        releases::remove_stray_uploads(&uploads, &books.read())?;
        Ok(Self { books, objects, uploads })
    }
}

impl Limits {
    fn of(options: &Options) -> Self {
        Self {
            upload_bytes: options.upload_bytes,
            signature_bytes: options.signature_bytes.min(options.signature_bytes_per_device),
            request_timeout: options.request_timeout,
            idle_timeout: options.idle_timeout,
            poll_timeout: options.poll_timeout,
            public_objects: options.public_objects.clone(),
        }
    }
}

impl ServerParts {
    /// Ends once the server goes down.
    pub(crate) async fn going_down(&self) {
        let mut down = self.down.subscribe();
        // An error would mean that the sender is gone, and with it the server.
        let _ = down.wait_for(|&down| down).await;
    }
}

fn check(options: &Options) -> Result<(), ServerError> {
    if options.signing_keys.len() > skiff_format::MAX_SIGNATURES {
        let what = format!("a delta has {} signatures at most", skiff_format::MAX_SIGNATURES);
        return Err(ServerError::Options(what));
    }
    Ok(())
}

fn lock(data: &std::path::Path) -> Result<Lock, ServerError> {
    let root = Root::open(data).map_err(ServerError::Fs)?;
    let name = EntryPath::new("lock").expect("because it is short and plain");
    root.lock(&name, LockKind::Exclusive).map_err(|error| match error {
        skiff_fs::FsError::Locked { .. } => ServerError::Busy { data: data.into() },
        other => ServerError::Fs(other),
    })
}
