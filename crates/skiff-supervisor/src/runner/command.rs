//! Plain programs: no container, and no rights that the supervisor does not have.

use std::env;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use skiff_fs::{Control, Root};
use skiff_tree::{EntryPath, ReleaseId};

use super::group::{self, Exit, Leader, Life, until};
use super::image::{DEFAULT_PATH, Environment, ImageConfig, checked_command};
use super::{Output, RunState, Runnable, Runner, RunnerError, lookup};

/// How a [`CommandRunner`] runs releases.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommandOptions {
    /// A directory of the runner's own, in which it records what runs. It is made where it is not there.
    pub state: PathBuf,
    /// The program and its arguments, instead of those that the image's config names. An absolute path is one inside the release;
    /// a name without a slash is a program of the system that the supervisor runs on.
    pub command: Option<Vec<String>>,
    /// Variables beside those of the image, and before them.
    pub environment: Environment,
    /// Where the program's standard output and error go; its input is empty.
    pub output: Output,
}

/// Runs a release's program as a plain process: for development, demonstrations and programs that need nothing of their image.
///
/// The program sees the whole system and has the supervisor's rights. Paths are those of the system: the program and the directory
/// it starts in are found inside the release, but what it opens itself is not, nor are the libraries of a program that is not
/// linked statically, nor the interpreter of a script. The user, volumes and everything else that takes a container is left out.
///
/// The program leads a process group, which is stopped as a whole; a process that leaves the group escapes. Among its variables is
/// `SKIFF_RUN`, by which a supervisor finds again what another one had started just when it was killed. A release whose
/// program ended while no supervisor ran has [`RunState::Ended`]; [`RunState::Stopped`] it is where the system was started anew,
/// or where the program's number is another one's meanwhile.
///
/// ```no_run
/// use skiff_supervisor::{CommandOptions, CommandRunner, Runnable, Runner};
/// use std::{path::Path, time::Duration};
///
/// let options = CommandOptions::new("/var/lib/skiff/run").with_command(["/app/sensor", "--verbose"]);
/// let mut runner = CommandRunner::open(options)?;
/// # let release = skiff_tree::ReleaseId::of(b"");
/// runner.start(&Runnable::new(release, Path::new("/var/lib/skiff/store/current/rootfs"), None))?;
/// println!("{}", runner.state()?);
/// runner.stop(Duration::from_secs(10))?;
/// # Ok::<(), skiff_supervisor::RunnerError>(())
/// ```
#[derive(Debug)]
pub struct CommandRunner {
    options: CommandOptions,
    state: Root,
}

impl CommandOptions {
    /// What the image names, with the supervisor's output, recorded in a directory.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), command: None, environment: Environment::new(), output: Output::Inherit }
    }

    /// These options, with a program and its arguments.
    #[must_use]
    pub fn with_command<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.command = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// These options, with one more variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// These options, with another place for what the program prints.
    #[must_use]
    pub fn with_output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }
}

impl CommandRunner {
    /// A runner, and what it left running.
    ///
    /// # Errors
    /// [`RunnerError`] where its directory cannot be made or opened.
    pub fn open(options: CommandOptions) -> Result<Self, RunnerError> {
        fs::create_dir_all(&options.state).map_err(RunnerError::io("making directory", &options.state))?;
        let state = Root::open(&options.state)?;
        Ok(Self { options, state })
    }

    /// The record of what runs, or of what ended by itself; none where nothing runs and nothing did since it was stopped.
    fn run(&self) -> Result<Option<Run>, RunnerError> {
        let Some(mut run) = Run::read(&self.state)? else { return Ok(None) };
        if run.boot != group::boot().map_err(proc())? {
            self.forget()?;
            return Ok(None);
        }
        if run.ended.is_some() {
            return Ok(Some(run));
        }
        let leader = match run.leader {
            Some(leader) => Some(leader),
            // The supervisor was killed after it had begun to start the program, and before it had recorded which it is.
            None => Leader::with_environment(&run.mark()).map_err(proc())?,
        };
        match leader.map(Leader::life).transpose().map_err(proc())? {
            None | Some(Life::Recycled) => {
                self.forget()?;
                return Ok(None);
            }
            Some(Life::Running) if run.leader == leader => {}
            Some(Life::Running) => {
                run.leader = leader;
                run.write(&self.state)?;
            }
            Some(Life::Ended(how)) => {
                // What it leaves running would run beside the next one.
                if let Some(leader) = leader {
                    leader.end(Signal::KILL, Duration::ZERO).map_err(proc())?;
                }
                run.ended = Some(how.map_or_else(|| UNKNOWN.into(), |exit| exit.to_string()));
                run.write(&self.state)?;
            }
        }
        Ok(Some(run))
    }

