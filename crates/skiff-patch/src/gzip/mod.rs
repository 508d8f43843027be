//! The `gzip` codec: a gzip file as its plain text and the compressor that made it.
//!
//! A change of one line changes nearly every byte of a compressed file behind it. So the encoder opens the file, encodes
//! the plain text by another codec, with an opened source where that helps, and the decoder compresses it again, as
//! GNU gzip or zlib did the first time. Files that neither made are declined.
//!
//! A payload is the gzip header, by its length; the compressor's number; the plain text's length; how the source is read;
//! the inner codec's id; and the inner payload. The trailer is computed.

mod decode;
#[cfg(feature = "encode")]
mod encode;

pub(crate) use decode::{Rest, decode, decoder_memory};
#[cfg(feature = "encode")]
pub use encode::{Encoded, PLAIN_BYTES, Plan, encode};
