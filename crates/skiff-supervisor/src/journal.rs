//! What a supervisor has to know after a restart, beside what the store knows.

use std::path::Path;

use serde::{Deserialize, Serialize};
use skiff_fs::{FsError, Lock, LockKind, Root, RootOptions};
use skiff_protocol::{Outcome, Text, Variables};
use skiff_tree::{EntryPath, ReleaseId};

const NAME: &str = "supervisor.json";
const LOCK: &str = "lock";
const VERSION: u32 = 1;
/// Far more than it takes: a thousand variables have 4 MB at most.
const MAX_BYTES: u64 = 8 << 20;

/// What is known. Every change is on the disk when it is made.
#[derive(Debug)]
pub(crate) struct Journal {
    root: Root,
    entries: Entries,
    /// Two supervisors of one device would undo each other's work.
    _lock: Lock,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Entries {
    version: u32,
    /// What the server sent last, so that it counts while the server cannot be asked.
    pub(crate) configuration: Option<Variables>,
    /// A release that is not tried again until the server names another one.
    pub(crate) refused: Option<Refused>,
    /// The update that goes on, or is on trial.
    pub(crate) update: Option<Underway>,
    /// How the last update ended.
    pub(crate) outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) release: Text<ReleaseId>,
    pub(crate) cause: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Underway {
    pub(crate) target: Text<ReleaseId>,
    /// Bytes that came over the wire for it, so far.
    pub(crate) received: u64,
    /// Whether a delta led to it: as long as none was given up.
    pub(crate) by_delta: bool,
    /// Why no delta could be used.
    pub(crate) cause: Option<String>,
}

impl Journal {
    /// Reads what there is in a directory, for one supervisor at a time. Tells whether it was damaged; then nothing is known.
    pub(crate) fn open(directory: &Path, options: RootOptions) -> Result<(Self, bool), FsError> {
        let root = Root::open_with(directory, options)?;
        let lock = root.lock(&name_of(LOCK), LockKind::Exclusive)?;
        let (entries, is_damaged) = match root.read_file(&name(), MAX_BYTES) {
            Ok(bytes) => match serde_json::from_slice::<Entries>(&bytes) {
                Ok(entries) if entries.version == VERSION => (entries, false),
                _ => (Entries::default(), true),
            },
            Err(error) if error.is_not_found() => (Entries::default(), false),
            Err(FsError::LimitExceeded { .. }) => (Entries::default(), true),
            Err(error) => return Err(error),
        };
        Ok((Self { root, entries, _lock: lock }, is_damaged))
    }

    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Changes what is known; nothing is written where nothing changes. Where it cannot be written, it is known until the next start.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Entries)) -> Result<(), FsError> {
        let mut changed = self.entries.clone();
        change(&mut changed);
        changed.version = VERSION;
        if changed == self.entries {
            return Ok(());
        }
        let bytes =
            serde_json::to_vec_pretty(&changed).expect("because a journal consists of numbers and texts");
        self.entries = changed;
        self.root.replace_file(&name(), &bytes)
    }
}

fn name() -> EntryPath {
    name_of(NAME)
}

fn name_of(name: &str) -> EntryPath {
    EntryPath::new(name).expect("because the journal's names are short and plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_there_after_a_restart_and_damage_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut journal, is_damaged) =
            Journal::open(directory.path(), RootOptions::default()).expect("a journal");
        assert!(!is_damaged);
        let refused = Refused { release: ReleaseId::of(b"bad").into(), cause: "it fell over".into() };
        journal.change(|entries| entries.refused = Some(refused.clone())).expect("written");
        drop(journal);
        let (journal, is_damaged) =
            Journal::open(directory.path(), RootOptions::default()).expect("a journal");
        assert_eq!((journal.entries().refused.as_ref(), is_damaged), (Some(&refused), false));
        let second = Journal::open(directory.path(), RootOptions::default());
        assert!(matches!(second, Err(FsError::Locked { .. })));
        drop(journal);

        for damage in [&b"{"[..], b"{\"version\": 99}", b""] {
            std::fs::write(directory.path().join(NAME), damage).expect("written");
            let (mut journal, is_damaged) =
                Journal::open(directory.path(), RootOptions::default()).expect("a journal");
            assert!(is_damaged && journal.entries() == &Entries::default());
            journal.change(|entries| entries.refused = Some(refused.clone())).expect("written");
        }
    }
}
