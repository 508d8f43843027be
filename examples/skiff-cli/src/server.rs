//! The commands of a server, or of whoever makes deltas.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;
use skiff::diff::{Level, Options, Report};
use skiff::fs::{Control, Ownership, Root, WriteOptions, write_tree};
use skiff::image::{FlattenOptions, PulledLayer, write_tar};
use skiff::{ImagePair, SignedPair};

use crate::args::{self, Output};
use crate::device::CancellableInput;
use crate::explain;
use crate::failure::Failure;
use crate::images::Images;
use crate::keys;
use crate::output::Destination;
use crate::print::{Lines, bytes, say, share};
use crate::progress::{Bar, cancel_on_signals};

/// `skiff diff`
pub(crate) fn diff(args: &args::Diff) -> Result<(), Failure> {
    let started = Instant::now();
    let destination = Destination::new(Some(&args.output), args.print)?;
    if args.explain && destination.is_standard() {
        return Err(Failure::usage(
            "the delta goes to standard output, and so would what --explain tells; name a file",
        ));
    }
    let keys = keys::private(&args.sign)?;
    let cancel = cancel_on_signals()?;
    let pair = Pair::open(args, &cancel)?;

    let bar = Bar::new(args.print, "comparing");
    bar.expect(pair.new_bytes());
    let progress = |count| bar.advance(count);
    let level = match args.level {
        args::Level::Fast => Level::Fast,
        args::Level::Default => Level::Default,
        args::Level::Best => Level::Best,
    };
    let control = Control { cancel: Some(&cancel), progress: Some(&progress), ..Control::default() };
    let sign = |header: &_| skiff::keys::signatures(header, &keys);
    let default = Options::default();
    let options = Options {
        level,
        threads: args.threads,
        memory: args.memory.unwrap_or(default.memory),
        spool: args.spool.as_deref(),
        max_decoder_memory: args.max_decoder_memory,
        explain: args.explain,
        sign: (!keys.is_empty()).then_some(&sign),
        control,
        ..default
    };
    let report = destination.write(|out| match &pair {
        Pair::Images(pair) => Ok(pair.diff(&options, out)?),
        Pair::Signed(pair) => Ok(pair.diff(&options, out)?),
    })?;
    bar.finish();
    let (missing, layers) = match &pair {
        Pair::Images(pair) => ("the layers that the old image lacks", &pair.pulled_layers),
        Pair::Signed(pair) => ("all layers of the image", &pair.pulled_layers),
    };
    if report.is_smaller_than_pull() == Some(false) {
        eprintln!("skiff: note: the delta is not smaller than pulling {missing}");
    }
    if destination.is_standard() { Ok(()) } else { tell(&report, layers, args.print, started) }
}

/// What a delta is made of.
enum Pair {
    Images(ImagePair),
    Signed(SignedPair),
}

fn cancelled() -> Failure {
    Failure::new(Failure::CANCELLED, "cancelled")
}

impl Pair {
    fn open(args: &args::Diff, cancel: &AtomicBool) -> Result<Self, Failure> {
        let unwatched = Control { cancel: Some(cancel), ..Control::default() };
        let images = Images {
            args: &args.images,
            spool: args.spool.as_deref(),
            print: args.print,
            control: unwatched,
        };
        match (&args.against, &args.pair[..]) {
            (None, [base, target]) => {
                let [base, target] = images.open([base, target])?;
                let bar = Bar::new(args.print, "flattening");
                let progress = |count| bar.advance(count);
                let control = Control { progress: Some(&progress), ..unwatched };
                Ok(Self::Images(ImagePair::flatten(&base, &target, control)?))
            }
            (Some(signature), [target]) => {
                let [target] = images.open([target])?;
                let bar = Bar::new(args.print, "flattening");
                let progress = |count| bar.advance(count);
                let control = Control { progress: Some(&progress), ..unwatched };
                if signature.as_os_str() == "-" {
                    let input = CancellableInput { cancel };
                    let pair = SignedPair::flatten(input, &target, control);
                    let is_cancelled = cancel.load(Ordering::Relaxed);
                    let told = |error: skiff::Error| if is_cancelled { cancelled() } else { error.into() };
                    return Ok(Self::Signed(pair.map_err(told)?));
                }
                let file = File::open(signature).map_err(|error| Failure::io("opening", signature, error))?;
                let pair = SignedPair::flatten(file, &target, control);
                Ok(Self::Signed(pair.map_err(|error| match error {
                    error @ skiff::Error::Signature(_) => Failure::from(error).of_file(signature),
                    error => error.into(),
                })?))
            }
            (None, _) => Err(Failure::usage("diff takes two images, or --against SIGNATURE and one")),
            (Some(_), _) => {
                Err(Failure::usage("with --against, diff takes one image: the one that devices shall have"))
            }
        }
    }

    /// Bytes of contents that the base lacks.
    fn new_bytes(&self) -> u64 {
        match self {
            Self::Images(pair) => pair.target.tree.content_bytes_missing_from(&pair.base.tree),
            Self::Signed(pair) => pair.target.tree.content_bytes_missing_from(pair.base.tree()),
        }
    }
}

