//! What a store does with deltas, whole and hostile, cut off and crashed. One program, as each would link all the crates again;
//! what starts processes is in others, as a process that is being started holds the locks of the tests beside it for a moment.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod changed;
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod hostile;
mod lifecycle;
mod resume;
mod signed;