    fn forget(&self) -> Result<(), RunnerError> {
        self.state.remove(&record_path(), &Control::default())?;
        Ok(())
    }

    /// Starts what a record describes, and records which process it is.
    fn spawn(&self, run: &mut Run, program: Program) -> Result<(), RunnerError> {
        let (output, error) = self.options.output.open()?;
        let mut command = run.command(program)?;
        command.stdout(output).stderr(error);
        // First, so that the program is found even if the supervisor is killed before it knows its number.
        run.write(&self.state)?;
        let leader = begin(&mut command)?;
        run.leader = Some(leader);
        let written = run.write(&self.state);
        if written.is_err() {
            leader.end(Signal::KILL, Duration::ZERO).map_err(proc())?;
        }
        written
    }
}

impl Runner for CommandRunner {
    fn start(&mut self, release: &Runnable<'_>) -> Result<(), RunnerError> {
        const GRACE: Duration = Duration::from_secs(10);
        self.stop(GRACE)?;
        let (mut run, image) = Run::new(release, &self.options)?;
        let program = match &self.options.command {
            Some(words) if words.first().is_some_and(|name| !name.contains('/')) => {
                Program::of_system(words)?
            }
            Some(words) => run.program(words)?,
            None => run.program(&image.command()?)?,
        };
        let started = self.spawn(&mut run, program);
        if started.is_err() {
            self.forget()?;
        }
        started
    }

    fn stop(&mut self, grace: Duration) -> Result<(), RunnerError> {
        let Some(run) = self.run()? else { return Ok(()) };
        if let (Some(leader), None) = (run.leader, &run.ended) {
            leader.end(run.stop_signal()?, grace).map_err(proc())?;
        }
        self.forget()
    }

    fn state(&mut self) -> Result<RunState, RunnerError> {
        Ok(match self.run()? {
            None => RunState::Stopped,
            Some(run) => {
                let release = run.release()?;
                run.ended.map_or(RunState::Running(release), |how| RunState::Ended { release, how })
            }
        })
    }

    /// An absolute path is one inside the release; a name is looked for in the release along its `PATH`, and then on the system.
    fn probe(&mut self, command: &[String], timeout: Duration) -> Result<bool, RunnerError> {
        let Some(run) = self.run()?.filter(|run| run.ended.is_none()) else {
            let program = command.first().cloned().unwrap_or_default();
            return Err(RunnerError::Program {
                program,
                what: "no release runs that it could be run beside".into(),
            });
        };
        let program = run.program(command).or_else(|missing| {
            let is_name = command.first().is_some_and(|name| !name.contains('/'));
            if is_name { Program::of_system(command) } else { Err(missing) }
        })?;
        let probe = begin(&mut run.command(program)?)?;
        let mut life = Life::Running;
        until(timeout, || {
            life = probe.life()?;
            Ok(life != Life::Running)
        })
        .and_then(|_| probe.end(Signal::KILL, Duration::ZERO))
        .map_err(proc())?;
        Ok(life == Life::Ended(Some(Exit::Code(0))))
    }

    /// Nothing is kept for a release: its program writes where it likes.
    fn collect(&mut self, _keep: &[ReleaseId]) -> Result<(), RunnerError> {
        Ok(())
    }
}

/// What is recorded of a program that was started.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    release: String,
    /// Which run of the system it was started in.
    boot: String,
    /// The value of its variable `SKIFF_RUN`.
    name: String,
    /// None until it is started.
    leader: Option<Leader>,
    /// How it ended, once that was seen.
    ended: Option<String>,
    stop_signal: i32,
    /// Where its release lies.
    rootfs: PathBuf,
    /// Where it starts, inside its release.
    directory: String,
    environment: Environment,
}

const VARIABLE: &str = "SKIFF_RUN";
const UNKNOWN: &str = "how is not known, since no supervisor that started it was there";
/// Beyond the variables and arguments that Linux lets a program have.
const MAX_RECORD: u64 = 16 << 20;

