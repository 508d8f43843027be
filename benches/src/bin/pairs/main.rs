//! Measures skiff and its peers on pairs of real images, each program as a process of its own, and checks every result.

mod chart;
mod disk;
mod images;
mod peers;
mod results;
mod skiff;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use skiff_benches::{Context as _, Failure, end};

use crate::images::Pairs;
use crate::results::{Measurements, Results};
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
    /// The levels that deltas are made at
    #[arg(
        long,
        alias = "level",
        value_enum,
        value_name = "A,B",
        value_delimiter = ',',
        default_value = "default"
    )]
    levels: Vec<Level>,
    /// Apply each delta a second time, from and to a disk that moves so many bytes a second each way, such as 20M: takes
    /// loop devices and control groups, version 1
    #[arg(long, value_name = "BYTES", value_parser = bytes_per_second)]
    io_cap: Option<u64>,
    /// Draw the deltas beside the peers' into this file, as SVG; of several levels the last
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

fn bytes_per_second(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix('M') {
        Some(digits) => (digits, 1_000_000),
        None => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{error}; write 20M for 20 MB a second"))?;
    number.checked_mul(unit).filter(|&bytes| bytes > 0).ok_or_else(|| "that is no speed".to_owned())
}

/// The levels that `skiff diff` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
    end("pairs", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let pairs = Pairs::open(&arguments.directory, &arguments.pairs)?;
    let skiff = Skiff::find(arguments.skiff.as_deref(), arguments.io_cap)?;
    println!("{}", table::HEAD);
    let mut results = Results::new(arguments.io_cap)?;
    for pair in pairs.iter() {
        let mut levels = Vec::new();
        for &level in &arguments.levels {
            let measured = skiff.measure(&pair, level)?;
            table::print_skiff(pair.name, &measured);
            levels.push(measured);
        }
        let peers = peers::run(&pair, arguments.peers.as_deref())?;
        peers.iter().for_each(table::print_peer);
        let pull_bytes = pair.pull_bytes()?;
        levels.iter().for_each(|measured| table::print_ratios(measured, pull_bytes, &peers));
        results.pairs.push(Measurements { name: pair.name.to_owned(), pull_bytes, levels, peers });
    }
    for (level, mean) in results.means(&arguments.levels) {
        println!("skiff {} / best peer, geometric mean of all pairs: {mean:.4}", level.name());
    }
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", results.to_json(&arguments.levels));
        std::fs::write(path, text).context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &arguments.chart {
        let svg = results.chart().to_svg();
        std::fs::write(path, svg).context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
