//! Where programs print.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;

use super::RunnerError;

/// Where a program's standard output and error go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Output {
    /// To where the supervisor's own go.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// To the end of this file, which is made where it is not there. Nothing bounds its size but whoever cuts it off now and then: what
    /// is printed next goes to its end, as `copytruncate` of logrotate has it.
    File(PathBuf),
}

impl Output {
    /// Standard output and standard error of a process.
    pub(crate) fn open(&self) -> Result<(Stdio, Stdio), RunnerError> {
        match self {
            Self::Inherit => Ok((Stdio::inherit(), Stdio::inherit())),
            Self::Null => Ok((Stdio::null(), Stdio::null())),
            Self::File(path) => {
                let open = || -> std::io::Result<(File, File)> {
                    let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
                    Ok((file.try_clone()?, file))
                };
                let (output, error) = open().map_err(RunnerError::io("opening for what is printed", path))?;
                Ok((output.into(), error.into()))
            }
        }
    }
}
