//! Measures block deltas: skiff beside rdiff, and what lengths of blocks suit real files.

mod lengths;
mod speed;
mod trees;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;
use skiff_benches::{Context as _, Failure, end};

/// Measures block deltas on pairs of real images
///
/// Build the pairs with benches/corpus/make-pairs.
#[derive(Debug, Parser)]
#[command(name = "block", max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Write what was measured to this file
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How fast signatures and deltas are made: skiff beside rdiff
    ///
    /// Each program runs as a process of its own, in turns, with rdiff's default options, and the best run of each counts. Both
    /// make deltas from the same signature, rdiff's. What skiff makes is patched by rdiff and compared. Needs rdiff and GNU time.
    Speed(Speed),
    /// Which length of blocks makes the fewest bytes, of signature and delta together, over all files of a pair that differ
    ///
    /// Needs xz.
    Lengths(Lengths),
    /// Which length of blocks makes the fewest bytes where a whole image is signed, of signature and delta together
    Trees(Trees),
}

#[derive(Debug, clap::Args)]
struct Speed {
    /// What make-pairs filled
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The pairs
    #[arg(value_name = "PAIR", required = true)]
    pairs: Vec<String>,
    /// How often each program runs
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// The skiff to measure; the one beside this program, unless named
    #[arg(long, value_name = "PATH")]
    skiff: Option<PathBuf>,
    /// Where everything is written to; the system's directory for temporary files, unless named
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Lengths {
    /// What make-pairs filled
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The pairs
    #[arg(value_name = "PAIR", required = true)]
    pairs: Vec<String>,
    /// Leave xz out, which takes nearly all of the time
    #[arg(long)]
    plain: bool,
}

#[derive(Debug, clap::Args)]
struct Trees {
    /// What make-pairs filled
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The pairs
    #[arg(value_name = "PAIR", required = true)]
    pairs: Vec<String>,
}

fn main() -> ExitCode {
    end("block", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let rows = match &arguments.what {
        What::Speed(speed) => speed::run(speed)?,
        What::Lengths(lengths) => lengths::run(lengths)?,
        What::Trees(trees) => trees::run(trees)?,
    };
    match &arguments.json {
        None => Ok(()),
        Some(path) => std::fs::write(path, format!("{:#}\n", Value::from(rows)))
            .context(|| format!("writing {}", path.display())),
    }
}
