//! Releases as plain processes: started, stopped, adopted and probed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skiff_supervisor::{CommandOptions, CommandRunner, Output, RunState, Runnable, Runner, RunnerError};
use skiff_tree::ReleaseId;

/// Longer than any of what is waited for takes, on however slow a machine.
const LONG: Duration = Duration::from_secs(300);

/// One test at a time: a process that another test is starting holds, until it runs its program, the file that a script is being
/// written to, and a script that is open for writing cannot be run.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A release whose program is a script, and a runner's directory.
struct Device {
    directory: tempfile::TempDir,
    config: Option<Vec<u8>>,
    _alone: MutexGuard<'static, ()>,
}

impl Device {
    fn new() -> Self {
        let _alone = alone();
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("rootfs/srv/data")).unwrap();
        Self { directory, config: None, _alone }
    }

    /// With a script at a path inside the release.
    fn script(self, at: &str, lines: &str) -> Self {
        let path = self.rootfs().join(at.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn config(mut self, config: &Value) -> Self {
        self.config = Some(json!({ "config": config }).to_string().into_bytes());
        self
    }

    fn rootfs(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    fn release() -> ReleaseId {
        ReleaseId::of(b"a release")
    }

    fn options(&self) -> CommandOptions {
        CommandOptions::new(self.directory.path().join("run")).with_output(Output::File(self.log()))
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn runner(&self) -> CommandRunner {
        CommandRunner::open(self.options()).unwrap()
    }

    fn start(&self, runner: &mut CommandRunner) -> Result<(), RunnerError> {
        runner.start(&Runnable::new(Self::release(), &self.rootfs(), self.config.as_deref()))
    }

    /// Waits until the program has printed this, which tells that it has come so far.
    fn printed(&self, text: &str) {
        wait_until(|| fs::read_to_string(self.log()).unwrap_or_default().contains(text));
    }

    /// The number that the program printed after `pid `.
    fn pid(&self) -> i32 {
        self.printed("ready");
        let log = fs::read_to_string(self.log()).unwrap();
        log.lines().find_map(|line| line.strip_prefix("pid ")).unwrap().parse().unwrap()
    }
}

impl Drop for Device {
    /// Nothing is left running, even by a test that fails.
    fn drop(&mut self) {
        if let Ok(mut runner) = CommandRunner::open(self.options()) {
            let _ = runner.stop(Duration::ZERO);
        }
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ended(runner: &mut CommandRunner) -> String {
    let mut how = None;
    wait_until(|| match runner.state().unwrap() {
        RunState::Ended { release, how: words } => {
            assert_eq!(release, Device::release());
            how = Some(words);
            true
        }
        state => {
            assert_eq!(state, RunState::Running(Device::release()));
            false
        }
    });
    how.unwrap()
}

/// Whether there is such a process at all, were it only one that waits to be reaped.
fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

const FOREVER: &str = "echo pid $$; echo ready; while :; do sleep 1; done";

#[test]
fn a_program_gets_what_its_image_says() {
    let device = Device::new()
        .script(
            "app/show",
            "echo \"$0|$*|$PWD|$A|$B|$PATH\"; echo \"home ${HOME-unset} cargo ${CARGO_MANIFEST_DIR-unset}\"; echo bad >&2",
        )
        .config(&json!({
            "Entrypoint": ["show", "-v"], "Cmd": ["now"], "WorkingDir": "/srv/data",
            "Env": ["PATH=/app:/usr/bin:/bin", "A=1", "B=2"],
        }));
    let mut runner = CommandRunner::open(device.options().with_variable("B", "3")).unwrap();
    device.start(&mut runner).unwrap();
    assert_eq!(ended(&mut runner), "exit status 0");
    let rootfs = fs::canonicalize(device.rootfs()).unwrap();
    let rootfs = rootfs.to_str().unwrap();
    assert_eq!(
        fs::read_to_string(device.log()).unwrap(),
        format!(
            "{rootfs}/app/show|-v now|{rootfs}/srv/data|1|3|/app:/usr/bin:/bin\nhome unset cargo unset\nbad\n"
        )
    );
}

#[test]
fn a_given_command_is_run_instead() {
    let device = Device::new().script("app/run", "echo ran $*").config(&json!({ "Cmd": ["/app/none"] }));
    let mut runner = CommandRunner::open(device.options().with_command(["/app/run", "it"])).unwrap();
    device.start(&mut runner).unwrap();
    assert_eq!(ended(&mut runner), "exit status 0");
    // A name is the system's program, in the release's directory.
    let mut runner =
        CommandRunner::open(device.options().with_command(["sh", "-c", "echo here; pwd"])).unwrap();
    device.start(&mut runner).unwrap();
    assert_eq!(ended(&mut runner), "exit status 0");
    let rootfs = fs::canonicalize(device.rootfs()).unwrap();
    assert_eq!(fs::read_to_string(device.log()).unwrap(), format!("ran it\nhere\n{}\n", rootfs.display()));
}

#[test]
fn how_a_program_ended_is_told_until_it_is_stopped() {
    for (end, how) in [("exit 3", "exit status 3"), ("kill -9 $$", "signal 9")] {
        let device = Device::new().script("app", end).config(&json!({ "Cmd": ["/app"] }));
        let mut runner = device.runner();
        assert_eq!(runner.state().unwrap(), RunState::Stopped);
        device.start(&mut runner).unwrap();
        assert_eq!(ended(&mut runner), how);
        assert_eq!(
            device.runner().state().unwrap(),
            runner.state().unwrap(),
            "the next supervisor knows too"
        );
        runner.stop(LONG).unwrap();
        assert_eq!(runner.state().unwrap(), RunState::Stopped);
        runner.stop(LONG).unwrap();
    }
}

#[test]
fn stopping_asks_first() {
    let device = Device::new()
        .script(
            "app",
            "trap 'echo asked; exit 0' TERM; echo pid $$; echo ready; while :; do sleep 0.01; done",
        )
        .config(&json!({ "Cmd": ["/app"] }));
    let mut runner = device.runner();
    device.start(&mut runner).unwrap();
    let pid = device.pid();
    assert_eq!(runner.state().unwrap(), RunState::Running(Device::release()));
    runner.stop(LONG).unwrap();
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
    assert!(fs::read_to_string(device.log()).unwrap().ends_with("asked\n"));
    assert!(!exists(pid), "it is reaped");
}

#[test]
fn stopping_asks_as_the_image_wants_it() {
    let device = Device::new()
        .script(
            "app",
            // A signal that is not ignored where tests run in the background, as that of the keyboard is.
            "trap 'echo asked; exit 0' USR1; trap '' TERM; echo ready; while :; do sleep 0.01; done",
        )
        .config(&json!({ "Cmd": ["/app"], "StopSignal": "SIGUSR1" }));
    let mut runner = device.runner();
    device.start(&mut runner).unwrap();
    device.printed("ready");
    // Another supervisor asks the same way.
    device.runner().stop(LONG).unwrap();
    device.printed("asked");
}

#[test]
fn what_does_not_listen_is_killed_with_all_it_started() {
    let device = Device::new()
        .script(
            "app",
            "trap '' TERM; (while :; do sleep 1; done) & echo pid $!; echo ready; while :; do sleep 1; done",
        )
        .config(&json!({ "Cmd": ["/app"] }));
    let mut runner = device.runner();
    device.start(&mut runner).unwrap();
    let child = device.pid();
    runner.stop(Duration::from_millis(20)).unwrap();
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
    wait_until(|| !runs(child));
}

#[test]
fn what_an_ended_program_started_ends_too() {
    let device = Device::new()
        .script("app", "(while :; do sleep 1; done) & echo pid $!; echo ready")
        .config(&json!({ "Cmd": ["/app"] }));
    let mut runner = device.runner();
    device.start(&mut runner).unwrap();
    let child = device.pid();
    assert_eq!(ended(&mut runner), "exit status 0");
    assert!(!runs(child));
}

/// Whether a process runs; one that nobody reaps does not.
fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

#[test]
fn another_supervisor_goes_on_with_what_runs() {
    let device = Device::new().script("app", FOREVER).config(&json!({ "Cmd": ["/app"] }));
    let mut first = device.runner();
    device.start(&mut first).unwrap();
    let pid = device.pid();
    std::mem::forget(first);

    let mut second = device.runner();
    assert_eq!(second.state().unwrap(), RunState::Running(Device::release()));
    // To start anew is to stop first, whoever had started.
    device.start(&mut second).unwrap();
    assert!(!runs(pid));
    assert_eq!(second.state().unwrap(), RunState::Running(Device::release()));
    device.runner().stop(Duration::ZERO).unwrap();
    assert_eq!(second.state().unwrap(), RunState::Stopped);
}

/// What the supervisor does that the next test kills. Without that test, nothing.
#[test]
fn supervisor_to_be_killed() {
    let Some(directory) = std::env::var_os("SUPERVISOR_TO_BE_KILLED").map(PathBuf::from) else { return };
    let options = CommandOptions::new(directory.join("run")).with_output(Output::File(directory.join("log")));
    let mut runner = CommandRunner::open(options.with_command(["/app"])).unwrap();
    runner.start(&Runnable::new(Device::release(), &directory.join("rootfs"), None)).unwrap();
    std::thread::sleep(LONG);
}

#[test]
fn a_killed_supervisor_leaves_its_program_to_the_next() {
    let device = Device::new().script("app", FOREVER);
    let mut supervisor = Command::new(std::env::current_exe().unwrap());
    supervisor
        .args(["--exact", "supervisor_to_be_killed"])
        .env("SUPERVISOR_TO_BE_KILLED", device.directory.path());
    let mut supervisor = supervisor.stdout(Stdio::null()).spawn().unwrap();
    let pid = device.pid();
    // It may not have recorded it yet; two supervisors at once are not to be.
    wait_until(|| {
        let record = fs::read(record(&device)).unwrap();
        serde_json::from_slice::<Value>(&record).unwrap()["leader"].is_object()
    });
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    assert!(runs(pid));

    let mut runner = device.runner();
    assert_eq!(runner.state().unwrap(), RunState::Running(Device::release()));
    Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    let how = ended(&mut runner);
    assert!(how.contains("not known"), "nothing is made up: {how}");
    runner.stop(Duration::ZERO).unwrap();
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
}

/// The record as a supervisor leaves it that is killed between starting the program and knowing its number.
#[test]
fn a_program_is_found_by_its_environment() {
    let device = Device::new().script("app", FOREVER).config(&json!({ "Cmd": ["/app"] }));
    let mut runner = device.runner();
    device.start(&mut runner).unwrap();
    device.printed("ready");
    let before = edit_record(&device, |record| record["leader"] = Value::Null);
    assert_eq!(runner.state().unwrap(), RunState::Running(Device::release()));
    assert_eq!(edit_record(&device, |_| {}), before, "the number is known again");

    // Where it was killed before that, nothing runs.
    runner.stop(Duration::ZERO).unwrap();
    fs::write(record(&device), before.to_string()).unwrap();
    edit_record(&device, |record| record["leader"] = Value::Null);
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
}

fn record(device: &Device) -> PathBuf {
    device.directory.path().join("run/run.json")
}

/// What the record was before the edit.
fn edit_record(device: &Device, edit: impl FnOnce(&mut Value)) -> Value {
    let before: Value = serde_json::from_slice(&fs::read(record(device)).unwrap()).unwrap();
    let mut after = before.clone();
    edit(&mut after);
    fs::write(record(device), after.to_string()).unwrap();
    before
}

#[test]
fn a_number_that_is_another_process_by_now_is_left_alone() {
    let device = Device::new().script("app", FOREVER).config(&json!({ "Cmd": ["/app"] }));
    let mut runner = device.runner();
    device.start(&mut runner).unwrap();
    let pid = device.pid();
    let start = |record: &mut Value| {
        let start = record["leader"]["start"].as_u64().unwrap();
        record["leader"]["start"] = json!(start - 1);
    };
    let before = edit_record(&device, start);
    device.runner().stop(Duration::ZERO).unwrap();
    assert!(runs(pid));
    assert_eq!(device.runner().state().unwrap(), RunState::Stopped);

    // So is one of the system's last run.
    fs::write(record(&device), before.to_string()).unwrap();
    edit_record(&device, |record| record["boot"] = json!("another"));
    device.runner().stop(Duration::ZERO).unwrap();
    assert!(runs(pid));

    fs::write(record(&device), before.to_string()).unwrap();
    device.runner().stop(Duration::ZERO).unwrap();
    assert!(!runs(pid));
}

#[test]
fn what_ended_unwatched_did_end() {
    let device = Device::new().script("app", FOREVER).config(&json!({ "Cmd": ["/app"] }));
    let mut runner = device.runner();
    device.start(&mut runner).unwrap();
    device.printed("ready");
    // A process of another parent, which is not waited for here.
    let other = Command::new("sh").args(["-c", "sleep 0 & echo $!"]).output().unwrap();
    let gone: i32 = String::from_utf8(other.stdout).unwrap().trim().parse().unwrap();
    wait_until(|| !runs(gone));
    runner.stop(Duration::ZERO).unwrap();
    device.start(&mut runner).unwrap();
    let before = edit_record(&device, |record| record["leader"] = json!({ "pid": gone, "start": 1 }));
    let state = device.runner().state().unwrap();
    // Where nothing reaps orphans, or the number is taken again, it is there with another start.
    match exists(gone) {
        false => {
            assert!(matches!(state, RunState::Ended { how, .. } if how.contains("not known")), "{before}")
        }
        true => assert_eq!(state, RunState::Stopped),
    }
    fs::write(record(&device), before.to_string()).unwrap();
}

#[test]
fn probes_run_where_the_program_does() {
    let device = Device::new()
        .script("app", FOREVER)
        .script("bin/healthy", "[ \"$A\" = 1 ] && [ \"${PWD##*/}\" = data ] && exit ${1-0}")
        .script("bin/hang", "while :; do sleep 1; done")
        .config(&json!({ "Cmd": ["/app"], "Env": ["A=1", "PATH=/bin"], "WorkingDir": "/srv/data" }));
    let mut runner = device.runner();
    let probe = |runner: &mut CommandRunner, words: &[&str], timeout: Duration| {
        runner.probe(&words.iter().map(ToString::to_string).collect::<Vec<_>>(), timeout)
    };
    assert!(probe(&mut runner, &["healthy"], LONG).is_err(), "nothing runs");
    device.start(&mut runner).unwrap();
    device.printed("ready");
    assert!(probe(&mut runner, &["healthy"], LONG).unwrap());
    assert!(probe(&mut device.runner(), &["/bin/healthy"], LONG).unwrap(), "for the next supervisor too");
    assert!(!probe(&mut runner, &["healthy", "1"], LONG).unwrap());
    assert!(probe(&mut runner, &["sh", "-c", "true"], LONG).unwrap(), "the system has a shell");
    assert!(!probe(&mut runner, &["hang"], Duration::from_millis(50)).unwrap());
    let hanging = || {
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(device.rootfs().join("bin/hang").to_str().unwrap())
        })
    };
    assert!(!hanging(), "a probe that takes too long is ended");
    for bad in [&["/none"][..], &["no-such-program"], &[]] {
        assert!(matches!(
            probe(&mut runner, bad, LONG),
            Err(RunnerError::Program { .. } | RunnerError::Config { .. })
        ));
    }
    assert_eq!(runner.state().unwrap(), RunState::Running(Device::release()));
}

#[test]
fn what_cannot_be_run_says_why() {
    let cases = [
        (json!({}), "neither an entry point nor a command"),
        (json!({ "Cmd": ["/none"] }), "no such program is in the release"),
        (json!({ "Cmd": ["/notes"] }), "no such program is in the release"),
        (json!({ "Cmd": ["/broken"] }), "cannot be started"),
        (json!({ "Cmd": ["/broken"], "WorkingDir": "/none" }), "/none is not in the release"),
        (json!({ "Cmd": ["/broken"], "StopSignal": "SIGRTMIN+3" }), "containers only"),
        (json!({ "Cmd": ["/broken"], "Env": "A=1" }), "invalid type"),
    ];
    for (config, what) in cases {
        let device = Device::new().script("broken", "").config(&config);
        fs::write(device.rootfs().join("broken"), "#!/no/such/interpreter\n").unwrap();
        fs::write(device.rootfs().join("notes"), "no program").unwrap();
        let mut runner = device.runner();
        let error = device.start(&mut runner).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert_eq!(runner.state().unwrap(), RunState::Stopped);
    }
    let device = Device::new();
    let none = device.directory.path().join("none");
    let started = device.runner().start(&Runnable::new(Device::release(), &none, None));
    assert!(matches!(started, Err(RunnerError::Io { .. })));
    fs::write(record(&device), "{").unwrap();
    assert!(device.runner().state().unwrap_err().to_string().contains("run.json"));
    fs::remove_file(record(&device)).unwrap();
}
