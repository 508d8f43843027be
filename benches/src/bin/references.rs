//! What the prediction of each kind of reference saves on the executables of a pair of images.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};
use skiff_benches::changed::changed;
use skiff_benches::{Context as _, Failure, end};
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
    /// Cut the section headers off all executables
    #[arg(long)]
    headerless: bool,
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
    end("references", run(&Arguments::parse()))
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
        let (mut old, mut new) = file.read()?;
        if [&old, &new].into_iter().all(|bytes| bytes.starts_with(b"\x7fELF")) {
            if arguments.headerless {
                [&mut old, &mut new].into_iter().for_each(cut_section_headers);
            }
            files.push((old, new));
        }
    }
    Ok(files)
}

/// Makes of an executable one that has no section headers, as some are made smaller.
fn cut_section_headers(file: &mut Vec<u8>) {
    // Where the header tells where they are, in so many bytes, and where how many there are and which has the names.
    let (offset, word, counts) = if file.get(4) == Some(&2) { (40, 8, 60) } else { (32, 4, 48) };
    let Some(field) = file.get_mut(offset..offset + word) else { return };
    let table = field.iter().rev().fold(0_usize, |table, &byte| table << 8 | usize::from(byte));
    field.fill(0);
    if let Some(counts) = file.get_mut(counts..counts + 4) {
        counts.fill(0);
    }
    // They stand at the end of the file.
    file.truncate(table.max(64));
}

/// The bytes of all payloads.
fn measure(files: &[Pair], silent: &[ReferenceKind]) -> Result<u64, Failure> {
    let mut survey = Survey::without(silent);
    files.iter().try_fold(0, |sum, (old, new)| {
        let length = survey.payload_len(old, new).context(|| "writing a payload".into())?;
        Ok(sum + length)
    })
}
