//! The `bsdiff` codec: ranges of the source, corrected byte by byte, between runs of new bytes.
//!
//! The method is Colin Percival's (*Naive Differences of Executable Code*, 2003). The stream is our own: a payload is
//! the source position at which it begins, the number of *controls*, the controls, and then the *data*. A control adds
//! as many bytes of the data to as many of the source, takes as many bytes of the data as they are, and moves on in the
//! source. All integers are varints, so that a control takes 3 to 6 bytes instead of 24; data stays in one piece, so that
//! the container's compressor sees it as a whole.
//!
//! A long file is cut into *segments*, each a payload of its own.

mod decode;
#[cfg(feature = "encode")]
mod encode;

pub(crate) use decode::{DECODER_MEMORY, decode};
#[cfg(all(feature = "encode", any(feature = "gzip", feature = "zip")))]
pub(crate) use encode::encode_whole;
#[cfg(feature = "encode")]
pub use encode::{Options, Segment, encode, encode_memory};
