//! Measures how skiff, umoci and GNU tar lay the layers of images over each other, each run as processes of their own.

mod table;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};
use skiff_benches::layout::Layout;
use skiff_benches::measure::Cost;
use skiff_benches::{Context as _, Failure, end, program};
use skiff_testkit::{Encoding, LargeImage};

use crate::tools::{Runs, Tool};

/// Measures how fast images are flattened: skiff beside umoci and GNU tar
///
/// Each tool makes a directory (and skiff an archive, too) of each image, in turns, on the file system that the scratch
/// directory lies on, where skiff spools as well. Directories are synced by none of them; the archive is, by skiff. The best of
/// all rounds counts. tar extracts the layers one after the other, knows no whiteouts and checks no digests. umoci's and skiff's
/// results are compared. umoci 0.4 reads no zstd, and is left out there. Needs root, umoci, GNU time, GNU tar, gzip, zstd and, for each round, four times an image's size.
#[derive(Debug, Parser)]
#[command(name = "flatten", max_term_width = 110)]
struct Arguments {
    /// Measure the images that make-pairs left here, too
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Of those images, the ones with these tags; all, unless named
    #[arg(value_name = "TAG")]
    tags: Vec<String>,
    /// Large images, made for the purpose, whose layers are compressed so: gzip, zstd, plain; "none" for none
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "gzip,zstd,plain")]
    large: Vec<String>,
    /// Entries of the large images
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    entries: u32,
    /// Bytes of the large images' files
    #[arg(long, value_name = "N", default_value_t = 2_000_000_000)]
    bytes: u64,
    /// How often each tool runs
    #[arg(long, value_name = "N", default_value_t = 2)]
    rounds: u32,
    /// Where everything is written to; the system's directory for temporary files, unless named
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Write what was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The skiff to measure; the one beside this program, unless named
    #[arg(long, value_name = "PATH")]
    skiff: Option<PathBuf>,
}

/// An image to flatten.
struct Subject {
    name: String,
    layout: Layout,
    tag: String,
}

fn main() -> ExitCode {
    end("flatten", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let skiff = program::skiff(arguments.skiff.as_deref())?;
    let scratch = arguments.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let mut rows = Vec::new();
    println!("{}", table::HEAD);
    for encoding in encodings(&arguments.large)? {
        let place = temporary(&scratch)?;
        let image = LargeImage { entries: arguments.entries, bytes: arguments.bytes };
        image.write_directory(place.path(), "large", encoding);
        let (layout, tag) = (Layout::new(place.path()), "large".to_owned());
        let name = format!("large {encoding:?}").to_lowercase();
        rows.push(measure(&skiff, &Subject { name, layout, tag }, &scratch, arguments.rounds)?);
    }
    if let Some(directory) = &arguments.directory {
        let layout = Layout::new(directory.join("oci"));
        let tags = if arguments.tags.is_empty() { layout.tags()? } else { arguments.tags.clone() };
        for tag in tags {
            let subject = Subject { name: tag.clone(), layout: layout.clone(), tag };
            rows.push(measure(&skiff, &subject, &scratch, arguments.rounds)?);
        }
    }
    match &arguments.json {
        None => Ok(()),
        Some(path) => std::fs::write(path, format!("{:#}\n", Value::from(rows)))
            .context(|| format!("writing {}", path.display())),
    }
}

fn encodings(names: &[String]) -> Result<Vec<Encoding>, Failure> {
    let encoding = |name: &String| match name.as_str() {
        "gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstd),
        "plain" => Ok(Encoding::Plain),
        _ => {
            Err(Failure(format!("no compression {name:?} for large images; there are gzip, zstd and plain")))
        }
    };
    if names == ["none"] { Ok(Vec::new()) } else { names.iter().map(encoding).collect() }
}

/// Runs all tools over an image, in turns, and prints and returns what they took.
fn measure(skiff: &Path, subject: &Subject, scratch: &Path, rounds: u32) -> Result<Value, Failure> {
    // What one run leaves stays until all have run: to make files is slow where many were just removed.
    let place = temporary(scratch)?;
    let runs = Runs { skiff, layout: &subject.layout, tag: &subject.tag, scratch: place.path() };
    let tools = runs.tools()?;
    let mut best: Vec<Option<Cost>> = vec![None; tools.len()];
    let mut size = None;
    for round in 0..rounds.max(1) {
        // Whoever runs first meets what was left by the removals before: each round, it is another.
        for turn in 0..tools.len() {
            let index = (turn + round as usize) % tools.len();
            let (tool, best) = (tools[index], &mut best[index]);
            let cost = runs.run(tool, round)?;
            if best.is_none_or(|best| cost.wall_seconds < best.wall_seconds) {
                *best = Some(cost);
            }
        }
        if size.is_none() {
            size = Some(runs.check(round)?);
        }
    }
    let size = size.unwrap_or_default();
    let costs: Vec<(Tool, Cost)> =
        tools.into_iter().zip(best).filter_map(|(tool, cost)| Some((tool, cost?))).collect();
    table::print(&subject.name, size.bytes, &costs);
    let by_tool = costs.iter().map(|(tool, cost)| (tool.name().to_owned(), cost.to_json()));
    Ok(json!({
        "image": subject.name, "entries": size.entries, "content_bytes": size.bytes, "rounds": rounds,
        "tools": by_tool.collect::<serde_json::Map<_, _>>(),
    }))
}

fn temporary(scratch: &Path) -> Result<tempfile::TempDir, Failure> {
    tempfile::tempdir_in(scratch).context(|| format!("making a directory in {}", scratch.display()))
}
