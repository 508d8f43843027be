//! Process groups, as `/proc` shows them: also those that another process began.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use serde::{Deserialize, Serialize};

use super::RunnerError;
use super::record::proc;

/// How long the kernel is given to end what was killed. A process that is in a system call which cannot be interrupted takes
/// as long as its disk.
const KILL: Duration = Duration::from_secs(10);

/// A process that leads a group of its own. Its start tells it from a later process with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leader {
    pid: i32,
    /// In clock ticks since the system began.
    start: u64,
}

/// What became of a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// It runs.
    Running,
    /// It ended, and this is how, where this process is its parent. Others of its group may be running still.
    Ended(Option<Exit>),
    /// Its number is another process's by now.
    Recycled,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl Leader {
    /// Starts a process, at the head of a group of its own.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, RunnerError> {
        let program = command.get_program().display().to_string();
        let mut child = command.process_group(0).spawn().map_err(|error| RunnerError::Program {
            program,
            what: format!("it cannot be started: {error}"),
        })?;
        Self::of(child.id()).map_err(|error| {
            // Both fail only where it has ended.
            let _ = child.kill().and_then(|()| child.wait());
            proc()(error)
        })
    }

    /// The process with this number, which leads a group.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        let status = Status::of(pid)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid, start: status.start })
    }

    /// The leader of a group that has an entry in its environment, as a whole, which no other group has.
    pub(crate) fn with_environment(entry: &str) -> io::Result<Option<Self>> {
        for pid in processes()? {
            // Others' environments cannot be read, and processes end meanwhile.
            let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { continue };
            if environment.split(|&byte| byte == 0).any(|one| one == entry.as_bytes())
                && let Some(status) = Status::of(pid)?
                && status.group == pid
            {
                return Ok(Some(Self { pid, start: status.start }));
            }
        }
        Ok(None)
    }

    pub(crate) fn life(self) -> io::Result<Life> {
        match Status::of(self.pid)? {
            None => Ok(Life::Ended(None)),
            Some(status) if status.start != self.start => Ok(Life::Recycled),
            Some(status) if !status.has_ended => Ok(Life::Running),
            // It is kept for its parent, which may be this process.
            Some(_) => self.exit(),
        }
    }

    /// Waits for its end, for `timeout` at most, and tells what became of it by then.
    pub(crate) fn wait(self, timeout: Duration) -> io::Result<Life> {
        let mut life = Life::Running;
        until(timeout, || {
            life = self.life()?;
            io::Result::Ok(life != Life::Running)
        })?;
        Ok(life)
    }

    /// Asks the whole group to end by a signal, kills it where it has not after `grace`, and leaves nothing of it.
    ///
    /// To be called before the leader's number can be another's: while it runs, or once after it ended.
    pub(crate) fn end(self, signal: Signal, grace: Duration) -> io::Result<()> {
        self.signal(signal)?;
        if until(grace, || self.is_over())? {
            return Ok(());
        }
        self.signal(Signal::KILL)?;
        match until(KILL, || self.is_over())? {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "process {} does not end although it was killed; a device it waits for may hang",
                    self.pid
                ),
            )),
        }
    }

    fn signal(self, signal: Signal) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        match rustix::process::kill_process_group(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nothing of the group runs. What ended as a child of this process is reaped.
    fn is_over(self) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(true) };
        if rustix::process::test_kill_process_group(pid) == Err(Errno::SRCH) {
            return Ok(true);
        }
        // What ended, and whose parent does not reap it, still belongs to the group.
        for pid in processes()? {
            if Status::of(pid)?.is_some_and(|status| status.group == self.pid && !status.has_ended) {
                return Ok(false);
            }
        }
        while let Ok(Some(_)) = rustix::process::waitpgid(pid, WaitOptions::NOHANG) {}
        Ok(true)
    }

    /// What its parent hears, where that is this process. It is not reaped, so that its number stays its own.
    fn exit(self) -> io::Result<Life> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(Life::Ended(None)) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(pid), options) {
            Ok(Some(status)) => Ok(Life::Ended(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Some(Exit::Code(code)),
                (_, Some(signal)) => Some(Exit::Signal(signal)),
                _ => None,
            })),
            // The last of its threads is on its way out.
            Ok(None) => Ok(Life::Running),
            Err(Errno::CHILD) => Ok(Life::Ended(None)),
            Err(error) => Err(error.into()),
        }
    }
}

/// What tells this run of the system from the one before, in which the same numbers may have meant other processes.
pub(crate) fn boot() -> io::Result<String> {
    random("boot_id")
}

/// A name that nothing else has.
pub(crate) fn unique_name() -> io::Result<String> {
    random("uuid")
}

/// Waits until something is so, for `timeout` at most.
pub(crate) fn until<E>(timeout: Duration, mut is_so: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if is_so()? {
            return Ok(true);
        }
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// A process as `/proc/PID/stat` has it.
struct Status {
    group: i32,
    start: u64,
    has_ended: bool,
}

impl Status {
    /// None where there is no such process.
    fn of(pid: i32) -> io::Result<Option<Self>> {
        let text = match fs::read(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            // It may end between the opening and the reading.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        Self::parse(&text).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The second field is the program's name in parentheses, which may hold anything, parentheses too.
    fn parse(text: &[u8]) -> Option<Self> {
        let name_end = text.iter().rposition(|&byte| byte == b')')?;
        let mut fields = std::str::from_utf8(&text[name_end + 1..]).ok()?.split_ascii_whitespace();
        let has_main_ended = matches!(fields.next()?, "Z" | "X" | "x");
        let group = fields.nth(1)?.parse().ok()?;
        // A program may go on after its first thread.
        let threads: u64 = fields.nth(14)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        let has_ended = has_main_ended && threads <= 1;
        Some(Self { group, start, has_ended })
    }
}

fn processes() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

fn random(name: &str) -> io::Result<String> {
    Ok(fs::read_to_string(Path::new("/proc/sys/kernel/random").join(name))?.trim_end().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_cannot_pass_for_its_status() {
        let line = b"7 (a) Z 1 1 1) S 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0\n";
        let status = Status::parse(line).unwrap();
        assert!(status.group == 42 && status.start == 987_654 && !status.has_ended);
        assert!(Status::parse(b"7 (a) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 0 0 1 0 5").unwrap().has_ended);
        assert!(!Status::parse(b"7 (a) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 0 0 2 0 5").unwrap().has_ended);
        for bad in
            [&b""[..], b"7 (a", b"7 (a)", b"7 (a) S 1 7", b"7 (a) S 1 x 7 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 5"]
        {
            assert!(Status::parse(bad).is_none());
        }
    }

    #[test]
    fn a_number_is_not_a_process() {
        let own = Leader::of(std::process::id()).unwrap();
        assert_eq!(own.life().unwrap(), Life::Running);
        assert_eq!(Leader { start: own.start + 1, ..own }.life().unwrap(), Life::Recycled);
    }
}
