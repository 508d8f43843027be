//! How bytes come from the server.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use skiff_fs::Control;
use skiff_image::ImageRef;
use skiff_protocol::{ImageDigest, Name};
use skiff_registry::RegistryError;

/// The longest answer that is read into memory, in bytes: targets and problems have some thousands.
const DOCUMENT_MAX: u64 = 8 << 20;

/// The way to the server. [`HttpFetch`](crate::HttpFetch) is the one that there is; another one may go by a modem or a message bus.
pub trait Fetch: fmt::Debug + Send + Sync {
    /// Sends a request, once, and returns its answer when its head is there. Answers of every status are answers.
    ///
    /// # Errors
    /// [`FetchError`] where there is none.
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, FetchError>;

    /// Brings an image of the server into a directory, trying again by itself and going on with what is there already, from
    /// an earlier attempt too.
    ///
    /// # Errors
    /// [`FetchError`].
    fn pull(&self, image: &Pull<'_>) -> Result<Pulled, FetchError>;

    /// Ends whatever goes on, soon: exchanges and bodies that are read end in an error. What begins after that goes well.
    fn interrupt(&self);
}

/// A request to the server.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// What is done.
    pub method: Method,
    /// Where.
    pub at: Place<'a>,
    /// Names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// What goes with it.
    pub body: Payload<'a>,
    /// How long the head of the answer may take to come.
    pub answer_within: Duration,
    /// How long the body may be without a byte.
    pub stalled_after: Duration,
}

/// What is done by a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Something is read.
    Get,
    /// Something is put there.
    Put,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A path on the server, with a query, which is asked with the device's token.
    Server(&'a str),
    /// An address that the server named, which is not told the token.
    Elsewhere(&'a str),
}

/// What goes with a request.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// Nothing.
    None,
    /// JSON.
    Json(&'a [u8]),
    /// A file's bytes.
    File(&'a File),
}

/// What came back.
#[non_exhaustive]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, to be read.
    pub body: Box<dyn Read + Send>,
}

/// An image that is wanted whole.
#[derive(Debug)]
#[non_exhaustive]
pub struct Pull<'a> {
    /// The repository on the server.
    pub repository: &'a Name,
    /// The digest of its manifest.
    pub manifest: ImageDigest,
    /// Where it is put.
    pub directory: &'a Path,
    /// Watches and ends it; progress counts the bytes that are there.
    pub control: Control<'a>,
}

/// An image that is there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pulled {
    /// What opens it.
    pub image: ImageRef,
    /// Bytes that came over the wire.
    pub received: u64,
}

/// Why there is no answer, or no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There is no way to the server, or it broke.
    #[error("{place}: {source}")]
    Unreachable {
        /// What was asked for.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// No answer came in time.
    #[error("{place}: no answer within {} s", within.as_secs_f64())]
    TimedOut {
        /// What was asked for.
        place: String,
        /// How long was waited.
        within: Duration,
    },
    /// The registry, or what is between, failed or refuses.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The way cannot be set up.
    #[error("{what}")]
    Setup {
        /// Why, and what to do.
        what: String,
    },
    /// A file of the device's own failed.
    #[error("{op} {path:?}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl<'a> Request<'a> {
    /// Reads what is at a place.
    #[must_use]
    pub fn get(at: Place<'a>, answer_within: Duration) -> Self {
        Self {
            method: Method::Get,
            at,
            headers: Vec::new(),
            body: Payload::None,
            answer_within,
            stalled_after: answer_within,
        }
    }

    /// Puts something at a path on the server.
    #[must_use]
    pub fn put(path: &'a str, body: Payload<'a>, answer_within: Duration) -> Self {
        Self { method: Method::Put, body, ..Self::get(Place::Server(path), answer_within) }
    }

    /// With one more header, its name in lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Answer {
    /// An answer.
    #[must_use]
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Box<dyn Read + Send>) -> Self {
        Self { status, headers, body }
    }

    /// A header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim())
    }

    /// Reads a body that is not long into memory.
    pub(crate) fn document(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.body.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > DOCUMENT_MAX {
            let what = format!("the answer has more than {DOCUMENT_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(bytes)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Pulled {
    /// An image that this opens.
    #[must_use]
    pub fn new(image: ImageRef, received: u64) -> Self {
        Self { image, received }
    }
}
