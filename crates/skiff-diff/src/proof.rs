//! The encoder's proof: the real decoder over what was written, with the target at hand to compare with.

use std::io;

use skiff_replay::{Prelude, Sink};
use skiff_tree::{ContentDigest, ContentSource, EntryPath, ReadAt};

/// Keeps nothing: the replay hashes every content, and the target has them all.
pub(crate) struct Proof<'a> {
    contents: &'a dyn ContentSource,
    paths: Vec<EntryPath>,
}

impl<'a> Proof<'a> {
    pub(crate) fn new(contents: &'a dyn ContentSource) -> Self {
        Self { contents, paths: Vec::new() }
    }
}

impl<'a> Sink for Proof<'a> {
    type Error = io::Error;
    type Content = Box<dyn ReadAt + 'a>;

    fn begin(&mut self, prelude: &Prelude) -> io::Result<()> {
        let entries = prelude.skeleton.entries();
        let path = |new: &skiff_tree::NewContent| entries[new.entry as usize].path.clone();
        self.paths = prelude.skeleton.new_contents().iter().map(path).collect();
        Ok(())
    }

    fn write(&mut self, _number: u32, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _number: u32, _digest: ContentDigest) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, number: u32) -> io::Result<Self::Content> {
        let path = self.paths.get(number as usize).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.contents.open(path)
    }
}
