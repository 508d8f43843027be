//! A device's supervisor: the `skiff-supervisor` library behind a command line.

mod args;
mod tell;

use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser as _;
use skiff_apply::{Store, StoreOptions};
use skiff_fs::{Control, Ownership};
use skiff_keys::PublicKey;
use skiff_protocol::{ServerAddress, Tls, Token};
use skiff_supervisor::{
    Checked, CommandOptions, CommandRunner, Health, HttpFetch, HttpOptions, LocalVariables, Network, OnExit,
    Options, Output, Parts, RootAccess, RuncOptions, RuncRunner, Runner, Signers, Supervisor,
};

use args::{Arguments, NetworkName, RunnerName, SignerArguments};

/// The update was given up or rolled back.
const NOT_UPDATED: u8 = 3;
/// As clap has it.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    keep_little_memory();
    let arguments = Arguments::parse();
    let usage = match Usage::read(&arguments) {
        Ok(usage) => usage,
        Err(error) => return failed(&*error, WRONG_USAGE),
    };
    let options = options(&arguments, usage.signers.clone());
    match parts(&arguments, usage).and_then(|parts| run(&arguments, (parts, options))) {
        Ok(code) => code,
        Err(error) => failed(&*error, 1),
    }
}

/// Begins again with an allocator that gives back what an update took: glibc keeps it for each thread unless it is told otherwise before
/// the process begins. Programs that are supervised are not told.
fn keep_little_memory() {
    const SETTINGS: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

    let is_told = SETTINGS.iter().all(|(name, _)| std::env::var_os(name).is_some());
    if let (false, Ok(program)) = (is_told, std::env::current_exe()) {
        let mut again = Command::new(program);
        let unset = SETTINGS.iter().filter(|(name, _)| std::env::var_os(name).is_none());
        // Where that fails, it works all the same.
        let _ = again.args(std::env::args_os().skip(1)).envs(unset.copied()).exec();
    }
}

fn failed(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("skiff-supervisor: {error}");
    ExitCode::from(code)
}

fn run(arguments: &Arguments, (parts, options): (Parts, Options)) -> Result<ExitCode, Box<dyn Error>> {
    let cancel = cancel_on_signals()?;
    let supervisor = Supervisor::new(parts, options)?;
    if !arguments.once {
        supervisor.run(&cancel)?;
        return Ok(ExitCode::SUCCESS);
    }
    let control = Control { cancel: Some(&cancel), ..Control::default() };
    supervisor.start(&control)?;
    let checked = supervisor.check(&control);
    supervisor.finish()?;
    Ok(match checked? {
        Checked::NoTarget | Checked::UpToDate | Checked::Updated { .. } => ExitCode::SUCCESS,
        other => {
            if !arguments.json {
                eprintln!("skiff-supervisor: {}", not_updated(&other));
            }
            ExitCode::from(NOT_UPDATED)
        }
    })
}

fn not_updated(checked: &Checked) -> String {
    match checked {
        Checked::GivenUp { failure, cause } => format!("the update was given up: {failure}: {cause}"),
        Checked::RolledBack { cause } => format!("the release was rolled back: {cause}"),
        Checked::Refused { cause } => {
            format!("the release was rolled back before, and is not tried again: {cause}")
        }
        other => format!("{other:?}"),
    }
}

/// What the arguments and the environment say: what is wrong here is wrong usage.
struct Usage {
    server: ServerAddress,
    token: Token,
    local: LocalVariables,
    signers: Option<Signers>,
}

