//! The command as its users run it. One program, as each would link all the crates again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod block;
mod commands;
mod diff;
mod docker_registry;
mod keys;
mod memory;
mod registry;
