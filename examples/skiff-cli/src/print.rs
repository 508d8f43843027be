//! Numbers as people read them.

use std::fmt::{self, Display};
use std::io::{self, Write as _};

use indicatif::BinaryBytes;

use crate::failure::Failure;

/// Prints a line to standard output, or returns why it cannot.
macro_rules! say {
    ($($text:tt)*) => { $crate::print::line(format_args!($($text)*))? };
}
pub(crate) use say;

/// Prints a line to standard output. Nobody reading any more is no failure: what was asked for is done.
pub(crate) fn line(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::unreported(&error)),
        _ => Ok(()),
    }
}

/// Lines of a name and a value, the values in one column.
#[derive(Default)]
pub(crate) struct Lines(Vec<(String, String)>);

impl Lines {
    /// Adds a line.
    pub(crate) fn add(&mut self, name: &str, value: impl Display) {
        self.0.push((format!("{name}:"), value.to_string()));
    }

    /// Prints all lines to standard output.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        let width = self.width();
        for (name, value) in &self.0 {
            say!("{name:width$} {value}");
        }
        Ok(())
    }

    /// Prints all lines to standard error.
    pub(crate) fn print_aside(&self) {
        let width = self.width();
        for (name, value) in &self.0 {
            eprintln!("{name:width$} {value}");
        }
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1
    }
}

/// So many bytes, in a unit that suits, and exactly.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 { format!("{count} B") } else { format!("{} ({count} B)", BinaryBytes(count)) }
}

/// One number as a share of another, in per cent; none where there is nothing to compare with.
pub(crate) fn share(part: u64, whole: u64) -> Option<String> {
    (whole > 0).then(|| format!("{:.1} %", part as f64 * 100.0 / whole as f64))
}

/// A number with its digits in threes.
pub(crate) fn thousands(number: u64) -> impl Display {
    indicatif::HumanCount(number).to_string()
}
