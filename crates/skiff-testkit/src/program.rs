//! Other people's programs, and those of tests.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program, expects it to succeed, and returns what it printed.
pub fn run_program(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Compiles a Rust source file to a program that needs nothing of the image it is put into.
///
/// # Panics
/// Where it cannot be compiled.
#[must_use]
pub fn static_program(source: &Path) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("making a temporary directory");
    let out = directory.path().join("program");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--edition", "2024", "-C", "opt-level=1", "-C", "strip=symbols"]);
    run_program(rustc.args(["-C", "target-feature=+crt-static", "-o"]).arg(&out).arg(source));
    std::fs::read(out).expect("the program")
}
