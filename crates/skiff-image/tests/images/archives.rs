//! Archives that other programs write.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use crate::common::*;

/// A directory with what archives have in different ways: long names, holes, links, times.
fn fill(root: &Path) {
    let write = |name: &str, content: &[u8]| std::fs::write(root.join(name), content).expect("a file");
    let long = "n".repeat(200);
    std::fs::create_dir_all(root.join("d").join(&long)).expect("a directory");
    write("d/file", b"content");
    write(&format!("d/{long}/{long}"), &vec![b'x'; 5000]);
    std::fs::hard_link(root.join("d/file"), root.join("a")).expect("a link");
    std::os::unix::fs::symlink("t".repeat(150), root.join("link")).expect("a link");
    // Pieces enough for blocks of their own after the header, a hole at the end, and one in a file that is nothing else.
    let pieces = File::create(root.join("pieces")).expect("a file");
    for piece in 0..40 {
        pieces.write_all_at(format!("piece {piece}").as_bytes(), piece * 200_000 + 77).expect("a piece");
    }
    pieces.set_len(9_000_000).expect("a hole");
    File::create(root.join("hole")).expect("a file").set_len(3_000_001).expect("a hole");
    run(Command::new("mkfifo").arg(root.join("pipe")));
    // On the second, as GNU's own format has no fractions; before 1970, as it has that in binary.
    run(Command::new("find").arg(root).args(["-exec", "touch", "-h", "-d", "@-5", "{}", "+"]));
}

#[test]
#[ignore = "needs GNU tar"]
fn gnu_tars_archives_are_the_directories_they_were_made_of() {
    let directory = tempfile::tempdir().unwrap();
    let (root, file) = (directory.path().join("root"), directory.path().join("archive.tar"));
    fill(&root);
    let expected = tree_on_disk(&root);
    let formats: [&[&str]; 10] = [
        &["--format=posix"],
        &["--format=posix", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=posix", "--gzip"],
        &["--format=posix", "--zstd"],
        &["--format=posix", "--xz"],
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
    ];
    for format in formats {
        run(Command::new("tar").args(format).arg("-cf").arg(&file).arg("-C").arg(&root).arg("."));
        let flat = flatten(&format!("tar:{}", file.display())).unwrap();
        let differences = differences(&flat.tree, &expected, &[]);
        assert!(differences.is_empty(), "{format:?}: {differences:#?}");
        for name in ["pieces", "hole", "a"] {
            let bytes = std::fs::read(root.join(name)).unwrap();
            assert!(content(&flat, &path(name)) == bytes, "{format:?}: {name}");
        }
    }
}

/// Files with holes: some pieces, many, a hole first, a hole last, nothing else.
fn fill_with_holes(root: &Path) -> Vec<&'static str> {
    std::fs::create_dir(root).expect("a directory");
    let shell = |script: &str| run(Command::new("sh").args(["-ec", script]).current_dir(root));
    shell("dd if=/dev/urandom of=some bs=4096 seek=10 count=3 2>/dev/null; truncate -s 1000000 some");
    shell("printf start > last; truncate -s 500001 last");
    shell("truncate -s 77777777 first; printf end >> first");
    shell("truncate -s 12345678 nothing");
    shell(
        "for i in $(seq 0 120); do printf %d $i | dd of=many bs=1 seek=$((i * 65536 + 7)) conv=notrunc 2>/dev/null; done",
    );
    shell("dd if=/dev/urandom of=dense bs=5000 count=7 2>/dev/null");
    vec!["some", "last", "first", "nothing", "many", "dense"]
}

#[test]
#[ignore = "needs GNU tar"]
fn gnu_tars_sparse_files_have_the_bytes_they_had() {
    let directory = tempfile::tempdir().unwrap();
    let (root, file) = (directory.path().join("root"), directory.path().join("archive.tar"));
    let names = fill_with_holes(&root);
    let formats: [&[&str]; 4] = [
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
        &["--format=gnu"],
    ];
    for format in formats {
        let mut tar = Command::new("tar");
        run(tar.arg("--sparse").args(format).arg("-cf").arg(&file).arg("-C").arg(&root).args(&names));
        assert!(std::fs::metadata(&file).unwrap().len() < 1_000_000, "{format:?}: nothing was left out");
        let extracted = tempfile::tempdir().unwrap();
        run(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(extracted.path()));
        let flat = flatten(&format!("tar:{}", file.display())).unwrap();
        for name in &names {
            let ours = skiff_testkit::sha256_hex(&content(&flat, &path(*name)));
            assert_eq!(ours, sha256sum(&root.join(name)), "{format:?}: {name}");
            assert_eq!(ours, sha256sum(&extracted.path().join(name)), "{format:?}: {name}");
        }
    }
}

fn sha256sum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().expect("sha256sum");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}
