//! Containers, by `runc`.

use std::io;
use std::time::Duration;

use rustix::process::Signal;
use skiff_fs::{Control, Root};
use skiff_tree::ReleaseId;

use self::program::{ContainerState, Runc};
use self::rootfs::{mount_read_only, mount_writable, unmount_beneath};
use self::spec::Container;
use self::user::User;
use super::group::{self, Leader, Life};
use super::image::{ImageConfig, checked_command};
use super::record::{Found, Run, canonical, forget, open_state, proc};
use super::{RunState, Runnable, Runner, RunnerError};

pub use options::{Access, Bind, Network, RootAccess, RuncOptions};

mod layout;
mod options;
mod program;
mod rootfs;
mod spec;
mod user;
mod volumes;

/// Runs a release as a container, by the program `runc`. It takes root.
///
/// The container is made as Docker makes one by default, from the image's config, but for Docker's filter of system calls: the
/// program's arguments, variables, user, working directory, stop signal and volumes are the image's, and so are capabilities, mounts
/// and hidden paths what Docker has. Its root is the release's files, which are only read, and above them a layer of
/// what the program writes. That layer belongs to this one release: it is there again when the release is started again, and it is
/// neither carried over to the next one nor kept after [`collect`](Runner::collect) without it. Volumes are carried over; on its
/// first use a volume is filled with what the image has there.
///
/// A supervisor that is killed leaves its container running, and the next one goes on with it. How the program ended can be told by the
/// supervisor that had started it. After a power cut nothing of the container is left but what was written.
///
/// ```no_run
/// use skiff_supervisor::{Network, Runnable, Runner, RuncOptions, RuncRunner};
/// use std::{path::Path, time::Duration};
///
/// let options = RuncOptions::new("/var/lib/skiff/run", "sensor")
///     .with_network(Network::None)
///     .with_update_lock("/run/skiff/lock", "/run/update-lock");
/// let mut runner = RuncRunner::open(options)?;
/// # let (release, config) = (skiff_tree::ReleaseId::of(b""), b"{}");
/// runner.start(&Runnable::new(release, Path::new("/var/lib/skiff/store/current/rootfs"), Some(config)))?;
/// assert!(runner.probe(&["/app/sensor".into(), "--check".into()], Duration::from_secs(5))?);
/// runner.stop(Duration::from_secs(10))?;
/// # Ok::<(), skiff_supervisor::RunnerError>(())
/// ```
#[derive(Debug)]
pub struct RuncRunner {
    options: RuncOptions,
    state: Root,
}

/// What is recorded of a container besides: it tells the rest itself.
type Recorded = ();

/// How long a container is given to end where nobody says.
const GRACE: Duration = Duration::from_secs(10);
/// How long the kernel is given to end what was killed.
const KILL: Duration = Duration::from_secs(10);

