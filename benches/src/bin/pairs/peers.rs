//! The other tools, which the script `corpus/peers` runs and checks.

use std::process::{Command, Stdio};

use serde_json::Value;
use skiff_benches::{Context as _, Failure};

use crate::images::Pair;

/// Runs the named peers over a pair, the script's own choice where none are named: one row for each that is installed.
pub(crate) fn run(pair: &Pair<'_>, named: Option<&[String]>) -> Result<Vec<Value>, Failure> {
    let named = match named {
        Some([only]) if only == "none" => return Ok(Vec::new()),
        Some(names) => Some(names.join(",")),
        None => None,
    };
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/peers"));
    command.arg(pair.directory).arg(pair.name).arg("--json");
    command.args(named.map(|names| format!("--peers={names}")));
    // It names the peers that are not installed on its standard error.
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context(|| "starting benches/corpus/peers; it needs python3".into())?;
    let rows: Result<Vec<Value>, _> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(serde_json::from_slice)
        .collect();
    let rows = rows.context(|| "reading what benches/corpus/peers wrote".into())?;
    match rows.iter().find(|row| row["same"] != true) {
        Some(row) => Err(Failure(format!("a peer failed on {}: {row}", pair.name))),
        None if output.status.success() => Ok(rows),
        None => Err(Failure(format!("benches/corpus/peers ended with {}", output.status))),
    }
}
