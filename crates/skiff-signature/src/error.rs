//! What can go wrong, told apart by who is at fault.

use std::io;

use skiff_block::BlockError;
use skiff_fs::Interrupted;
use skiff_tree::{EntryPath, TreeError};

/// Why a tree was not signed, or a signature not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is no tree signature, or damaged. Have the tree signed again.
    #[error("the tree signature is corrupt at byte {offset}: {what}")]
    Corrupt {
        /// Where, counted from its first byte.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// It is of a version that is not known here.
    #[error("the tree signature has version {version}, which is not supported here")]
    Unsupported {
        /// The version.
        version: u16,
    },
    /// It may be good, but costs more than the caller allows.
    #[error("{what}: {wanted}, and the limit is {limit}")]
    LimitExceeded {
        /// What there would be too much of, with its unit.
        what: &'static str,
        /// How much there would be.
        wanted: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// A file cannot be read.
    #[error("reading {path} to sign it: {source}")]
    Read {
        /// The file.
        path: EntryPath,
        /// Why.
        source: io::Error,
    },
    /// A file is not what its tree says: it was changed or is damaged, and a delta would not apply to it.
    #[error("{path} is not what the tree says; nothing can be made from it but by a full pull")]
    Changed {
        /// The file.
        path: EntryPath,
    },
    /// Reading or writing the signature failed.
    #[error("{op} a tree signature: {source}")]
    Io {
        /// Which of the two.
        op: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The caller ended it through its [`Control`](skiff_fs::Control).
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl SignatureError {
    pub(crate) fn corrupt(offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { offset, what: what.into() }
    }

    /// What a file's signature, which begins at `offset`, says is wrong with it.
    pub(crate) fn of_block(error: BlockError, offset: u64) -> Self {
        match error {
            BlockError::Corrupt { offset: within, what, .. } => Self::corrupt(offset + within, what),
            BlockError::Io { source, .. } => Self::Io { op: "reading", source },
            // What is left are mistakes in using that crate.
            other => Self::corrupt(offset, other.to_string()),
        }
    }

    pub(crate) fn of_tree(error: TreeError, offset: u64) -> Self {
        match error {
            TreeError::LimitExceeded { what, wanted, limit } => Self::LimitExceeded { what, wanted, limit },
            TreeError::Io { source, .. } => Self::Io { op: "reading", source },
            other => Self::corrupt(offset, format!("its tree: {other}")),
        }
    }
}
