//! A delta server: the `skiff-server` library behind a command line.

use std::error::Error;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skiff_diff::Level;
use skiff_keys::PrivateKey;
use skiff_registry::{ClientOptions, Credentials, Transport};
use skiff_server::{Connections, Options, Server, ServerError, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

/// Serves deltas of container images to fleets of devices.
///
/// The first start prints an administrator's token, this once, unless SKIFF_SERVER_TOKEN has one. Plain HTTP is spoken: put a proxy
/// that speaks TLS before it. SIGINT and SIGTERM end it once the requests under way are answered; what is being made is made after the
/// next start.
///
/// Ends with status 0 once it was told to end, 2 where its options are wrong, and 1 where anything else keeps it from serving.
#[derive(Debug, Parser)]
#[command(name = "skiff-server", version, max_term_width = 110)]
struct Arguments {
    /// Where everything lies: state, images and deltas
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8600")]
    listen: SocketAddr,
    /// The token that administrators have, of 32 bytes at least; those before it end. Better in the environment, where it is not seen
    #[arg(long, value_name = "TOKEN", env = "SKIFF_SERVER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Make and print a new administrator's token, and end; those before it are not known any more
    #[arg(long)]
    new_token: bool,
    /// Where images and deltas are kept instead, such as s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    objects: Option<Url>,
    /// Send devices there for deltas, instead of serving them: the URL under which the objects are found
    #[arg(long, value_name = "URL")]
    public_objects: Option<Url>,
    /// The directory that images may be released from as oci:DIR[:TAG]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Fetch images from registries by plain HTTP
    #[arg(long)]
    plain_http: bool,
    /// Sign deltas with the private key in this file (skiff keygen makes it); several may be named. Whoever has the file can have devices
    /// run anything
    #[arg(long, value_name = "FILE")]
    signing_key: Vec<PathBuf>,
    /// How hard to try to make deltas small
    #[arg(long, value_enum, default_value_t = LevelName::Default)]
    level: LevelName,
    /// How many deltas are made at the same time
    #[arg(long, value_name = "COUNT", default_value = "1")]
    workers: NonZeroUsize,
    /// How many GiB of deltas are kept
    #[arg(long, value_name = "GIB", default_value_t = 16)]
    keep: u64,
    /// Write logs as JSON
    #[arg(long)]
    json_logs: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelName {
    Fast,
    Default,
    Best,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("SKIFF_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if arguments.json_logs {
        logs.json().init();
    } else {
        logs.init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| {
        let ended = runtime.block_on(run(arguments));
        // What computes still looks at whether it shall end, but now and then.
        runtime.shutdown_timeout(Duration::from_secs(10));
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skiff-server: {error}");
            if is_wrong_usage(&*error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Whether it is the options that keep it from serving.
fn is_wrong_usage(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ServerError::Options(_)))
}

/// Raises the limit of open files as far as it goes: each connection is one. What that does not suffice for is told.
fn raise_file_limit(connections: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let Rlimit { current, .. } = getrlimit(Resource::Nofile);
    if let Some(files) = current.filter(|&files| files < connections as u64) {
        tracing::warn!(
            files,
            connections,
            "fewer files may be open than connections would be accepted: raise the limit (ulimit -Hn, or LimitNOFILE= of systemd)"
        );
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let connections = Connections::default();
    raise_file_limit(connections.count);
    let is_new = !arguments.data.join("state.db").exists();
    if is_new && arguments.new_token {
        let what = format!("--new-token: no server has worked in {} yet", arguments.data.display());
        return Err(ServerError::Options(what).into());
    }
    let options = options(&arguments)?;
    let signers: Vec<_> = options.signing_keys.iter().map(|key| *key.public().id()).collect();
    let server = Server::open(options).await?;
    // Before a token is told, which is told once.
    let address = arguments.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("listening on {address}: {error}"))?;
    match &arguments.token {
        Some(token) => {
            server.revoke_administrators().await?;
            server.allow_administrator(token).await?;
        }
        None if is_new || arguments.new_token => {
            server.revoke_administrators().await?;
            println!("administrator's token, shown this once: {}", server.new_administrator().await?);
        }
        None => {}
    }
    if arguments.new_token {
        return Ok(());
    }
    println!("listening on http://{}", listener.local_addr()?);
    for key in signers {
        println!("signing deltas by key {key}");
    }
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ending = server.clone();
    let down = async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        tracing::info!("going down");
        ending.shut_down();
    };
    serve(listener, server.router(), connections, down).await?;
    Ok(())
}

fn options(arguments: &Arguments) -> Result<Options, Box<dyn Error>> {
    let mut options = Options::new(&arguments.data);
    options.objects = arguments.objects.clone();
    options.public_objects = arguments.public_objects.clone();
    options.image_directory = arguments.images.clone();
    let keys: Result<Vec<_>, _> = arguments.signing_key.iter().map(PrivateKey::read).collect();
    options.signing_keys = keys.map_err(|error| ServerError::Options(format!("--signing-key: {error}")))?;
    options.workers = arguments.workers;
    options.delta_bytes = arguments.keep.saturating_mul(1 << 30);
    options.level = match arguments.level {
        LevelName::Fast => Level::Fast,
        LevelName::Default => Level::Default,
        LevelName::Best => Level::Best,
    };
    let transport = if arguments.plain_http { Transport::Plain } else { Transport::Tls };
    options.registry = ClientOptions::default()
        .with_transport(transport)
        .with_credentials(Credentials::from_docker_config()?);
    Ok(options)
}
