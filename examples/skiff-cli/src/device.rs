//! The commands of a device.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Value, json};
use skiff::apply::{
    Applied, ApplyError, ErrorClass, Expectation, InstallOutcome, LinkPolicy, OnePassDelta, Options, Origin,
    Outcome, Phase, ReleaseInfo, SeekableDelta, Sharing, Store, StoreOptions, Trial,
};
use skiff::fs::{Control, Ownership};
use skiff::tree::ReleaseId;

use crate::args::{self, InStore, Output, Staging};
use crate::failure::Failure;
use crate::images::Images;
use crate::print::{Lines, bytes, say};
use crate::progress::{Bar, cancel_on_signals};

/// What every command on a store has: a bar that tells of its phases, and signals that end it.
struct Watch {
    bar: Bar,
    cancel: Arc<AtomicBool>,
    started: Instant,
}

impl Watch {
    fn new(output: Output) -> Result<Self, Failure> {
        Ok(Self { bar: Bar::new(output, "reading"), cancel: cancel_on_signals()?, started: Instant::now() })
    }

    /// Calls with options that are watched.
    fn run<T>(
        &self,
        staging: Option<&Staging>,
        call: impl FnOnce(&Options<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let on_phase = |phase: Phase, total: u64| {
            self.bar.rename(match phase {
                Phase::Writing => "writing",
                Phase::Completing => "completing",
                Phase::Syncing => "syncing",
                Phase::Verifying => "verifying",
                _ => "working",
            });
            self.bar.expect(total);
        };
        let progress = |count: u64| self.bar.advance(count);
        let control = Control { cancel: Some(&self.cancel), progress: Some(&progress), ..Control::default() };
        let mut options = Options { control, on_phase: Some(&on_phase), ..Options::default() };
        if let Some(staging) = staging {
            options.trial_starts = staging.trial;
            if staging.rootless {
                options.ownership = Ownership::Record;
            }
            if staging.hard_links {
                options.links = LinkPolicy::HardLinkUnchanged;
            }
        }
        let result = call(&options);
        self.bar.finish();
        result
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

/// Standard input that a signal interrupts while it waits: reads go on after a signal by themselves, for ever where
/// nothing comes.
pub(crate) struct CancellableInput<'a> {
    pub(crate) cancel: &'a AtomicBool,
}

impl Read for CancellableInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = io::stdin();
        let patience = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(io::Error::other("cancelled"));
            }
            match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&patience)) {
                Ok(0) | Err(Errno::INTR) => {}
                // Past the buffer of `Stdin`, which `poll` does not know.
                Ok(_) => return Ok(rustix::io::read(&input, buffer)?),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open(path: &Path) -> Result<Store, Failure> {
    Ok(Store::open(path, &StoreOptions::default())?)
}

/// `skiff install`
pub(crate) fn install(args: &args::Install) -> Result<(), Failure> {
    let watch = Watch::new(args.print)?;
    let installed = watch.run(Some(&args.staging), |options| {
        let images = Images { args: &args.images, spool: None, print: args.print, control: options.control };
        let [image] = images.open([&args.image])?;
        Ok(skiff::install_image(&args.store.path, &image, options)?)
    })?;
    let outcome = match installed.outcome {
        InstallOutcome::Installed => "installed",
        InstallOutcome::Repaired => "repaired",
        InstallOutcome::AlreadyCurrent => "already-current",
        _ => "done",
    };
    let seconds = watch.seconds();
    if args.print.json {
        say!(
            "{}",
            json!({
                "release": installed.release.to_string(),
                "previous": installed.previous.map(|id| id.to_string()),
                "outcome": outcome,
                "seconds": seconds,
            })
        );
    } else {
        let mut lines = Lines::default();
        lines.add("release", installed.release);
        lines.add("previous", optional(installed.previous));
        lines.add("outcome", format!("{outcome}, in {seconds:.1} s"));
        lines.print()?;
    }
    warn(installed.leftover.as_ref());
    Ok(())
}

/// `skiff apply`
pub(crate) fn apply(args: &args::Apply) -> Result<(), Failure> {
    let target = match &args.target {
        Some(id) => Expectation::Release(id.parse().map_err(Failure::usage)?),
        None => Expectation::TrustDelta,
    };
    let signers = args.signers.keys()?;
    let store = open(&args.store.path)?;
    let watch = Watch::new(args.print)?;
    let applied = watch.run(Some(&args.staging), |options| {
        let options = &Options { signed_by: signers.as_deref(), ..options.clone() };
        if args.delta.as_os_str() == "-" {
            let input = CancellableInput { cancel: &watch.cancel };
            let applied = store.apply(&mut OnePassDelta::new(input), target, options);
            let is_cancelled = watch.cancel.load(Ordering::Relaxed);
            return applied.map_err(|error| if is_cancelled { Failure::cancelled() } else { error.into() });
        }
        let file = File::open(&args.delta).map_err(|error| Failure::io("opening", &args.delta, error))?;
        let applied = store.apply(&mut SeekableDelta::new(file), target, options);
        applied.map_err(|error| {
            use ErrorClass::{CorruptInput, Untrusted, WrongRelease};
            let is_of_delta = matches!(error.class(), CorruptInput | Untrusted | WrongRelease);
            let failure = Failure::from(error);
            if is_of_delta { failure.of_file(&args.delta) } else { failure }
        })
    })?;
    report_applied(&applied, args.print, watch.seconds())?;
    warn(applied.leftover.as_ref());
    Ok(())
}

fn report_applied(applied: &Applied, print: Output, seconds: f64) -> Result<(), Failure> {
    let (outcome, resumed_at) = match applied.outcome {
        Outcome::Applied => ("applied", None),
        Outcome::Resumed { offset } => ("resumed", Some(offset)),
        Outcome::Reused => ("reused", None),
        Outcome::AlreadyCurrent => ("already-current", None),
        _ => ("done", None),
    };
    if print.json {
        say!(
            "{}",
            json!({
                "release": applied.release.to_string(),
                "previous": applied.previous.map(|id| id.to_string()),
                "outcome": outcome,
                "resumed_at": resumed_at,
                "written_bytes": applied.written_bytes,
                "sharing": sharing_as_json(&applied.sharing),
                "seconds": seconds,
            })
        );
    } else {
        let mut lines = Lines::default();
        lines.add("release", applied.release);
        lines.add("previous", optional(applied.previous));
        let resumed = resumed_at.map_or(String::new(), |offset| format!(" at byte {offset} of the delta"));
        lines.add("outcome", format!("{outcome}{resumed}, in {seconds:.1} s"));
        if matches!(applied.outcome, Outcome::Applied | Outcome::Resumed { .. }) {
            lines.add("written", bytes(applied.written_bytes));
            lines.add("unchanged", sharing_as_text(&applied.sharing));
        }
        lines.print()?;
    }
    Ok(())
}

/// `skiff verify`
pub(crate) fn verify(args: &InStore) -> Result<(), Failure> {
    let store = open(&args.store.path)?;
    let watch = Watch::new(args.print)?;
    let report = watch.run(None, |options| Ok(store.verify(options)?))?;
    if args.print.json {
        say!(
            "{}",
            json!({
                "release": report.release.to_string(),
                "sound": report.is_sound(),
                "entries": report.entries,
                "content_bytes": report.content_bytes,
                "ownership_applied": report.ownership == Ownership::Apply,
                "mismatches": report.mismatches.iter().map(|wrong| json!({
                    "path": wrong.path.to_string(), "what": wrong.what.to_string(),
                })).collect::<Vec<_>>(),
                "seconds": watch.seconds(),
            })
        );
    } else {
        for wrong in &report.mismatches {
            say!("{wrong}");
        }
        let mut lines = Lines::default();
        lines.add("release", report.release);
        let recorded =
            if report.ownership == Ownership::Record { "; owners and devices are only recorded" } else { "" };
        let found = if report.is_sound() {
            "sound".into()
        } else {
            format!("{} paths are wrong", report.mismatches.len())
        };
        lines.add("found", format!("{found}{recorded}"));
        lines.add("read", format!("{} entries, {}", report.entries, bytes(report.content_bytes)));
        lines.print()?;
    }
    if report.is_sound() {
        return Ok(());
    }
    let what = format!("release {} is not as it was written; install the whole image again", report.release);
    Err(Failure::new(Failure::DAMAGED, what).reported())
}

/// `skiff rollback`
pub(crate) fn rollback(args: &InStore) -> Result<(), Failure> {
    let store = open(&args.store.path)?;
    let back = Watch::new(args.print)?.run(None, |options| Ok(store.rollback(options)?))?;
    if args.print.json {
        say!("{}", json!({ "from": back.from.to_string(), "to": back.to.to_string() }));
    } else {
        let mut lines = Lines::default();
        lines.add("rolled back from", back.from);
        lines.add("current is now", back.to);
        lines.print()?;
    }
    Ok(())
}

/// `skiff recover`
pub(crate) fn recover(args: &InStore) -> Result<(), Failure> {
    let store = open(&args.store.path)?;
    let recovered = Watch::new(args.print)?.run(None, |options| Ok(store.recover(options)?))?;
    if args.print.json {
        say!(
            "{}",
            json!({
                "removed": recovered.removed.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "staged": recovered.staged.map(|staged| staged.release.to_string()),
                "starts_taken": recovered.starts_taken,
                "rolled_back_to": recovered.rolled_back.map(|back| back.to.to_string()),
                "unresolved": recovered.unresolved.as_ref().map(ToString::to_string),
            })
        );
    } else {
        for path in &recovered.removed {
            say!("removed {path}");
        }
        if let Some(staged) = recovered.staged {
            say!("an update to {} waits to go on at byte {}", staged.release, staged.resume_offset);
        }
        if let Some(back) = &recovered.rolled_back {
            say!("rolled back from {} to {}: its trial is over", back.from, back.to);
        }
        if let Some(starts) = recovered.starts_taken {
            say!("the current release is on trial: this is start {starts}");
        }
        let is_quiet =
            recovered.removed.is_empty() && recovered.staged.is_none() && recovered.starts_taken.is_none();
        if is_quiet && recovered.rolled_back.is_none() && recovered.unresolved.is_none() {
            say!("nothing to recover");
        }
    }
    match recovered.unresolved {
        Some(error) => Err(Failure::from(error).reported()),
        None => Ok(()),
    }
}

/// `skiff confirm`
pub(crate) fn confirm(args: &InStore) -> Result<(), Failure> {
    let release = open(&args.store.path)?.confirm()?;
    if args.print.json {
        say!("{}", json!({ "confirmed": release.to_string() }));
    } else {
        say!("confirmed {release}");
    }
    Ok(())
}

/// `skiff status`
pub(crate) fn status(args: &InStore) -> Result<(), Failure> {
    let status = open(&args.store.path)?.status()?;
    if args.print.json {
        say!(
            "{}",
            json!({
                "current": status.current.as_ref().map(info_as_json),
                "previous": status.previous.as_ref().map(info_as_json),
                "staged": status.staged.map(|staged| json!({
                    "release": staged.release.to_string(),
                    "resume_offset": staged.resume_offset,
                    "delta_bytes": staged.delta_bytes,
                })),
                "others": status.others.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        );
        return Ok(());
    }
    let mut lines = Lines::default();
    match &status.current {
        Some(current) => add_info(&mut lines, "current", current),
        None => lines.add("current", "none"),
    }
    if let Some(previous) = &status.previous {
        add_info(&mut lines, "previous", previous);
    }
    if let Some(staged) = status.staged {
        lines.add("interrupted update", staged.release);
        lines.add("  goes on at", format!("byte {} of {}", staged.resume_offset, staged.delta_bytes));
    }
    for other in &status.others {
        lines.add("also there", other);
    }
    lines.print()?;
    Ok(())
}

fn add_info(lines: &mut Lines, name: &str, info: &ReleaseInfo) {
    lines.add(name, info.id);
    lines.add("  holds", format!("{} entries, {}", info.entries, bytes(info.content_bytes)));
    let when = info.written_at.map_or(String::new(), |at| format!(", {}", ago(at)));
    lines.add(
        "  came by",
        match info.origin {
            Origin::Install => format!("a whole image{when}"),
            Origin::Apply { base, delta_bytes, .. } => {
                format!("a delta of {} from {base}{when}", bytes(delta_bytes))
            }
            _ => format!("a way this version does not know{when}"),
        },
    );
    lines.add(
        "  state",
        match info.trial {
            Trial::Confirmed => "confirmed".to_owned(),
            Trial::OnTrial { starts: None } => "not on trial".to_owned(),
            Trial::OnTrial { starts: Some(starts) } => {
                format!("on trial: {} of {starts} starts taken", info.starts_taken)
            }
            _ => "unknown".to_owned(),
        },
    );
    if info.ownership == Ownership::Record {
        lines.add("  owners", "recorded, not applied");
    }
}

fn info_as_json(info: &ReleaseInfo) -> Value {
    let (origin, delta_bytes) = match info.origin {
        Origin::Install => ("install", None),
        Origin::Apply { delta_bytes, .. } => ("apply", Some(delta_bytes)),
        _ => ("unknown", None),
    };
    let (confirmed, trial_starts) = match info.trial {
        Trial::OnTrial { starts } => (false, starts),
        _ => (true, None),
    };
    let since_1970 = info.written_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    json!({
        "release": info.id.to_string(),
        "previous": info.previous.map(|id| id.to_string()),
        "origin": origin,
        "delta_bytes": delta_bytes,
        "written_at": since_1970.map(|duration| duration.as_secs()),
        "ownership_applied": info.ownership == Ownership::Apply,
        "confirmed": confirmed,
        "trial_starts": trial_starts,
        "starts_taken": info.starts_taken,
        "entries": info.entries,
        "content_bytes": info.content_bytes,
    })
}

fn optional(release: Option<ReleaseId>) -> String {
    release.map_or("none".into(), |id| id.to_string())
}

/// How long ago, in the largest unit that suits.
fn ago(at: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(at).unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0..=119 => format!("{seconds} seconds ago"),
        120..=7199 => format!("{} minutes ago", seconds / 60),
        7200..=172_799 => format!("{} hours ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Tells of garbage that could not be collected: the command did what it was asked to all the same.
fn warn(leftover: Option<&ApplyError>) {
    if let Some(error) = leftover {
        eprintln!("skiff: note: what is not needed any more was not removed: {error}");
    }
}

fn sharing_as_text(sharing: &Sharing) -> String {
    let mut ways = Vec::new();
    for (count, way) in [
        (sharing.reflinked_bytes, "sharing blocks"),
        (sharing.hard_linked_bytes, "sharing inodes"),
        (sharing.copied_bytes, "copied"),
    ] {
        if count > 0 {
            ways.push(format!("{} {way}", bytes(count)));
        }
    }
    if ways.is_empty() { "nothing".into() } else { ways.join(", ") }
}

fn sharing_as_json(sharing: &Sharing) -> Value {
    json!({
        "reflinked_bytes": sharing.reflinked_bytes,
        "hard_linked_bytes": sharing.hard_linked_bytes,
        "copied_bytes": sharing.copied_bytes,
        "copied_for_metadata_bytes": sharing.copied_for_metadata_bytes,
    })
}
