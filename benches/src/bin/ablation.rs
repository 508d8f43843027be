//! What each idea of the encoder saves: deltas with all of them, and without each.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use skiff_benches::{Context as _, Failure, end};
use skiff_diff::{Idea, Ideas, Level, Options, Release, diff};
use skiff_image::{FlatImage, FlattenOptions, Image, OpenOptions};

/// Measures what each idea of the encoder saves on pairs of real images
///
/// For each pair: a delta with every idea, then one without each of them, and one with none, which only compresses. Ideas build
/// on each other, so that what they save does not add up. Build the pairs with benches/corpus/make-pairs.
#[derive(Debug, Parser)]
#[command(name = "ablation", max_term_width = 110)]
struct Arguments {
    /// What make-pairs filled
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The pairs
    #[arg(value_name = "PAIR", required = true)]
    pairs: Vec<String>,
    /// Leave out only these ideas, one after the other; all, unless named
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = idea)]
    without: Vec<Idea>,
    /// How hard the encoder tries
    #[arg(long, value_enum, default_value_t = Effort::Default)]
    level: Effort,
    /// Write what was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Effort {
    Fast,
    Default,
    Best,
}

fn idea(name: &str) -> Result<Idea, String> {
    let names = || Idea::ALL.iter().map(|idea| idea.name()).collect::<Vec<_>>().join(", ");
    let found = Idea::ALL.iter().copied().find(|idea| idea.name() == name);
    found.ok_or_else(|| format!("no such idea; there are {}", names()))
}

fn main() -> ExitCode {
    end("ablation", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let level = match arguments.level {
        Effort::Fast => Level::Fast,
        Effort::Default => Level::Default,
        Effort::Best => Level::Best,
    };
    let named = if arguments.without.is_empty() { Idea::ALL } else { &arguments.without };
    println!("{:<16} {:<20} {:>14} {:>14} {:>8} {:>9}", "pair", "without", "delta", "saved", "", "seconds");
    let mut rows = Vec::new();
    for pair in &arguments.pairs {
        let [old, new] = ["old", "new"].map(|side| flatten(&arguments.directory, pair, side));
        let (old, new) = (old?, new?);
        let measure = |ideas| measure(&old, &new, ideas, level);
        let all = measure(Ideas::ALL)?;
        let mut tell = |without: &str, (bytes, seconds): (u64, f64)| {
            let saved = i128::from(bytes) - i128::from(all.0);
            let share = saved as f64 * 100.0 / all.0 as f64;
            println!("{pair:<16} {without:<20} {bytes:>14} {saved:>14} {share:>6.1} % {seconds:>9.1}");
            rows.push(json!({ "pair": pair, "without": without, "delta_bytes": bytes, "seconds": seconds }));
        };
        tell("-", all);
        for &idea in named {
            tell(idea.name(), measure(Ideas::ALL.without(idea))?);
        }
        tell("everything", measure(Ideas::NONE)?);
    }
    match &arguments.json {
        None => Ok(()),
        Some(path) => std::fs::write(path, format!("{:#}\n", Value::from(rows)))
            .context(|| format!("writing {}", path.display())),
    }
}

fn flatten(directory: &std::path::Path, pair: &str, side: &str) -> Result<FlatImage, Failure> {
    let name = format!("oci:{}/oci:{pair}-{side}", directory.display());
    let reading = || format!("reading {name}");
    let image = Image::open(&name.parse().context(reading)?, &OpenOptions::default()).context(reading)?;
    image.flatten(&FlattenOptions::default()).context(reading)
}

/// The delta's bytes, and the seconds that making it took.
fn measure(old: &FlatImage, new: &FlatImage, ideas: Ideas, level: Level) -> Result<(u64, f64), Failure> {
    let options = Options { ideas, level, ..Options::default() };
    let started = Instant::now();
    let report =
        diff(&release(old), &release(new), &options, io::sink()).context(|| "making a delta".into())?;
    Ok((report.delta_bytes, started.elapsed().as_secs_f64()))
}

fn release(image: &FlatImage) -> Release<'_> {
    let (config, manifest) = (image.config.as_deref(), image.manifest.as_deref());
    Release { config, manifest, ..Release::new(&image.tree, &image.contents) }
}
