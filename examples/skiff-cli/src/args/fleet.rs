//! What commands take that manage a delta server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

/// Which server, and who asks.
#[derive(Debug, Args)]
pub(crate) struct AtServer {
    /// Where the server is, such as https://updates.example
    #[arg(long, value_name = "URL", env = "SKIFF_SERVER")]
    pub(crate) server: String,
    /// The file that has the administrator's token; unless set, it is read from the environment, SKIFF_TOKEN
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust the authorities whose certificates are in this PEM file, beside those that the system trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Ask without TLS; not needed of a server on this machine. Tokens can be read on the way
    #[arg(long)]
    pub(crate) plain_http: bool,
    #[command(flatten)]
    pub(crate) print: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Fleet {
    #[command(subcommand)]
    pub(crate) command: FleetCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    /// List the fleets
    List {
        #[command(flatten)]
        at: AtServer,
    },
    /// Make a fleet
    Create {
        /// What it is called
        name: String,
        #[command(flatten)]
        at: AtServer,
    },
    /// Have a fleet's devices run one of its releases, which may be an older one
    Target {
        /// The fleet
        fleet: String,
        /// The release, by its name or by its number in the fleet
        release: String,
        #[command(flatten)]
        at: AtServer,
    },
    /// Remove a fleet that has no devices
    Remove {
        /// The fleet
        fleet: String,
        #[command(flatten)]
        at: AtServer,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Device {
    #[command(subcommand)]
    pub(crate) command: DeviceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List devices: what they run, and what they are at
    List {
        /// Only those of this fleet
        #[arg(long)]
        fleet: Option<String>,
        #[command(flatten)]
        at: AtServer,
    },
    /// Make a device, and print its token, which is told this once
    Create {
        /// The fleet it belongs to
        fleet: String,
        /// What it is called
        name: String,
        #[command(flatten)]
        at: AtServer,
    },
    /// Move a device to another fleet; its own variables go with it
    Move {
        /// The device
        device: String,
        /// Where to
        fleet: String,
        #[command(flatten)]
        at: AtServer,
    },
    /// Make and print a new token for a device; those before end
    Token {
        /// The device
        device: String,
        #[command(flatten)]
        at: AtServer,
    },
    /// Remove a device
    Remove {
        /// The device
        device: String,
        #[command(flatten)]
        at: AtServer,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(subcommand)]
    pub(crate) command: ReleaseCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// List the releases of a fleet
    List {
        /// The fleet
        fleet: String,
        #[command(flatten)]
        at: AtServer,
    },
    /// Release an image to a fleet, and wait until devices can have it
    ///
    /// IMAGE is docker://HOST/NAME[:TAG|@DIGEST], which the server fetches; oci:DIRECTORY[:TAG] in the server's directory for images; or
    /// oci-archive:FILE, which is sent.
    Create {
        /// The fleet
        fleet: String,
        /// The image
        image: String,
        /// Which image of several platforms, such as linux/arm/v7
        #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
        platform: Option<String>,
        /// Do not wait
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        at: AtServer,
    },
    /// Remove a release that failed, or that the fleet's devices shall not run
    Remove {
        /// The fleet
        fleet: String,
        /// The release's number
        number: u64,
        #[command(flatten)]
        at: AtServer,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// Whose variables.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whose {
    /// Those of a fleet
    #[arg(long)]
    pub(crate) fleet: Option<String>,
    /// A device's own, which count more than its fleet's
    #[arg(long)]
    pub(crate) device: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List variables
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        at: AtServer,
    },
    /// Set a variable, such as SKIFF_SUPERVISOR_DELTA to 1
    Set {
        /// The variable
        name: String,
        /// Its value
        value: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        at: AtServer,
    },
    /// Remove a variable
    Remove {
        /// The variable
        name: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        at: AtServer,
    },
}

/// Declares where a command's server is told, whichever command it is.
macro_rules! at_server {
    ($($command:ident { $($variant:ident)* })*) => {$(
        impl $command {
            /// Which server it asks.
            pub(crate) fn at(&self) -> &AtServer {
                match self {
                    $(Self::$variant { at, .. })|* => at,
                }
            }
        }
    )*};
}

at_server! {
    FleetCommand { List Create Target Remove }
    DeviceCommand { List Create Move Token Remove }
    ReleaseCommand { List Create Remove }
    ConfigCommand { List Set Remove }
}
