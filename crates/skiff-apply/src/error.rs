use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use skiff_format::FormatError;
use skiff_fs::{FsError, Interrupted, Mismatch};
use skiff_keys::TrustError;
use skiff_patch::PatchError;
use skiff_replay::ReplayError;
use skiff_tree::{ContentDigest, EntryPath, FileContent, ReleaseId, TreeError};

/// What can go wrong with a store. Whatever it is, the current release is still the old one, whole, unless
/// [`Io`](Self::Io) came from the swap itself: then it is the old one or the new one, whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The delta was made for another release than the current one.
    #[error(
        "the delta is for release {expected}, and {}; ask for a delta from there, or pull the whole image",
        found.map_or("nothing is installed".into(), |found| format!("the current one is {found}"))
    )]
    WrongBase {
        /// The release that the delta applies to (the first, where there are several).
        expected: ReleaseId,
        /// The current release; none before the first.
        found: Option<ReleaseId>,
    },
    /// The delta leads to another release than the one that is wanted.
    #[error("the delta leads to release {found}, and {expected} is wanted; fetch the right one")]
    WrongTarget {
        /// The release that the caller wants.
        expected: ReleaseId,
        /// The release that the delta leads to.
        found: ReleaseId,
    },
    /// The delta is not signed by a key that has to have signed it. Nothing was written.
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    /// The delta is damaged, hostile, or no delta.
    #[error("corrupt delta at byte {offset}: {what}; fetch it again, or pull the whole image")]
    Corrupt {
        /// Where the damaged part begins in the delta: a frame, or a part of the header.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The delta ends before its end. What came before is staged: applying it again, when there is more of it, goes on
    /// from the last checkpoint.
    #[error("the delta is cut off after {offset} bytes; fetch the rest")]
    CutOff {
        /// Where it ends, in bytes.
        offset: u64,
    },
    /// The delta needs something that this build does not know.
    #[error("this delta cannot be applied here: {what}; update skiff, or pull the whole image")]
    Unsupported {
        /// What is not known.
        what: String,
    },
    /// The delta asks for more than the [limits](crate::Options::limits) allow.
    #[error(
        "the delta wants {wanted} {what}, and the limit is {limit}; raise the limit, or pull the whole image"
    )]
    LimitExceeded {
        /// What there is too much of.
        what: String,
        /// How much was asked for.
        wanted: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// There is not enough room, as was found out before anything was written.
    #[error("the release takes {needed} {what} and there are {available}; make room")]
    NoSpace {
        /// What there is too little of.
        what: Resource,
        /// How much the release takes, a margin included.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// The disk, its inodes or the user's quota were used up on the way. What was staged is removed, to give the room back.
    #[error("the disk is full: {op} {path:?}: {source}; make room")]
    DiskFull {
        /// What was being done.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no store at this path.
    #[error("{path:?} is not a store: {what}; install a first release, or name another directory")]
    NotAStore {
        /// The path.
        path: PathBuf,
        /// What is there instead.
        what: &'static str,
    },
    /// Another process is changing the store, holds the release, or has claimed the store.
    #[error("{path:?} is locked by another process; wait for it to end")]
    Busy {
        /// The file or directory that is locked.
        path: PathBuf,
    },
    /// Owners and devices cannot be applied by an ordinary user.
    #[error(
        "giving files their owners and making devices needs root; run as root, or rootless, which only records them"
    )]
    NeedsRoot,
    /// A file of the current release was changed since it was written: no delta can be applied to it.
    #[error(
        "{path} of the current release was changed: it should be {expected} and is {found}; pull the whole image"
    )]
    BaseDamaged {
        /// The file.
        path: EntryPath,
        /// The digest in the release's tree.
        expected: ContentDigest,
        /// The digest of what was read.
        found: ContentDigest,
    },
    /// A file that the store keeps for itself was changed or lost.
    #[error("{path:?} is damaged: {what}; install the whole image again")]
    StoreDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A content of the image to install is not what its tree says.
    #[error(
        "the content for {path:?} has {} bytes and SHA-256 {}, and its tree says {} bytes and {}; fetch the image again",
        found.size, found.digest, expected.size, expected.digest
    )]
    WrongContent {
        /// The file.
        path: PathBuf,
        /// What the tree says.
        expected: FileContent,
        /// What was read.
        found: FileContent,
    },
    /// The store's file system cannot hold what the release has, as was found out before it was staged.
    #[error("{path:?} cannot be stored here: {what}; put the store on another file system")]
    CannotHold {
        /// The entry.
        path: PathBuf,
        /// What of it cannot be held.
        what: String,
    },
    /// What was read back from the disk is not the release. It was not made the current one.
    #[error(
        "release {release} does not verify: {} of its paths are not as they should be, the first {}; pull the whole image",
        mismatches.len(), first(mismatches)
    )]
    VerificationFailed {
        /// The release.
        release: ReleaseId,
        /// Everything that is not as it should be, by path.
        mismatches: Vec<Mismatch>,
    },
    /// The caller ended it through its [`Control`](skiff_fs::Control). Applying the same delta again goes on from the last
    /// checkpoint.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// There is no release to roll back to.
    #[error("there is no previous release to roll back to")]
    NoPrevious,
    /// The store does not have this release.
    #[error("release {release} is not in the store")]
    NoSuchRelease {
        /// The release.
        release: ReleaseId,
    },
    /// The delta cannot be read further. Applying the same delta again goes on from the last checkpoint.
    #[error("reading the delta: {source}")]
    Delta {
        /// Why.
        source: io::Error,
    },
    /// What was written could not be brought to the disk, and may be lost: it was removed.
    #[error("{op} {path:?}: {source}; the disk may be failing")]
    Sync {
        /// What was being done.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused a call, or the disk failed.
    #[error("{op} {path:?}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a file system runs out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Room for data.
    Bytes,
    /// Room for files, however small.
    Inodes,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Inodes => "inodes",
        })
    }
}

