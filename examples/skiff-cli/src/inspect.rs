//! `skiff inspect`: what a delta is for and what it holds, without the base.

use std::fs::File;
use std::io::{self, Read};

use serde_json::{Value, json};
use skiff::format::{Event, Header, Limits, Reader, Section};

use crate::args::Inspect;
use crate::failure::Failure;
use crate::keys;
use crate::print::{Lines, bytes, say};

pub(crate) fn run(args: &Inspect) -> Result<(), Failure> {
    let required = args.signers.keys()?;
    let input: Box<dyn Read> = if args.delta.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&args.delta).map_err(|error| Failure::io("opening", &args.delta, error))?)
    };
    let header = check(input).map_err(|failure| failure.of_file(&args.delta))?;
    let proven = required.as_ref().map(|required| skiff::keys::check(&header, required));
    let proven = proven.transpose().map_err(|error| Failure::from(error).of_file(&args.delta))?;
    let proven = proven.map(|key| key.id().to_string());
    if args.print.json {
        say!("{}", as_json(&header, proven.as_deref()));
    } else {
        print(&header, proven.as_deref())?;
    }
    Ok(())
}

/// Reads the delta to its end, so that what is shown is shown of a delta that is whole.
fn check(input: impl Read) -> Result<Header, Failure> {
    let mut reader = Reader::new(input, Limits::default());
    let mut header = None;
    while let Some(event) = reader.next_event()? {
        if let Event::Header(first) = event {
            header = Some(*first);
        }
    }
    header.ok_or_else(|| Failure::corrupt("the delta is empty"))
}

fn sections(header: &Header) -> Vec<(Section, usize, u64, u64)> {
    let mut sections: Vec<(Section, usize, u64, u64)> = Vec::new();
    for frame in header.frames() {
        match sections.last_mut() {
            Some((section, frames, encoded, decoded)) if *section == frame.section => {
                *frames += 1;
                *encoded += frame.encoded_size;
                // Of what is left out it is whatever was told.
                *decoded = decoded.saturating_add(frame.decoded_size);
            }
            _ => sections.push((frame.section, 1, frame.encoded_size, frame.decoded_size)),
        }
    }
    sections
}

fn name(section: Section) -> String {
    match section {
        Section::Config => "config".into(),
        Section::Manifest => "manifest".into(),
        Section::Tree => "tree".into(),
        Section::Contents => "contents".into(),
        Section::Unknown(kind) => format!("unknown-{kind}"),
    }
}

fn print(header: &Header, proven: Option<&str>) -> Result<(), Failure> {
    let (target, facts) = (header.target(), header.facts());
    let mut lines = Lines::default();
    for base in keys::bases(header) {
        lines.add("base", base);
    }
    lines.add("target", target.release);
    lines.add("target tree", target.tree);
    keys::add_signatures(&mut lines, header);
    if let Some(key) = proven {
        lines.add("signature holds", key);
    }
    lines.add("delta", bytes(header.delta_size()));
    if let Some(pull) = facts.pull_bytes {
        lines.add("full pull", bytes(pull));
    }
    lines.add("to write", format!("{} of {}", bytes(facts.new_bytes), bytes(facts.target_bytes)));
    lines.add("entries", format!("{}, {} inodes", facts.entries, facts.inodes));
    lines.add("memory to apply", bytes(facts.decoder_memory));
    let codecs: Vec<String> =
        header.codecs().iter().map(|codec| format!("{} v{}", codec.id, codec.version)).collect();
    lines.add("codecs", if codecs.is_empty() { "none".into() } else { codecs.join(", ") });
    for (section, frames, encoded, decoded) in sections(header) {
        let frames = if frames == 1 { "1 frame".to_owned() } else { format!("{frames} frames") };
        lines.add(&name(section), format!("{} for {} in {frames}", bytes(encoded), bytes(decoded)));
    }
    lines.print()
}

fn as_json(header: &Header, proven: Option<&str>) -> Value {
    let (target, facts) = (header.target(), header.facts());
    json!({
        "digest": header.digest().to_string(),
        "bases": keys::bases(header),
        "target": target.release.to_string(),
        "target_tree": target.tree.to_string(),
        "config": target.config.map(|digest| digest.to_string()),
        "manifest": target.manifest.map(|digest| digest.to_string()),
        "signatures": keys::as_json(header),
        "proven_signer": proven,
        "delta_bytes": header.delta_size(),
        "pull_bytes": facts.pull_bytes,
        "target_bytes": facts.target_bytes,
        "new_bytes": facts.new_bytes,
        "unchanged_bytes": facts.unchanged_bytes,
        "entries": facts.entries,
        "inodes": facts.inodes,
        "decoder_memory": facts.decoder_memory,
        "codecs": header.codecs().iter().map(|codec| json!({"id": codec.id, "version": codec.version})).collect::<Vec<_>>(),
        "sections": sections(header).into_iter().map(|(section, frames, encoded, decoded)| json!({
            "section": name(section), "frames": frames, "encoded_bytes": encoded, "decoded_bytes": decoded,
        })).collect::<Vec<_>>(),
    })
}
