//! The commands that go over a registry: deltas beside the images that they lead to.

use std::time::Instant;

use serde_json::{Value, json};
use skiff::fs::Control;
use skiff::registry::{DeltaInfo, FoundDelta, ListedBy, Reference};
use skiff::{DeltaChoice, PushOptions};

use crate::args;
use crate::failure::Failure;
use crate::images::client;
use crate::keys;
use crate::print::{Lines, bytes, say};
use crate::progress::{Bar, cancel_on_signals};

/// `skiff push`
pub(crate) fn push(args: &args::Push) -> Result<(), Failure> {
    let started = Instant::now();
    let target: Reference = args.target.parse()?;
    let mut options = PushOptions::default();
    options.platform.clone_from(&args.remote.platform.platform);
    options.base = args.base_image.as_deref().map(str::parse).transpose()?;
    let cancel = cancel_on_signals()?;
    let bar = Bar::new(args.remote.print, "pushing");
    if let Ok(file) = std::fs::metadata(&args.delta) {
        bar.expect(file.len());
    }
    let progress = |count| bar.advance(count);
    let control = Control { cancel: Some(&cancel), progress: Some(&progress), ..Control::default() };
    let client = client(&args.remote.registries)?.with_control(control);
    let pushed = skiff::push_delta(&client, &args.delta, &target, &options)?;
    bar.finish();
    let listed_by = match pushed.listed_by {
        ListedBy::Referrers => "referrers",
        ListedBy::Tag => "tag",
        _ => "other",
    };
    if args.remote.print.json {
        let mut value = as_json(&pushed.info);
        value["manifest"] = json!(pushed.manifest.digest);
        value["listed_by"] = json!(listed_by);
        value["transferred_bytes"] = json!(pushed.transferred);
        value["seconds"] = json!(started.elapsed().as_secs_f64());
        say!("{value}");
        return Ok(());
    }
    let mut lines = Lines::default();
    tell(&mut lines, &pushed.info);
    lines.add("artifact", format!("docker://{}@{}", target.repository(), pushed.manifest.digest));
    lines.add("listed by", listed_by);
    let sent =
        if pushed.transferred == 0 { "nothing: it is there".into() } else { bytes(pushed.transferred) };
    lines.add("sent", format!("{sent}, in {:.1} s", started.elapsed().as_secs_f64()));
    lines.print()
}

/// `skiff find`
pub(crate) fn find(args: &args::Find) -> Result<(), Failure> {
    let (target, choice) = wanted(&args.choice, args.base.as_deref())?;
    let cancel = cancel_on_signals()?;
    let control = Control { cancel: Some(&cancel), ..Control::default() };
    let client = client(&args.choice.remote.registries)?.with_control(control);
    let found = skiff::find_deltas(&client, &target, &choice)?;
    if args.choice.remote.print.json {
        let deltas: Vec<Value> = found.iter().map(found_as_json).collect();
        say!("{}", json!({ "target": target.to_string(), "deltas": deltas }));
        return Ok(());
    }
    if found.is_empty() {
        eprintln!("skiff: note: there is no such delta");
    }
    for (index, found) in found.iter().enumerate() {
        if index > 0 {
            say!("");
        }
        let mut lines = Lines::default();
        tell(&mut lines, &found.info);
        lines.add("artifact", format!("docker://{}@{}", target.repository(), found.manifest.digest));
        lines.print()?;
    }
    Ok(())
}

/// `skiff pull`
pub(crate) fn pull(args: &args::Pull) -> Result<(), Failure> {
    let started = Instant::now();
    let print = args.choice.remote.print;
    let (target, choice) = wanted(&args.choice, Some(&args.base))?;
    let cancel = cancel_on_signals()?;
    let bar = Bar::new(print, "pulling");
    let progress = |count| bar.advance(count);
    let control = Control { cancel: Some(&cancel), progress: Some(&progress), ..Control::default() };
    let client = client(&args.choice.remote.registries)?.with_control(control);
    let (found, pulled) = skiff::pull_delta(&client, &target, &choice, &args.output)?;
    bar.finish();
    if print.json {
        let mut value = found_as_json(&found);
        value["transferred_bytes"] = json!(pulled.transferred);
        value["reused_bytes"] = json!(pulled.reused);
        value["seconds"] = json!(started.elapsed().as_secs_f64());
        say!("{value}");
        return Ok(());
    }
    let mut lines = Lines::default();
    tell(&mut lines, &found.info);
    let fetched = format!("{}, in {:.1} s", bytes(pulled.transferred), started.elapsed().as_secs_f64());
    lines.add("fetched", fetched);
    lines.print()
}

fn wanted(args: &args::Choice, base: Option<&str>) -> Result<(Reference, DeltaChoice), Failure> {
    let mut choice = DeltaChoice::default();
    choice.platform.clone_from(&args.remote.platform.platform);
    choice.base = base.map(str::parse).transpose().map_err(Failure::usage)?;
    choice.max_decoder_memory = args.max_decoder_memory;
    choice.signed_by = keys::public(&args.require_signature)?;
    Ok((args.target.parse()?, choice))
}

fn tell(lines: &mut Lines, info: &DeltaInfo) {
    for base in &info.bases {
        lines.add("base", base);
    }
    lines.add("target", info.target);
    lines.add("delta", bytes(info.bytes));
    lines.add("to write", bytes(info.new_bytes));
    lines.add("memory to apply", bytes(info.decoder_memory));
    for key in &info.signed_by {
        lines.add("says it is signed by", key);
    }
}

fn found_as_json(found: &FoundDelta) -> Value {
    let mut value = as_json(&found.info);
    value["manifest"] = json!(found.manifest.digest);
    value
}

fn as_json(info: &DeltaInfo) -> Value {
    json!({
        "bases": info.bases.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "base_manifest": info.base_manifest.map(|digest| digest.to_string()),
        "target": info.target.to_string(),
        "delta_bytes": info.bytes,
        "new_bytes": info.new_bytes,
        "decoder_memory": info.decoder_memory,
        "format": info.format,
        "signed_by": info.signed_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "codecs": info.codecs.iter().map(|codec| json!({"id": codec.id, "version": codec.version})).collect::<Vec<_>>(),
    })
}
