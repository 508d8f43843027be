//! Numbers as people read them.

use std::fmt::Display;

use indicatif::BinaryBytes;

/// Lines of a name and a value, the values in one column.
#[derive(Default)]
pub(crate) struct Lines(Vec<(String, String)>);

impl Lines {
    /// Adds a line.
    pub(crate) fn add(&mut self, name: &str, value: impl Display) {
        self.0.push((format!("{name}:"), value.to_string()));
    }

    /// Prints all lines to standard output.
    pub(crate) fn print(&self) {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
        for (name, value) in &self.0 {
            println!("{name:width$} {value}");
        }
    }
}

/// So many bytes, in a unit that suits, and exactly.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 { format!("{count} B") } else { format!("{} ({count} B)", BinaryBytes(count)) }
}

/// One number as a share of another, in per cent; nothing where there is nothing to compare with.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}