impl Run {
    fn new(release: &Runnable<'_>, options: &CommandOptions) -> Result<(Self, ImageConfig), RunnerError> {
        let image = ImageConfig::parse(release.config)?;
        let rootfs = fs::canonicalize(release.rootfs);
        let rootfs = rootfs.map_err(RunnerError::io("looking for the release in", release.rootfs))?;
        let signal = image.stop_signal()?.number();
        let run = Self {
            release: release.release.to_string(),
            boot: group::boot().map_err(proc())?,
            name: group::unique_name().map_err(proc())?,
            leader: None,
            ended: None,
            stop_signal: signal,
            rootfs,
            directory: image.working_directory()?.into(),
            environment: image.environment(&options.environment, &own_path())?,
        };
        run.stop_signal()?;
        Ok((run, image))
    }

    fn read(state: &Root) -> Result<Option<Self>, RunnerError> {
        let bytes = match state.read_file(&record_path(), MAX_RECORD) {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
    }

    fn write(&self, state: &Root) -> Result<(), RunnerError> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| damaged(error.to_string()))?;
        Ok(state.replace_file(&record_path(), &bytes)?)
    }

    fn release(&self) -> Result<ReleaseId, RunnerError> {
        self.release.parse().map_err(|_| damaged(format!("{:?} is not the name of a release", self.release)))
    }

    fn stop_signal(&self) -> Result<Signal, RunnerError> {
        let what = || format!("its stop signal {} can be sent to containers only", self.stop_signal);
        Signal::from_named_raw(self.stop_signal).ok_or_else(|| RunnerError::Config { what: what() })
    }

    fn mark(&self) -> String {
        format!("{VARIABLE}={}", self.name)
    }

    /// A program of the release.
    fn program(&self, words: &[String]) -> Result<Program, RunnerError> {
        let path = self.environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        Program::find(&Root::open(&self.rootfs)?, words, (&self.directory, path))
    }

    /// A process in a group of its own that starts where the program does, with its variables.
    fn command(&self, program: Program) -> Result<Command, RunnerError> {
        let root = Root::open(&self.rootfs)?;
        let directory = root.display(&lookup::resolve(&root, self.directory.as_bytes())?);
        if !directory.is_dir() {
            let what = format!("its working directory {} is not in the release", self.directory);
            return Err(RunnerError::Config { what });
        }
        let mut command = Command::new(program.file);
        // Under the name that it was called by, which tells a program of many names which of them it is.
        command.arg0(program.name).args(program.arguments).current_dir(directory).process_group(0);
        command.env_clear().envs(&self.environment).env(VARIABLE, &self.name);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }
}

/// A program that was found, and how it is called.
struct Program {
    file: PathBuf,
    name: String,
    arguments: Vec<String>,
}

impl Program {
    fn find(root: &Root, words: &[String], places: (&str, &str)) -> Result<Self, RunnerError> {
        let mut arguments = checked_command(words.to_vec())?;
        let name = arguments.remove(0);
        Ok(Self { file: lookup::program(root, &name, places)?, name, arguments })
    }

    /// A program of the system that the supervisor runs on.
    fn of_system(words: &[String]) -> Result<Self, RunnerError> {
        Self::find(&Root::open("/")?, words, ("/", &own_path()))
    }
}

/// Starts a process, which leads a group.
fn begin(command: &mut Command) -> Result<Leader, RunnerError> {
    let mut child = command.spawn().map_err(|error| RunnerError::Program {
        program: command.get_program().display().to_string(),
        what: format!("it cannot be started: {error}"),
    })?;
    Leader::of(child.id()).map_err(|error| {
        // Both fail only where it has ended.
        let _ = child.kill().and_then(|()| child.wait());
        proc()(error)
    })
}

fn own_path() -> String {
    env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.into())
}

fn record_path() -> EntryPath {
    EntryPath::new("run.json").expect("because it is one plain component")
}

fn damaged(what: String) -> RunnerError {
    let what = format!("{what}; remove the file once nothing of that release runs");
    RunnerError::Program { program: "the record run.json of what runs".into(), what }
}

fn proc() -> impl FnOnce(io::Error) -> RunnerError {
    RunnerError::io("asking the system of processes in", Path::new("/proc"))
}
