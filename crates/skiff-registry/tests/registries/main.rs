//! A registry on loopback, and what goes over it. One program, as each would link all the crates again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod deltas;
mod fetch;
mod protocol;
mod tls;
