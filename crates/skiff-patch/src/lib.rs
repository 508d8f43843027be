//! One file from another: the codecs of a delta, encoder and decoder side by side.
//!
//! A codec turns a *payload* and a *source* (any bytes the receiver has) into an *output* of a length known beforehand.
//! Payloads are not compressed here: the container compresses many of them together.
//!
//! ```
//! # #[cfg(feature = "encode")] {
//! use skiff_patch::{Codec, Limits, Job, Source, State, bsdiff, decode};
//! use std::io::Cursor;
//!
//! let old = b"Mary had a little lamb, its fleece was white as snow.".repeat(9);
//! let new = b"Mary had a little calf, its fleece was white as snow.".repeat(9);
//!
//! let mut output = Vec::new();
//! let mut source = Source::new(Cursor::new(&old), old.len() as u64);
//! for segment in bsdiff::encode(&old, &new, &bsdiff::Options::default()) {
//!     let job = Job::new(Codec::Bsdiff, &segment.payload, segment.output_len);
//!     decode(&job, &mut source, &mut output, &Limits::default(), &mut State::new())?;
//! }
//! assert_eq!(output, new);
//! # }
//! # Ok::<(), skiff_patch::PatchError>(())
//! ```
//!
//! Decoding trusts nothing: a payload is checked as a whole before the first byte is written, what is written is never
//! longer than what was promised, nothing outside the source is read, and memory stays below [`Limits::memory_bytes`].
//! That the output is *right* is for the caller to prove, by its digest.

pub mod align;
pub mod block;
pub mod bsdiff;
mod codec;
mod data;
mod decode;
#[cfg(any(feature = "gzip", feature = "png", feature = "zip"))]
mod deflate;
mod error;
#[cfg(feature = "gzip")]
pub mod gzip;
#[cfg(any(feature = "gzip", feature = "png", feature = "zip"))]
mod inner;
#[cfg(feature = "encode")]
mod matcher;
#[cfg(any(feature = "gzip", feature = "png", feature = "zip"))]
mod opened;
#[cfg(feature = "encode")]
mod plan;
#[cfg(feature = "png")]
pub mod png;
mod predict;
mod source;
mod state;
#[cfg(feature = "zip")]
pub mod zip;

pub use codec::{Codec, Portion};
pub use decode::{Job, Limits, Rest, decode, decode_apart, decoder_memory};
pub use error::{PatchError, Stream};
#[cfg(feature = "encode")]
pub use matcher::Effort;
#[cfg(feature = "encode")]
pub use plan::{Forecast, Plan};
pub use source::Source;
pub use state::State;
