//! The bodies of the fuzz targets: each checks properties of one decoder or of a round trip, on any input.
//!
//! They are here, and not in `fuzz/`, so that a plain `cargo test` replays the committed seeds with them. A body panics
//! where a property does not hold. Its limits are small: what goes beyond them is found by the fuzzer's own memory limit.

mod apply_delta;
mod apply_store;
mod block_delta;
mod block_patch;
mod block_seeds;
mod bombs;
mod changed;
mod delta_structure;
mod executable;
mod format_decode;
mod golden;

mod input;
mod mend;
mod model;
mod naive;
mod patch_codecs;
mod release;
mod roundtrip;
mod seeds;
mod sink;
mod tar_flatten;
mod tree_decode;

pub use apply_delta::apply_delta;
pub use apply_store::apply_store;
pub use block_delta::block_delta;
pub use block_patch::block_patch;
pub use bombs::{Bomb, bombs};
pub use changed::{ChangedDelta, any_programs};
pub use delta_structure::delta_structure;
pub use format_decode::format_decode;
pub use patch_codecs::patch_codecs;
pub use roundtrip::roundtrip;
pub use seeds::{Seed, seeds};
pub use tar_flatten::tar_flatten;
pub use tree_decode::tree_decode;

/// How far an input came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It was refused, with an error.
    Refused,
    /// It was decoded to its end.
    Accepted,
}

/// A body: it takes any bytes.
pub type Body = fn(&[u8]) -> Reached;

/// The targets by name. Each has a file under `fuzz/fuzz_targets` and a directory of seeds under `fuzz/seeds`.
pub const TARGETS: &[(&str, Body)] = &[
    ("format_decode", format_decode),
    ("apply_delta", apply_delta),
    ("patch_codecs", patch_codecs),
    ("tree_decode", tree_decode),
    ("tar_flatten", tar_flatten),
    ("roundtrip", roundtrip),
    ("block_patch", block_patch),
    ("block_delta", block_delta),
    ("delta_structure", delta_structure),
    ("apply_store", apply_store),
];
