//! What the command line takes.

mod block;
mod fleet;
mod keys;
mod registry;

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use skiff::image::Platform;

pub(crate) use block::{
    Block, BlockCommand, BlockDelta, BlockOptions, BlockPatch, BlockSignature, HashName, RollsumName,
};
pub(crate) use fleet::{
    AtServer, Config, ConfigCommand, Device, DeviceCommand, Fleet, FleetCommand, Release, ReleaseCommand,
    Whose,
};

pub(crate) use keys::{Keygen, SignDelta, Signers};
pub(crate) use registry::{Choice, Find, OpenImages, Pull, Push, Registries};

const IMAGES: &str = "IMAGE is one of:
  oci:DIR[:TAG]               an OCI layout
  oci-archive:FILE[:TAG]      an OCI layout in a tar archive
  docker-archive:FILE[:NAME]  what `docker save` writes
  tar:FILE                    a root filesystem in a tar archive
  rootfs:DIR                  a root filesystem in a directory
  docker://HOST/NAME[:TAG|@DIGEST]
                              an image in a registry
In place of TAG and NAME, @N takes the image at that position, from 0.
Archives and layers may be compressed with gzip, zstd or xz.";

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  a defect of skiff itself
  2  the command line is wrong, or a file, image, delta or store is not there, may not be read, or is not one
  3  the delta is for another base, or leads to another target than the one named
  4  a delta, signature or image is corrupt, of a kind this version does not know, or beyond a limit
  5  no space
  6  reading or writing failed, or a registry cannot be reached
  7  what is on the disk is not what it should be
  8  somebody else is working on the store
  9  cancelled by a signal; a second signal ends it at once, with 128 and its number
  10 the delta is not signed by a key that is required";

/// Binary delta updates of container images.
#[derive(Debug, Parser)]
#[command(name = "skiff", version, max_term_width = 110, after_help = format!("{IMAGES}\n\n{EXIT_CODES}"))]
#[command(args_override_self = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which of an image's platforms is meant.
#[derive(Debug, Args)]
pub(crate) struct ForPlatform {
    /// Take the image for this platform, such as linux/arm/v7; unless set, the one for this machine where there are several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
}

/// How a command tells its result.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress bar, even on a terminal
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a delta that leads from one image to another
    #[command(after_help = format!("Examples:
  skiff diff oci:images:1.0 oci:images:1.1 -o update.skiff
  skiff diff docker-archive:old.tar docker-archive:new.tar -o update.skiff --level best
  skiff diff --against device.sks oci:images:1.1 -o update.skiff
  skiff diff oci:images:1.0 oci:images:1.1 -o update.skiff --platform linux/arm/v7
  skiff diff docker://registry.example/app:1.0 docker://registry.example/app:1.1 -o update.skiff
  skiff diff oci:images:1.0 oci:images:1.1 -o update.skiff --max-decoder-memory 24M --explain

A delta that is not smaller than what a device would pull is written all the same and the exit code is 0: standard error says
so, and with --json \"smaller_than_pull\" is false. Pull the image then.

{IMAGES}"))]
    Diff(Diff),
    /// Sign a store's current release, for a server that does not know it
    #[command(
        after_help = "The signature names every file and has hashes of their blocks; it goes to whoever makes deltas, who need not have
the release: see `skiff diff --against`. Files are read where they are long enough to be signed; `skiff verify` looks at all.

Examples:
  skiff sign-tree /var/lib/skiff -o device.sks
  skiff sign-tree /var/lib/skiff | ssh server 'skiff diff --against - oci:images:1.1 -o update.skiff'"
    )]
    SignTree(SignTree),
    /// Make a pair of keys to sign deltas with
    #[command(
        after_help = "The private key is written to FILE, for its owner's eyes alone, and the public one to FILE.pub. Nothing is replaced.

Example:
  skiff keygen release.key --comment 'releases of 2026'"
    )]
    Keygen(Keygen),
    /// Sign a delta
    #[command(
        after_help = "A signature is put beside those that are there; one by the same key takes no more room. Before, every byte of the delta
is seen to be whole. Whoever signs says that devices which have its base may go to its target, and may say with --base and --target
which these are: another delta is not signed then (exit code 3), and nothing is written.

