//! The delta container: a decoder without I/O, an encoder, frames and their compression, limits and digests.
//!
//! A delta is a header, which tells a device everything it needs to say yes or no, and *frames*: units that are checked
//! and decoded as one. What is in the frames is opaque here. `doc/format.md` is the format's definition.
//!
//! ```
//! use std::io::Cursor;
//! use skiff_format::*;
//!
//! # let digest = Digest::of(b"");
//! # let target = TargetInfo { release: digest, tree: digest, config: None, manifest: None };
//! # let fields = HeaderFields { codecs: vec![], bases: vec![BaseInfo { release: digest, tree: digest }], target, facts: Facts::default() };
//! // Frames are spooled, then the header is written with their table in it, then the frames.
//! let mut encoder = Encoder::new(Cursor::new(Vec::new()));
//! encoder.add(compress(Section::Tree, b"what the tree section says", &Compression::XZ)?)?;
//! let mut delta = Vec::new();
//! encoder.finish(&fields, &mut delta)?;
//!
//! // Bytes in, events out; the input may come in pieces of any size.
//! let mut decoder = Decoder::new(Limits::default());
//! let mut input = &delta[..];
//! let Some(Event::Header(header)) = decoder.push(&mut input)? else { panic!() };
//! assert_eq!(header.delta_size(), delta.len() as u64);
//! let Some(Event::Frame(frame)) = decoder.push(&mut input)? else { panic!() };
//! assert_eq!(frame.payload, b"what the tree section says");
//! assert!(decoder.push(&mut input)?.is_none());
//! decoder.finish()?;
//! # Ok::<(), FormatError>(())
//! ```

mod compression;
mod decoder;
mod digest;
#[cfg(feature = "encode")]
mod encoder;
mod error;
mod header;
mod reader;
#[cfg(feature = "encode")]
mod resign;
mod signatures;

pub use compression::Compressor;
#[cfg(feature = "encode")]
pub use compression::{CompressedFrame, Compression, compress, frame_memory};
pub use decoder::{Decoder, Event, Frame, Limits};
pub use digest::Digest;
#[cfg(feature = "encode")]
pub use encoder::{Encoder, Summary};
pub use error::FormatError;
pub use header::{BaseInfo, CodecInfo, Facts, FrameInfo, Header, HeaderFields, Section, TargetInfo, VERSION};
pub use reader::Reader;
#[cfg(feature = "encode")]
pub use resign::replace_signatures;
pub use signatures::{DetachedSignature, MAX_SIGNATURES, Signatures};
pub use skiff_wire::DigestParseError;