impl RuncRunner {
    /// A runner, and the container that it left running.
    ///
    /// # Errors
    /// [`RunnerError`] where the container cannot have its name, or the directory cannot be made or opened.
    pub fn open(options: RuncOptions) -> Result<Self, RunnerError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        let id = &options.id;
        if id.is_empty() || id.len() > 128 || id.starts_with('.') || !id.bytes().all(is_plain) {
            let what = format!("no container can be named {id:?}: a name has letters, digits and _+-. in it");
            return Err(RunnerError::Config { what });
        }
        Ok(Self { state: open_state(&options.state)?, options })
    }

    fn runc(&self) -> Runc<'_> {
        Runc { program: &self.options.program, id: &self.options.id, state: &self.state }
    }

    /// What runs, after what a power cut or a killed supervisor left was cleaned away.
    fn look(&self) -> Result<Found<Recorded>, RunnerError> {
        let find = |run: &Run<Recorded>| {
            let adopted = self.adopt()?.filter(|(release, _)| run.release().is_ok_and(|own| own == *release));
            Ok(adopted.and_then(|(_, run)| run.leader))
        };
        let found = match Run::look(&self.state, find)? {
            // Somebody removed the record of a container that is there.
            Found::Nothing if self.runc().exists() => match self.adopt()? {
                Some((_, run)) => {
                    run.write(&self.state)?;
                    Found::Running(run)
                }
                None => Found::Gone,
            },
            found => found,
        };
        match &found {
            Found::Gone => self.clean()?,
            // Its state may be half of what it was, and nothing of it runs.
            Found::Cut => {
                let _ = self.runc().delete();
                self.clear()?;
            }
            Found::Nothing | Found::Running(_) | Found::Ended(_) => {}
        }
        Ok(found)
    }

    /// The container as `runc` knows it, where it runs.
    fn adopt(&self) -> Result<Option<(ReleaseId, Run<Recorded>)>, RunnerError> {
        let Some(ContainerState { status, pid, annotations }) = self.runc().container()? else {
            return Ok(None);
        };
        let annotation = |name| annotations.get(name).map_or("", String::as_str);
        let is_of_now = annotation(spec::BOOT) == group::boot().map_err(proc())?;
        let (release, signal) = (annotation(spec::RELEASE).parse(), annotation(spec::STOP_SIGNAL).parse());
        match (release, signal) {
            (Ok(release), Ok(signal)) if is_of_now && status == "running" => {
                let mut run = Run::new(release, signal, ())?;
                match Leader::of(pid) {
                    // It has ended since.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    leader => run.leader = Some(leader.map_err(proc())?),
                }
                Ok(Some((release, run)))
            }
            _ => Ok(None),
        }
    }

    /// Removes the container and what is mounted for it. Nothing of it runs afterwards.
    fn clean(&self) -> Result<(), RunnerError> {
        if self.runc().exists() {
            self.runc().delete()?;
        }
        self.clear()
    }

    /// Removes what is left of a container of which nothing runs.
    fn clear(&self) -> Result<(), RunnerError> {
        let runc = layout::path(layout::RUNC);
        self.state.remove(&layout::join(&runc, self.options.id.as_bytes())?, &Control::default())?;
        let bundle = layout::path(layout::BUNDLE);
        unmount_beneath(&self.state.display(&bundle))?;
        self.state.remove(&bundle, &Control::default())?;
        // Last: until then the rest is found again.
        forget(&self.state)
    }

    fn start_clean(&self, release: &Runnable<'_>) -> Result<(), RunnerError> {
        let image = ImageConfig::parse(release.config)?;
        image.command()?;
        let rootfs = Root::open(canonical(release.rootfs)?)?;
        let mut run = Run::new(release.release, image.stop_signal()?, ())?;
        // First, so that what follows is found even if the supervisor is killed in the middle of it.
        run.write(&self.state)?;
        let user = User::resolve(&rootfs, image.user())?;
        let binds = volumes::binds(&self.options, &image, (&self.state, &rootfs))?;
        let (image, binds) = (&image, &binds);
        let container = Container { options: &self.options, release: release.release, image, user, binds };
        let spec = container.spec()?;
        self.state.ensure_directory(&layout::path(layout::BUNDLE))?;
        match self.options.root {
            RootAccess::Writable => mount_writable(&self.state, &rootfs, release.release)?,
            RootAccess::ReadOnly => {
                let points = container.points()?;
                mount_read_only(&self.state, &rootfs, points.iter().map(|(at, kind)| (at, *kind)))?;
            }
        }
        self.state.replace_file(&layout::path(layout::CONFIG), format!("{spec:#}\n").as_bytes())?;
        run.leader = Some(self.runc().run(&self.options.output)?);
        run.write(&self.state)
    }

    fn end(&self, leader: Leader, (signal, grace): (i32, Duration)) -> Result<(), RunnerError> {
        for (signal, patience) in [(signal, grace), (Signal::KILL.as_raw(), KILL)] {
            let sent = self.runc().kill(signal);
            let patience = if sent.is_ok() { patience } else { Duration::ZERO };
            if leader.wait(patience).map_err(proc())? != Life::Running {
                // Whoever waits for it has heard by now; if that is this process, it is reaped.
                return leader.end(Signal::KILL, Duration::ZERO).map_err(proc());
            }
            sent?;
        }
        Err(RunnerError::Program {
            program: self.options.id.clone(),
            what: "the container does not end although it was killed; a device it waits for may hang".into(),
        })
    }
}

impl Runner for RuncRunner {
    fn start(&mut self, release: &Runnable<'_>) -> Result<(), RunnerError> {
        self.stop(GRACE)?;
        let started = self.start_clean(release);
        if started.is_err() {
            // The first error says more.
            let _ = self.clean();
        }
        started
    }

    fn stop(&mut self, grace: Duration) -> Result<(), RunnerError> {
        match self.look()? {
            Found::Running(Run { leader: Some(leader), stop_signal, .. }) => {
                self.end(leader, (stop_signal, grace))?;
                self.clean()
            }
            Found::Nothing => Ok(()),
            _ => self.clean(),
        }
    }

    fn state(&mut self) -> Result<RunState, RunnerError> {
        self.look()?.state()
    }

    fn probe(&mut self, command: &[String], timeout: Duration) -> Result<bool, RunnerError> {
        let command = checked_command(command.to_vec())?;
        self.look()?.running(&command)?;
        self.runc().exec(&command, timeout)
    }

    fn collect(&mut self, keep: &[ReleaseId]) -> Result<(), RunnerError> {
        let running = match self.look()? {
            Found::Running(run) | Found::Ended(run) => Some(run.release()?),
            _ => None,
        };
        let uppers = layout::path(layout::UPPER);
        if self.state.entry_type(&uppers)?.is_none() {
            return Ok(());
        }
        for name in self.state.list(&uppers)? {
            let release = std::str::from_utf8(&name).ok().and_then(|name| name.parse::<ReleaseId>().ok());
            if release.is_some_and(|release| !keep.contains(&release) && running != Some(release)) {
                self.state.remove(&layout::join(&uppers, &name)?, &Control::default())?;
            }
        }
        Ok(())
    }
}
