//! What is recorded of a program that was started, for the supervisor that comes after this one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skiff_fs::{Control, Root};
use skiff_tree::{EntryPath, ReleaseId};

use super::group::{self, Leader, Life};
use super::signal::StopSignal;
use super::{RunState, RunnerError};

/// A release's program. `T` is what its runner has to know of it besides.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run<T> {
    release: String,
    /// Which run of the system it was started in.
    boot: String,
    /// None until it is started.
    pub(crate) leader: Option<Leader>,
    /// How it ended, once that was seen.
    ended: Option<String>,
    /// The number of the signal that asks it to end.
    pub(crate) stop_signal: i32,
    pub(crate) more: T,
}

/// What was found of a program.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// Nothing runs, and nothing did since it was stopped.
    Nothing,
    /// What is recorded does not run, and did not end by itself: it never started, or its number is another process's by now.
    Gone,
    /// Likewise: the system went down under it.
    Cut,
    /// It runs.
    Running(Run<T>),
    /// It ended by itself.
    Ended(Run<T>),
}

/// Beyond the variables and arguments that Linux lets a program have.
const MAX_BYTES: u64 = 16 << 20;

impl<T: Serialize + DeserializeOwned> Run<T> {
    /// A program that is to be started now.
    pub(crate) fn new(release: ReleaseId, signal: StopSignal, more: T) -> Result<Self, RunnerError> {
        let boot = group::boot().map_err(proc())?;
        let release = release.to_string();
        Ok(Self { release, boot, leader: None, ended: None, stop_signal: signal.number(), more })
    }

    /// Reads the record in a directory and looks after what it names. A program that was not recorded as started is sought by
    /// `find`: the supervisor was killed meanwhile.
    pub(crate) fn look(
        state: &Root,
        find: impl FnOnce(&Self) -> Result<Option<Leader>, RunnerError>,
    ) -> Result<Found<T>, RunnerError> {
        let Some(mut run) = Self::read(state)? else { return Ok(Found::Nothing) };
        if run.boot != group::boot().map_err(proc())? {
            return Ok(Found::Cut);
        }
        if run.ended.is_some() {
            return Ok(Found::Ended(run));
        }
        if run.leader.is_none() {
            run.leader = find(&run)?;
            if run.leader.is_some() {
                run.write(state)?;
            }
        }
        let Some(leader) = run.leader else { return Ok(Found::Gone) };
        match leader.life().map_err(proc())? {
            Life::Recycled => Ok(Found::Gone),
            Life::Running => Ok(Found::Running(run)),
            Life::Ended(how) => {
                // What it leaves running would run beside the next one.
                leader.end(Signal::KILL, Duration::ZERO).map_err(proc())?;
                let unknown = "how is not known: it was not this supervisor's child";
                run.ended = Some(how.map_or_else(|| unknown.into(), |exit| exit.to_string()));
                run.write(state)?;
                Ok(Found::Ended(run))
            }
        }
    }

    pub(crate) fn write(&self, state: &Root) -> Result<(), RunnerError> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| damaged(error.to_string()))?;
        Ok(state.replace_file(&record_path(), &bytes)?)
    }

    fn read(state: &Root) -> Result<Option<Self>, RunnerError> {
        let bytes = match state.read_file(&record_path(), MAX_BYTES) {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
    }

    pub(crate) fn release(&self) -> Result<ReleaseId, RunnerError> {
        self.release.parse().map_err(|_| damaged(format!("{:?} is not the name of a release", self.release)))
    }
}

impl<T: Serialize + DeserializeOwned> Found<T> {
    /// As the trait tells it.
    pub(crate) fn state(self) -> Result<RunState, RunnerError> {
        Ok(match self {
            Self::Nothing | Self::Gone | Self::Cut => RunState::Stopped,
            Self::Running(run) => RunState::Running(run.release()?),
            Self::Ended(run) => {
                RunState::Ended { release: run.release()?, how: run.ended.unwrap_or_default() }
            }
        })
    }

    /// The program that a probe is to be run beside.
    pub(crate) fn running(self, probe: &[String]) -> Result<Run<T>, RunnerError> {
        match self {
            Self::Running(run) => Ok(run),
            _ => {
                let what = "no release runs that it could be run beside".into();
                Err(RunnerError::Program { program: probe.first().cloned().unwrap_or_default(), what })
            }
        }
    }
}

/// Opens a runner's directory, which is made where it is not there.
pub(crate) fn open_state(path: &Path) -> Result<Root, RunnerError> {
    fs::create_dir_all(path).map_err(RunnerError::io("making directory", path))?;
    Ok(Root::open(canonical(path)?)?)
}

/// Where a directory lies, whatever symbolic links lead to it now.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, RunnerError> {
    fs::canonicalize(path).map_err(RunnerError::io("looking for", path))
}

/// Removes the record: nothing runs.
pub(crate) fn forget(state: &Root) -> Result<(), RunnerError> {
    state.remove(&record_path(), &Control::default())?;
    Ok(())
}

/// What processes are asked of.
pub(crate) fn proc() -> impl FnOnce(io::Error) -> RunnerError {
    RunnerError::io("asking the system of processes in", Path::new("/proc"))
}

fn record_path() -> EntryPath {
    EntryPath::new("run.json").expect("because it is one plain component")
}

fn damaged(what: String) -> RunnerError {
    let what = format!("{what}; remove the file once nothing of that release runs");
    RunnerError::Program { program: "the record run.json of what runs".into(), what }
}
