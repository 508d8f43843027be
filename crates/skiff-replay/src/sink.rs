use std::error::Error;
use std::sync::Arc;

use skiff_format::Header;
use skiff_tree::{ContentDigest, ReadAt, Skeleton};

use crate::Checkpoint;

/// What stands before the contents in a delta.
#[derive(Debug, Clone)]
pub struct Prelude {
    /// The delta's header.
    pub header: Header,
    /// The target's config, checked against the header's digest.
    pub config: Option<Vec<u8>>,
    /// The target's manifest, checked against the header's digest.
    pub manifest: Option<Vec<u8>>,
    /// The payload of the tree section.
    pub tree_section: Vec<u8>,
    /// What the tree section tells: the target's tree but for the digests of new contents. Shared, so that a sink may keep it.
    pub skeleton: Arc<Skeleton>,
}

/// Where a replay puts what comes out of a delta.
///
/// The calls come in this order: [`begin`](Self::begin) once (not after a resumption); for each new content its
/// [`write`](Self::write)s, in order and without gaps, then [`finish`](Self::finish); between frames
/// [`checkpoint`](Self::checkpoint). Contents that the base has are never written: the skeleton tells where they are. All calls come
/// from the thread that feeds the replay, the same ones in the same order on any number of processors, but for how early contents are
/// opened; those may be read in another thread.
pub trait Sink {
    /// Why the sink cannot go on.
    type Error: Error + Send + Sync + 'static;
    /// A new content, opened for reading.
    type Content: ReadAt;

    /// Takes notice of everything that stands before the contents.
    ///
    /// # Errors
    /// An error ends the replay, here and in every other call.
    fn begin(&mut self, prelude: &Prelude) -> Result<(), Self::Error>;

    /// Appends bytes to the new content `number`.
    ///
    /// # Errors
    /// Any.
    fn write(&mut self, number: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// The new content `number` is whole and has this digest.
    ///
    /// # Errors
    /// Any.
    fn finish(&mut self, number: u32, digest: ContentDigest) -> Result<(), Self::Error>;

    /// Opens a new content of which something was written: as another content's source, or to hash it again when going
    /// on from a checkpoint.
    ///
    /// # Errors
    /// Any.
    fn open(&self, number: u32) -> Result<Self::Content, Self::Error>;

    /// A frame has ended and all that was in it was written. Does nothing unless the sink can go on from here.
    ///
    /// # Errors
    /// Any.
    fn checkpoint(&mut self, _checkpoint: &Checkpoint) -> Result<(), Self::Error> {
        Ok(())
    }
}
