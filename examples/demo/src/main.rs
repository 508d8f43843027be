//! The whole of skiff in a minute: two releases of a small image, the delta between them, and a device that takes it.
//!
//! `cargo run --release --bin demo` needs neither network nor root.

mod images;

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use skiff::apply::{Expectation, Options, Phase, SeekableDelta, Store, StoreOptions};
use skiff::diff::Report;
use skiff::fs::{Control, Ownership};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let work = tempfile::tempdir()?;
    let place = |name: &str| work.path().join(name);
    let image = |release: u32| format!("oci:{}:sensor-{release}", place("images").display());

    step("Two releases of an image are built: two layers each, with executables, text and compressed files.");
    images::write(&place("images"))?;

    step("The server makes the delta between them.");
    let delta = place("update.skiff");
    let report = skiff::diff(
        &image(1).parse()?,
        &image(2).parse()?,
        &skiff::diff::Options::default(),
        File::create(&delta)?,
    )?;
    compare(&report);

    step("A device installs release 1 and runs it.");
    let store = place("store");
    let installed = skiff::install(&store, &image(1).parse()?, &rootless())?;
    println!("  current release: {}", installed.release);
    run(&store)?;

    step("A delta that was damaged on its way is refused; release 1 stays.");
    refuse(&store, &delta, &report)?;
    run(&store)?;

    step("The delta is applied: written, proved, read back from the disk, swapped in.");
    apply(&store, &delta, &report)?;
    run(&store)?;

    step("Release 2 is not wanted after all: rolling back is one rename.");
    let rolled_back = Store::open(&store, &StoreOptions::default())?.rollback(&rootless())?;
    println!("  current release: {}", rolled_back.to);
    run(&store)
}

/// Owners and devices are recorded, not applied, so that anybody can run this.
fn rootless() -> Options<'static> {
    Options { ownership: Ownership::Record, ..Options::default() }
}

fn step(text: &str) {
    println!("\n* {text}");
}

fn compare(report: &Report) {
    let pull = report.pull_bytes.unwrap_or_default();
    println!("  full pull: {}", BinaryBytes(pull));
    println!("  delta:     {}", BinaryBytes(report.delta_bytes));
    println!("  the delta is {:.1} % of the pull", report.delta_bytes as f64 * 100.0 / pull.max(1) as f64);
}

/// Runs the program of the store's current release.
fn run(store: &Path) -> Result<()> {
    let program: PathBuf = store.join("current/rootfs/app/sensor");
    let output = Command::new(&program).output()?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", program.display(), output.status).into());
    }
    String::from_utf8(output.stdout)?.lines().for_each(|line| println!("  > {line}"));
    Ok(())
}

fn refuse(store: &Path, delta: &Path, report: &Report) -> Result<()> {
    let mut bytes = fs::read(delta)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let mut damaged = SeekableDelta::new(std::io::Cursor::new(bytes));
    match skiff::apply(store, &mut damaged, Expectation::Release(report.target), &rootless()) {
        Err(error) => println!("  refused: {error}"),
        Ok(_) => return Err("a damaged delta was applied".into()),
    }
    Ok(())
}

fn apply(store: &Path, delta: &Path, report: &Report) -> Result<()> {
    let bar = ProgressBar::no_length();
    bar.set_style(
        ProgressStyle::with_template("  {msg:10} [{bar:40}] {bytes}/{total_bytes}")?.progress_chars("=> "),
    );
    let on_phase = |phase: Phase, total: u64| {
        bar.set_message(format!("{phase:?}").to_lowercase());
        bar.set_length(total);
        bar.set_position(0);
    };
    let progress = |bytes: u64| bar.inc(bytes);
    let control = Control { progress: Some(&progress), ..Control::default() };
    let options = Options { control, on_phase: Some(&on_phase), ..rootless() };
    let mut source = SeekableDelta::new(File::open(delta)?);
    let applied = skiff::apply(store, &mut source, Expectation::Release(report.target), &options)?;
    bar.finish_and_clear();
    println!("  current release: {}", applied.release);
    Ok(())
}
