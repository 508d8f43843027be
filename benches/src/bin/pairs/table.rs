//! What was measured, for people.

use serde_json::Value;
use skiff_benches::measure::Cost;

use crate::skiff::Measured;

pub(crate) const HEAD: &str = "\
pair             tool                delta   make: wall     CPU      peak   apply: wall     CPU      peak
---------------  ----------  -------------  -----------  ------  --------  ------------  ------  --------";

pub(crate) fn print_skiff(pair: &str, measured: &Measured) {
    print_row([pair, "skiff"], Some(measured.delta_bytes), [Some(measured.diff), Some(measured.apply)]);
    print_row([pair, "  install"], None, [None, Some(measured.install)]);
    print_row([pair, "  verify"], None, [None, Some(measured.verify)]);
}

pub(crate) fn print_peer(row: &Value) {
    let name = |key: &str| row[key].as_str().unwrap_or("?");
    let costs = [cost(&row["make"]), cost(&row["apply"])];
    print_row([name("pair"), name("peer")], row["delta_bytes"].as_u64(), costs);
}

/// The delta beside the smallest of the peers' and beside a pull.
pub(crate) fn print_ratios(measured: &Measured, pull: u64, peers: &[Value]) {
    let size = |row: &Value| row["delta_bytes"].as_u64();
    let deltas = peers.iter().filter(|row| row["peer"] != "pull");
    let best = deltas.filter_map(|row| Some((size(row)?, row["peer"].as_str()?))).min();
    let beside = |bytes: u64| {
        let ratio = measured.delta_bytes as f64 / bytes as f64;
        format!("{ratio:.4}")
    };
    if let Some((bytes, name)) = best {
        println!("    delta / best peer ({name}) {}", beside(bytes));
    }
    println!(
        "    delta / pull ({}) {}\n",
        thousands(pull),
        if pull == 0 { "-".into() } else { beside(pull) }
    );
}

fn cost(value: &Value) -> Option<Cost> {
    Some(Cost {
        wall_seconds: value["wall_seconds"].as_f64()?,
        cpu_seconds: value["cpu_seconds"].as_f64()?,
        peak_bytes: value["peak_bytes"].as_u64()?,
    })
}

fn print_row([pair, tool]: [&str; 2], delta: Option<u64>, [make, apply]: [Option<Cost>; 2]) {
    let delta = delta.map_or_else(String::new, thousands);
    println!("{pair:<15}  {tool:<10}  {delta:>13}  {}    {}", columns(make), columns(apply));
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
