//! Plain programs: no container, and no rights that the supervisor does not have.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use skiff_fs::Root;
use skiff_tree::ReleaseId;

use super::group::{self, Exit, Leader, Life};
use super::image::{DEFAULT_PATH, Environment, ImageConfig, checked_command};
use super::record::{Found, Run, canonical, forget, open_state, proc};
use super::{Output, RunState, Runnable, Runner, RunnerError, lookup};

/// How a [`CommandRunner`] runs releases.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommandOptions {
    /// A directory of the runner's own, in which it records what runs. It is made where it is not there. One runner at a time works
    /// in it.
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
/// linked statically, nor the interpreter of a script. The user, volumes and everything else that takes a container is left out:
/// [`RuncRunner`](crate::RuncRunner) has them.
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
        Ok(Self { state: open_state(&options.state)?, options })
    }

    fn look(&self) -> Result<Found<Place>, RunnerError> {
        let found = Run::look(&self.state, |run: &Run<Place>| {
            Leader::with_environment(&format!("{VARIABLE}={}", run.more.name)).map_err(proc())
        })?;
        if matches!(found, Found::Gone | Found::Cut) {
            forget(&self.state)?;
        }
        Ok(found)
    }

    /// Starts what a record describes, and records which process it is.
    fn spawn(&self, mut run: Run<Place>, program: Program) -> Result<(), RunnerError> {
        let (output, error) = self.options.output.open()?;
        let mut command = run.more.command(program)?;
        command.stdout(output).stderr(error);
        // First, so that the program is found even if the supervisor is killed before it knows its number.
        run.write(&self.state)?;
        let leader = Leader::spawn(&mut command)?;
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
        let image = ImageConfig::parse(release.config)?;
        let run =
            Run::new(release.release, image.stop_signal()?, Place::new(release, &image, &self.options)?)?;
        signal(run.stop_signal)?;
        let program = match &self.options.command {
            Some(words) if words.first().is_some_and(|name| !name.contains('/')) => {
                Program::of_system(words)?
            }
            Some(words) => run.more.program(words)?,
            None => run.more.program(&image.command()?)?,
        };
        let started = self.spawn(run, program);
        if started.is_err() {
            forget(&self.state)?;
        }
        started
    }

    fn stop(&mut self, grace: Duration) -> Result<(), RunnerError> {
        if let Found::Running(Run { leader: Some(leader), stop_signal, .. }) = self.look()? {
            leader.end(signal(stop_signal)?, grace).map_err(proc())?;
        }
        forget(&self.state)
    }

    fn state(&mut self) -> Result<RunState, RunnerError> {
        self.look()?.state()
    }

    /// An absolute path is one inside the release; a name is looked for in the release along its `PATH`, and then on the system.
    fn probe(&mut self, command: &[String], timeout: Duration) -> Result<bool, RunnerError> {
        let place = self.look()?.running(command)?.more;
        let program = place.program(command).or_else(|missing| {
            let is_name = command.first().is_some_and(|name| !name.contains('/'));
            if is_name { Program::of_system(command) } else { Err(missing) }
        })?;
        let probe = Leader::spawn(&mut place.command(program)?)?;
        let life = probe.wait(timeout).map_err(proc())?;
        probe.end(Signal::KILL, Duration::ZERO).map_err(proc())?;
        Ok(life == Life::Ended(Some(Exit::Code(0))))
    }

    /// Nothing is kept for a release: its program writes where it likes.
    fn collect(&mut self, _keep: &[ReleaseId]) -> Result<(), RunnerError> {
        Ok(())
    }
}

/// Where a release's program runs.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// The value of its variable `SKIFF_RUN`.
    name: String,
    rootfs: PathBuf,
    /// Where it starts, inside its release.
    directory: String,
    environment: Environment,
}

const VARIABLE: &str = "SKIFF_RUN";

impl Place {
    fn new(
        release: &Runnable<'_>,
        image: &ImageConfig,
        options: &CommandOptions,
    ) -> Result<Self, RunnerError> {
        Ok(Self {
            name: group::unique_name().map_err(proc())?,
            rootfs: canonical(release.rootfs)?,
            directory: image.working_directory()?.into(),
            environment: image.environment(&options.environment, &own_path())?,
        })
    }

    /// A program of the release.
    fn program(&self, words: &[String]) -> Result<Program, RunnerError> {
        let path = self.environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        Program::find(&Root::open(&self.rootfs)?, words, (&self.directory, path))
    }

    /// A process that starts where the program does, with its variables.
    fn command(&self, program: Program) -> Result<Command, RunnerError> {
        let root = Root::open(&self.rootfs)?;
        let directory = root.display(&lookup::resolve(&root, self.directory.as_bytes())?);
        if !directory.is_dir() {
            let what = format!("its working directory {} is not in the release", self.directory);
            return Err(RunnerError::Config { what });
        }
        let mut command = Command::new(program.file);
        // Under the name that it was called by, which tells a program of many names which of them it is.
        command.arg0(program.name).args(program.arguments).current_dir(directory);
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

fn own_path() -> String {
    env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.into())
}

fn signal(number: i32) -> Result<Signal, RunnerError> {
    let what = || format!("its stop signal {number} can be sent to containers only");
    Signal::from_named_raw(number).ok_or_else(|| RunnerError::Config { what: what() })
}
