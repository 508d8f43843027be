//! What was measured, for people.

use serde_json::Value;
use skiff_benches::measure::{Cost, Io};

use crate::skiff::Measured;

pub(crate) const HEAD: &str = "\
pair             tool                delta   make: wall     CPU      peak   apply: wall     CPU      peak     read  written
---------------  ----------  -------------  -----------  ------  --------  ------------  ------  --------  -------  -------";

pub(crate) fn print_skiff(pair: &str, measured: &Measured) {
    let tool = format!("skiff {}", measured.level.name());
    print_row([pair, &tool], Some(measured.delta_bytes), [Some(measured.diff), Some(measured.apply)]);
    if let Some(capped) = measured.capped {
        print_row([pair, "  capped"], None, [None, Some(capped)]);
    }
    print_row([pair, "  install"], None, [None, Some(measured.install)]);
    print_row([pair, "  verify"], None, [None, Some(measured.verify)]);
}

pub(crate) fn print_peer(row: &Value) {
    let name = |key: &str| row[key].as_str().unwrap_or("?");
    let costs = [cost(&row["make"]), cost(&row["apply"])];
    print_row([name("pair"), name("peer")], row["delta_bytes"].as_u64(), costs);
}

/// The smallest of the peers' deltas, and whose it is.
pub(crate) fn best_peer(peers: &[Value]) -> Option<(u64, &str)> {
    let deltas = peers.iter().filter(|row| row["peer"] != "pull");
    deltas.filter_map(|row| Some((row["delta_bytes"].as_u64()?, row["peer"].as_str()?))).min()
}

/// The delta beside that of each peer, and beside a pull.
pub(crate) fn print_ratios(measured: &Measured, pull: u64, peers: &[Value]) {
    let beside = |bytes: u64| match bytes {
        0 => "-".to_owned(),
        bytes => format!("{:.4}", measured.delta_bytes as f64 / bytes as f64),
    };
    let ratios = peers.iter().filter(|row| row["peer"] != "pull").filter_map(|row| {
        Some(format!("{} {}", row["peer"].as_str()?, beside(row["delta_bytes"].as_u64()?)))
    });
    let ratios: Vec<String> = ratios.collect();
    println!("    skiff {} / {}", measured.level.name(), ratios.join(", "));
    if let Some((bytes, name)) = best_peer(peers) {
        println!("    skiff {} / best peer ({name}) {}", measured.level.name(), beside(bytes));
    }
    println!(
        "    skiff {} / pull of the layers ({}) {}\n",
        measured.level.name(),
        thousands(pull),
        beside(pull)
    );
}

fn cost(value: &Value) -> Option<Cost> {
    Some(Cost {
        wall_seconds: value["wall_seconds"].as_f64()?,
        cpu_seconds: value["cpu_seconds"].as_f64()?,
        peak_bytes: value["peak_bytes"].as_u64()?,
        io: None,
    })
}

fn print_row([pair, tool]: [&str; 2], delta: Option<u64>, [make, apply]: [Option<Cost>; 2]) {
    let delta = delta.map_or_else(String::new, thousands);
    let io = apply.and_then(|cost| cost.io).map_or_else(String::new, |Io { read, written, .. }| {
        format!("{:>5} MB {:>5} MB", read / 1_000_000, written / 1_000_000)
    });
    println!("{pair:<15}  {tool:<13} {delta:>11}  {}    {}  {io}", columns(make), columns(apply));
}

fn columns(cost: Option<Cost>) -> String {
    cost.map_or_else(
        || " ".repeat(29),
        |cost| {
            let mebibytes = cost.peak_bytes >> 20;
            format!("{:>9.2} s  {:>6.2}  {mebibytes:>4} MiB", cost.wall_seconds, cost.cpu_seconds)
        },
    )
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
