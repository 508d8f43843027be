//! Signatures and deltas, judged by their own round trips and by rdiff. One program, as each would link all the crates again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod corners;
mod rdiff;
mod round_trip;