/// `skiff flatten`
pub(crate) fn flatten(args: &args::Flatten) -> Result<(), Failure> {
    let started = Instant::now();
    let output = args.output.as_deref().map(|path| Destination::new(Some(path), args.print)).transpose()?;
    let cancel = cancel_on_signals()?;
    let control = Control { cancel: Some(&cancel), ..Control::default() };
    let images = Images { args: &args.images, spool: None, print: args.print, control };
    let [image] = images.open([&args.image])?;
    let bar = Bar::new(args.print, "flattening");
    let progress = |count| bar.advance(count);
    let control = Control { progress: Some(&progress), ..control };
    let flat = image.flatten(&FlattenOptions::default().with_control(control))?;
    bar.finish();

    let bar = Bar::new(args.print, "writing");
    bar.expect(flat.tree.totals().content_bytes);
    let progress = |count| bar.advance(count);
    let control = Control { progress: Some(&progress), ..control };
    match (output, &args.rootfs) {
        (Some(output), _) => output.write(|out| Ok(write_tar(&flat.tree, &flat.contents, out, control)?))?,
        (None, Some(directory)) => {
            let ownership = if args.rootless { Ownership::Record } else { Ownership::Apply };
            if !args.rootless && !skiff::fs::can_apply_ownership() {
                return Err(Failure::usage(
                    "giving files their owners takes root; run as root, or with --rootless",
                ));
            }
            std::fs::create_dir_all(directory).map_err(|error| Failure::io("making", directory, error))?;
            let options =
                WriteOptions::default().with_ownership(ownership).with_all_threads().with_control(control);
            write_tree(&Root::open(directory)?, &flat.tree, &flat.contents, &options)?;
        }
        (None, None) => return Err(Failure::usage("--output or --rootfs says where to write")),
    }
    bar.finish();
    if output.is_some_and(Destination::is_standard) {
        return Ok(());
    }
    let totals = flat.tree.totals();
    if args.print.json {
        say!(
            "{}",
            json!({
                "tree": flat.tree.digest().to_string(),
                "entries": totals.entries,
                "inodes": totals.inodes,
                "content_bytes": totals.content_bytes,
                "seconds": started.elapsed().as_secs_f64(),
            })
        );
    } else {
        let mut lines = Lines::default();
        lines.add("tree", flat.tree.digest());
        lines.add("entries", format!("{}, {} inodes", totals.entries, totals.inodes));
        lines.add("contents", bytes(totals.content_bytes));
        lines.add("took", format!("{:.1} s", started.elapsed().as_secs_f64()));
        lines.print()?;
    }
    Ok(())
}

fn tell(report: &Report, layers: &[PulledLayer], output: Output, started: Instant) -> Result<(), Failure> {
    if output.json {
        let mut value = as_json(report, started);
        if let Some(explanation) = &report.explanation {
            value["explanation"] = explain::as_json(explanation, layers);
        }
        say!("{value}");
        return Ok(());
    }
    let mut lines = Lines::default();
    lines.add("base", report.base);
    lines.add("target", report.target);
    lines.add("delta", bytes(report.delta_bytes));
    if let Some(pull) = report.pull_bytes {
        lines.add(
            "full pull",
            match share(report.delta_bytes, pull) {
                Some(share) if report.is_smaller_than_pull() == Some(false) => {
                    format!("{}; the delta is {share} of it and not smaller: pull instead", bytes(pull))
                }
                Some(share) => format!("{}; the delta is {share} of it", bytes(pull)),
                None => "nothing: the old image has every layer".to_owned(),
            },
        );
    }
    lines.add("new content", format!("{} of {}", bytes(report.new_bytes), bytes(report.target_bytes)));
    for used in &report.codecs {
        let made = format!("{} in {} records", bytes(used.output_bytes), used.records);
        lines.add(&format!("by {}", used.codec.name()), made);
    }
    lines.add("memory to apply", bytes(report.decoder_memory));
    lines.add("took", format!("{:.1} s", started.elapsed().as_secs_f64()));
    lines.print()?;
    report.explanation.as_ref().map_or(Ok(()), |explanation| explain::print(explanation, layers))
}

fn as_json(report: &Report, started: Instant) -> serde_json::Value {
    json!({
        "base": report.base.to_string(),
        "target": report.target.to_string(),
        "delta_bytes": report.delta_bytes,
        "pull_bytes": report.pull_bytes,
        "smaller_than_pull": report.is_smaller_than_pull(),
        "frames": report.frames,
        "target_bytes": report.target_bytes,
        "new_bytes": report.new_bytes,
        "new_contents": report.new_contents,
        "unchanged_bytes": report.unchanged_bytes,
        "tree_section_bytes": report.tree_section_bytes,
        "decoder_memory": report.decoder_memory,
        "codecs": report.codecs.iter().map(|used| json!({
            "codec": used.codec.name(),
            "records": used.records,
            "output_bytes": used.output_bytes,
            "payload_bytes": used.payload_bytes,
        })).collect::<Vec<_>>(),
        "seconds": started.elapsed().as_secs_f64(),
    })
}
