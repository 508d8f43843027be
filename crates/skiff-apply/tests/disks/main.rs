//! One update, of every kind of entry, on file systems of its own: cut off by a loss of power and by a kill, on either side of every
//! call that changes the disk; on disks that lose and reorder what they were not told to keep; out of inodes and turned read-only.
//!
//! Every call takes its time: unless `SKIFF_EVERY_CALL` is set, what is tried is a sample, in which every call that decides is.
//!
//! ```sh
//! SKIFF_EVERY_CALL=1 cargo test --release --workspace --test disks -- --ignored --nocapture
//! ```

// A helper that fails is a test that fails; one system's file is a test of 64 bits.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../mount/mod.rs"]
mod mount;

mod cut;
mod ext4;
mod kill;
mod logged;
mod machine;
mod points;
mod reordered;
mod strace;
mod update;
