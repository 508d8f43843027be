//! What `skiff block` takes: the arguments and options of rdiff, and some more.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Output;

/// In what the commands are not rdiff's.
pub(super) const DIFFERENCES: &str = "Commands, arguments, options and formats are rdiff's. What differs:
  the length of blocks, where -b does not say it, is about twice rdiff's (2048 for a file whose size is not known);
  -S -1 keeps 16 bytes, where rdiff keeps fewer for most files; what -s prints looks another way;
  outputs are whole or not there, and a device such as /dev/null is written to without --force.

Examples:
  skiff block signature old.img old.sig              where the old file is
  skiff block delta old.sig new.img new.delta        where the new file is
  skiff block patch old.img new.delta new.img        where the old file is";

#[derive(Debug, Args)]
pub(crate) struct Block {
    #[command(flatten)]
    pub(crate) options: BlockOptions,
    #[command(subcommand)]
    pub(crate) command: BlockCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BlockCommand {
    /// Write the signature of an old file
    #[command(after_help = "Examples:
  skiff block signature old.img old.sig
  skiff block signature -b 4096 -S -1 < old.img > old.sig")]
    Signature(BlockSignature),
    /// Write the delta that leads from the file of a signature to a new one
    #[command(after_help = "Examples:
  skiff block delta old.sig new.img new.delta
  skiff block delta old.sig new.img new.delta --old old.img")]
    Delta(BlockDelta),
    /// Write the new file that a delta makes of the old one
    #[command(
        after_help = "The delta says neither which file it is for nor what comes out: compare a digest of the result.

Examples:
  skiff block patch old.img new.delta new.img
  curl -s https://updates.example/delta | skiff block patch old.img - new.img --max-output 4000000000"
    )]
    Patch(BlockPatch),
}

#[derive(Debug, Args)]
pub(crate) struct BlockSignature {
    /// The old file; "-" or none reads standard input
    pub(crate) basis: Option<PathBuf>,
    /// Where the signature goes; "-" or none writes to standard output
    pub(crate) signature: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BlockDelta {
    /// The signature of the old file; "-" reads standard input
    pub(crate) signature: PathBuf,
    /// The new file; "-" or none reads standard input
    pub(crate) newfile: Option<PathBuf>,
    /// Where the delta goes; "-" or none writes to standard output
    pub(crate) delta: Option<PathBuf>,
    /// The old file itself, where it is at hand: what is equal beside blocks is copied too, and the delta gets smaller. It is
    /// read through first, to see that it is the one that was signed
    #[arg(long, value_name = "FILE")]
    pub(crate) old: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BlockPatch {
    /// The old file; it must be one that can be read from any place on
    pub(crate) basis: PathBuf,
    /// The delta; "-" or none reads standard input
    pub(crate) delta: Option<PathBuf>,
    /// Where the new file goes; "-" or none writes to standard output
    pub(crate) newfile: Option<PathBuf>,
    /// Refuse a delta that makes more, before that is written; 64 GiB unless set
    #[arg(long, value_name = "BYTES", value_parser = number::<u64>)]
    pub(crate) max_output: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HashName {
    Blake2,
    Md4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RollsumName {
    Rabinkarp,
    Rollsum,
}

/// The options, of which all commands take all, as rdiff's do.
#[derive(Debug, Args)]
pub(crate) struct BlockOptions {
    /// Replace the output where it exists, once the new one is whole; without this, that is an error
    #[arg(long, short, global = true)]
    pub(crate) force: bool,
    /// Print what was done to standard error
    #[arg(long, short, global = true)]
    pub(crate) statistics: bool,
    /// Print what is going to be done to standard error
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// signature: the strong hash; blake2 unless set
    #[arg(long, short = 'H', global = true, value_name = "ALG", hide_possible_values = true)]
    pub(crate) hash: Option<HashName>,
    /// signature: the weak hash, rabinkarp or rollsum; rabinkarp unless set
    #[arg(long, short = 'R', global = true, value_name = "ALG", hide_possible_values = true)]
    pub(crate) rollsum: Option<RollsumName>,
    /// signature: the length of blocks; 0 or none chooses it by the size of the old file
    #[arg(long, short, global = true, value_name = "BYTES", value_parser = number::<u32>)]
    pub(crate) block_size: Option<u32>,
    /// signature: how much of each strong hash is kept; 0 or none all of it, -1 the least that is safe, 16
    #[arg(
        long,
        short = 'S',
        global = true,
        value_name = "BYTES",
        allow_negative_numbers = true,
        value_parser = sum_size
    )]
    pub(crate) sum_size: Option<i64>,
    /// Taken because rdiff takes it; changes nothing: files are read some megabytes at a time
    #[arg(long, short = 'I', global = true, value_name = "BYTES", value_parser = number::<u64>)]
    pub(crate) input_size: Option<u64>,
    /// Taken because rdiff takes it; changes nothing: files are written a megabyte at a time
    #[arg(long, short = 'O', global = true, value_name = "BYTES", value_parser = number::<u64>)]
    pub(crate) output_size: Option<u64>,
    /// Threads, as many as there are cores unless set; the output is the same on any number
    #[arg(long, global = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Print the result as one JSON object; the output has to be a file
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress bar, even on a terminal, and do not warn of weak hashes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Show this help
    #[arg(short = '?', global = true, action = clap::ArgAction::Help, hide = true)]
    question: Option<bool>,
}

/// A number as rdiff reads it: in decimal, in hexadecimal behind 0x, in octal behind 0.
fn number<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8),
        None => text.parse(),
    };
    let number = parsed.map_err(|error| error.to_string())?;
    N::try_from(number).map_err(|_| format!("{number} is too large"))
}

fn sum_size(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { number::<u32>(text).map(i64::from) }
}

impl BlockOptions {
    /// How the result is to be told.
    pub(crate) fn print(&self) -> Output {
        Output { json: self.json, quiet: self.quiet }
    }

    /// Whether there is an option that only signatures have a use for.
    pub(crate) fn has_signature_options(&self) -> bool {
        self.hash.is_some() || self.rollsum.is_some() || self.block_size.is_some() || self.sum_size.is_some()
    }
}
