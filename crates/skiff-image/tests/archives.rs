//! Archives that other programs write.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use common::*;

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
    let formats: [&[&str]; 9] = [
        &["--format=posix"],
        &["--format=posix", "--sparse"],
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
    let old = ["--format=posix", "--sparse", "--sparse-version=0.0"];
    run(Command::new("tar").args(old).arg("-cf").arg(&file).arg("-C").arg(&root).arg("."));
    let error = flatten(&format!("tar:{}", file.display())).unwrap_err();
    assert!(matches!(error, skiff_image::ImageError::Unsupported { .. }), "{error}");
}
