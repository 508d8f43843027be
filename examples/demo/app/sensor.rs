//! The program in the demo's image: it is compiled as each of four releases, the last of which does not work.

use std::collections::BTreeMap;

const RELEASE: &str = env!("DEMO_RELEASE");

/// A reading of one sensor.
#[derive(Clone, Debug)]
struct Reading {
    sensor: String,
    celsius: f64,
}

fn readings() -> Vec<Reading> {
    (0..48)
        .map(|hour| Reading { sensor: format!("hull-{}", hour % 4), celsius: 11.5 + f64::from(hour * 7 % 24) / 4.0 })
        .collect()
}

fn mean_by_sensor(readings: &[Reading]) -> BTreeMap<&str, f64> {
    let mut sums: BTreeMap<&str, (f64, u32)> = BTreeMap::new();
    for reading in readings {
        let (sum, count) = sums.entry(&reading.sensor).or_default();
        *sum += reading.celsius;
        *count += 1;
    }
    sums.into_iter().map(|(sensor, (sum, count))| (sensor, sum / f64::from(count))).collect()
}

#[cfg(not(demo_release = "1"))]
fn warmest<'a>(means: &BTreeMap<&'a str, f64>) -> Option<(&'a str, f64)> {
    means.iter().map(|(sensor, mean)| (*sensor, *mean)).max_by(|a, b| a.1.total_cmp(&b.1))
}

fn main() {
    let readings = readings();
    let means = mean_by_sensor(&readings);
    let listed: Vec<String> = means.iter().map(|(sensor, mean)| format!("{sensor} {mean:.1} C")).collect();
    println!("sensor release {RELEASE}: {}", listed.join(", "));
    #[cfg(not(demo_release = "1"))]
    if let Some((sensor, mean)) = warmest(&means) {
        println!("sensor release {RELEASE}: {sensor} is the warmest at {mean:.1} C");
    }
    #[cfg(demo_release = "4")]
    {
        println!("sensor release {RELEASE}: no bus at /dev/bus-4");
        std::process::exit(3);
    }
    #[cfg(not(demo_release = "4"))]
    loop {
        // Until the next reading is due.
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
}
