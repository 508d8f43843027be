//! `skiff sign-tree`: what a device tells of itself to a server that does not know it.

use std::time::Instant;

use serde_json::json;
use skiff::fs::Control;
use skiff::signature::{Options, Report};

use crate::args;
use crate::failure::Failure;
use crate::output::Destination;
use crate::print::{Lines, bytes, say};
use crate::progress::{Bar, cancel_on_signals};

pub(crate) fn run(args: &args::SignTree) -> Result<(), Failure> {
    let started = Instant::now();
    let cancel = cancel_on_signals()?;
    let bar = Bar::new(args.print, "signing");
    let progress = |count| bar.advance(count);
    let control = Control { cancel: Some(&cancel), progress: Some(&progress), ..Control::default() };
    let mut options = Options::default().with_control(control);
    if let Some(threads) = args.threads {
        options = options.with_threads(threads);
    }
    let destination = Destination::new(Some(&args.output), args.print)?;
    let report = destination.write(|out| Ok(skiff::sign(args.store(), &options, out)?))?;
    bar.finish();
    if destination.is_standard() {
        return Ok(());
    }
    let seconds = started.elapsed().as_secs_f64();
    if args.print.json {
        say!("{}", as_json(&report, seconds));
        return Ok(());
    }
    let mut lines = Lines::default();
    lines.add("release", report.release);
    lines.add("signed", format!("{} in {} files", bytes(report.signed_bytes), report.signed));
    lines.add("signature", bytes(report.signature_bytes));
    lines.add("took", format!("{seconds:.1} s"));
    lines.print()
}

fn as_json(report: &Report, seconds: f64) -> serde_json::Value {
    json!({
        "release": report.release.to_string(),
        "signature_bytes": report.signature_bytes,
        "signed": report.signed,
        "signed_bytes": report.signed_bytes,
        "seconds": seconds,
    })
}
