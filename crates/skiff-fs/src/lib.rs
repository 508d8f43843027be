//! Trees on disk: reads one, makes entries beneath a root, shares, syncs and swaps them.
//!
//! A [`Root`] is a directory that no path leads out of: no symbolic link is followed beneath it. Every change goes through
//! [`Storage`], so that crash tests can number the calls and let one fail. What takes long is watched and stopped through a
//! [`Control`].
//!
//! ```
//! use skiff_fs::*;
//! # let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
//! # std::fs::write(from.path().join("motd"), "ahoy\n")?;
//! # let (from, to) = (from.path(), to.path());
//!
//! // Read a directory, every file hashed, write it elsewhere and prove the copy.
//! let tree = read_tree(&Root::open(from)?, &ReadOptions::default())?;
//! let copy = Root::open(to)?;
//! let ownership = Ownership::of_this_process();
//! write_tree(&copy, &tree, &DirectoryContents::open(from)?, &WriteOptions::default().with_ownership(ownership))?;
//! copy.sync_file_system()?;
//!
//! let verification = VerifyOptions::default().with_ownership(ownership);
//! assert_eq!(verify_tree(&copy, &tree, &verification)?, []);
//! std::fs::write(to.join("motd"), "ahoi\n")?;
//! assert!(!verify_tree(&copy, &tree, &verification)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("skiff-fs works on Linux only: it needs openat2, syncfs and /proc");

mod control;
mod error;
#[cfg(any(test, feature = "testing"))]
mod faulty;
mod file;
mod input;
mod listing;
mod lock;
mod make;
mod ownership;
mod parallel;
mod probe;
mod read;
mod remove;
mod resolve;
mod root;
mod share;
mod storage;
mod sync;
mod syncing;
mod verify;
mod walk;
mod write;

pub use control::{Control, Interrupted};
pub use error::FsError;
#[cfg(any(test, feature = "testing"))]
pub use faulty::{Fault, FaultyStorage, Passing, When};
pub use file::{DirectoryContents, OpenFile, WritableFile};
pub use input::open_input;
pub use lock::{Lock, LockKind};
pub use ownership::{Ownership, can_apply_ownership};
pub use read::{ReadOptions, Selinux, read_tree};
pub use remove::Removed;
pub use resolve::Resolution;
pub use root::{EntryType, Root, RootOptions};
pub use share::{ShareMode, ShareOptions, Shared};
pub use storage::{At, DiskStorage, Removal, Rename, RestOfSync, Special, Storage, Sync};
pub use sync::{FreeSpace, SyncStrategy, syncfs_reports_errors};
pub use syncing::{Syncer, Syncing};
pub use verify::{Cache, Mismatch, Reread, VerifyOptions, Wrong, verify_tree};
pub use write::{WriteOptions, write_tree};
