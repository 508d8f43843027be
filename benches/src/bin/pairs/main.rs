//! Measures skiff and its peers on pairs of real images, each program as a process of its own, and checks every result.

mod images;
mod peers;
mod skiff;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use skiff_benches::{Context as _, Failure};

use crate::images::Pairs;
use crate::skiff::Skiff;

/// Measures skiff and other delta tools on pairs of real images
///
/// For each pair: makes a delta between the two images, installs the old one into a store, applies the delta and
/// verifies the release; compares the result with the new image's archive by GNU tar; then runs the peers. Needs root,
/// GNU time and GNU tar. Build the pairs with benches/corpus/make-pairs.
#[derive(Debug, Parser)]
#[command(name = "pairs", max_term_width = 110)]
struct Arguments {
    /// What make-pairs filled
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The pairs; all that are in DIR, unless named
    #[arg(value_name = "PAIR")]
    pairs: Vec<String>,
    /// The peers to run, "none" for none; all but the slowest, unless named
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    peers: Option<Vec<String>>,
    /// Write what was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The skiff to measure; the one beside this program, unless named
    #[arg(long, value_name = "PATH")]
    skiff: Option<PathBuf>,
    /// The level that deltas are made at
    #[arg(long, value_enum, default_value_t = Level::Default)]
    level: Level,
}

/// The levels that `skiff diff` has.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Fast,
    Default,
    Best,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Default => "default",
            Self::Best => "best",
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            eprintln!("pairs: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let pairs = Pairs::open(&arguments.directory, &arguments.pairs)?;
    let skiff = Skiff::find(arguments.skiff.as_deref(), arguments.level)?;
    println!("{}", table::HEAD);
    let mut rows = Vec::new();
    for pair in pairs.iter() {
        let measured = skiff.measure(&pair)?;
        table::print_skiff(pair.name, &measured);
        let peers = peers::run(&pair, arguments.peers.as_deref())?;
        peers.iter().for_each(table::print_peer);
        let pull = pair.pull_bytes()?;
        table::print_ratios(&measured, pull, &peers);
        rows.push(json!({
            "pair": pair.name, "level": arguments.level.name(), "pull_bytes": pull,
            "skiff": measured.to_json(), "peers": peers,
        }));
    }
    match &arguments.json {
        None => Ok(()),
        Some(path) => std::fs::write(path, format!("{:#}\n", Value::from(rows)))
            .context(|| format!("writing {}", path.display())),
    }
}
