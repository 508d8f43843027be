//! Writes the seeds of the fuzz targets anew, after a change of the format or of a target's input:
//! `cargo run -p skiff-testkit --features fuzz --example write-seeds`. Seeds that a fuzzer found stay.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for seed in skiff_testkit::fuzz::seeds() {
        let directory = directory.join(seed.target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(&seed.name), &seed.bytes)?;
    }
    Ok(())
}
