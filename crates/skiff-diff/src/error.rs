use std::io;

use skiff_format::FormatError;
use skiff_replay::ReplayError;
use skiff_tree::EntryPath;

/// Why there is no delta.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// A file of one side cannot be read.
    #[error("reading {path} of the {side}: {source}")]
    Read {
        /// `base` or `target`.
        side: &'static str,
        /// The file.
        path: EntryPath,
        /// Why.
        source: io::Error,
    },
    /// A file of one side is not what its tree says: it changed in the meantime.
    #[error("{path} of the {side} changed while it was read; make the delta again from an image at rest")]
    Changed {
        /// `base` or `target`.
        side: &'static str,
        /// The file.
        path: EntryPath,
    },
    /// The container cannot be written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A codec's own encoder wrote what its decoder refuses: a defect.
    #[error("a codec did not prove itself: {0}; nothing was written, please report this with both images")]
    Codec(#[from] skiff_patch::PatchError),
    /// Blocks cannot be searched for: a file of the base cannot be read, or has more blocks than can be told apart.
    #[error("searching for blocks of the base: {0}")]
    Block(#[from] skiff_block::BlockError),
    /// A temporary file or the output cannot be written.
    #[error("{op}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The caller ended it through its [`Control`](skiff_fs::Control).
    #[error(transparent)]
    Interrupted(#[from] skiff_fs::Interrupted),
    /// The threads cannot be started.
    #[error("starting the encoder's threads: {0}")]
    Threads(String),
    /// The images have more entries, or longer ones, than a decoder takes by default.
    #[error("a device would refuse the delta: {0}; pull the whole image instead")]
    TooLarge(#[source] Box<ReplayError<io::Error>>),
    /// The device would need more memory than the options grant, even with the smallest frames and no codec that holds anything.
    #[error(
        "decoding takes {least} bytes of memory at least, for the images' trees above all, and no more than {granted} \
         were granted; grant as many, or pull the whole image"
    )]
    DecoderMemory {
        /// What was granted, in bytes.
        granted: u64,
        /// What would be enough, in bytes.
        least: u64,
    },
    /// What was made from a tree signature does not lead to the target: its blocks are not those of the tree it names.
    #[error(
        "the tree signature is not that of a tree: {0}; have the device sign again, or pull the whole image"
    )]
    Signature(#[source] Box<ReplayError<io::Error>>),
    /// What was written did not replay to the target. Nothing was handed out; it is a defect of this crate.
    #[error("the delta did not prove itself: {0}; nothing was written, please report this with both images")]
    Proof(#[source] Box<ReplayError<io::Error>>),
}
