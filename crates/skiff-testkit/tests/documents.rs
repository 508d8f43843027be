//! The project's documents name tests and files that exist.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn guarantees_name_tests_that_exist() {
    assert!(tests_named_in("doc/guarantees.md", "") >= 20, "few tests found: has the table another form?");
    assert!(
        tests_named_in("doc/block.md", "## Search") >= 10,
        "few tests found: has the table another form?"
    );
}

/// How many tests the tables of a document's section name, each of which exists.
fn tests_named_in(document: &str, section: &str) -> usize {
    let text = read(&root().join(document));
    let text = text.split_once(section).map_or("", |(_, text)| text);
    let text = if section.is_empty() { text } else { text.split("\n## ").next().unwrap_or_default() };
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    let mut named = 0;
    for row in rows.iter().filter(|row| !row.starts_with("| promise")) {
        let tests: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
        assert!(!tests.is_empty() || row.contains("fuzz target `"), "no test shows: {row}");
        for test in tests {
            let (file, function) = test.split_once("::").expect("because it contains the separator");
            let source = read(&root().join(file));
            assert!(source.contains(&format!("fn {function}(")), "{file} has no test {function}");
            named += 1;
        }
    }
    named
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "doc/guarantees.md",
        "doc/format.md",
        "doc/block.md",
    ] {
        let path = root().join(document);
        for rest in read(&path).split("](").skip(1) {
            let link = rest.split_once(')').map_or(rest, |(link, _)| link);
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                let target = path.parent().expect("because it is a file").join(file);
                assert!(target.exists(), "{document} links to {link}, which is not there");
            }
        }
    }
}
