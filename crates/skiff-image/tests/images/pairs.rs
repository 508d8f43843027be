//! Real images against umoci and GNU tar. `SKIFF_PAIRS` names the directory that the scripts in `benches/corpus` fill.

use std::path::PathBuf;
use std::time::Instant;

use crate::common::*;

/// All that `make-pairs` knows; those that are built are compared.
const PAIRS: [&str; 8] = [
    "debian-security",
    "debian-upgrade",
    "python-app",
    "typo",
    "major-upgrade",
    "node-app",
    "java-app",
    "arm64-security",
];

fn directory() -> PathBuf {
    PathBuf::from(std::env::var_os("SKIFF_PAIRS").expect("SKIFF_PAIRS, the directory with oci/ in it"))
}

#[test]
#[ignore = "needs umoci, root and image pairs"]
fn real_images_are_what_umoci_unpacks_and_what_gnu_tar_extracts() {
    let (pairs, layout) = (directory(), directory().join("oci"));
    let built = PAIRS.into_iter().filter(|pair| pairs.join(format!("{pair}.new.tar")).exists());
    let built: Vec<&str> = built.collect();
    assert!(!built.is_empty(), "{} has none of {PAIRS:?}", pairs.display());
    for pair in built {
        for side in ["old", "new"] {
            let tag = format!("{pair}-{side}");
            let start = Instant::now();
            let flat = flatten(&format!("oci:{}:{tag}", layout.display())).unwrap();
            let time = start.elapsed();
            let directory = tempfile::tempdir().unwrap();
            let theirs = unpack_with_umoci(&layout, &tag, &directory.path().join("bundle")).unwrap();
            let found = differences(&flat.tree, &theirs, &[]);
            assert!(
                found.is_empty(),
                "{tag}, umoci: {} differ: {:#?}",
                found.len(),
                &found[..found.len().min(5)]
            );
            let theirs = extract_with_gnu_tar(&flat, directory.path());
            let found = differences(&flat.tree, &theirs, &[]);
            assert!(
                found.is_empty(),
                "{tag}, GNU tar: {} differ: {:#?}",
                found.len(),
                &found[..found.len().min(5)]
            );
            println!("{tag}: {} entries, flattened in {time:.2?}", flat.tree.entries().len());
        }
    }
}
