//! Calls of `runc`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, child_subreaper, getpid, set_child_subreaper};
use serde::Deserialize;
use skiff_fs::Root;

use super::super::group::{Exit, Leader, Life};
use super::super::record::proc;
use super::super::{Output, RunnerError};
use super::layout;

/// How long a call may take. It does little, and on a device that is busy with its disk still takes its time.
const LIMIT: Duration = Duration::from_secs(120);
/// How much of what it says is read.
const MAX_BYTES: u64 = 1 << 20;

/// The program, and the container that it is called for.
pub(crate) struct Runc<'a> {
    pub(crate) program: &'a Path,
    pub(crate) id: &'a str,
    pub(crate) state: &'a Root,
}

/// What `runc state` says of a container, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct ContainerState {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
}

impl Runc<'_> {
    /// Makes and starts the container of the bundle. Its first process is this process's child where the system allows it, so that
    /// how it ends can be told.
    pub(crate) fn run(&self, output: &Output) -> Result<Leader, RunnerError> {
        let (out, err) = output.open()?;
        let (bundle, pid) = (self.path(layout::BUNDLE), self.path(layout::PID));
        let mut command = self.command("run")?;
        command.args(["--detach", "--pid-file"]).arg(&pid).arg("--bundle").arg(bundle).arg(self.id);
        command.stdout(out).stderr(err);
        let adopting = Adopting::begin();
        self.finish(command)?;
        drop(adopting);
        read_pid(&pid)
    }

    /// Sends a signal to the container's first process. One that has ended takes none.
    pub(crate) fn kill(&self, signal: i32) -> Result<(), RunnerError> {
        let mut command = self.command("kill")?;
        command.arg(self.id).arg(signal.to_string());
        self.finish(command)
    }

    /// Kills and removes the container.
    pub(crate) fn delete(&self) -> Result<(), RunnerError> {
        let mut command = self.command("delete")?;
        command.args(["--force", self.id]);
        self.finish(command)
    }

    /// What became of the container; none where there is none.
    pub(crate) fn container(&self) -> Result<Option<ContainerState>, RunnerError> {
        if !self.exists() {
            return Ok(None);
        }
        let answer = self.path(layout::ANSWER);
        let mut command = self.command("state")?;
        command.arg(self.id).stdout(File::create(&answer).map_err(RunnerError::io("making", &answer))?);
        self.finish(command)?;
        let bytes = read(&answer).map_err(RunnerError::io("reading", &answer))?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| self.failed(format!("its state is not understood: {error}")))
    }

    /// Runs a command in the container, and tells whether it ended well before `timeout`.
    pub(crate) fn exec(&self, words: &[String], timeout: Duration) -> Result<bool, RunnerError> {
        let pid = self.path(layout::PROBE_PID);
        let mut command = self.command("exec")?;
        command.arg("--pid-file").arg(&pid).arg(self.id).args(words);
        let _ = fs::remove_file(&pid);
        let runc = Leader::spawn(&mut command)?;
        let life = runc.wait(timeout).map_err(proc())?;
        if life == Life::Running {
            // The command itself, which is no child of this process and in no group with its caller. While that runs, the number is
            // the command's. Where there is none yet, the command ends with its caller.
            if let Ok(command) = read_pid(&pid) {
                command.end(Signal::KILL, Duration::ZERO).map_err(proc())?;
            }
        }
        runc.end(Signal::KILL, Duration::ZERO).map_err(proc())?;
        match (life, self.complaint()) {
            (Life::Ended(Some(Exit::Code(0))), _) => Ok(true),
            (Life::Running, _) | (_, None) => Ok(false),
            (_, Some(what)) => {
                Err(RunnerError::Program { program: words.first().cloned().unwrap_or_default(), what })
            }
        }
    }

    /// Whether `runc` has a container, in whatever condition.
    pub(crate) fn exists(&self) -> bool {
        self.path(layout::RUNC).join(self.id).exists()
    }

    fn command(&self, name: &str) -> Result<Command, RunnerError> {
        self.state.ensure_directory(&layout::path(layout::BUNDLE))?;
        self.state.ensure_directory(&layout::path(layout::RUNC))?;
        let log = self.path(layout::LOG);
        match fs::remove_file(&log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RunnerError::io("removing", &log)(error));
            }
            _ => {}
        }
        let mut command = Command::new(self.program);
        command.arg("--root").arg(self.path(layout::RUNC)).arg("--log").arg(log).args([
            "--log-format",
            "json",
            name,
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }

    /// Waits until a call has ended, and takes nothing but success for it.
    fn finish(&self, mut command: Command) -> Result<(), RunnerError> {
        let leader = Leader::spawn(&mut command)?;
        let life = leader.wait(LIMIT).map_err(proc())?;
        leader.end(Signal::KILL, Duration::ZERO).map_err(proc())?;
        let how = match life {
            Life::Ended(Some(Exit::Code(0))) => return Ok(()),
            Life::Ended(Some(exit)) => exit.to_string(),
            Life::Running => format!("it took longer than {} seconds", LIMIT.as_secs()),
            Life::Ended(None) | Life::Recycled => "how it ended is not known".into(),
        };
        Err(self.failed(self.complaint().map_or_else(|| how.clone(), |what| format!("{what} ({how})"))))
    }

    /// The last error that it logged, one JSON document a line.
    fn complaint(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Line {
            level: String,
            msg: String,
        }
        let log = read(&self.path(layout::LOG)).ok()?;
        let lines =
            log.rsplit(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        lines
            .into_iter()
            .find(|line| matches!(&*line.level, "error" | "fatal" | "panic"))
            .map(|line| line.msg)
    }

    fn failed(&self, what: String) -> RunnerError {
        RunnerError::Program { program: self.program.display().to_string(), what }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.display(&layout::path(name))
    }
}

/// While this is there, orphans of this process's children become its children. It is there while `runc` starts a container and
/// leaves it: then and there the container's first process gets another parent, for good.
struct Adopting {
    /// Whether the program that this library is part of adopts orphans of its own accord.
    did_before: bool,
    _one_at_a_time: MutexGuard<'static, ()>,
}

impl Adopting {
    fn begin() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let _one_at_a_time = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let did_before = child_subreaper().is_ok_and(|pid| pid.is_some());
        // Where it is not allowed, the container gets another parent, and how it ends is not known.
        let _ = set_child_subreaper(Some(getpid()));
        Self { did_before, _one_at_a_time }
    }
}

impl Drop for Adopting {
    fn drop(&mut self) {
        if !self.did_before {
            let _ = set_child_subreaper(None);
        }
    }
}

fn read_pid(path: &Path) -> Result<Leader, RunnerError> {
    let pid = read(path).map_err(RunnerError::io("reading", path))?;
    let pid = std::str::from_utf8(&pid).ok().and_then(|pid| pid.trim().parse().ok());
    let pid = pid.ok_or_else(|| RunnerError::io("reading", path)(io::ErrorKind::InvalidData.into()))?;
    Leader::of(pid).map_err(proc())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
