//! What a process takes, as the kernel tells its parent.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, WaitId, WaitIdOptions};
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
    /// What was read and written, where that was counted.
    pub io: Option<Io>,
}

/// What a process and those that it waited for read and wrote, in bytes, as `/proc/PID/io` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Io {
    /// Asked of the kernel, which has much of it in its cache.
    pub read: u64,
    /// Given to the kernel.
    pub written: u64,
    /// Fetched from disks.
    pub disk_read: u64,
    /// Sent to disks, or bound for them.
    pub disk_written: u64,
}

impl Io {
    fn to_json(self) -> Value {
        let Self { read, written, disk_read, disk_written } = self;
        json!({ "read": read, "written": written, "disk_read": disk_read, "disk_written": disk_written })
    }

    fn then(self, next: Self) -> Self {
        Self {
            read: self.read + next.read,
            written: self.written + next.written,
            disk_read: self.disk_read + next.disk_read,
            disk_written: self.disk_written + next.disk_written,
        }
    }

    fn parse(told: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
            line.trim().parse().ok()
        };
        Some(Self {
            read: field("rchar")?,
            written: field("wchar")?,
            disk_read: field("read_bytes")?,
            disk_written: field("write_bytes")?,
        })
    }
}

impl Cost {
    /// Its fields by their names.
    #[must_use]
    pub fn to_json(self) -> Value {
        let Self { wall_seconds, cpu_seconds, peak_bytes, io } = self;
        json!({
            "wall_seconds": wall_seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_bytes,
            "io_bytes": io.map(Io::to_json),
        })
    }

    /// What this run and one after it took.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            wall_seconds: self.wall_seconds + next.wall_seconds,
            cpu_seconds: self.cpu_seconds + next.cpu_seconds,
            peak_bytes: self.peak_bytes.max(next.peak_bytes),
            io: self.io.zip(next.io).map(|(io, next)| io.then(next)),
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
    let mut child = command.spawn().context(|| "starting `time`; install GNU time".into())?;
    let mut error = Vec::new();
    let read = child.stderr.take().map_or(Ok(0), |mut stderr| stderr.read_to_end(&mut error));
    let io = io_of_ended(&child);
    let status = child.wait().context(|| "waiting for `time`".into())?;
    let wall_seconds = start.elapsed().as_secs_f64();
    read.context(|| format!("reading what {:?} says", line()))?;
    if !status.success() {
        let error = String::from_utf8_lossy(&error);
        return Err(Failure(format!("{:?} ended with {status}: {}", line(), error.trim())));
    }
    let told = std::fs::read_to_string(log.path()).context(|| "reading what `time` wrote".into())?;
    let cost = parse(&told, wall_seconds).map(|cost| Cost { io, ..cost });
    cost.ok_or_else(|| Failure(format!("`time` wrote {told:?}; is it GNU time?")))
}

/// What a child read and wrote, counted to its end: it has ended, and is waited for only afterwards.
fn io_of_ended(child: &Child) -> Option<Io> {
    let id = WaitId::Pid(Pid::from_raw(i32::try_from(child.id()).ok()?)?);
    rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok()?;
    Io::parse(&std::fs::read_to_string(format!("/proc/{}/io", child.id())).ok()?)
}

fn parse(told: &str, wall_seconds: f64) -> Option<Cost> {
    let mut words = told.split_whitespace();
    let user: f64 = words.next()?.parse().ok()?;
    let system: f64 = words.next()?.parse().ok()?;
    let kilobytes: u64 = words.next()?.parse().ok()?;
    let peak_bytes = kilobytes.checked_mul(1024)?;
    Some(Cost { wall_seconds, cpu_seconds: user + system, peak_bytes, io: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counts_is_read() {
        let told = "rchar: 5\nwchar: 4\nsyscr: 3\nsyscw: 2\nread_bytes: 1\nwrite_bytes: 6\ncancelled_write_bytes: 7\n";
        assert_eq!(Io::parse(told), Some(Io { read: 5, written: 4, disk_read: 1, disk_written: 6 }));
        assert_eq!(Io::parse("rchar: 5\n"), None);
    }

    #[test]
    fn what_time_writes_is_read() {
        let cost = parse("1.25 0.50 2048\n", 0.9).unwrap();
        assert_eq!((cost.cpu_seconds, cost.peak_bytes), (1.75, 2 << 20));
        assert!(parse("Command terminated by signal 9", 0.9).is_none());
    }
}
