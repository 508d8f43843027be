//! What a supervisor cannot go on after.

use std::io;
use std::path::PathBuf;

use skiff_apply::ApplyError;
use skiff_fs::{FsError, Interrupted};

use crate::runner::RunnerError;
use crate::{Failure, FetchError};

/// What a supervisor cannot put right by itself. Updates that fail are no such errors: they are told by
/// [`Event`](crate::Event)s and to the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The store cannot be worked on.
    #[error(transparent)]
    Store(#[from] ApplyError),
    /// A program cannot be run or stopped.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The way to the server cannot be set up.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The supervisor's own state cannot be read or written.
    #[error("the supervisor's state: {0}")]
    State(#[from] FsError),
    /// The server could not be asked what the device shall run.
    #[error("{failure}: {cause}")]
    Server {
        /// What kind of failure it is.
        failure: Failure,
        /// What was said.
        cause: String,
    },
    /// It was ended from outside.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// The system refused a call.
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
