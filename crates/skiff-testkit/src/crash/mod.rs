//! What a disk may hold after its power went: a model, and everything it allows.
//!
//! A [`Recorder`] is a [`Storage`](skiff_fs::Storage) that works on a real directory, which is best in memory, and keeps a [`Log`] of every change and
//! every sync. A [`Moment`] of the log is an instant at which power may go, and gives the [`Files`] that may be found then; written to a
//! directory, each is what a start after the cut begins with.
//!
//! # The model
//! It is the abstract persistence model of ALICE (Pillai and others, OSDI 2014), with its least generous answers, over what CrashMonkey calls
//! persistence points (Mohan and others, OSDI 2018). What SQLite's crash tests do to the unsynced writes of a file, it does to
//! directories and attributes as well. Every call is taken apart into *changes*:
//!
//! | call | changes |
//! |---|---|
//! | make a file, directory, link, pipe, device | the name, with an empty inode of mode 0600 or 0700 (a symbolic link with its target) |
//! | hard link | the name |
//! | rename | the new name, in the place of what it replaces; the end of the old name |
//! | exchange | both names, at once: file systems that have it have a journal |
//! | remove | the end of the name |
//! | write, copy, reflink | each sector of 512 bytes; the length, each 4,096 bytes further by itself |
//! | set the length | the new length |
//! | set owner, mode, time, an extended attribute | each of them |
//!
//! A change is on the disk for certain once a sync has returned that began after it and covers it; any subset of all others may be.
//! Those of one name, sector or attribute stay in order, as the disk keeps the last that arrived. Covered are
//!
//! - by `fsync` of a file: its sectors, length and attributes, but no name of it;
//! - by `fsync` of a directory: the names in it and its attributes, but neither its own name nor what is in the inodes that it names;
//! - by `syncfs`: everything.
//!
//! A name leads to an inode that is there, if an empty one. Sectors that did not arrive read as zeros, for file systems that hand
//! out no stale blocks. A directory has one name: where the new one arrived and the old one is left, `fsck` keeps one of them. That it
//! keeps the new one is what a rename that arrived whole looks like; here it keeps the old one.
//!
//! Ext4 (`data=ordered`), XFS and btrfs promise more: renames arrive whole, names mostly in order, and `fsync` of a new file takes its name
//! along. Whatever they may leave, data that was not synced included, is one of the model's states.
//!
//! # Not in the model
//! A disk that loses or damages what it acknowledged; sectors torn in themselves; times that the file system sets by itself.

mod disk;
mod files;
mod log;
mod recorder;
mod states;

pub use files::Files;
pub use log::{Log, Moment};
pub use recorder::Recorder;
pub use states::{Choice, Choices, Effort, Omissions};
