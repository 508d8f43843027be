//! The `zip` codec: an archive as what changed in its members.
//!
//! The members of an archive (zip, jar, wheel, apk, …) are compressed one by one, so those that did not change are found in
//! the old archive byte for byte. Of the others the encoder takes the plain text, encodes it by another codec with the
//! plain text of the old archive's members of the same names, and the decoder compresses it again as it was, by the
//! models of the compressors. What follows from the members is not sent: checksums, lengths, and where
//! they are, in their headers, descriptors, and in the directory. An archive stored in an archive is taken apart with it.
//!
//! The decoder holds the texts of one *group* of members at a time, and a few words for each member.
//!
//! A payload is the kinds of its *pieces*, the numbers that go with them, and the payloads of the groups. A long archive is
//! cut into several payloads.

#[cfg(feature = "encode")]
mod archive;
#[cfg(feature = "encode")]
mod bases;
#[cfg(feature = "encode")]
mod chunks;
mod decode;
#[cfg(feature = "encode")]
mod encode;
mod head;
mod old;
mod pieces;
#[cfg(feature = "encode")]
mod planner;
mod records;
#[cfg(feature = "encode")]
mod segments;

pub(crate) use decode::{decode, decoder_memory};
#[cfg(feature = "encode")]
pub use encode::{Comparison, Options, Plan, Segment, encode};
