//! The `block` codec: blocks of the source, and new bytes.
//!
//! A payload is a delta as librsync writes it (see [`skiff_block`]): commands that copy a range of the source or bring new bytes.
//! It finds less than [`bsdiff`](crate::bsdiff) does, but the encoder needs no more of the source than a signature, and
//! no memory that goes with its length.
//!
//! A long file is cut into *segments*, each a payload of its own.

mod decode;
#[cfg(feature = "encode")]
mod encode;

pub(crate) use decode::{DECODER_MEMORY, decode};
#[cfg(feature = "encode")]
pub use encode::{Segment, encode, encode_with_old};
