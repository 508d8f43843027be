//! The flattened filesystem of an image as a value: entries, canonical order and encoding, digests, and the difference of two trees.
//!
//! A [`Tree`] is every path of an image after its layers were resolved, with all metadata, and for files the size and
//! SHA-256 of the content. It never touches a disk: contents are read through [`ContentSource`], which others implement.
//!
//! ```
//! use skiff_tree::*;
//!
//! let metadata = || Metadata { mode: Mode::new(0o755).unwrap(), ..Metadata::default() };
//! let tree = Tree::from_unsorted(vec![
//!     Entry::inode(EntryPath::new("etc/motd")?, metadata(), Kind::File(FileContent::of(b"ahoy\n"))),
//!     Entry::inode(EntryPath::new("etc")?, metadata(), Kind::Directory),
//!     Entry::inode(EntryPath::root(), metadata(), Kind::Directory),
//! ])?;
//! assert_eq!(tree.entries()[1].path.as_bytes(), b"etc");
//!
//! // The digest is the SHA-256 of the canonical encoding, so it can be checked with any tool.
//! let mut bytes = Vec::new();
//! tree.encode(&mut bytes)?;
//! let read_back = Tree::decode(&bytes[..], &Limits::default())?;
//! assert_eq!(read_back.digest(), tree.digest());
//! # Ok::<(), TreeError>(())
//! ```

mod content;
mod difference;
mod digest;
mod encoding;
mod entry;
mod error;
mod path;
pub mod section;
mod tree;
mod wire;

pub use content::{ContentReader, ContentSource, MemoryContents, ReadAt, read_all};
pub use difference::{Change, Difference};
pub use digest::{ConfigDigest, ContentDigest, ManifestDigest, ReleaseId, TreeDigest};
pub use encoding::Limits;
pub use entry::{Device, Entry, FileContent, Inode, Kind, Metadata, Mode, Mtime, Node, Xattrs};
pub use error::TreeError;
pub use path::EntryPath;
pub use section::{BaseContent, NewContent, Skeleton, SkeletonContent};
pub use skiff_wire::DigestParseError;
pub use tree::{Tree, TreeTotals};
