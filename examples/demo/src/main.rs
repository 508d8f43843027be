//! The whole of skiff in a minute: a server, two devices, and what happens to the releases of a small image.
//!
//! `cargo run --release --bin demo` needs neither network nor root.

mod device;
mod images;
mod service;

use std::error::Error;

use device::{Arrival, Device};
use indicatif::{BinaryBytes, MultiProgress, ProgressBar, ProgressStyle};
use service::Service;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let work = tempfile::tempdir()?;
    let place = |name: &str| work.path().join(name);

    step(
        "Four releases of an image are built: two layers each, with executables, text and compressed files.",
    );
    images::write(&place("images"))?;

    step(
        "A server starts on loopback, with a fleet of two devices: \"delta\" asks for deltas, \"pull\" does not.",
    );
    let server = Service::start(&place("server"), work.path())?;
    server.fleet()?;
    let bars = MultiProgress::new();
    let start = |name: &'static str| -> Result<Device> {
        let token = server.device(name, name == "delta")?;
        Device::start(name, (server.url(), &token), &place(name), bar(&bars, name)?)
    };
    let devices = [start("delta")?, start("pull")?];

    step("Release 1: nothing runs on the devices yet, so both pull the image.");
    server.release(1)?;
    arrive(&bars, &devices)?;

    step("Release 2: one device gets the difference, applied while it comes; the other pulls the layers.");
    server.release(2)?;
    let [delta, pull] = arrive(&bars, &devices)?;
    let share = delta.received as f64 * 100.0 / pull.received.max(1) as f64;
    tell(
        &bars,
        &format!(
            "  on the wire: {} instead of {}, {share:.1} %",
            BinaryBytes(delta.received),
            BinaryBytes(pull.received)
        ),
    )?;
    expect(delta.by_delta && !pull.by_delta, "one device by a delta, the other one by a pull")?;

    step(
        "Release 3: the line damages each delta. It is refused before anything comes of it, and the image is pulled.",
    );
    devices[0].spoil_the_line(true);
    server.release(3)?;
    let [delta, _] = arrive(&bars, &devices)?;
    expect(!delta.by_delta && delta.cause.is_some(), "a damaged delta leads to a pull")?;
    devices[0].spoil_the_line(false);

    step("Release 4: its program does not work. Both devices go back to release 3, and do not try it again.");
    server.release(4)?;
    let arrivals = arrive(&bars, &devices)?;
    expect(arrivals.iter().all(|arrival| arrival.is_rolled_back), "an unhealthy release is rolled back")?;
    step("That is all; everything ends.");
    Ok(())
}

fn step(text: &str) {
    println!("\n* {text}");
}

/// Waits until both devices have what the server named last, and tells how they came to it.
fn arrive(bars: &MultiProgress, devices: &[Device; 2]) -> Result<[Arrival; 2]> {
    let [first, second] = devices;
    let arrivals = [first.arrival()?, second.arrival()?];
    for (device, arrival) in devices.iter().zip(&arrivals) {
        if let Some(cause) = &arrival.cause {
            tell(bars, &format!("  {}: {cause}", device.name))?;
        }
        let how = match arrival {
            Arrival { is_rolled_back: true, .. } => "went back".to_owned(),
            Arrival { by_delta: true, received, .. } => {
                format!("updated by a delta of {}", BinaryBytes(*received))
            }
            Arrival { received, .. } => format!("updated by a pull of {}", BinaryBytes(*received)),
        };
        tell(bars, &format!("  {}: {how}", device.name))?;
    }
    // What has just started may not have printed yet.
    std::thread::sleep(std::time::Duration::from_millis(300));
    for device in devices {
        tell(bars, &format!("  {} > {}", device.name, device.said()?))?;
    }
    Ok(arrivals)
}

/// Prints a line above the bars.
fn tell(bars: &MultiProgress, line: &str) -> Result<()> {
    bars.suspend(|| println!("{line}"));
    Ok(())
}

/// The demo tells no story that did not happen.
fn expect(is_so: bool, what: &str) -> Result<()> {
    if is_so { Ok(()) } else { Err(format!("it should have been: {what}").into()) }
}

fn bar(bars: &MultiProgress, name: &'static str) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("  {prefix:6} {msg:12} [{bar:40}] {bytes}/{total_bytes}")?;
    Ok(bars.add(ProgressBar::no_length().with_prefix(name).with_style(style.progress_chars("=> "))))
}
