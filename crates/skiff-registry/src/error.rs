use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skiff_format::FormatError;
use skiff_fs::Interrupted;
use skiff_image::ImageError;

/// What can go wrong between here and a registry. [`class`](Self::class) says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A text that does not name an image or a repository in a registry.
    #[error("{text:?} does not name an image in a registry: {what}")]
    Reference {
        /// The text.
        text: String,
        /// Why it does not, and what would.
        what: String,
    },
    /// The client cannot be set up: a file with certificates or passwords is not one, for example.
    #[error("{what}")]
    Setup {
        /// What is wrong, and what to do.
        what: String,
    },
    /// The registry has no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for, and where.
        what: String,
    },
    /// The registry wants somebody else to ask: no credentials were given, or others than those.
    #[error("{place} refuses access: {what}")]
    Unauthorized {
        /// What was asked for.
        place: String,
        /// What the registry says of it, and what to do.
        what: String,
    },
    /// The registry refuses what was asked of it, and asking again will not help.
    #[error("{place}: the registry refuses with status {status}, {code}: {message}")]
    Refused {
        /// What was asked for.
        place: String,
        /// The status of HTTP.
        status: u16,
        /// The first of the registry's codes, such as `MANIFEST_INVALID`; `UNKNOWN` where it sends none.
        code: String,
        /// What it says along with it.
        message: String,
    },
    /// The registry sent what is not what its protocol asks for: it, or something in between, is broken or hostile.
    #[error("{place}: {what}; the registry, or a proxy before it, is broken")]
    Corrupt {
        /// What was asked for.
        place: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// What the registry sent is not what the digest names.
    #[error("the digest of {what} should be {expected}, and is {found}; what the registry has is damaged")]
    DigestMismatch {
        /// What was fetched.
        what: String,
        /// The digest that names it.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// More than the caller's [`Limits`](crate::Limits) allow.
    #[error("{place}: {wanted} {what}, and the limit is {limit}; raise the limit if the registry is trusted")]
    LimitExceeded {
        /// What was asked for.
        place: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there is, or at least how much of it was seen.
        wanted: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The registry asks for something that this crate does not do.
    #[error("{place}: {what}")]
    Unsupported {
        /// What was asked for.
        place: String,
        /// What it asks for, and what may be done instead.
        what: String,
    },
    /// The image's documents are damaged, or it has none for the platform.
    #[error("{place}: {source}")]
    Image {
        /// Which image.
        place: String,
        /// What is wrong with it.
        source: Box<ImageError>,
    },
    /// A file is no delta, or a damaged one.
    #[error("{path:?}: {source}")]
    Delta {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A delta leads to another image than the one that it was to be put with.
    #[error(
        "{path:?} leads to the image with manifest {found}, and {expected} was named; name the image it leads to"
    )]
    WrongTarget {
        /// The delta.
        path: PathBuf,
        /// The digest of the manifest that was named.
        expected: String,
        /// The digest of the manifest that the delta leads to.
        found: String,
    },
    /// The system refused a call, or the disk failed.
    #[error("{op} {path:?}: {source}")]
    Io {
        /// What was being done, as in `writing`.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No connection, or none that held.
    #[error("{place}: {source}, at the last of {tried} attempts without progress{}", hint(.source))]
    Network {
        /// What was asked for.
        place: String,
        /// How many attempts in a row failed without getting further.
        tried: u32,
        /// Why the last one failed.
        source: io::Error,
    },
    /// The registry answers, but not now: too many ask, or something behind it has failed.
    #[error(
        "{place}: the registry cannot answer now, status {status} at the last of {tried} attempts; try again later"
    )]
    Unavailable {
        /// What was asked for.
        place: String,
        /// How many attempts in a row failed without getting further.
        tried: u32,
        /// The last status of HTTP: 429 or one of 500 to 599.
        status: u16,
        /// How long it asks to be left alone, if it says.
        retry_after: Option<Duration>,
    },
    /// The operation was ended through its [`Control`](skiff_fs::Control).
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Who has to do something about a [`RegistryError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The caller asked for something that is not there, or is not spelled so.
    Usage,
    /// The caller needs credentials, or others.
    Unauthorized,
    /// The caller named another image than the one that the delta leads to.
    WrongRelease,
    /// Nobody can use what the registry has or says: it is damaged, hostile, or of a kind that is not known here.
    CorruptInput,
    /// Nobody: it may go well later.
    Unavailable,
    /// There is no space on the disk.
    NoSpace,
    /// The system failed.
    Io,
    /// The caller ended it.
    Interrupted,
}

impl RegistryError {
    /// Who has to do something about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Reference { .. } | Self::Setup { .. } | Self::NotFound { .. } => ErrorClass::Usage,
            Self::Unauthorized { .. } => ErrorClass::Unauthorized,
            Self::Image { source, .. }
                if matches!(**source, ImageError::NotFound { .. } | ImageError::Platform { .. }) =>
            {
                ErrorClass::Usage
            }
            Self::Refused { .. }
            | Self::Corrupt { .. }
            | Self::DigestMismatch { .. }
            | Self::LimitExceeded { .. }
            | Self::Unsupported { .. }
            | Self::Delta { .. }
            | Self::Image { .. } => ErrorClass::CorruptInput,
            Self::WrongTarget { .. } => ErrorClass::WrongRelease,
            Self::Network { .. } | Self::Unavailable { .. } => ErrorClass::Unavailable,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorClass::NoSpace,
                _ => ErrorClass::Io,
            },
            Self::Interrupted(_) => ErrorClass::Interrupted,
        }
    }

    pub(crate) fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { op, path: path.into(), source }
    }

    pub(crate) fn corrupt(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Corrupt { place: place.into(), what: what.into() }
    }

    pub(crate) fn unsupported(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Unsupported { place: place.into(), what: what.into() }
    }

    pub(crate) fn image(place: impl Into<String>) -> impl FnOnce(ImageError) -> Self {
        move |source| Self::Image { place: place.into(), source: Box::new(source) }
    }
}

/// What is likely behind an error of TLS: that there is none, or that nobody vouches for it.
fn hint(error: &io::Error) -> &'static str {
    let text = error.to_string();
    if text.contains("InvalidContentType") {
        "; if it speaks plain HTTP, that has to be asked for"
    } else if text.contains("UnknownIssuer") {
        "; name the certificate of its authority, or install it in the system"
    } else {
        ""
    }
}

/// What a registry or file says as it goes into a message: no control characters, and not without end.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 300;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(|char| {
            let escaped = char.is_control().then(|| char.escape_default());
            let plain = escaped.is_none().then_some(char);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
