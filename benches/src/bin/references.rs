//! What the prediction of each kind of reference saves on the executables of a pair of images.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};
use skiff_benches::changed::changed;
use skiff_benches::{Context as _, Failure};
use skiff_patch::align::{ReferenceKind, Survey};

/// Measures what the prediction of each kind of reference saves on pairs of real images
///
/// Every executable of a pair's new tree is made from the file of the same name, or nearly the same, in the old one, all in one
/// frame: with every kind of reference predicted, then without each of them, and with none. What is found alike is searched
/// anew each time. Build the pairs with benches/corpus/make-pairs.
#[derive(Debug, Parser)]
#[command(name = "references", max_term_width = 110)]
struct Arguments {
    /// What make-pairs filled; the trees are in its directory root
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The pairs
    #[arg(value_name = "PAIR", required = true)]
    pairs: Vec<String>,
    /// Leave out only these kinds, one after the other, or those joined by + together; each of all, unless named
    #[arg(long, value_name = "A,B+C", value_delimiter = ',', value_parser = kinds)]
    without: Vec<Kinds>,
    /// Write what was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is left out together.
#[derive(Debug, Clone)]
struct Kinds {
    name: String,
    kinds: Vec<ReferenceKind>,
}

impl Kinds {
    /// Where the page of an address is not predicted, the rest of it cannot be.
    fn of(kind: ReferenceKind) -> Self {
        let kinds = match kind {
            ReferenceKind::Page => vec![kind, ReferenceKind::Low],
            _ => vec![kind],
        };
        Self { name: kind.name().to_owned(), kinds }
    }
}

fn kinds(names: &str) -> Result<Kinds, String> {
    let known = || ReferenceKind::ALL.map(ReferenceKind::name).join(", ");
    let kind = |name: &str| ReferenceKind::ALL.into_iter().find(|kind| kind.name() == name);
    let kinds: Option<Vec<_>> =
        names.split('+').map(|name| kind(name).map(|kind| Kinds::of(kind).kinds)).collect();
    let kinds = kinds.ok_or_else(|| format!("no such kind; there are {}", known()))?.concat();
    Ok(Kinds { name: names.to_owned(), kinds })
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            eprintln!("references: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let each = ReferenceKind::ALL.map(Kinds::of);
    let named = if arguments.without.is_empty() { &each[..] } else { &arguments.without };
    println!("{:<16} {:<20} {:>10} {:>10}", "pair", "without", "payloads", "saved");
    let mut rows = Vec::new();
    for pair in &arguments.pairs {
        let files = executables(arguments, pair)?;
        let all = measure(&files, &[])?;
        let mut tell = |without: &str, bytes: u64| {
            let saved = bytes.cast_signed() - all.cast_signed();
            let share = saved as f64 * 100.0 / all as f64;
            println!("{pair:<16} {without:<20} {bytes:>10} {saved:>10} {share:>6.2} %");
            rows.push(json!({ "pair": pair, "without": without, "payload_bytes": bytes }));
        };
        tell("-", all);
        for Kinds { name, kinds } in named {
            tell(name, measure(&files, kinds)?);
        }
        tell("everything", measure(&files, &ReferenceKind::ALL)?);
    }
    match &arguments.json {
        None => Ok(()),
        Some(path) => std::fs::write(path, format!("{:#}\n", Value::from(rows)))
            .context(|| format!("writing {}", path.display())),
    }
}

/// The old file and the new one.
type Pair = (Vec<u8>, Vec<u8>);

/// The executables that changed.
fn executables(arguments: &Arguments, pair: &str) -> Result<Vec<Pair>, Failure> {
    let mut files = Vec::new();
    for file in changed(&arguments.directory, pair)? {
        let (old, new) = file.read()?;
        if [&old, &new].into_iter().all(|bytes| bytes.starts_with(b"\x7fELF")) {
            files.push((old, new));
        }
    }
    Ok(files)
}

/// The bytes of all payloads.
fn measure(files: &[Pair], silent: &[ReferenceKind]) -> Result<u64, Failure> {
    let mut survey = Survey::without(silent);
    files.iter().try_fold(0, |sum, (old, new)| {
        let length = survey.payload_len(old, new).context(|| "writing a payload".into())?;
        Ok(sum + length)
    })
}
