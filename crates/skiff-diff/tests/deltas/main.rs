//! Deltas of all kinds, made and replayed. One program, as each would link all the crates again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod against;
mod common;
mod explanation;
mod large;
mod lists;
mod never_worse;
mod round_trip;
mod similar;
