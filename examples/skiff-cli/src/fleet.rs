//! The commands that manage a delta server: fleets, devices, releases and configuration.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use skiff_protocol::{
    Device, Fleet, FleetTarget, Move, Name, NewDevice, NewFleet, NewRelease, NewToken, Release, ReleaseState,
    Report, Text, VariableName, Variables,
};

use crate::args::{self, AtServer, ConfigCommand, DeviceCommand, FleetCommand, ReleaseCommand, Whose};
use crate::failure::Failure;
use crate::print::{bytes, say, thousands};
use crate::progress::{Bar, cancel_on_signals};
use crate::remote::Remote;

/// `skiff fleet`
pub(crate) fn fleet(args: &args::Fleet) -> Result<(), Failure> {
    match &args.command {
        FleetCommand::List { at } => {
            let fleets: Vec<Fleet> = Remote::new(at)?.get("/v1/fleets")?;
            show(at, &fleets, |fleet| {
                let target = match (fleet.target_number, fleet.target) {
                    (Some(number), Some(target)) => format!("release {number} ({target})"),
                    (None, Some(target)) => target.to_string(),
                    (_, None) => "no release".into(),
                };
                Ok(say!("{}  {target}  {} devices", fleet.name, thousands(fleet.devices)))
            })
        }
        FleetCommand::Create { name, at } => {
            let fleet: Fleet = Remote::new(at)?.post("/v1/fleets", &NewFleet { name: parse(name)? })?;
            show_one(at, &fleet, |fleet| Ok(say!("made the fleet {}", fleet.name)))
        }
        FleetCommand::Target { fleet, release, at } => {
            let (remote, fleet) = (Remote::new(at)?, parse::<Name>(fleet)?);
            let release = find_release(&remote, &fleet, release)?;
            let fleet: Fleet = remote.put(&format!("/v1/fleets/{fleet}/target"), &FleetTarget { release })?;
            show_one(at, &fleet, |fleet| Ok(say!("{} shall run {release}", fleet.name)))
        }
        FleetCommand::Remove { fleet, at } => {
            let fleet: Name = parse(fleet)?;
            Remote::new(at)?.delete(&format!("/v1/fleets/{fleet}"))?;
            done(at, &format!("removed the fleet {fleet}"))
        }
    }
}

/// `skiff device`
pub(crate) fn device(args: &args::Device) -> Result<(), Failure> {
    match &args.command {
        DeviceCommand::List { fleet, at } => {
            let path = match fleet {
                Some(fleet) => format!("/v1/fleets/{}/devices", parse::<Name>(fleet)?),
                None => "/v1/devices".into(),
            };
            let devices: Vec<Device> = Remote::new(at)?.get(&path)?;
            show(at, &devices, |device| Ok(say!("{}", line(device))))
        }
        DeviceCommand::Create { fleet, name, at } => {
            let path = format!("/v1/fleets/{}/devices", parse::<Name>(fleet)?);
            let token: NewToken = Remote::new(at)?.post(&path, &NewDevice { name: parse(name)? })?;
            show_one(at, &token, |made| Ok(say!("{}", made.token)))
        }
        DeviceCommand::Move { device, fleet, at } => {
            let path = format!("/v1/devices/{}/move", parse::<Name>(device)?);
            let device: Device = Remote::new(at)?.post(&path, &Move { fleet: parse(fleet)? })?;
            show_one(at, &device, |device| Ok(say!("{} belongs to {}", device.name, device.fleet)))
        }
        DeviceCommand::Token { device, at } => {
            let path = format!("/v1/devices/{}/token", parse::<Name>(device)?);
            let token: NewToken = Remote::new(at)?.act("POST", &path)?;
            show_one(at, &token, |made| Ok(say!("{}", made.token)))
        }
        DeviceCommand::Remove { device, at } => {
            let device: Name = parse(device)?;
            Remote::new(at)?.delete(&format!("/v1/devices/{device}"))?;
            done(at, &format!("removed the device {device}"))
        }
    }
}

/// `skiff release`
pub(crate) fn release(args: &args::Release) -> Result<(), Failure> {
    match &args.command {
        ReleaseCommand::List { fleet, at } => {
            let releases: Vec<Release> = Remote::new(at)?.get(&releases_of(&parse(fleet)?))?;
            show(at, &releases, tell)
        }
        ReleaseCommand::Create { fleet, image, platform, no_wait, at } => {
            let (remote, fleet) = (Remote::new(at)?, parse::<Name>(fleet)?);
            let mut release = begin(&remote, &fleet, (image, platform.as_deref()))?;
            if !no_wait {
                release = wait(&remote, at, release)?;
            }
            if let ReleaseState::Failed { problem } = &release.state {
                return Err(Failure::corrupt(format!("{image}: {problem}")));
            }
            show_one(at, &release, tell)
        }
        ReleaseCommand::Remove { fleet, number, at } => {
            let fleet: Name = parse(fleet)?;
            Remote::new(at)?.delete(&format!("{}/{number}", releases_of(&fleet)))?;
            done(at, &format!("removed release {number} of {fleet}"))
        }
    }
}

fn releases_of(fleet: &Name) -> String {
    format!("/v1/fleets/{fleet}/releases")
}

