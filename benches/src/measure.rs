//! What a process takes, as the kernel tells its parent.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::{Context, Failure};

/// What one run of a program took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From its start to its end.
    pub wall_seconds: f64,
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    /// The most memory that was resident at once.
    pub peak_bytes: u64,
}

impl Cost {
    /// Its fields by their names.
    #[must_use]
    pub fn to_json(self) -> Value {
        let Self { wall_seconds, cpu_seconds, peak_bytes } = self;
        json!({ "wall_seconds": wall_seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_bytes })
    }

    /// What this run and one after it took.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            wall_seconds: self.wall_seconds + next.wall_seconds,
            cpu_seconds: self.cpu_seconds + next.cpu_seconds,
            peak_bytes: self.peak_bytes.max(next.peak_bytes),
        }
    }
}

/// Runs a program to its end, which must be a good one.
///
/// GNU time starts it and asks for its resource usage: a fork of this process would begin with the memory that this
/// process has, and the kernel would count that as the program's own.
///
/// # Errors
/// Where it cannot be started, ends with a failure, or GNU time is not installed.
pub fn run<S: AsRef<OsStr>>(program: &OsStr, arguments: &[S]) -> Result<Cost, Failure> {
    run_with_scratch(program, arguments, &std::env::temp_dir())
}

/// As [`run`], with another directory for the program's temporary files.
///
/// # Errors
/// As for [`run`].
pub fn run_with_scratch<S: AsRef<OsStr>>(
    program: &OsStr,
    arguments: &[S],
    scratch: &Path,
) -> Result<Cost, Failure> {
    let log = tempfile::NamedTempFile::new().context(|| "making a temporary file".into())?;
    let mut command = Command::new("time");
    command.args(["-q", "-f", "%U %S %M", "-o"]).arg(log.path()).arg(program).args(arguments);
    command.env("TMPDIR", scratch).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let line = || [program].into_iter().chain(arguments.iter().map(AsRef::as_ref)).collect::<Vec<_>>();
    let start = Instant::now();
    let output = command.output().context(|| "starting `time`; install GNU time".into())?;
    let wall_seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(Failure(format!("{:?} ended with {}: {}", line(), output.status, error.trim())));
    }
    let told = std::fs::read_to_string(log.path()).context(|| "reading what `time` wrote".into())?;
    parse(&told, wall_seconds).ok_or_else(|| Failure(format!("`time` wrote {told:?}; is it GNU time?")))
}

fn parse(told: &str, wall_seconds: f64) -> Option<Cost> {
    let mut words = told.split_whitespace();
    let user: f64 = words.next()?.parse().ok()?;
    let system: f64 = words.next()?.parse().ok()?;
    let kilobytes: u64 = words.next()?.parse().ok()?;
    Some(Cost { wall_seconds, cpu_seconds: user + system, peak_bytes: kilobytes.checked_mul(1024)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_writes_is_read() {
        let cost = parse("1.25 0.50 2048\n", 0.9).unwrap();
        assert_eq!((cost.cpu_seconds, cost.peak_bytes), (1.75, 2 << 20));
        assert!(parse("Command terminated by signal 9", 0.9).is_none());
    }
}
