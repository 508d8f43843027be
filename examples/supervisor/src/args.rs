//! What the command line says.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use skiff_supervisor::{Access, Bind};

/// Keeps a device running what its server says.
///
/// It is told of a release, asks for the difference from what runs, applies it while it comes, and restarts into the new release; it pulls
/// the whole image when a delta cannot be had, and goes back when the new release does not get healthy. The device's token is read from the
/// file that --token-file names, or from SKIFF_TOKEN.
///
/// Variables SKIFF_SUPERVISOR_DELTA (1 asks for deltas; 0 unless set) and _REQUEST_TIMEOUT, _APPLY_TIMEOUT, _RETRY_COUNT and _RETRY_INTERVAL
/// behind that, also with BALENA_ or RESIN_ before them, are taken from the environment and from --config; what the server sends counts
/// more.
///
/// SIGINT and SIGTERM end it, once what runs is stopped.
///
/// Exit status: 0 ended as it was told to, or with --once the device runs what it shall; 1 failed, with --once also where the server
/// cannot be asked or a signal came; 2 wrong usage; 3 with --once: the update was given up or rolled back.
#[derive(Debug, Parser)]
#[command(name = "skiff-supervisor", version, max_term_width = 110)]
pub(crate) struct Arguments {
    /// Where the server is: https://HOST[:PORT]
    #[arg(long, value_name = "URL", env = "SKIFF_SERVER")]
    pub(crate) server: String,
    /// The file with the device's token
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Ask by plain HTTP: the token can be read on the way
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// One more file of certificates in PEM to trust
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Vec<PathBuf>,
    /// The device's store of releases; made where it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Where the supervisor keeps what it has to know after a restart
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// A file with a line NAME=VALUE for each variable
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) signers: SignerArguments,
    #[command(flatten)]
    pub(crate) run: Run,
    #[command(flatten)]
    pub(crate) health: HealthArguments,
    #[command(flatten)]
    pub(crate) cost: Cost,
    /// Ask the server once, bring what it says, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Print events as JSON, one a line, to standard output; --log says where the program's own output goes then
    #[arg(long, requires = "log")]
    pub(crate) json: bool,
}

/// Who is believed. Nothing that the server sends changes it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Signatures")]
pub(crate) struct SignerArguments {
    /// The file of a public key (skiff keygen makes it) that has to have signed each delta; of several, one of them. Images that are
    /// pulled whole are refused then, but where a signed delta led to the same release. Also in --config, as SKIFF_REQUIRE_SIGNATURE
    #[arg(long, value_name = "KEY", env = "SKIFF_REQUIRE_SIGNATURE", value_delimiter = ':')]
    pub(crate) require_signature: Vec<PathBuf>,
    /// Pull whole images all the same, which nobody signs: whoever can speak for the server can have the device run anything then
    #[arg(long)]
    pub(crate) allow_unsigned_pulls: bool,
}

/// How releases are run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct Run {
    /// What runs a release: runc, or a plain program
    #[arg(long, value_enum, default_value_t = RunnerName::Runc)]
    pub(crate) runner: RunnerName,
    /// With --runner command: the program and its arguments, in the place of those that the image names
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) command: Vec<String>,
    /// With --runner command: record owners and devices instead of applying them, which takes root
    #[arg(long)]
    pub(crate) rootless: bool,
    /// With --runner runc: the container's name; skiff, unless set
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// With --runner runc: the network that the container has; the host's, unless set
    #[arg(long, value_enum)]
    pub(crate) network: Option<NetworkName>,
    /// With --runner runc: what of the system is seen in the container
    #[arg(long, value_name = "SOURCE:DESTINATION[:ro]", value_parser = bind)]
    pub(crate) bind: Vec<Bind>,
    /// With --runner runc: the program may not write to its root, but for volumes
    #[arg(long)]
    pub(crate) read_only: bool,
    /// A file, by its absolute path, that whoever must not be restarted holds locked (flock); with --runner runc its directory is /run/skiff in the container
    #[arg(long, value_name = "FILE")]
    pub(crate) update_lock: Option<PathBuf>,
    /// A file to whose end the program's output goes; to where the supervisor's own goes, unless set
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Leave the program running when the supervisor ends
    #[arg(long)]
    pub(crate) leave_running: bool,
    /// How many seconds a program may take to end
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) stop_within: u64,
}

/// When a release is healthy.
#[derive(Debug, Args)]
#[command(next_help_heading = "Health")]
pub(crate) struct HealthArguments {
    /// How many seconds a release has to run before it is healthy
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) settle: u64,
    /// What is run where the program is, until it ends well: its words are what is between spaces
    #[arg(long, value_name = "COMMAND", value_delimiter = ' ')]
    pub(crate) health_command: Vec<String>,
    /// Within how many seconds a release has to get healthy
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) healthy_within: u64,
    /// How many starts of the supervisor a release may take before it is healthy; the next one rolls it back
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(crate) trial_starts: u32,
}

/// What it may cost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cost")]
pub(crate) struct Cost {
    /// How many KiB of deltas and images may come in a second; as many as come, unless set
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) bandwidth: Option<u64>,
    /// How many MiB of memory decoding a delta may take, as the delta declares it
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(10..))]
    pub(crate) decoder_memory: u64,
    /// How many seconds to wait for a delta that the server is making
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub(crate) patience: u64,
}

fn bind(text: &str) -> Result<Bind, String> {
    let (text, access) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, Access::ReadOnly),
        None => (text, Access::ReadWrite),
    };
    match text.rsplit_once(':') {
        Some((source, destination)) if !source.is_empty() && destination.starts_with('/') => {
            Ok(Bind::new(source, destination, access))
        }
        _ => Err("it takes SOURCE:DESTINATION[:ro], DESTINATION being an absolute path".into()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkName {
    Host,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunnerName {
    Runc,
    Command,
}
