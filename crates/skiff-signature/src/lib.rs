//! A whole tree signed, so that a delta against it can be made by somebody who does not have it.
//!
//! A *tree signature* holds the tree, which names every file's content by its digest, the digest of the release's config, and for
//! each content that is long enough a signature of its blocks (see [`skiff_block`]). A device writes one with [`sign_tree`]; a
//! server that has never seen its image reads it as a [`TreeSignature`], and knows which files are unchanged and
//! which blocks of the others it need not send.
//!
//! ```
//! use skiff_signature::*;
//! use skiff_tree::*;
//! # let path = EntryPath::new("words")?;
//! # let text: Vec<u8> = (0..9000_u32).flat_map(|word| (word * word).to_be_bytes()).collect();
//! # let tree = Tree::from_unsorted(vec![
//! #     Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory),
//! #     Entry::inode(path.clone(), Metadata::default(), Kind::File(FileContent::of(&text)))])?;
//! # let mut contents = MemoryContents::default();
//! # contents.insert(path.clone(), text);
//!
//! // `tree` and `contents` have one file of 36,000 bytes.
//! let mut bytes = Vec::new();
//! let report = sign_tree(&Signed { tree: &tree, contents: &contents, config: None }, &Options::default(), &mut bytes)?;
//! assert_eq!(report.signed_bytes, 36_000);
//! assert!(bytes.len() < 400);
//!
//! let signature = TreeSignature::read(&bytes[..], &Limits::default())?;
//! assert_eq!(signature.tree(), &tree);
//! let index = tree.position(&path).unwrap();
//! assert_eq!(signature.of_file(index).unwrap().blocks(), 9);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod read;
mod write;

pub use error::SignatureError;
pub use read::{Limits, TreeSignature};
pub use write::{Options, Report, Signed, block_len, sign_tree};

/// What a tree signature begins with. As with a delta, it does not survive transfers that take it for text.
const MAGIC: [u8; 8] = *b"\x89SKS\r\n\x1a\n";
const VERSION: u16 = 1;
