use std::fmt;
use std::io;
use std::path::PathBuf;

use skiff_fs::{FsError, Interrupted};
use skiff_tree::TreeError;

/// What can go wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A text that does not name an image.
    #[error("{text:?} does not name an image: {what}")]
    Reference {
        /// The text.
        text: String,
        /// Why it does not, and what would.
        what: String,
    },
    /// A text that does not name a platform.
    #[error("{text:?} does not name a platform as OS/ARCH[/VARIANT] does: {what}")]
    Platform {
        /// The text.
        text: String,
        /// Why it does not.
        what: String,
    },
    /// The image, or a part of it, is not where it was looked for.
    #[error("there is no {what}{}", list(.known))]
    NotFound {
        /// What was looked for, and where.
        what: String,
        /// What there is instead, as it would have to be asked for.
        known: Vec<String>,
    },
    /// The image is not what its format asks for: damaged, cut off, or made to mislead.
    #[error("corrupt image: {at}: {what}")]
    Corrupt {
        /// Where.
        at: Location,
        /// What is wrong there.
        what: String,
    },
    /// The image may be whole, but uses what this crate does not read.
    #[error("{at}: {what}")]
    Unsupported {
        /// Where.
        at: Location,
        /// What it uses, and what may be done instead.
        what: String,
    },
    /// More than the caller's [`Limits`](crate::Limits) allow.
    #[error("{at}: {wanted} {what}, and the limit is {limit}; raise the limit if the image is trusted")]
    LimitExceeded {
        /// Where.
        at: Location,
        /// What there is too much of.
        what: &'static str,
        /// How much there is, or at least how much of it was seen.
        wanted: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// A blob or a layer is not the one that was promised: damaged, or exchanged.
    #[error("the digest of {what} should be {expected}, and is {found}; fetch the image again")]
    DigestMismatch {
        /// Which.
        what: String,
        /// The digest that names it.
        expected: String,
        /// The digest of what is there.
        found: String,
    },
    /// The system refused a call, or the disk failed.
    #[error("{op} {path:?}: {source}")]
    Io {
        /// What was being done, as in `reading`.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operation was ended through its [`Control`](skiff_fs::Control).
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// What is in the image does not make a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Reading a directory as an image failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// A place in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The part of the image.
    pub part: Part,
    /// The name of the entry, if the place is in one that could be read so far; escaped where it is not UTF-8.
    pub entry: Option<String>,
    /// Bytes from the start of the part; of a layer, uncompressed.
    pub offset: u64,
}

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// A layer, by its position from the bottom, which is 0.
    Layer(usize),
    /// The tar archive that holds the image, or is it.
    Archive,
    /// The index of the images in an OCI layout, or of the platforms of one image.
    Index,
    /// The image's manifest.
    Manifest,
    /// The image's config.
    Config,
}

impl Location {
    /// The start of a part.
    pub(crate) fn start_of(part: Part) -> Self {
        Self { part, entry: None, offset: 0 }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.fmt(f)?;
        if let Some(entry) = &self.entry {
            write!(f, ", entry {entry:?}")?;
        }
        match self.part {
            Part::Layer(_) | Part::Archive => write!(f, ", byte {}", self.offset),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(index) => write!(f, "layer {index}"),
            Self::Archive => f.write_str("archive"),
            Self::Index => f.write_str("index"),
            Self::Manifest => f.write_str("manifest"),
            Self::Config => f.write_str("config"),
        }
    }
}

impl ImageError {
    pub(crate) fn corrupt(part: Part, what: impl Into<String>) -> Self {
        Self::Corrupt { at: Location::start_of(part), what: what.into() }
    }

    pub(crate) fn unsupported(part: Part, what: impl Into<String>) -> Self {
        Self::Unsupported { at: Location::start_of(part), what: what.into() }
    }
}

/// Bytes as they go into a message: no control characters, and not without end.
pub(crate) fn escape(bytes: &[u8]) -> String {
    const SHOWN: usize = 300;
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let text = match std::str::from_utf8(shown) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => shown.escape_ascii().to_string(),
    };
    if bytes.len() > SHOWN { text + "..." } else { text }
}

fn list(known: &[String]) -> String {
    const SHOWN: usize = 20;
    match known.len() {
        0 => String::new(),
        1..=SHOWN => format!("; there is: {}", known.join(", ")),
        more => format!("; there are {more}, among them: {}", known[..SHOWN].join(", ")),
    }
}
