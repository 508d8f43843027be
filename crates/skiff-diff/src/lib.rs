//! Two trees with their contents in, a delta out.
//!
//! Contents that the base has are taken from there, whatever their path. Every other content is made from the file of the base that
//! its name leads to, or from what is most like it where that serves better: files of the base and new ones before it, several
//! together where each has a part. Whichever codec comes out smallest makes it, on as many threads as wanted. The same inputs
//! and options give the same bytes on any number of threads. Before a delta is handed out the real decoder has replayed
//! it.
//!
//! ```
//! use skiff_diff::{Options, Release, diff};
//! # use skiff_tree::*;
//! # let path = || EntryPath::new("motd").unwrap();
//! # let tree = |text: &[u8]| Tree::from_unsorted(vec![
//! #     Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory),
//! #     Entry::inode(path(), Metadata::default(), Kind::File(FileContent::of(text)))]).unwrap();
//! let texts = ["ahoy\n".repeat(999), "ahoy\n".repeat(999) + "land\n"];
//! # let trees = texts.each_ref().map(|text| tree(text.as_bytes()));
//! # let contents = texts.each_ref().map(|text| { let mut m = MemoryContents::default(); m.insert(path(), text.as_bytes()); m });
//! let base = Release::new(&trees[0], &contents[0]);
//! let target = Release::new(&trees[1], &contents[1]);
//!
//! let mut delta = Vec::new();
//! let report = diff(&base, &target, &Options::default(), &mut delta)?;
//! assert_eq!(report.delta_bytes, delta.len() as u64);
//! assert!(delta.len() < 600);
//! # Ok::<(), skiff_diff::DiffError>(())
//! ```

mod archive;
mod assumed;
mod budget;
mod candidate;
mod encoder;
mod error;
mod explanation;
mod facts;
mod ideas;
mod kind;
mod large;
mod lists;
mod modelled;
mod options;
mod pairing;
mod plan;
mod proof;
mod release;
mod report;
mod similar;
mod sketch;
mod together;

pub use encoder::{diff, diff_against};
pub use error::DiffError;
pub use explanation::{CodecShare, Explanation, FileShare, KindShare, SectionShares, SourceFile};
pub use ideas::{Idea, Ideas};
pub use kind::{FileKind, Machine};
pub use options::{Level, Options, Sign};
pub use release::Release;
pub use report::{CodecReport, Report};
