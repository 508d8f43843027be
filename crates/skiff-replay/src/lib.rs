//! A delta and its base in, the target's entries and contents out, to any sink.
//!
//! An encoder proves its work with this crate, and a device applies deltas with it. It holds one frame, one file's
//! controls and the two trees in memory, whatever the image; it can go on from a [`Checkpoint`]; and it ends well only
//! where the result is, digest by digest, the release that the delta's header names. Whether *that* is the wanted
//! release is the caller's question: compare [`Replayed::release`] with a name from a trusted source.

mod base;
mod checkpoint;
mod codecs;
mod contents;
mod error;
pub mod record;
mod replay;
mod sink;
mod source;

pub use base::Base;
pub use checkpoint::Checkpoint;
pub use error::ReplayError;
pub use replay::{Limits, Replay, Replayed, SavedPrelude, SectionLimit, replay};
pub use sink::{Prelude, Sink};
