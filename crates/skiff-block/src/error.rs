//! What can go wrong, told apart by who is at fault.

use std::fmt;
use std::io;

/// Why a signature, a delta or a file was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// A signature or a delta is not one, or is damaged. Get another one.
    #[error("the {stream} is corrupt at byte {offset}: {what}")]
    Corrupt {
        /// Which input.
        stream: Stream,
        /// Where, counted from its first byte.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The delta asks for bytes that the old file does not have: it was made for another one.
    #[error(
        "the delta, at byte {offset}, copies bytes {start} to {end} of the old file, which has only {size}: it was made for another file"
    )]
    WrongBase {
        /// Where in the delta the command stands.
        offset: u64,
        /// The first byte it asks for.
        start: u64,
        /// The byte after the last it asks for.
        end: u64,
        /// How many bytes the old file has.
        size: u64,
    },
    /// The old file is another one than was signed.
    #[error("the old file is not the one that was signed: they differ in block {block}, counted from 0")]
    WrongOld {
        /// The first block that differs.
        block: u64,
    },
    /// The input may be good, but costs more than the caller allows.
    #[error("{what}: {wanted}, and the limit is {limit}")]
    LimitExceeded {
        /// What there would be too much of, with its unit.
        what: &'static str,
        /// How much there would be.
        wanted: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// What the caller asked for makes no signature.
    #[error("{0}")]
    Parameter(String),
    /// Reading or writing failed.
    #[error("{} the {stream}: {source}", if *.stream == Stream::Output { "writing" } else { "reading" })]
    Io {
        /// What was read or written.
        stream: Stream,
        /// What the system said.
        source: io::Error,
    },
}

/// What is read and written, in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stream {
    /// The file that the other side has.
    Old,
    /// The file that it shall have.
    New,
    /// The old file's signature.
    Signature,
    /// The delta.
    Delta,
    /// What is being made.
    Output,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "old file",
            Self::New => "new file",
            Self::Signature => "signature",
            Self::Delta => "delta",
            Self::Output => "output",
        })
    }
}

impl BlockError {
    pub(crate) fn corrupt(stream: Stream, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { stream, offset, what: what.into() }
    }

    /// Turns what a stream says into an error that names the stream.
    pub(crate) fn io(stream: Stream) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { stream, source }
    }
}