fn begin(remote: &Remote, fleet: &Name, (image, platform): (&str, Option<&str>)) -> Result<Release, Failure> {
    let sent =
        if image.starts_with("oci-archive:") { Some(parse::<skiff::image::ImageRef>(image)?) } else { None };
    match sent {
        Some(skiff::image::ImageRef::OciArchive { image: Some(_), .. }) => Err(Failure::usage(
            "an archive that is sent holds one image, which is not named: write one with skopeo copy",
        )),
        Some(skiff::image::ImageRef::OciArchive { file, .. }) => {
            // What a platform is called needs no escapes, and what does is none.
            let platform = platform.map(parse::<skiff::image::Platform>).transpose()?;
            let query = platform.map_or(String::new(), |platform| format!("?platform={platform}"));
            remote.upload(&format!("{}{query}", releases_of(fleet)), &file)
        }
        _ => {
            let body = NewRelease { image: image.into(), platform: platform.map(Into::into) };
            remote.post(&releases_of(fleet), &body)
        }
    }
}

/// How often a release is looked at.
const TICK: Duration = Duration::from_millis(300);

fn wait(remote: &Remote, at: &AtServer, mut release: Release) -> Result<Release, Failure> {
    let cancel = cancel_on_signals()?;
    let bar = Bar::new(at.print, "preparing");
    while release.state == ReleaseState::Preparing {
        if cancel.load(std::sync::atomic::Ordering::Relaxed) {
            let message =
                format!("no longer waited for; release {} of {} goes on", release.number, release.fleet);
            return Err(Failure::new(Failure::CANCELLED, message));
        }
        std::thread::sleep(TICK);
        release = remote.get(&format!("{}/{}", releases_of(&release.fleet), release.number))?;
    }
    bar.finish();
    Ok(release)
}

fn tell(release: &Release) -> Result<(), Failure> {
    let number = release.number;
    match &release.state {
        ReleaseState::Preparing => say!("{number}  being prepared"),
        ReleaseState::Ready { release, bytes: size, entries, .. } => {
            say!("{number}  {release}  {} paths, {} to pull", thousands(*entries), bytes(*size));
        }
        ReleaseState::Failed { problem } => say!("{number}  failed: {problem}"),
    }
    Ok(())
}

/// A release, by its name or by its number.
fn find_release(remote: &Remote, fleet: &Name, text: &str) -> Result<Text<skiff::tree::ReleaseId>, Failure> {
    if let Ok(release) = text.parse() {
        return Ok(release);
    }
    let number: u64 = text.parse().map_err(|_| {
        Failure::usage(format!(
            "{text:?} is no release: it takes 64 hexadecimal digits, or a release's number"
        ))
    })?;
    let release: Release = remote.get(&format!("{}/{number}", releases_of(fleet)))?;
    match release.state {
        ReleaseState::Ready { release, .. } => Ok(release),
        _ => Err(Failure::usage(format!("release {number} of {fleet} is not ready"))),
    }
}

/// `skiff config`
pub(crate) fn config(args: &args::Config) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::List { whose, at } => {
            let variables: Variables = Remote::new(at)?.get(&variables_of(whose)?)?;
            if at.print.json {
                return Ok(say!("{}", json!(variables)));
            }
            for (name, value) in variables.iter() {
                say!("{name}={value}");
            }
            Ok(())
        }
        ConfigCommand::Set { name, value, whose, at } => {
            let path = format!("{}/{}", variables_of(whose)?, parse::<VariableName>(name)?);
            Remote::new(at)?.set(&path, &json!({ "value": value }))?;
            done(at, &format!("set {name}"))
        }
        ConfigCommand::Remove { name, whose, at } => {
            let path = format!("{}/{}", variables_of(whose)?, parse::<VariableName>(name)?);
            Remote::new(at)?.delete(&path)?;
            done(at, &format!("removed {name}"))
        }
    }
}

fn variables_of(whose: &Whose) -> Result<String, Failure> {
    match (&whose.fleet, &whose.device) {
        (Some(fleet), _) => Ok(format!("/v1/fleets/{}/configuration", parse::<Name>(fleet)?)),
        (None, Some(device)) => Ok(format!("/v1/devices/{}/configuration", parse::<Name>(device)?)),
        (None, None) => Err(Failure::usage("say whose variables: --fleet or --device")),
    }
}

fn line(device: &Device) -> String {
    let Device { name, fleet, status, .. } = device;
    let Some(status) = status else { return format!("{name}  {fleet}  never heard of") };
    let Report { running, phase, done, total, outcome, .. } = &status.report;
    let running = running.map_or("nothing".into(), |running| running.to_string());
    let phase = json!(phase);
    let mut line = format!("{name}  {fleet}  {running}  {}", phase.as_str().unwrap_or_default());
    if *total > 0 {
        line.push_str(&format!(" {} %", u128::from(*done) * 100 / u128::from(*total)));
    }
    if let Some(outcome) = outcome.as_ref().filter(|outcome| !outcome.succeeded) {
        let cause = outcome.cause.as_deref().unwrap_or("it does not say why").escape_debug();
        line.push_str(&format!("  the update to {} failed: {cause}", outcome.target));
    }
    line
}

/// Prints what was answered: as one JSON object, or in a line.
fn show_one<T: Serialize>(
    at: &AtServer,
    item: &T,
    line: impl FnOnce(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if at.print.json { Ok(say!("{}", json!(item))) } else { line(item) }
}

/// Prints what was answered: as a JSON array, or each in a line.
fn show<T: Serialize>(
    at: &AtServer,
    items: &[T],
    mut line: impl FnMut(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if at.print.json {
        return Ok(say!("{}", json!(items)));
    }
    items.iter().try_for_each(&mut line)
}

fn done(at: &AtServer, what: &str) -> Result<(), Failure> {
    if at.print.json { Ok(say!("{}", json!({ "done": what }))) } else { Ok(say!("{what}")) }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(Failure::usage)
}
