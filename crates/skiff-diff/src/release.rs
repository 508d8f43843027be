//! What a delta leads from and to.

use std::fmt;

use skiff_signature::TreeSignature;
use skiff_tree::{ConfigDigest, ContentSource, ReleaseId, Tree};

/// One side of a delta: an image's tree with its contents, and its config and manifest where it has them.
#[derive(Clone, Copy)]
pub struct Release<'a> {
    /// The flattened tree.
    pub tree: &'a Tree,
    /// Where the contents of its files are read from.
    pub contents: &'a dyn ContentSource,
    /// The image's config, byte for byte.
    pub config: Option<&'a [u8]>,
    /// The image's manifest, byte for byte.
    pub manifest: Option<&'a [u8]>,
}

impl fmt::Debug for Release<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<'a> Release<'a> {
    /// A release without config and manifest.
    #[must_use]
    pub fn new(tree: &'a Tree, contents: &'a dyn ContentSource) -> Self {
        Self { tree, contents, config: None, manifest: None }
    }

    /// Its name. Takes as long as encoding and hashing the tree.
    #[must_use]
    pub fn id(&self) -> ReleaseId {
        ReleaseId::new(self.tree.digest(), self.config.map(ConfigDigest::of))
    }
}

/// What is known of the base.
#[derive(Clone, Copy)]
pub(crate) struct Base<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) release: ReleaseId,
    pub(crate) contents: BaseContents<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum BaseContents<'a> {
    Known(&'a dyn ContentSource),
    Signed(&'a TreeSignature),
}
