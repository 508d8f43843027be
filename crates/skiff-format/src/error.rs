use std::io;

/// What can be wrong with a delta, or with reading or writing one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes are damaged, cut off, or were never a delta.
    #[error("corrupt delta at byte {offset}: {what}; fetch it again")]
    Corrupt {
        /// Where the damaged part begins in the delta: a frame, or one of the header's parts.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The delta asks for more than the caller's [`Limits`](crate::Limits) allow.
    #[error(
        "the delta wants {wanted} {what}, and the limit is {limit}; raise the limit or pull the whole image"
    )]
    LimitExceeded {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        wanted: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The delta is of a version or needs something that is not known here.
    #[error("this delta cannot be read here: {what}; update skiff or pull the whole image")]
    Unsupported {
        /// What is not known.
        what: String,
    },
    /// Reading or writing failed.
    #[error("{op}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl FormatError {
    pub(crate) fn corrupt(offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { offset, what: what.into() }
    }
}
