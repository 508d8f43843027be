//! What commands take that go over a registry.

use std::path::PathBuf;

use clap::Args;

use super::{ForPlatform, Output};

const HEADING: &str = "Registries (docker://)";

/// How registries are asked, where an image is in one.
#[derive(Debug, Args)]
pub(crate) struct Registries {
    /// Ask registries without TLS: everything can be read on the way, passwords too
    #[arg(long, help_heading = HEADING)]
    pub(crate) plain_http: bool,
    /// Trust the authorities whose certificates are in this PEM file, beside those that the system trusts
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) ca: Option<PathBuf>,
    /// Where `docker login` or `skopeo login` stored names and passwords; ~/.docker/config.json unless set
    #[arg(long, value_name = "FILE", help_heading = HEADING, env = "REGISTRY_AUTH_FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

/// Where what is fetched from registries is kept.
#[derive(Debug, Args)]
pub(crate) struct Cache {
    /// Keep what is fetched in this directory, an OCI layout, so that it is not fetched again, and what was cut goes on; unless
    /// set, it goes to the directory for temporary files, and is gone afterwards
    #[arg(long, value_name = "DIR", help_heading = HEADING)]
    pub(crate) cache: Option<PathBuf>,
}

/// How images are found and read.
#[derive(Debug, Args)]
pub(crate) struct OpenImages {
    #[command(flatten)]
    pub(crate) platform: ForPlatform,
    #[command(flatten)]
    pub(crate) registries: Registries,
    #[command(flatten)]
    pub(crate) cache: Cache,
}

/// What every command has that goes over a registry.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    #[command(flatten)]
    pub(crate) platform: ForPlatform,
    #[command(flatten)]
    pub(crate) registries: Registries,
    #[command(flatten)]
    pub(crate) print: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The delta
    #[arg(value_name = "DELTA")]
    pub(crate) delta: PathBuf,
    /// The image that it leads to: docker://HOST/NAME[:TAG|@DIGEST]
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// The image that it leads from, in a registry: the digest of its manifest is told, too
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base_image: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Which of the deltas to an image.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// The image that deltas lead to: docker://HOST/NAME[:TAG|@DIGEST]
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// No delta that takes more memory to apply, such as 32M
    #[arg(long, value_name = "BYTES", value_parser = super::size)]
    pub(crate) max_decoder_memory: Option<u64>,
    /// No delta but those that say that they are signed by the private key of this public one; where several are named, by one of them
    #[arg(long, value_name = "KEY")]
    pub(crate) require_signature: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Find {
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Only those that lead from this release; `skiff status` tells it
    #[arg(long, value_name = "RELEASE")]
    pub(crate) base: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// The release that the device has; `skiff status` tells it
    #[arg(long, value_name = "RELEASE")]
    pub(crate) base: String,
    /// Where the delta goes; FILE.part has its beginning until it is whole
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}