Examples:
  skiff sign update.skiff --key release.key --base 2b01… --target 4f5c…
  skiff sign update.skiff --key old.key --key new.key -o signed.skiff"
    )]
    Sign(SignDelta),
    /// Show what a delta is for and what it holds
    #[command(after_help = "Examples:
  skiff inspect update.skiff --json
  skiff inspect update.skiff --require-signature release.key.pub")]
    Inspect(Inspect),
    /// Manage the fleets of a delta server
    #[command(
        after_help = "Example:\n  skiff fleet create pumps --server https://updates.example --token-file admin.token"
    )]
    Fleet(Fleet),
    /// Manage the devices of a delta server
    #[command(after_help = "Example:\n  skiff device create pumps pump-1 > pump-1.token")]
    Device(Device),
    /// Release images to the fleets of a delta server
    #[command(after_help = "Example:\n  skiff release create pumps docker://registry.example/pump:1.1")]
    Release(Release),
    /// Manage the configuration variables of fleets and devices
    #[command(after_help = "Example:\n  skiff config set SKIFF_SUPERVISOR_DELTA 1 --fleet pumps")]
    Config(Config),
    /// Put an image into a store as its first release, or as the next one without a delta
    #[command(after_help = format!("Example:\n  skiff install oci:images:1.0 --store /var/lib/skiff
  skiff install docker://registry.example/app:1.0 --store /var/lib/skiff\n\n{IMAGES}"))]
    Install(Install),
    /// Apply a delta to a store's current release and swap the result in
    #[command(after_help = "Examples:
  skiff apply update.skiff --store /var/lib/skiff --target 4f5c…
  skiff apply update.skiff --store /var/lib/skiff --require-signature release.key.pub
  curl -s https://updates.example/4f5c | skiff apply - --store /var/lib/skiff --target 4f5c…

Run again after an interruption, it goes on where it was; a delta on standard input is read from its start for that.")]
    Apply(Apply),
    /// Read every entry of the current release from the disk again and compare
    #[command(after_help = "Example:\n  skiff verify --store /var/lib/skiff")]
    Verify(InStore),
    /// Swap the previous release back in
    #[command(after_help = "Example:\n  skiff rollback --store /var/lib/skiff")]
    Rollback(InStore),
    /// Bring a store into order after a power cut; run it at every start
    #[command(after_help = "Example:\n  skiff recover --store /var/lib/skiff")]
    Recover(InStore),
    /// Confirm the current release, so that it is no longer on trial
    #[command(after_help = "Example:\n  skiff confirm --store /var/lib/skiff")]
    Confirm(InStore),
    /// Show a store's releases
    #[command(after_help = "Example:\n  skiff status --store /var/lib/skiff --json")]
    Status(InStore),
    /// Write an image's flattened root filesystem as a tar archive or a directory
    #[command(after_help = format!("Examples:
  skiff flatten oci:images:1.0 -o rootfs.tar
  skiff flatten docker-archive:app.tar --rootfs /srv/app

{IMAGES}"))]
    Flatten(Flatten),
    /// Make and apply deltas of single files as rdiff does: with a signature in place of the old file
    #[command(
        infer_subcommands = true,
        after_help = block::DIFFERENCES
    )]
    Block(Block),
    /// Put a delta into a registry, beside the image that it leads to
    #[command(
        after_help = "The delta becomes an OCI artifact that refers to the image. Where the registry does not list those, a tag
does that is named after the image's digest.

Example:
  skiff push update.skiff docker://registry.example/app:1.1"
    )]
    Push(Push),
    /// Show the deltas in a registry that lead to an image
    #[command(after_help = "Example:
  skiff find docker://registry.example/app:1.1 --base 4f5c… --json")]
    Find(Find),
    /// Fetch the delta from a registry that leads from a release to an image
    #[command(
        after_help = "The smallest is taken of those that can be applied here. Run again after an interruption, it goes on
where it was. What comes is not to be trusted: `skiff apply --target` says what must come out.

Example:
  skiff pull docker://registry.example/app:1.1 --base 4f5c… -o update.skiff"
    )]
    Pull(Pull),
    /// Print the completions for a shell
    #[command(after_help = "Example:\n  skiff completions bash > /etc/bash_completion.d/skiff")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(after_help = "Example:\n  skiff man /usr/local/share/man/man1")]
    Man {
        /// The directory, which must exist
        directory: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// zstd: made and applied fastest
    Fast,
    /// xz
    Default,
    /// xz with the parameters that come out smallest
    Best,
}

#[derive(Debug, Args)]
#[command(override_usage = "skiff diff [OPTIONS] --output <FILE> <OLD> <NEW>
       skiff diff [OPTIONS] --output <FILE> --against <SIGNATURE> <NEW>")]