impl Usage {
    fn read(arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let run = &arguments.run;
        if run.runner == RunnerName::Runc && (run.rootless || !run.command.is_empty()) {
            return Err("a program after -- and --rootless go with --runner command".into());
        }
        let is_of_runc =
            run.network.is_some() || run.read_only || !run.bind.is_empty() || run.container.is_some();
        if run.runner == RunnerName::Command && is_of_runc {
            return Err("--container, --network, --bind and --read-only go with --runner runc".into());
        }
        if run.update_lock.as_ref().is_some_and(|lock| !lock.is_absolute()) {
            return Err("--update-lock takes an absolute path".into());
        }
        let tls = if arguments.plain_http { Tls::Optional } else { Tls::Required };
        let server = ServerAddress::parse(&arguments.server, tls)
            .map_err(|error| format!("--server: {error} (--plain-http does)"))?;
        let token = match &arguments.token_file {
            Some(file) => {
                std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?
            }
            None => std::env::var("SKIFF_TOKEN")
                .map_err(|_| "no token: name a file with --token-file, or set SKIFF_TOKEN")?,
        };
        let mut local = LocalVariables::new(std::env::vars());
        if let Some(file) = &arguments.config {
            local = local.with_file(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let signers = signers(&arguments.signers, &local)?;
        Ok(Self { server, token: Token::parse(&token)?, local, signers })
    }
}

/// Who has to have signed deltas; none where anybody may. Neither place takes away what the other one says.
fn signers(arguments: &SignerArguments, local: &LocalVariables) -> Result<Option<Signers>, Box<dyn Error>> {
    const VARIABLE: &str = "SKIFF_REQUIRE_SIGNATURE";
    let value = local.own(&VARIABLE.parse()?);
    let in_file = value.unwrap_or_default().split(':').filter(|file| !file.is_empty()).map(Path::new);
    if value.is_some() && in_file.clone().next().is_none() {
        // A template that was not filled in is no leave to take anything.
        return Err(format!("{VARIABLE} names no file; take it away where no signature is required").into());
    }
    let files = arguments.require_signature.iter().map(PathBuf::as_path).chain(in_file);
    let keys: Vec<PublicKey> = files.map(PublicKey::read).collect::<Result<_, _>>()?;
    let signers = Signers::new(keys);
    Ok(match (signers.keys.is_empty(), arguments.allow_unsigned_pulls) {
        (true, true) => return Err("--allow-unsigned-pulls goes with --require-signature".into()),
        (true, false) => None,
        (false, true) => Some(signers.with_unsigned_pulls()),
        (false, false) => Some(signers),
    })
}

fn parts(arguments: &Arguments, usage: Usage) -> Result<Parts, Box<dyn Error>> {
    let mut http = HttpOptions::default();
    http.authorities.clone_from(&arguments.ca);
    http.bytes_per_second = arguments.cost.bandwidth.map(|kib| kib.saturating_mul(1024));
    Ok(Parts {
        store: Store::create(&arguments.store, &StoreOptions::default())?,
        fetch: Box::new(HttpFetch::new(usage.server, usage.token, &http)?),
        runner: runner(arguments)?,
        local: usage.local,
        observer: tell::observer(arguments.json),
    })
}

fn runner(arguments: &Arguments) -> Result<Box<dyn Runner>, Box<dyn Error>> {
    let (run, state) = (&arguments.run, arguments.state.join("run"));
    let output = run.log.clone().map_or(Output::Inherit, Output::File);
    Ok(match run.runner {
        RunnerName::Command => {
            let mut options = CommandOptions::new(state).with_output(output);
            if !run.command.is_empty() {
                options = options.with_command(run.command.iter().cloned());
            }
            Box::new(CommandRunner::open(options)?)
        }
        RunnerName::Runc => {
            let mut options = RuncOptions::new(state, run.container.as_deref().unwrap_or("skiff"));
            options = options.with_network(match run.network {
                None | Some(NetworkName::Host) => Network::Host,
                Some(NetworkName::None) => Network::None,
            });
            options = run.bind.iter().cloned().fold(options, RuncOptions::with_bind);
            options = options.with_output(output);
            if run.read_only {
                options = options.with_root(RootAccess::ReadOnly);
            }
            if let Some(directory) = run.update_lock.as_deref().and_then(Path::parent) {
                options = options.with_update_lock(directory, "/run/skiff");
            }
            Box::new(RuncRunner::open(options)?)
        }
    })
}

fn options(arguments: &Arguments, signers: Option<Signers>) -> Options {
    let (run, health, cost) = (&arguments.run, &arguments.health, &arguments.cost);
    let mut options = Options::new(&arguments.state);
    options.ownership = if run.rootless { Ownership::Record } else { Ownership::Apply };
    options.signers = signers;
    options.update_lock.clone_from(&run.update_lock);
    options.on_exit = if run.leave_running { OnExit::LeaveRunning } else { OnExit::Stop };
    options.stop_grace = Duration::from_secs(run.stop_within);
    options.health = Health::settled_after(Duration::from_secs(health.settle))
        .within(Duration::from_secs(health.healthy_within));
    if !health.health_command.is_empty() {
        options.health = options.health.with_command(health.health_command.clone());
    }
    options.trial_starts = health.trial_starts;
    options.decoder_memory = cost.decoder_memory.saturating_mul(1 << 20);
    options.patience = Duration::from_secs(cost.patience);
    options
}

/// A flag that SIGINT and SIGTERM set, however often they come: what runs is stopped before the process ends.
fn cancel_on_signals() -> Result<Arc<AtomicBool>, std::io::Error> {
    use signal_hook::consts::{SIGINT, SIGTERM};

    let cancel = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&cancel))?;
    }
    Ok(cancel)
}
