//! What was measured, for people.

use skiff_benches::measure::Cost;

use crate::tools::Tool;

pub(crate) const HEAD: &str = "\
image                     tool                 wall       CPU      peak      MB/s   x umoci   x tar
------------------------  --------------  ---------  --------  --------  --------  --------  ------";

/// One row for each tool; `bytes` are those of the image's files.
pub(crate) fn print(image: &str, bytes: u64, costs: &[(Tool, Cost)]) {
    let wall = |wanted| costs.iter().find(|(tool, _)| *tool == wanted).map(|(_, cost)| cost.wall_seconds);
    for (tool, cost) in costs {
        let beside =
            |peer| wall(peer).map_or_else(String::new, |peer| format!("{:.2}", peer / cost.wall_seconds));
        println!(
            "{image:<24}  {:<14}  {:>7.2} s  {:>6.2} s  {:>4} MiB  {:>8.0}  {:>8}  {:>6}",
            tool.name(),
            cost.wall_seconds,
            cost.cpu_seconds,
            cost.peak_bytes >> 20,
            bytes as f64 / 1e6 / cost.wall_seconds,
            beside(Tool::Umoci),
            beside(Tool::Tar),
        );
    }
}
