//! What lengths of blocks cost: the bytes of signatures and of deltas.

use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use skiff_benches::{Context as _, Failure};
use skiff_block::{SAFE_STRONG_LEN, Signature, SignatureKind, SignatureParams, Table, delta};

use crate::Lengths;

/// A rule: the square root of the size times this, rounded down to a multiple of the grain, and at least so much.
#[derive(Clone, Copy)]
struct Rule {
    factor: f64,
    least: u32,
    grain: u32,
}

impl Rule {
    fn block_len(self, size: u64) -> u32 {
        let length = (self.factor * (size as f64).sqrt()) as u32 / self.grain * self.grain;
        length.max(self.least)
    }
}

/// The old and the new content of a file.
type Versions = (Vec<u8>, Vec<u8>);

/// The bytes over all files of a pair that differ.
#[derive(Default)]
struct Bytes {
    signatures: u64,
    /// The deltas, one after the other.
    deltas: Vec<u8>,
}

pub(crate) fn run(arguments: &Lengths) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    for pair in &arguments.pairs {
        let root = |which: &str| arguments.directory.join("root").join(format!("{pair}.{which}"));
        let files = changed(&root("old"), &root("new"))?;
        let bytes: u64 = files.iter().map(|(_, new)| new.len() as u64).sum();
        println!("{pair}: {} files differ, with {bytes} bytes", files.len());
        println!("factor  least  grain    signatures        deltas           sum        xz -9e      with xz");
        for rule in rules() {
            let made = measure(&files, rule)?;
            let plain = made.deltas.len() as u64;
            let packed = if arguments.plain { None } else { Some(xz(&made.deltas)?) };
            let Rule { factor, least, grain } = rule;
            let [packed_text, with_text] = [packed, packed.map(|packed| packed + made.signatures)]
                .map(|count| count.map_or_else(|| "-".to_owned(), |count| count.to_string()));
            println!(
                "{factor:>6}  {least:>5}  {grain:>5}  {:>12}  {plain:>12}  {:>12}  {packed_text:>12} {with_text:>12}",
                made.signatures,
                made.signatures + plain,
            );
            rows.push(json!({
                "pair": pair, "factor": factor, "least": least, "grain": grain,
                "signature_bytes": made.signatures, "delta_bytes": plain, "delta_xz_bytes": packed,
            }));
        }
    }
    Ok(rows)
}

/// Factors with one least length, and least lengths with one or two factors.
fn rules() -> Vec<Rule> {
    let factor = [0.5, 0.7, 1.0, 1.4, 2.0, 4.0].map(|factor| Rule { factor, least: 512, grain: 64 });
    let least = [256, 1024, 2048].map(|least| Rule { factor: 1.0, least, grain: 64 });
    let least_of_long = [1024, 2048].map(|least| Rule { factor: 2.0, least, grain: 64 });
    let grain = [1, 128].map(|grain| Rule { factor: 1.0, least: 512, grain });
    [&factor[..], &least, &least_of_long, &grain].concat()
}

fn measure(files: &[Versions], rule: Rule) -> Result<Bytes, Failure> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut bytes = Bytes::default();
    for (old, new) in files {
        let block_len = rule.block_len(old.len() as u64);
        let params = SignatureParams::new(SignatureKind::default(), block_len, SAFE_STRONG_LEN);
        let params = params.context(|| "choosing a length".into())?;
        let signature = Signature::of(&old[..], &params, threads).context(|| "signing".into())?;
        bytes.signatures += signature.bytes();
        let table = Table::new(signature).context(|| "indexing".into())?;
        delta(&table, &new[..], threads, &mut bytes.deltas).context(|| "making a delta".into())?;
    }
    Ok(bytes)
}

fn xz(bytes: &[u8]) -> Result<u64, Failure> {
    let mut command = Command::new("xz");
    command.args(["-9e", "-T1", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context(|| "starting xz".into())?;
    let mut input = child.stdin.take().ok_or_else(|| Failure::new("xz has no input"))?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes));
        child.wait_with_output()
    });
    Ok(output.context(|| "running xz".into())?.stdout.len() as u64)
}

/// The contents of the files that stand under the same name in both trees and differ.
fn changed(old: &Path, new: &Path) -> Result<Vec<Versions>, Failure> {
    let mut files = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        let here = new.join(&directory);
        let failed = || format!("reading {}", here.display());
        let mut entries =
            fs::read_dir(&here).context(failed)?.collect::<Result<Vec<_>, _>>().context(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (directory.join(entry.file_name()), entry.file_type().context(failed)?);
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file()
                && fs::symlink_metadata(old.join(&path)).is_ok_and(|known| known.is_file())
            {
                let read = |root: &Path| {
                    fs::read(root.join(&path)).context(|| format!("reading {}", path.display()))
                };
                let (old, new) = (read(old)?, read(new)?);
                if old != new {
                    files.push((old, new));
                }
            }
        }
    }
    Ok(files)
}
