//! The golden deltas and their bases: where changes of deltas begin.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use skiff_tree::{Limits, MemoryContents, ReleaseId, Tree};

use super::model::Model;
use super::naive;
use super::release::Release;

/// A delta, taken apart, and its base, for the real decoder and for the naive one.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) base: Release,
    pub(crate) naive: naive::Base,
    pub(crate) model: Model,
    pub(crate) delta: Vec<u8>,
}

/// All of them; new ones come last, so that seeds keep their meaning.
const GOLDEN: [(&str, &str); 9] = [
    ("delta-example", "example-base"),
    ("delta-small-xz", "small-base"),
    ("delta-small-zstd", "small-base"),
    ("delta-small-block", "small-base"),
    ("delta-small-learned", "small-base"),
    ("delta-lists", "lists-base"),
    ("delta-lists-learned", "lists-base"),
    ("delta-archive-learned", "archive-base"),
    ("delta-picture-learned", "picture-base"),
];

/// Read once.
pub(crate) fn all() -> &'static [Golden] {
    static ALL: OnceLock<Vec<Golden>> = OnceLock::new();
    ALL.get_or_init(|| GOLDEN.iter().map(|(name, base)| Golden::read(name, base)).collect())
}

impl Golden {
    fn read(name: &'static str, base: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let delta = read(&folder.join("valid").join(format!("{name}.skiff")));
        let folder = folder.join("images").join(base);
        let encoding = read(&folder.join("tree"));
        let tree = Tree::decode(&encoding[..], &Limits::default()).expect("because golden trees are sound");
        let mut contents = MemoryContents::default();
        for (_, entry, content) in tree.files() {
            contents
                .insert(entry.path.clone(), read(&folder.join("contents").join(content.digest.to_string())));
        }
        let config = fs::read(folder.join("config.json")).ok();
        let base = Release { tree, contents, config };
        let naive = base.naive();
        assert_eq!(naive.release, *ReleaseId::new(base.tree.digest(), base.config_digest()).as_bytes());
        let model = Model::read(&delta, &naive);
        Self { name, base, naive, model, delta }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
