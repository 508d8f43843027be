//! The command among hostile images and deltas. Beside the places that it writes to lies what nobody may touch, and somebody swaps its
//! directories for links to there.
//!
//! `cargo test --release --workspace --test hostile_images -- --ignored` runs all of it, as root.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod deltas;
mod images;
mod place;
mod store;
