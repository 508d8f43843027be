//! Trees on the disk, as an ordinary user may have them. One program, as each would link all the crates again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod beneath;
#[path = "../common/mod.rs"]
mod common;
mod round_trip;
mod store;