pub(crate) struct Diff {
    /// The image that devices have, and the one that they shall have; with --against only the latter
    #[arg(value_names = ["OLD", "NEW"], required = true, num_args = 1..=2)]
    pub(crate) pair: Vec<String>,
    /// Lead from the release that was signed with `skiff sign-tree`, which need not be here; "-" reads standard input
    #[arg(long, value_name = "SIGNATURE")]
    pub(crate) against: Option<PathBuf>,
    /// Where the delta goes; an existing file is replaced once the delta is whole; "-" writes to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) images: OpenImages,
    /// How hard to try
    #[arg(long, value_enum, default_value_t = Level::Default)]
    pub(crate) level: Level,
    /// Threads, as many as there are cores unless set; the delta is the same on any number
    #[arg(long)]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
    /// About how much memory to use, such as 512M; 1G unless set. A file so large that it and its base pass this is made of
    /// blocks of its base, and the delta is larger
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Where temporary files go; the system's place unless set
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// The most memory that a device may need to apply the delta, such as 32M: below what the delta would need otherwise, it
    /// gets larger
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) max_decoder_memory: Option<u64>,
    /// Sign the delta with this private key; several may be named
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Vec<PathBuf>,
    /// Show where the bytes of the delta went: by section, by codec, by kind of file and by file, the costliest first; with
    /// --json, of every file
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) print: Output,
}

/// Bytes, with a unit of K, M or G, which are powers of 1024, or without.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        unit => return Err(format!("{unit} is no unit; there are K, M and G, as in 64M")),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{error}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| "so many bytes cannot be counted".to_owned())
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("where").required(true).args(["store", "path"])))]
pub(crate) struct SignTree {
    /// The store's directory
    #[arg(value_name = "STORE")]
    store: Option<PathBuf>,
    /// The same, as other commands take it
    #[arg(long = "store", value_name = "DIR")]
    path: Option<PathBuf>,
    /// Where the signature goes; an existing file is replaced once it is whole
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Threads, as many as there are cores unless set; the signature is the same on any number
    #[arg(long)]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    pub(crate) print: Output,
}

impl SignTree {
    /// The store's directory, however it was given.
    pub(crate) fn store(&self) -> &Path {
        self.store.as_deref().or(self.path.as_deref()).unwrap_or(Path::new("."))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The delta; "-" reads standard input
    #[arg(value_name = "DELTA")]
    pub(crate) delta: PathBuf,
    #[command(flatten)]
    pub(crate) signers: Signers,
    #[command(flatten)]
    pub(crate) print: Output,
}

/// How releases are put into a store.
#[derive(Debug, Args)]
pub(crate) struct Staging {
    /// Record ownership and devices without applying them, so that no root is needed
    #[arg(long)]
    pub(crate) rootless: bool,
    /// Share unchanged files between releases by hard links; only for stores whose releases are mounted read-only
    #[arg(long)]
    pub(crate) hard_links: bool,
    /// Leave the release on trial: until it is confirmed, `recover` rolls it back after this many starts
    #[arg(long, value_name = "STARTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trial: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The image
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) images: OpenImages,
    #[command(flatten)]
    pub(crate) store: StorePath,
    #[command(flatten)]
    pub(crate) staging: Staging,
    #[command(flatten)]
    pub(crate) print: Output,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("trust").required(true).multiple(true).args(["target", "trust_delta", "require_signature"])))]
pub(crate) struct Apply {
    /// The delta; "-" reads standard input, in one pass
    #[arg(value_name = "DELTA")]
    pub(crate) delta: PathBuf,
    /// The release that must come out, from a source you trust: `skiff diff` prints it
    #[arg(long, value_name = "ID")]
    pub(crate) target: Option<String>,
    /// Take whatever release the delta leads to
    #[arg(long, conflicts_with_all = ["target", "require_signature"])]
    pub(crate) trust_delta: bool,
    #[command(flatten)]
    pub(crate) signers: Signers,
    #[command(flatten)]
    pub(crate) store: StorePath,
    #[command(flatten)]
    pub(crate) staging: Staging,
    #[command(flatten)]
    pub(crate) print: Output,
}

#[derive(Debug, Args)]
pub(crate) struct StorePath {
    /// The store's directory
    #[arg(long = "store", value_name = "DIR")]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InStore {
    #[command(flatten)]
    pub(crate) store: StorePath,
    #[command(flatten)]
    pub(crate) print: Output,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("to").required(true).args(["output", "rootfs"])))]
pub(crate) struct Flatten {
    /// The image
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) images: OpenImages,
    /// Write a tar archive, which replaces an existing file once it is whole; "-" writes to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write into a directory, which must be empty or not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) rootfs: Option<PathBuf>,
    /// Leave owners, devices and attributes that take root out, so that no root is needed
    #[arg(long, requires = "rootfs", conflicts_with = "output")]
    pub(crate) rootless: bool,
    #[command(flatten)]
    pub(crate) print: Output,
}
