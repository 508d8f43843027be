//! The demo's images: a base layer that all share, and an application layer with an executable, text and compressed files,
//! rebuilt for each release.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use skiff_testkit::{Image, Layer, OciLayout};

/// The program of each release, as the build script compiled it.
const SENSORS: [&[u8]; 4] = [
    include_bytes!(concat!(env!("OUT_DIR"), "/sensor-1")),
    include_bytes!(concat!(env!("OUT_DIR"), "/sensor-2")),
    include_bytes!(concat!(env!("OUT_DIR"), "/sensor-3")),
    include_bytes!(concat!(env!("OUT_DIR"), "/sensor-4")),
];

/// Writes an OCI layout with the images `sensor-1` to `sensor-4`.
pub(crate) fn write(directory: &Path) -> std::io::Result<()> {
    let mut layout = OciLayout::new();
    for (release, sensor) in (1..).zip(SENSORS) {
        layout = layout.image(&format!("sensor-{release}"), image(release, sensor)?);
    }
    layout.write_directory(directory);
    Ok(())
}

fn image(release: u64, sensor: &[u8]) -> std::io::Result<Image> {
    let time = 1_700_000_000;
    let base = Layer::new()
        .directory("etc")
        .mtime(time, 0)
        .file("etc/os-release", "NAME=\"Demo\"\nID=demo\n")
        .mtime(time, 0)
        .directory("usr/share/dict")
        .mtime(time, 0)
        .file("usr/share/dict/words", prose(7, 24_000))
        .mtime(time, 0);
    let built = time + i64::try_from(release).unwrap_or(0) * 86_400;
    let application = Layer::new()
        .directory("app")
        .mtime(built, 0)
        .file("app/sensor", sensor)
        .mode(0o755)
        .mtime(built, 0)
        .file("app/sensor.conf", format!("# release {release}\ninterval = 60\nsensors = 4\n"))
        .mtime(built, 0)
        .file("app/calibration.csv", calibration(release))
        .mtime(built, 0)
        .file("app/CHANGELOG.gz", gzip(&changelog(release))?)
        .mtime(built, 0)
        .symlink("app/current.conf", "sensor.conf")
        .mtime(built, 0);
    Ok(Image::new().layer(base).layer(application).command(&["/app/sensor"]))
}

/// A table of which a few rows change from release to release.
fn calibration(release: u64) -> String {
    let mut table = String::from("step,offset,gain\n");
    for (step, noise) in Noise(11).take(6_000).enumerate() {
        let changed = if step % 997 == 0 { release } else { 0 };
        let _ = writeln!(table, "{step},{},{}", noise % 1000 + changed, noise >> 48);
    }
    table
}

/// Newest first, as change logs are.
fn changelog(release: u64) -> String {
    (1..=release).rev().fold(String::new(), |mut log, number| {
        let _ = writeln!(log, "release {number}\n\n{}", prose(number, 6_000));
        log
    })
}

/// Words in no particular order, which compress about as prose does.
fn prose(seed: u64, words: usize) -> String {
    const WORDS: [&str; 32] = [
        "anchor", "bearing", "bilge", "boom", "bow", "buoy", "cabin", "capstan", "chart", "cleat", "compass",
        "deck", "draft", "fathom", "fender", "galley", "hatch", "helm", "hull", "jib", "keel", "knot",
        "league", "mast", "oar", "port", "reef", "rudder", "sail", "sextant", "tide", "yard",
    ];
    let mut text = String::new();
    for (index, noise) in Noise(seed).take(words).enumerate() {
        text.push_str(WORDS[usize::try_from(noise >> 59).unwrap_or(0)]);
        text.push(if index % 12 == 11 { '\n' } else { ' ' });
    }
    text
}

fn gzip(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(9));
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// Numbers without a pattern, the same on every machine: Knuth's linear congruential generator.
struct Noise(u64);

impl Iterator for Noise {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(self.0)
    }
}
