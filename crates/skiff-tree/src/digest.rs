use sha2::{Digest as _, Sha256};

skiff_wire::digests! {
    "";
    /// The SHA-256 of a file's content.
    ContentDigest;
    /// The SHA-256 of a tree's canonical encoding: it changes with any path, metadata or content of the tree.
    TreeDigest;
    /// The SHA-256 of an image's config bytes.
    ConfigDigest;
    /// The SHA-256 of an image's manifest bytes.
    ManifestDigest;
    /// The name of a release: SHA-256 over its tree digest and its config digest, or the absence of one.
    ReleaseId;
}

impl ReleaseId {
    /// The name of the release that consists of this tree and this config.
    ///
    /// SHA-256 over the 16 bytes `skiff-release 1\n`, the tree digest, a byte 0 for no config or 1, and the config digest.
    #[must_use]
    pub fn new(tree: TreeDigest, config: Option<ConfigDigest>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"skiff-release 1\n");
        hasher.update(tree.as_bytes());
        hasher.update([u8::from(config.is_some())]);
        if let Some(config) = config {
            hasher.update(config.as_bytes());
        }
        Self(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_its_tree_and_its_config() {
        let tree = TreeDigest::of(b"tree");
        let without = ReleaseId::new(tree, None);
        assert_ne!(without, ReleaseId::new(tree, Some(ConfigDigest::of(b"{}"))));
        // printf 'skiff-release 1\n' and the bytes named in the documentation, through sha256sum
        let mut bytes = b"skiff-release 1\n".to_vec();
        bytes.extend_from_slice(tree.as_bytes());
        bytes.push(0);
        assert_eq!(without, ReleaseId::of(&bytes));
    }
}
