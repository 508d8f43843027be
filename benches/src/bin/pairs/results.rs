//! What was measured of all pairs together.

use std::process::Command;

use serde_json::{Value, json};
use skiff_benches::{Context as _, Failure};

use crate::Level;
use crate::chart::{Bar, Chart, Group};
use crate::skiff::Measured;
use crate::table::best_peer;

/// Everything that was measured, with where and when.
pub(crate) struct Results {
    date: String,
    machine: String,
    io_cap: Option<u64>,
    pub(crate) pairs: Vec<Measurements>,
}

/// What was measured of one pair.
pub(crate) struct Measurements {
    pub(crate) name: String,
    pub(crate) pull_bytes: u64,
    pub(crate) levels: Vec<Measured>,
    pub(crate) peers: Vec<Value>,
}

impl Results {
    /// Nothing measured yet, today on this machine.
    pub(crate) fn new(io_cap: Option<u64>) -> Result<Self, Failure> {
        let date = Command::new("date").args(["-u", "+%F"]).output().context(|| "starting `date`".into())?;
        let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
        Ok(Self { date, machine: machine(), io_cap, pairs: Vec::new() })
    }

    /// For each level, the geometric mean of the delta as a part of the best peer's; none where no peer ran.
    pub(crate) fn means(&self, levels: &[Level]) -> Vec<(Level, f64)> {
        let mean = |&level: &Level| {
            let ratios: Vec<f64> = self.pairs.iter().filter_map(|pair| pair.ratio(level)).collect();
            Some((level, geometric_mean(&ratios)?))
        };
        levels.iter().filter_map(mean).collect()
    }

    pub(crate) fn to_json(&self, levels: &[Level]) -> Value {
        let pair = |pair: &Measurements| {
            json!({
                "pair": pair.name, "pull_bytes": pair.pull_bytes, "peers": pair.peers,
                "skiff": pair.levels.iter().map(Measured::to_json).collect::<Vec<_>>(),
                "best_peer": best_peer(&pair.peers).map(|(bytes, name)| json!({ "peer": name, "delta_bytes": bytes })),
            })
        };
        let means =
            self.means(levels).into_iter().map(|(level, mean)| (level.name().to_owned(), mean.into()));
        json!({
            "date": self.date, "machine": self.machine, "io_cap_bytes_per_second": self.io_cap,
            "geometric_mean_of_delta_to_best_peer": means.collect::<serde_json::Map<_, _>>(),
            "pairs": self.pairs.iter().map(pair).collect::<Vec<_>>(),
        })
    }

    /// The deltas of the last level beside the peers', the best peer's as the unit.
    pub(crate) fn chart(&self) -> Chart {
        Chart {
            title: "Bytes that lead from one image to the next".to_owned(),
            subtitle: format!(
                "Delta, and its size beside that of the best other tool (dashed). {}, {}",
                self.date, self.machine
            ),
            groups: self.pairs.iter().filter_map(Measurements::group).collect(),
        }
    }
}

impl Measurements {
    fn ratio(&self, level: Level) -> Option<f64> {
        let measured = self.levels.iter().find(|measured| measured.level == level)?;
        Some(measured.delta_bytes as f64 / best_peer(&self.peers)?.0 as f64)
    }

    fn group(&self) -> Option<Group> {
        let ours = self.levels.last()?;
        let mut bars = vec![Bar { tool: "skiff".to_owned(), bytes: ours.delta_bytes, is_ours: true }];
        // A pull is a hundred times as long as the others: what the bars are for is to compare those.
        for row in self.peers.iter().filter(|row| row["peer"] != "pull") {
            let tool = row["peer"].as_str().unwrap_or("?").to_owned();
            bars.push(Bar { tool, bytes: row["delta_bytes"].as_u64()?, is_ours: false });
        }
        bars[1..].sort_by_key(|bar| bar.bytes);
        let unit = best_peer(&self.peers).map_or(self.pull_bytes, |(bytes, _)| bytes);
        Some(Group { name: self.name.clone(), unit, bars })
    }
}

fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    let sum: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (sum / ratios.len() as f64).exp())
}

/// What the processor is called, and how many of it there are.
fn machine() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = name.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{name}, {cores} {}", if cores == 1 { "core" } else { "cores" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_geometric() {
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[0.25, 1.0]).unwrap() - 0.5).abs() < 1e-12);
    }
}
