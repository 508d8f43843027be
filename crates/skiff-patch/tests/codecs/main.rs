//! Each codec there and back, and with what is damaged. One program, as each would link all the crates again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod align;
#[cfg(feature = "encode")]
mod block;
#[cfg(feature = "encode")]
mod bsdiff;
#[cfg(all(feature = "encode", feature = "gzip"))]
mod gzip;
#[cfg(all(feature = "encode", feature = "png"))]
mod png;
#[cfg(all(feature = "encode", feature = "zip"))]
mod zip;