/// What to do about an [`ApplyError`]: for exit codes and for policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The caller asked for what cannot be: no store, no previous release, no root.
    Usage,
    /// A delta for another base, or to another target. Ask for the right one.
    WrongRelease,
    /// Nobody who is trusted signed the delta. Do not go round that: see where it came from, and whether keys were replaced.
    Untrusted,
    /// The delta, or the image to install, is damaged. Fetch it again.
    CorruptInput,
    /// The delta asks for more than this build, the limits or the file system allow. Pull the whole image.
    Unsupported,
    /// Make room.
    NoSpace,
    /// A release in the store is not as it was written. Pull the whole image.
    Damaged,
    /// Somebody else is at it. Try later.
    Busy,
    /// The caller ended it. Doing it again goes on where it was left.
    Interrupted,
    /// The disk, the system or the delta's source failed. Doing it again goes on where it was left.
    Io,
}

impl ApplyError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotAStore { .. } | Self::NeedsRoot | Self::NoPrevious | Self::NoSuchRelease { .. } => {
                ErrorClass::Usage
            }
            Self::WrongBase { .. } | Self::WrongTarget { .. } => ErrorClass::WrongRelease,
            Self::Untrusted(_) => ErrorClass::Untrusted,
            Self::Corrupt { .. } | Self::CutOff { .. } | Self::WrongContent { .. } => {
                ErrorClass::CorruptInput
            }
            Self::Unsupported { .. } | Self::LimitExceeded { .. } | Self::CannotHold { .. } => {
                ErrorClass::Unsupported
            }
            Self::NoSpace { .. } | Self::DiskFull { .. } => ErrorClass::NoSpace,
            Self::BaseDamaged { .. } | Self::StoreDamaged { .. } | Self::VerificationFailed { .. } => {
                ErrorClass::Damaged
            }
            Self::Busy { .. } => ErrorClass::Busy,
            Self::Interrupted(_) => ErrorClass::Interrupted,
            Self::Delta { .. } | Self::Sync { .. } | Self::Io { .. } => ErrorClass::Io,
        }
    }

    /// Whether what was staged is kept, so that the same delta can go on from its last checkpoint.
    ///
    /// Not where that would fail in the same way again, and not where the device needs the room.
    pub(crate) fn keeps_staging(&self) -> bool {
        match self {
            Self::Interrupted(_) | Self::Delta { .. } | Self::CutOff { .. } => true,
            // What should be there is not, or the reverse: the staging is not what its checkpoint says.
            Self::Io { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
            ),
            _ => false,
        }
    }

    /// The same error as one of syncing, which is final.
    pub(crate) fn from_sync(error: FsError) -> Self {
        match error.into() {
            Self::Io { op, path, source } => Self::Sync { op, path, source },
            other => other,
        }
    }

    /// The same error as one of a file that the current release has to have: where it is not there, doing it again helps nobody.
    pub(crate) fn from_base(error: FsError) -> Self {
        match error {
            FsError::Io { path, source, .. }
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Self::StoreDamaged { path, what: "it is missing from the current release".into() }
            }
            other => other.into(),
        }
    }
}

