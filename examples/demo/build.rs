//! Compiles the program of the demo's image for each release, with the compiler that builds the demo, so that the deltas are
//! between real executables.

use std::path::PathBuf;
use std::process::Command;
use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=app/sensor.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = env::var_os("RUSTC").ok_or("cargo did not say which compiler it uses")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not say where to build")?);
    for release in ["1", "2", "3", "4"] {
        let status = Command::new(&compiler)
            .args(["--edition", "2024", "-C", "opt-level=2", "-C", "debuginfo=0", "-C", "strip=symbols"])
            .args(["--check-cfg", "cfg(demo_release, values(\"1\", \"2\", \"3\", \"4\"))"])
            .arg("--cfg")
            .arg(format!("demo_release=\"{release}\""))
            .env("DEMO_RELEASE", release)
            .arg("-o")
            .arg(out.join(format!("sensor-{release}")))
            .arg("app/sensor.rs")
            .status()?;
        if !status.success() {
            return Err(format!("compiling release {release} of the demo's program failed").into());
        }
    }
    Ok(())
}
