//! The `align` codec: ranges of the source beside the output, and a model of how the two differ.
//!
//! The payload tells which ranges of the source the output is like, and then, byte by byte, where it is not. What tells is
//! not a difference that a compressor sees alone: the decoder has the source's bytes, what changed around them, and for
//! executables where their references lead, and the model learns what follows from that. See `doc/format.md`.
//!
//! Records of one frame share a [`State`](crate::State): what changed in one file often changes in the next.

mod controls;
mod decode;
#[cfg(feature = "encode")]
mod encode;
mod literals;
mod models;
#[cfg(feature = "encode")]
mod outline;
#[cfg(feature = "encode")]
mod refine;
#[cfg(feature = "encode")]
mod survey;
mod walk;

pub(crate) use decode::{decode, decoder_memory};
#[cfg(feature = "encode")]
pub use encode::{Options, Plan};
pub(crate) use models::Models;
#[cfg(feature = "encode")]
pub use outline::Outline;
#[cfg(feature = "encode")]
pub use refine::{RefineOptions, Refiner, refine_memory, refined_decoder_memory};
#[cfg(feature = "encode")]
pub use survey::Survey;

pub use crate::predict::Kind as ReferenceKind;
