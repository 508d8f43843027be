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
    let text = read(&root().join("doc/guarantees.md"));
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
    assert!(named >= 20, "only {named} tests found: has the table another form?");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "doc/guarantees.md", "doc/format.md"]
    {
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
