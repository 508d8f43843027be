//! Rsync-style block deltas in librsync's formats: signature, delta, patch.
//!
//! One side has an old file and sends its *signature*: a weak and a strong hash of each block. The other has the new file, and
//! makes a *delta* from the two: which blocks to copy, and which bytes are new. Then the first side *patches* its old file. What
//! `rdiff` writes is read here, and the reverse: the four kinds of signatures, and the deltas.
//!
//! ```
//! # #[cfg(feature = "signature")] {
//! use std::io::Cursor;
//! use std::num::NonZeroUsize;
//! use skiff_block::{Limits, Signature, SignatureKind, SignatureParams, Table, delta, patch, write_signature};
//!
//! let old: Vec<u8> = (0..60_000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
//! let new = [&old[..100_001], b"something new", &old[80_000..]].concat();
//! let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
//!
//! // On the side that has the old file:
//! let params = SignatureParams::recommended(SignatureKind::default(), Some(old.len() as u64));
//! let mut signature = Vec::new();
//! write_signature(&old[..], &params, threads, &mut signature)?;
//!
//! // On the side that has the new one:
//! let table = Table::new(Signature::read(&signature[..], &Limits::default())?)?;
//! let mut bytes = Vec::new();
//! let report = delta(&table, &new[..], threads, &mut bytes)?;
//! assert!(report.literal_bytes < 2_000 && bytes.len() < 2_000);
//!
//! // And on the first side again:
//! let mut made = Vec::new();
//! patch(Cursor::new(&old), &bytes[..], &mut made, &Limits::default())?;
//! assert_eq!(made, new);
//! # }
//! # Ok::<(), skiff_block::BlockError>(())
//! ```
//!
//! The algorithm is Andrew Tridgell's (*Efficient Algorithms for Sorting and Synchronization*, 1999). Beyond `rdiff`:
//! - of equal blocks the one is copied that lets the most follow it, and what follows becomes one command;
//! - blocks by the million with the same weak hash cost no more than others, be it zeros or blocks made for that;
//! - several threads search one file, and find what one thread finds;
//! - whoever has the old file too copies what is equal beside blocks (`delta_with_old`).
//!
//! For the same signature a delta is never longer than `rdiff`'s, but for files that were made to cost time.
//!
//! A strong hash of fewer than 16 bytes, or MD4 against somebody who chooses the files, may take different blocks
//! for equal, and the formats have no digest of the result: whoever patches has to know one from elsewhere.

#[cfg(feature = "signature")]
mod assemble;
#[cfg(feature = "signature")]
mod blocks;
#[cfg(feature = "signature")]
mod buffer;
mod command;
#[cfg(feature = "signature")]
mod delta;
mod error;
#[cfg(feature = "signature")]
mod kind;
mod limits;
#[cfg(feature = "signature")]
mod md4_lanes;
mod patch;
#[cfg(feature = "signature")]
mod runs;
#[cfg(feature = "signature")]
mod scan;
#[cfg(feature = "signature")]
mod signature;
#[cfg(feature = "signature")]
mod strong;
#[cfg(feature = "signature")]
mod table;
#[cfg(feature = "signature")]
mod weak;

pub use command::{Command, Commands, DeltaWriter, Sink};
#[cfg(feature = "signature")]
pub use delta::{DeltaReport, delta, delta_with_old, find};
pub use error::{BlockError, Stream};
#[cfg(feature = "signature")]
pub use kind::{
    SAFE_STRONG_LEN, SignatureKind, SignatureParams, StrongHash, WeakHash, recommended_block_len,
};
pub use limits::Limits;
pub use patch::{PatchReport, patch};
#[cfg(feature = "signature")]
pub use signature::{Signature, SignatureReport, write_signature};
#[cfg(feature = "signature")]
pub use table::Table;
