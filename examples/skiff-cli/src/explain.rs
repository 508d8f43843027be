//! `skiff diff --explain`: where the bytes of a delta went.

use serde_json::{Value, json};
use skiff::diff::{Explanation, FileShare, SourceFile};
use skiff::image::PulledLayer;

use crate::failure::Failure;
use crate::print::{say, share, thousands};

/// How many files people are shown.
const FILES: usize = 20;

/// Prints it for people: the costliest files only.
pub(crate) fn print(explanation: &Explanation, layers: &[PulledLayer]) -> Result<(), Failure> {
    let sections = &explanation.sections;
    let whole = sections.sum();
    if !layers.is_empty() {
        let title = "missing layer";
        say!("\n{title:<71} {:>14}", "pulled bytes");
        for layer in layers {
            say!("{:<71} {:>14}", layer.diff_id.to_string(), thousands(layer.bytes));
        }
    }
    let row = |name: &str, part: u64, rest: String| -> Result<(), Failure> {
        say!("{name:<16} {:>14} {:>7}  {rest}", thousands(part), share(part, whole).unwrap_or_default());
        Ok(())
    };
    say!("\nsection             delta bytes   share");
    for (name, part) in [
        ("header", sections.header),
        ("config", sections.config),
        ("manifest", sections.manifest),
        ("tree", sections.tree),
        ("contents", sections.contents),
    ] {
        row(name, part, String::new())?;
    }
    say!("\ncodec               delta bytes   share       new bytes  records");
    for used in &explanation.codecs {
        let rest = format!("{:>14} {:>8}", thousands(used.new_bytes), thousands(used.records as u64));
        row(used.codec.name(), used.delta_bytes, rest)?;
    }
    say!("\nkind of file        delta bytes   share       new bytes    files");
    for kind in &explanation.kinds {
        let rest = format!("{:>14} {:>8}", thousands(kind.new_bytes), thousands(kind.files as u64));
        row(kind.kind.name(), kind.delta_bytes, rest)?;
    }
    print_files(&explanation.files)
}

fn print_files(files: &[FileShare]) -> Result<(), Failure> {
    if files.is_empty() {
        return Ok(());
    }
    let shown = files.len().min(FILES);
    say!("\nthe {shown} costliest of {} new contents", thousands(files.len() as u64));
    say!("   delta bytes      new bytes  codec        file, and what it is made from");
    for file in files.iter().take(FILES) {
        let codecs: Vec<&str> = file.codecs.iter().map(|codec| codec.name()).collect();
        let sources = file.sources.iter().filter(|source| **source != SourceFile::Base(file.path.clone()));
        let from: Vec<String> = sources.map(|source| format!(" from {}", source.path())).collect();
        let itself = file.sources.len() > from.len();
        let from = if from.is_empty() && !itself { " from nothing".into() } else { from.concat() };
        let codecs = codecs.join("+");
        let (delta, new) = (thousands(file.delta_bytes), thousands(file.new_bytes));
        say!("{delta:>14} {new:>14}  {codecs:<12} {}{from}", file.path);
    }
    Ok(())
}

/// The same for programs, with all files.
pub(crate) fn as_json(explanation: &Explanation, layers: &[PulledLayer]) -> Value {
    let sections = &explanation.sections;
    json!({
        "pulled_layers": layers.iter().map(|layer| json!({
            "diff_id": layer.diff_id.to_string(), "bytes": layer.bytes,
        })).collect::<Vec<_>>(),
        "sections": {
            "header": sections.header, "config": sections.config, "manifest": sections.manifest,
            "tree": sections.tree, "contents": sections.contents,
        },
        "codecs": explanation.codecs.iter().map(|used| json!({
            "codec": used.codec.name(), "records": used.records,
            "new_bytes": used.new_bytes, "delta_bytes": used.delta_bytes,
        })).collect::<Vec<_>>(),
        "kinds": explanation.kinds.iter().map(|kind| json!({
            "kind": kind.kind.name(), "files": kind.files,
            "new_bytes": kind.new_bytes, "delta_bytes": kind.delta_bytes,
        })).collect::<Vec<_>>(),
        "files": explanation.files.iter().map(|file| json!({
            "path": file.path.to_string(), "kind": file.kind.name(),
            "new_bytes": file.new_bytes, "delta_bytes": file.delta_bytes,
            "codecs": file.codecs.iter().map(|codec| codec.name()).collect::<Vec<_>>(),
            "sources": file.sources.iter().map(|source| json!({
                "side": match source { SourceFile::Base(_) => "base", SourceFile::Target(_) => "target" },
                "path": source.path().to_string(),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
