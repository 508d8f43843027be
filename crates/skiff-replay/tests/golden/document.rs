//! The worked example of `doc/format.md` is the golden delta, byte for byte.

use std::fs;
use std::path::Path;

use crate::{GOLDEN, images, write_missing};

const HEADING: &str = "## A worked example";

/// The dumps of the worked example: lines of an offset, bytes, `|` and a remark.
fn dumps() -> Vec<Vec<u8>> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../doc/format.md");
    let text = fs::read_to_string(document).unwrap();
    let (_, example) = text.split_once(HEADING).expect("the document has a worked example");
    let example = example.split("\n## ").next().unwrap_or_default();
    example.split("```").skip(1).step_by(2).map(dump).collect()
}

fn dump(block: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let (dumped, _remark) = line.split_once('|').unwrap_or((line, ""));
        let (offset, digits) = dumped.split_once("  ").expect("a line begins with its offset");
        assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len(), "offset of {line:?}");
        bytes.extend(digits.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap()));
    }
    bytes
}

#[test]
fn the_worked_example_is_the_golden_delta() {
    write_missing();
    let golden = &GOLDEN[0];
    let tree = |name: &str| fs::read(images::folder().join("images").join(name).join("tree")).unwrap();
    assert_eq!(dumps(), [tree(golden.base), golden.read(), tree(golden.target)]);
}
