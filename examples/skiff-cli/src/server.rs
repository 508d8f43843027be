//! The commands of a server, or of whoever makes deltas.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use skiff::ImagePair;
use skiff::diff::{Level, Options, Report};
use skiff::fs::{Control, Ownership, Root, WriteOptions, write_tree};
use skiff::image::{FlatImage, FlattenOptions, Image, ImageRef, OpenOptions, write_tar};

use crate::args::{self, Output};
use crate::failure::Failure;
use crate::print::{Lines, bytes, say, share};
use crate::progress::{Bar, cancel_on_signals};

/// `skiff diff`
pub(crate) fn diff(args: &args::Diff) -> Result<(), Failure> {
    let started = Instant::now();
    let (base, target) = (reference(&args.base)?, reference(&args.target)?);
    let cancel = cancel_on_signals()?;
    let pair = {
        let bar = Bar::new(args.print, "flattening");
        let progress = |count| bar.advance(count);
        let control = Control { cancel: Some(&cancel), progress: Some(&progress), ..Control::default() };
        ImagePair::open(&base, &target, control)?
    };

    let bar = Bar::new(args.print, "comparing");
    bar.expect(pair.target.tree.content_bytes_missing_from(&pair.base.tree));
    let progress = |count| bar.advance(count);
    let level = match args.level {
        args::Level::Fast => Level::Fast,
        args::Level::Default => Level::Default,
        args::Level::Best => Level::Best,
    };
    let control = Control { cancel: Some(&cancel), progress: Some(&progress), ..Control::default() };
    let options = Options { level, threads: args.threads, control, ..Options::default() };
    let report = write_file(&args.output, |out| Ok(pair.diff(&options, out)?))?;
    bar.finish();
    tell(&report, args.print, started)
}

/// `skiff flatten`
pub(crate) fn flatten(args: &args::Flatten) -> Result<(), Failure> {
    let started = Instant::now();
    let image = reference(&args.image)?;
    let cancel = cancel_on_signals()?;
    let bar = Bar::new(args.print, "flattening");
    let progress = |count| bar.advance(count);
    let control = Control { cancel: Some(&cancel), progress: Some(&progress), ..Control::default() };
    let flat = open(&image, control)?;
    bar.finish();

    let bar = Bar::new(args.print, "writing");
    bar.expect(flat.tree.totals().content_bytes);
    let progress = |count| bar.advance(count);
    let control = Control { progress: Some(&progress), ..control };
    match (&args.output, &args.rootfs) {
        (Some(output), _) if output.as_os_str() == "-" => {
            write_tar(&flat.tree, &flat.contents, io::stdout().lock(), control)?;
        }
        (Some(output), _) => {
            write_file(output, |out| Ok(write_tar(&flat.tree, &flat.contents, out, control)?))?;
        }
        (None, Some(directory)) => {
            let ownership = if args.rootless { Ownership::Record } else { Ownership::Apply };
            if !args.rootless && !skiff::fs::can_apply_ownership() {
                return Err(Failure::usage(
                    "giving files their owners takes root; run as root, or with --rootless",
                ));
            }
            std::fs::create_dir_all(directory).map_err(|error| Failure::io("making", directory, error))?;
            let options = WriteOptions::default().with_ownership(ownership).with_control(control);
            write_tree(&Root::open(directory)?, &flat.tree, &flat.contents, &options)?;
        }
        (None, None) => return Err(Failure::usage("--output or --rootfs says where to write")),
    }
    bar.finish();
    if args.output.as_ref().is_some_and(|output| output.as_os_str() == "-") {
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

/// An image that was named on the command line.
pub(crate) fn reference(text: &str) -> Result<ImageRef, Failure> {
    Ok(text.parse::<ImageRef>()?)
}

fn open(image: &ImageRef, control: Control<'_>) -> Result<FlatImage, Failure> {
    let image = Image::open(image, &OpenOptions::default().with_control(control))?;
    Ok(image.flatten(&FlattenOptions::default().with_control(control))?)
}

/// Writes beside the file and renames at the end, so that what stands under its name is whole. What is there and no file, such
/// as `/dev/null` or a pipe, is written to as it stands: renaming would replace it.
pub(crate) fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error| Failure::io("writing", path, error);
    if std::fs::metadata(path).is_ok_and(|known| !known.is_file()) {
        let file = File::options().write(true).open(path).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let result = write(&mut out)?;
        out.flush().map_err(failed)?;
        return Ok(result);
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let file = File::create(part).map_err(|error| Failure::io("writing", part, error))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let written = write(&mut out).and_then(|result| {
        out.flush()
            .and_then(|()| out.get_ref().sync_all())
            .and_then(|()| std::fs::rename(part, path))
            .map_err(failed)?;
        Ok(result)
    });
    if written.is_err() {
        // What is there is of no use, and the first error is the one to tell.
        let _ = std::fs::remove_file(part);
    }
    written
}

fn tell(report: &Report, output: Output, started: Instant) -> Result<(), Failure> {
    if output.json {
        say!("{}", as_json(report, started));
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
    if report.is_smaller_than_pull() == Some(false) {
        eprintln!("skiff: note: the delta is not smaller than pulling the layers that the old image lacks");
    }
    Ok(())
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
