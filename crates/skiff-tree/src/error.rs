use std::io;

/// What can be wrong with a tree, its encoding or its parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The bytes are not an encoding of a tree, or of the difference of two trees.
    #[error("corrupt tree at byte {offset}: {what}")]
    Corrupt {
        /// Where in the encoded bytes, counted from their start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// An entry cannot be part of a tree, or cannot stand where it does.
    #[error("entry {path:?} does not fit the tree: {what}")]
    Entry {
        /// The entry's path, escaped where it is not UTF-8.
        path: String,
        /// Why it does not fit.
        what: String,
    },
    /// Bytes that are not a path inside a tree.
    #[error("{path:?} is not a path inside an image: {what}")]
    Path {
        /// The bytes, escaped where they are not UTF-8 and cut after 80.
        path: String,
        /// Why they are refused.
        what: &'static str,
    },
    /// More than the caller's [`Limits`](crate::Limits) allow.
    #[error(
        "the tree wants {wanted} {what}, and the limit is {limit}; raise the limit if its source is trusted"
    )]
    LimitExceeded {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        wanted: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// Reading or writing the encoding failed.
    #[error("{op} a tree: {source}")]
    Io {
        /// What was being done: `reading` or `writing`.
        op: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}
