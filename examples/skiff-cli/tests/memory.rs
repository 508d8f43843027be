//! What `skiff flatten` takes in memory, as a whole process.

use std::process::Command;

use skiff_testkit::{Encoding, LargeImage};

/// Flattens a large image and returns the most memory that was resident at once, in bytes, as GNU time tells it.
fn peak(image: LargeImage, encoding: Encoding, output: &str) -> u64 {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    image.write_directory(&scratch.path().join("layout"), "large", encoding);
    let log = scratch.path().join("time");
    let mut command = Command::new("time");
    command.args(["-q", "-f", "%M", "-o"]).arg(&log).arg(env!("CARGO_BIN_EXE_skiff"));
    command.args(["flatten", "--quiet", &format!("oci:{}/layout:large", scratch.path().display()), output]);
    command.arg(if output == "-o" { "/dev/null".into() } else { scratch.path().join("rootfs") });
    let status = command.env("TMPDIR", scratch.path()).status().expect("GNU time");
    assert!(status.success(), "{command:?}");
    std::fs::read_to_string(log)
        .expect("what GNU time wrote")
        .trim()
        .parse::<u64>()
        .expect("GNU time's count")
        << 10
}

/// The whole promise for the most common kind of image.
#[test]
#[ignore = "needs GNU time, root, 6 GB of disk and half a minute"]
fn two_gigabytes_in_200_000_entries_take_128_mebibytes() {
    let image = LargeImage { entries: 200_000, bytes: 2_000_000_000 };
    let peak = peak(image, Encoding::Gzip, "--rootfs");
    assert!(peak <= 128 << 20, "{} MiB", peak >> 20);
}

/// The others at a quarter, where the decompressor's window and the threads' chunks still take as much as for the whole.
#[test]
#[ignore = "needs GNU time, root, 2 GB of disk and half a minute"]
fn memory_is_bounded_however_layers_are_compressed() {
    let image = LargeImage { entries: 50_000, bytes: 500_000_000 };
    for (encoding, output) in [(Encoding::Zstd, "--rootfs"), (Encoding::Plain, "-o"), (Encoding::Gzip, "-o")]
    {
        let peak = peak(image, encoding, output);
        assert!(peak <= 44 << 20, "{encoding:?} {output}: {} MiB", peak >> 20);
    }
}
