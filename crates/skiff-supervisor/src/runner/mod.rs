//! What starts and stops the program of a release.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skiff_fs::FsError;
use skiff_tree::ReleaseId;

pub use command::{CommandOptions, CommandRunner};
pub use output::Output;
pub use runc::{Access, Bind, Network, RootAccess, RuncOptions, RuncRunner};

mod command;
mod group;
mod image;
mod lookup;
mod output;
mod record;
mod runc;
mod signal;

/// Runs one release at a time.
pub trait Runner: Send {
    /// Starts a release's program, and returns once it runs. Whatever ran before was stopped; what a runner finds running all the
    /// same it stops first.
    ///
    /// # Errors
    /// [`RunnerError`]; nothing runs then.
    fn start(&mut self, release: &Runnable<'_>) -> Result<(), RunnerError>;

    /// Asks the program to end, and ends it where it has not after `grace`. Nothing runs when this returns; where nothing ran before,
    /// there is nothing to do.
    ///
    /// # Errors
    /// [`RunnerError`] where it cannot be told that nothing runs.
    fn stop(&mut self, grace: Duration) -> Result<(), RunnerError>;

    /// What runs, whoever started it: a supervisor that was killed may have left its program running, and the next one goes on with it.
    ///
    /// # Errors
    /// [`RunnerError`] where that cannot be told.
    fn state(&mut self) -> Result<RunState, RunnerError>;

    /// Runs a command where the program is, and tells whether it ended well before `timeout`.
    ///
    /// # Errors
    /// [`RunnerError`] where it cannot be run.
    fn probe(&mut self, command: &[String], timeout: Duration) -> Result<bool, RunnerError>;

    /// Removes what is kept for releases other than these: what their programs wrote.
    ///
    /// # Errors
    /// [`RunnerError`]; the rest of it is done later.
    fn collect(&mut self, keep: &[ReleaseId]) -> Result<(), RunnerError>;
}

/// A release that is to run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Runnable<'a> {
    /// Its name.
    pub release: ReleaseId,
    /// Where its files lie. They must not be written to.
    pub rootfs: &'a Path,
    /// The image's config, byte for byte, where it has one.
    pub config: Option<&'a [u8]>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Nothing, and nothing did since it was stopped.
    Stopped,
    /// This release.
    Running(ReleaseId),
    /// Nothing: the release's program ended by itself.
    Ended {
        /// The release.
        release: ReleaseId,
        /// How it ended, in words: `exit status 3`, `signal 9`.
        how: String,
    },
}

/// Why a program cannot be run or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// The image does not say what is to run, or says it in a way that is not understood.
    #[error("the release's config cannot be run: {what}")]
    Config {
        /// What is wrong with it.
        what: String,
    },
    /// A program could not be run, or failed.
    #[error("{program}: {what}")]
    Program {
        /// Which.
        program: String,
        /// What it said.
        what: String,
    },
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
    /// The release's files or the runner's own are not as they must be.
    #[error(transparent)]
    Files(#[from] FsError),
}

impl<'a> Runnable<'a> {
    /// A release whose files lie there, with its image's config.
    #[must_use]
    pub fn new(release: ReleaseId, rootfs: &'a Path, config: Option<&'a [u8]>) -> Self {
        Self { release, rootfs, config }
    }
}

impl RunnerError {
    /// Wraps what the system said of a file.
    pub fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { op, path, source }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Running(release) => write!(f, "running {release}"),
            Self::Ended { release, how } => write!(f, "{release} ended: {how}"),
        }
    }
}
