//! A device's policy: asks for deltas, resumes, retries, falls back to the pull, runs releases and rolls them back.

mod runner;

pub use runner::{RunState, Runnable, Runner, RunnerError};
