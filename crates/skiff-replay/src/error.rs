use std::io;

use skiff_format::FormatError;
use skiff_patch::PatchError;
use skiff_tree::{ContentDigest, EntryPath, ReleaseId, TreeError};

/// Why a replay ended before the target was complete. `E` is the sink's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError<E: std::error::Error + 'static> {
    /// The delta's container is damaged, asks for more than the limits allow, or is of a kind not known here.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The delta was made for another release than the one it is replayed onto.
    #[error("the delta is for release {expected}, and the base is {found}; ask for a delta from {found}")]
    WrongBase {
        /// The release the delta was made for (the first, where it is for several).
        expected: ReleaseId,
        /// The release that is here.
        found: ReleaseId,
    },
    /// A file of the base is not what the base's tree says: the disk or somebody changed it.
    #[error(
        "{path} of the base was changed: expected content {expected}, found {found}; pull the whole image"
    )]
    BaseDamaged {
        /// The file.
        path: EntryPath,
        /// The digest in the base's tree.
        expected: ContentDigest,
        /// The digest of what was read.
        found: ContentDigest,
    },
    /// What stands in a frame makes no sense, though its digest holds.
    #[error("corrupt delta at byte {offset}: {what}; fetch it again")]
    Corrupt {
        /// Where the frame at fault begins in the delta.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The tree section makes no sense, though its digest holds.
    #[error("corrupt delta: tree section: {0}")]
    Tree(#[source] TreeError),
    /// A content cannot be made from its record.
    #[error("content {number} of the delta, frame at byte {offset}: {source}")]
    Patch {
        /// Where the record's frame begins in the delta.
        offset: u64,
        /// The content's number.
        number: u32,
        /// What went wrong.
        source: PatchError,
    },
    /// The delta was followed to its end, and the result is not the release it names.
    #[error(
        "the result is release {found}, and the delta promised {expected}; the delta or the base is not to be trusted"
    )]
    WrongResult {
        /// The release that the delta's header names.
        expected: ReleaseId,
        /// The release that came out.
        found: ReleaseId,
    },
    /// The delta requires a codec that is not known here.
    #[error("{0}")]
    Codec(#[source] PatchError),
    /// The delta asks for more than the limits allow.
    #[error("the delta wants {wanted} {what}, and the limit is {limit}")]
    LimitExceeded {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        wanted: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// A file of the base cannot be read.
    #[error("reading {path} of the base: {source}")]
    Base {
        /// The file.
        path: EntryPath,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The checkpoint does not belong to the delta, or what was written before it is gone.
    #[error("cannot go on from the checkpoint: {what}; begin again")]
    Checkpoint {
        /// What does not fit.
        what: &'static str,
    },
    /// The sink cannot go on.
    #[error(transparent)]
    Sink(E),
}
