//! The program that is measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Context as _, Failure};

/// The named skiff, or the one beside this program, which cargo builds first where this one was started by it: a number from
/// yesterday's build would be worse than none.
///
/// # Errors
/// Where there is none, or it cannot be built.
pub fn skiff(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let beside = || std::env::current_exe().context(|| "finding this program".into());
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => {
            build()?;
            beside()?.with_file_name("skiff")
        }
    };
    path.canonicalize().context(|| {
        format!(
            "no skiff at {}; cargo build --release -p skiff-cli, or name one with --skiff",
            path.display()
        )
    })
}

fn build() -> Result<(), Failure> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "skiff-cli", "--bin", "skiff"]);
    command.args((!cfg!(debug_assertions)).then_some("--release"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let status = command.status().context(|| "starting cargo".into())?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new("cargo cannot build skiff; its messages are above"))
    }
}
