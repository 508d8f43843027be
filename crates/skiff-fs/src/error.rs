use std::io;
use std::path::PathBuf;

use skiff_tree::{FileContent, TreeError};

use crate::Interrupted;

/// What can go wrong with trees on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// The system refused a call, or the disk failed.
    #[error("{op} {path:?}: {source}")]
    Io {
        /// What was being done, as in `making directory`.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something stands on the disk that must not be touched or followed: a symbolic link in the way, a socket, a
    /// directory that moved meanwhile.
    #[error("refused {path:?}: {what}")]
    Refused {
        /// Where.
        path: PathBuf,
        /// What stands there, and why it is refused.
        what: &'static str,
    },
    /// The file system or the process's rights cannot hold what the tree asks for.
    #[error("{path:?} cannot be made here: {what}; another file system or more rights may hold it")]
    Unsupported {
        /// The entry.
        path: PathBuf,
        /// What of it cannot be held.
        what: String,
    },
    /// A content is not what the tree says it is.
    #[error(
        "the content for {path:?} has {} bytes and SHA-256 {}, and its tree says {} bytes and {}",
        found.size, found.digest, expected.size, expected.digest
    )]
    WrongContent {
        /// The file.
        path: PathBuf,
        /// What the tree says.
        expected: FileContent,
        /// What was read.
        found: FileContent,
    },
    /// A file is larger than its reader takes.
    #[error("{path:?} has {wanted} bytes, and {limit} at most are read of it; it is not what it should be")]
    LimitExceeded {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        wanted: u64,
        /// How many its reader takes.
        limit: u64,
    },
    /// Another process or handle holds the lock.
    #[error("{path:?} is locked by another process; wait for it to end")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The operation was ended through its [`Control`](crate::Control).
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// What is on the disk does not make a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl FsError {
    /// Whether the disk, its inodes or the user's quota are used up.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Whether the path, or a directory on the way to it, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether there is something already where an entry was to be made.
    #[must_use]
    pub fn is_already_there(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::AlreadyExists)
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Keeps the kind, and the error itself as the inner error.
impl From<FsError> for io::Error {
    fn from(error: FsError) -> Self {
        let kind = match &error {
            FsError::Interrupted(_) => io::ErrorKind::TimedOut,
            FsError::WrongContent { .. } | FsError::LimitExceeded { .. } | FsError::Tree(_) => {
                io::ErrorKind::InvalidData
            }
            FsError::Unsupported { .. } => io::ErrorKind::Unsupported,
            other => other.io_kind().unwrap_or(io::ErrorKind::Other),
        };
        Self::new(kind, error)
    }
}
