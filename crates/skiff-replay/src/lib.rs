//! A delta and its base in, the target's entries and contents out, to any sink.
//!
//! An encoder proves its work with this crate, and a device applies deltas with it. It holds one frame, one file's
//! controls and the two trees in memory, whatever the image; it can go on from a [`Checkpoint`]; and it ends well only
//! where the result is, digest by digest, the release that the delta's header names. Whether *that* is the wanted
//! release is the caller's question: compare [`Replayed::release`] with a name from a trusted source.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::io::{Error, ErrorKind, Result};
//!
//! use skiff_replay::{Base, Limits, Prelude, Sink, Trust, replay};
//! use skiff_tree::*;
//!
//! /// New contents, by number.
//! #[derive(Default)]
//! struct InMemory(BTreeMap<u32, Vec<u8>>);
//!
//! impl Sink for InMemory {
//!     type Error = Error;
//!     type Content = Vec<u8>;
//!
//!     fn begin(&mut self, prelude: &Prelude) -> Result<()> {
//!         println!("{} new contents", prelude.skeleton.new_contents().len());
//!         Ok(())
//!     }
//!     fn write(&mut self, number: u32, bytes: &[u8]) -> Result<()> {
//!         self.0.entry(number).or_default().extend_from_slice(bytes);
//!         Ok(())
//!     }
//!     fn finish(&mut self, _number: u32, _digest: ContentDigest) -> Result<()> {
//!         Ok(())
//!     }
//!     fn open(&self, number: u32) -> Result<Self::Content> {
//!         self.0.get(&number).cloned().ok_or(ErrorKind::NotFound.into())
//!     }
//! }
//!
//! # let path = || EntryPath::new("motd").unwrap();
//! # let tree = |text: &[u8]| Tree::from_unsorted(vec![
//! #     Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory),
//! #     Entry::inode(path(), Metadata::default(), Kind::File(FileContent::of(text)))]).unwrap();
//! # let contents = |text: &[u8]| { let mut m = MemoryContents::default(); m.insert(path(), text); m };
//! # let (base_tree, base_contents) = (tree(b"ahoy"), contents(b"ahoy"));
//! # let (target_tree, target_contents) = (tree(b"land ahoy"), contents(b"land ahoy"));
//! # let mut delta = Vec::new();
//! # let sides = [skiff_diff::Release::new(&base_tree, &base_contents), skiff_diff::Release::new(&target_tree, &target_contents)];
//! # skiff_diff::diff(&sides[0], &sides[1], &skiff_diff::Options::default(), &mut delta).unwrap();
//! // `delta` was made from a tree with the file `motd`, which said "ahoy".
//! let release = ReleaseId::new(base_tree.digest(), None);
//! let base = Base { release, tree: &base_tree, contents: &base_contents, trust: Trust::Checked };
//! let mut sink = InMemory::default();
//! let replayed = replay(&delta[..], base, &mut sink, Limits::default())?;
//! assert_eq!(replayed.tree, target_tree);
//! assert_eq!(sink.0[&0], b"land ahoy");
//! # Ok::<(), skiff_replay::ReplayError<Error>>(())
//! ```

mod ahead;
mod base;
mod checkpoint;
mod codecs;
mod contents;
mod error;
mod known;
mod lists;
pub mod record;
pub mod renew;
mod replay;
mod sink;
mod source;

pub use base::{Base, Trust};
pub use checkpoint::Checkpoint;
pub use error::ReplayError;
pub use replay::{Limits, Replay, Replayed, SavedPrelude, SectionLimit, replay};
pub use sink::{Prelude, Sink};
pub use source::VirtualSource;
