//! What can go wrong, told apart by who is at fault.

use std::borrow::Cow;
use std::io;

use skiff_wire::WireError;

/// Why a payload was not decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The payload does not say how to make a file of the promised length from this source: the delta was damaged, was
    /// made for another source, or is hostile. Nothing to do but get another one.
    #[error("the payload is corrupt at byte {offset}: {what}")]
    Corrupt {
        /// Where, counted from the start of the payload.
        offset: u64,
        /// What is wrong there.
        what: Cow<'static, str>,
    },
    /// The payload may be good, but decoding it takes more than the caller allows.
    #[error("decoding takes {wanted} bytes of {what}, and the limit is {limit}")]
    LimitExceeded {
        /// What there would be too much of.
        what: &'static str,
        /// How much decoding takes, in bytes.
        wanted: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// This build has no such codec. A full pull, or a newer build, helps.
    #[error("codec {codec} version {version} is not supported by this build")]
    Unsupported {
        /// The codec's id.
        codec: u16,
        /// The version of its payloads.
        version: u16,
    },
    /// Reading the source or writing the output failed.
    #[error("{stream}: {source}")]
    Io {
        /// Which of the two.
        stream: Stream,
        /// What the system said.
        source: io::Error,
    },
}

/// The caller's streams, in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The source could not be read.
    Source,
    /// The output could not be written.
    Output,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Source => "reading the source",
            Self::Output => "writing the output",
        })
    }
}

impl PatchError {
    pub(crate) fn corrupt(offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt { offset, what: what.into() }
    }

    pub(crate) const fn source(source: io::Error) -> Self {
        Self::Io { stream: Stream::Source, source }
    }

    pub(crate) const fn output(source: io::Error) -> Self {
        Self::Io { stream: Stream::Output, source }
    }
}

impl From<WireError> for PatchError {
    fn from(error: WireError) -> Self {
        use skiff_wire::Fault;
        let what = match error.fault {
            Fault::Ends => "the payload ends too early",
            Fault::NotCanonical => "an integer is not in its shortest form or too large",
            _ => "an integer cannot be read",
        };
        Self::corrupt(error.offset, what)
    }
}