impl From<FsError> for ApplyError {
    fn from(error: FsError) -> Self {
        let no_space = error.is_no_space();
        match error {
            FsError::Io { op, path, source } if no_space => Self::DiskFull { op, path, source },
            FsError::Io { op, path, source } => Self::Io { op, path, source },
            FsError::Refused { path, what } => Self::StoreDamaged { path, what: what.into() },
            FsError::Unsupported { path, what } => Self::CannotHold { path, what },
            FsError::WrongContent { path, expected, found } => Self::WrongContent { path, expected, found },
            FsError::LimitExceeded { path, wanted, limit } => {
                let what = format!("it has {wanted} bytes, and no such file has more than {limit}");
                Self::StoreDamaged { path, what }
            }
            FsError::Locked { path } => Self::Busy { path },
            FsError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            FsError::Tree(error) => Self::StoreDamaged { path: PathBuf::new(), what: error.to_string() },
            other => Self::Io { op: "working on", path: PathBuf::new(), source: io::Error::other(other) },
        }
    }
}

impl From<FormatError> for ApplyError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Corrupt { offset, what } => Self::Corrupt { offset, what },
            FormatError::LimitExceeded { what, wanted, limit } => {
                Self::LimitExceeded { what: what.into(), wanted, limit }
            }
            FormatError::Unsupported { what } => Self::Unsupported { what },
            FormatError::Io { source, .. } => Self::Delta { source },
            other => Self::Corrupt { offset: 0, what: other.to_string() },
        }
    }
}

impl From<ReplayError<ApplyError>> for ApplyError {
    fn from(error: ReplayError<ApplyError>) -> Self {
        match error {
            ReplayError::Sink(error) => error,
            ReplayError::Format(error) => error.into(),
            ReplayError::WrongBase { expected, found } => Self::WrongBase { expected, found: Some(found) },
            ReplayError::BaseDamaged { path, expected, found } => Self::BaseDamaged { path, expected, found },
            ReplayError::Corrupt { offset, what } => Self::Corrupt { offset, what },
            ReplayError::Tree(error) => from_tree_section(error),
            ReplayError::Patch { offset, number, source } => from_patch(offset, Some(number), source),
            ReplayError::Codec(source) => from_patch(0, None, source),
            ReplayError::LimitExceeded { what, wanted, limit } => {
                Self::LimitExceeded { what: what.into(), wanted, limit }
            }
            ReplayError::Base { path, source } => match source.downcast() {
                Ok(error) => Self::from_base(error),
                Err(source) => {
                    let path = PathBuf::from(OsStr::from_bytes(path.as_bytes()));
                    Self::Io { op: "reading the current release's", path, source }
                }
            },
            // A result other than the promised one, and whatever else is found out of the delta alone.
            other => Self::Corrupt { offset: 0, what: other.to_string() },
        }
    }
}

fn from_tree_section(error: TreeError) -> ApplyError {
    match error {
        TreeError::LimitExceeded { what, wanted, limit } => {
            ApplyError::LimitExceeded { what: format!("{what} of tree"), wanted, limit }
        }
        other => ApplyError::Corrupt { offset: 0, what: format!("tree section: {other}") },
    }
}

fn from_patch(offset: u64, number: Option<u32>, error: PatchError) -> ApplyError {
    match error {
        PatchError::LimitExceeded { what, wanted, limit } => {
            ApplyError::LimitExceeded { what: format!("bytes of {what}"), wanted, limit }
        }
        PatchError::Unsupported { .. } => ApplyError::Unsupported { what: error.to_string() },
        PatchError::Io { source, .. } => {
            ApplyError::Io { op: "reading a source of a patch", path: PathBuf::new(), source }
        }
        other => {
            let of = number.map_or(String::new(), |number| format!("content {number}: "));
            ApplyError::Corrupt { offset, what: format!("{of}{other}") }
        }
    }
}

fn first(mismatches: &[Mismatch]) -> String {
    mismatches.first().map_or(String::new(), |first| format!("{}: {}", first.path, first.what))
}
