use std::path::PathBuf;

use clap::Args;

use super::Output;

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where the private key goes; the public one goes to the same name with .pub behind it
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What stands behind the keys for people to read, such as whose they are
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) comment: String,
    #[command(flatten)]
    pub(crate) print: Output,
}

#[derive(Debug, Args)]
pub(crate) struct SignDelta {
    /// The delta; "-" reads standard input, with --output
    #[arg(value_name = "DELTA")]
    pub(crate) delta: PathBuf,
    /// The private key to sign with; several may be named
    #[arg(long, value_name = "KEY", required = true)]
    pub(crate) key: Vec<PathBuf>,
    /// Sign it only where it leads to this release: `skiff diff` prints it
    #[arg(long, value_name = "ID")]
    pub(crate) target: Option<String>,
    /// Sign it only where it applies to this release and no other; where several are named, to these
    #[arg(long, value_name = "ID")]
    pub(crate) base: Vec<String>,
    /// Where the signed delta goes, in the place of the delta itself; "-" writes to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Output,
}

impl SignDelta {
    /// Whether the delta comes from standard input.
    pub(crate) fn is_piped(&self) -> bool {
        self.delta.as_os_str() == "-"
    }
}

/// Who is believed.
#[derive(Debug, Args)]
pub(crate) struct Signers {
    /// Refuse a delta, before anything is written, that is not signed by the private key of this public one; where several are named,
    /// by one of them
    #[arg(long, value_name = "KEY")]
    pub(crate) require_signature: Vec<PathBuf>,
}
