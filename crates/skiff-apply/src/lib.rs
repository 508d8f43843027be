//! A device's store of releases: stage, verify, swap, roll back, recover.
//!
//! A [`Store`] is a directory with one directory for each release and a symbolic link, `current`, to the one that runs.
//! [`Store::install`] writes a whole image; [`Store::apply`] makes the next release out of the current one and a delta.
//! Either way the new release is staged beside the old one, brought to the disk, read back and compared with the tree
//! that its name stands for, and only then made current, by renaming one link. After any cut, at any instant, `current`
//! names the complete old or the complete new release; [`Store::recover`], run at each start, clears up without being
//! asked anything.
//!
//! ```
//! use skiff_apply::*;
//! # use skiff_tree::{Entry, EntryPath, FileContent, Kind, MemoryContents, Metadata, Tree};
//! # fn image(text: &str) -> (Tree, MemoryContents) {
//! #     let path = EntryPath::new("motd").unwrap();
//! #     let mut contents = MemoryContents::default();
//! #     contents.insert(path.clone(), text);
//! #     let motd = Kind::File(FileContent::of(text.as_bytes()));
//! #     let entries = vec![
//! #         Entry::inode(EntryPath::root(), Metadata::default(), Kind::Directory),
//! #         Entry::inode(path, Metadata::default(), motd),
//! #     ];
//! #     (Tree::new(entries).unwrap(), contents)
//! # }
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! # let ((old, old_contents), (new, new_contents)) = (image("ahoy"), image("land ahoy"));
//! # let mut delta = Vec::new();
//! # let (from, to) = (skiff_diff::Release::new(&old, &old_contents), skiff_diff::Release::new(&new, &new_contents));
//! # skiff_diff::diff(&from, &to, &skiff_diff::Options::default(), &mut delta)?;
//! # let wanted = to.id();
//!
//! // The first release is a whole image. Rootless: owners and devices are recorded, not applied.
//! let options = Options::rootless();
//! let store = Store::create(path, &StoreOptions::default())?;
//! store.install(&InstallInput::new(&old, &old_contents), &options)?;
//!
//! // The next one comes as a delta, and has to be the one that a trusted source named.
//! let mut source = OnePassDelta::new(&delta[..]);
//! let applied = store.apply(&mut source, wanted.into(), &options)?;
//! assert_eq!(std::fs::read_to_string(store.rootfs(applied.release).join("motd"))?, "land ahoy");
//! assert!(store.verify(&options)?.is_sound());
//!
//! // It does not work out.
//! let rolled_back = store.rollback(&options)?;
//! assert_eq!(std::fs::read_to_string(store.rootfs(rolled_back.to).join("motd"))?, "ahoy");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod collect;
mod complete;
mod error;
mod hold;
mod install;
mod layout;
mod options;
mod plan;
mod publish;
mod record;
mod recover;
mod sink;
mod source;
mod stage;
mod store;
mod trial;

pub use apply::{Applied, Outcome};
pub use collect::{Collected, Lease};
pub use complete::Sharing;
pub use error::{ApplyError, ErrorClass, Resource};
pub use hold::{Claim, HeldRelease};
pub use install::{InstallInput, InstallOutcome, Installed};
pub use options::{Expectation, KeepPolicy, LinkPolicy, Options, Phase, Verification};
pub use record::{Origin, Trial};
pub use recover::Recovered;
pub use skiff_fs::{Control, Ownership};
pub use skiff_keys::{PublicKey, TrustError};
pub use source::{DeltaSource, OnePassDelta, SeekableDelta};
pub use store::{ReleaseInfo, Staged, Status, Store, StoreOptions, VerifyReport};
pub use trial::RolledBack;
