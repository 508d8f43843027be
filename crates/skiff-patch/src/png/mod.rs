//! The `png` codec: an image as its scanlines, its other chunks, and the compressor that made the file of them.
//!
//! An image that was drawn anew, or that only carries another date, has little in common with its predecessor once it is
//! compressed, and much before. So the encoder opens the file as far as the scanlines, as filters left them, and encodes
//! them and the chunks that are not pixels by another codec, with an opened source where that helps; the decoder compresses
//! them again as zlib did the first time, parts the stream into chunks as they were, and computes the checksums. Files that
//! zlib did not make are declined.

mod chunks;
mod decode;
#[cfg(feature = "encode")]
mod encode;

pub(crate) use decode::{decode, decoder_memory};
#[cfg(feature = "encode")]
pub use encode::{PLAIN_BYTES, Plan};
