//! Measures the matcher beside the `bsdiff` crate's, on every file of a pair of images that differs.

mod stream;
mod theirs;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use skiff_benches::changed::changed;
use skiff_benches::{Failure, end};
use skiff_patch::{Effort, bsdiff};

/// Measures the matcher beside the bsdiff crate's
///
/// Every file of a pair's new tree is made from the file of the same name, or nearly the same, in the old one. What both
/// matchers find is written as the same stream and compressed by xz, file by file. Build the pairs with
/// benches/corpus/make-pairs.
#[derive(Debug, Parser)]
#[command(name = "matcher", max_term_width = 110)]
struct Arguments {
    /// What make-pairs filled; the trees are in its directory root
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The pairs
    #[arg(value_name = "PAIR", required = true)]
    pairs: Vec<String>,
    /// How much time the matcher may take
    #[arg(long, value_enum, default_value_t = Level::Default)]
    effort: Level,
    /// Leave the bsdiff crate out, which takes nearly all of the time
    #[arg(long)]
    alone: bool,
    /// Leave xz out
    #[arg(long)]
    plain: bool,
    /// Tell of every file, not only of those that are larger by more than one in a hundred and 64 bytes
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Fast,
    Default,
}

/// What one matcher made of one file, or of all of them.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    time: Duration,
    stream: stream::Facts,
    compressed: u64,
}

impl Measured {
    fn add(&mut self, other: &Self) {
        self.time += other.time;
        self.stream.add(&other.stream);
        self.compressed += other.compressed;
    }
}

fn main() -> ExitCode {
    end("matcher", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = bsdiff::Options {
        segment_bytes: std::num::NonZeroU32::MAX,
        effort: match arguments.effort {
            Level::Fast => Effort::Fast,
            Level::Default => Effort::Default,
        },
        ..bsdiff::Options::default()
    };
    let measure = |old: &[u8], new: &[u8], payload: &dyn Fn() -> Vec<u8>| -> Result<Measured, Failure> {
        let start = Instant::now();
        let payload = payload();
        let time = start.elapsed();
        let stream = stream::facts(&payload, old.len(), new)?;
        let compressed = if arguments.plain { 0 } else { stream::compressed(&payload)? };
        Ok(Measured { time, stream, compressed })
    };
    for pair in &arguments.pairs {
        println!("{pair}");
        let (mut ours, mut theirs, mut larger) = (Measured::default(), Measured::default(), 0);
        for file in changed(&arguments.directory, pair)? {
            let (old, new) = file.read()?;
            let our = measure(&old, &new, &|| {
                bsdiff::encode(&old, &new, &options).pop().map_or_else(Vec::new, |segment| segment.payload)
            })?;
            ours.add(&our);
            let their = if arguments.alone {
                Measured::default()
            } else {
                measure(&old, &new, &|| theirs::payload(&old, &new))?
            };
            theirs.add(&their);
            let is_larger =
                !arguments.alone && our.compressed > their.compressed + (their.compressed / 100).max(64);
            larger += u32::from(is_larger);
            if is_larger || arguments.all {
                print_line(&file.path.display().to_string(), &our, &their);
            }
        }
        print_line("all", &ours, &theirs);
        println!("{larger} larger; peak of memory {} MiB", peak_mebibytes());
    }
    Ok(())
}

fn print_line(name: &str, ours: &Measured, theirs: &Measured) {
    println!("  {name}");
    for (whose, what) in [("ours", ours), ("theirs", theirs)] {
        println!(
            "    {whose:6} xz {:>10} model {:>10} controls {:>8} literals {:>9} differing {:>9} {:>8.2} s",
            what.compressed,
            what.stream.bits() / 8,
            what.stream.controls,
            what.stream.literals,
            what.stream.differing,
            what.time.as_secs_f64(),
        );
    }
}

/// The most memory that was resident at once so far.
fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) >> 10
}
