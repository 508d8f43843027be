//! Finding out whether a file system can hold a tree before any of it is written.

use std::collections::{BTreeMap, BTreeSet};

use skiff_tree::{Device, Entry, EntryPath, Inode, Kind, Tree};

use crate::{Control, FsError, Ownership, Root};

impl Root {
    /// Finds out whether the file system can hold the metadata of a tree: every owner, every namespace of extended attributes
    /// and the most of them on one inode, the first and the last time and one with nanoseconds, every kind of entry,
    /// the largest device numbers, the longest name and link target.
    ///
    /// It makes some thirty entries in a directory at `scratch`, which must not be there and is removed again.
    ///
    /// # Errors
    /// [`FsError::Unsupported`] names the first entry that cannot be held, and what of it; [`FsError::Io`] likewise.
    pub fn probe(&self, scratch: &EntryPath, tree: &Tree, ownership: Ownership) -> Result<(), FsError> {
        self.make_directory(scratch)?;
        let result = demanding(tree, ownership)
            .into_iter()
            .try_for_each(|(entry, inode)| self.probe_entry(scratch, (entry, inode), ownership));
        let removed = self.remove(scratch, &Control::default()).map(drop);
        result.and(removed)
    }

    fn probe_entry(
        &self,
        scratch: &EntryPath,
        (entry, inode): (&Entry, &Inode),
        ownership: Ownership,
    ) -> Result<(), FsError> {
        let probe = scratch.join(entry.path.name().unwrap_or(b"root"))?;
        let result = match &inode.kind {
            Kind::File(_) => self.create_file(&probe).map(drop),
            kind => self.make_entry(&probe, kind, ownership),
        };
        let result = result.and_then(|()| self.set_metadata(&probe, inode, ownership));
        let removed = self.remove(&probe, &Control::default()).map(drop);
        // What the caller knows is the entry, not its stand-in.
        result.map_err(|error| blame(error, self, &entry.path)).and(removed)
    }
}

fn blame(error: FsError, root: &Root, entry: &EntryPath) -> FsError {
    let path = root.display(entry);
    match error {
        FsError::Unsupported { what, .. } => FsError::Unsupported { path, what },
        FsError::Io { op, source, .. } => FsError::Io { op, path, source },
        other => other,
    }
}

/// A property of inodes that a file system may refuse.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand<'a> {
    Kind(&'static str),
    Owner(u32, u32),
    /// Linux keeps some namespaces from some kinds of entries.
    Namespace(&'static str, &'a [u8]),
}

/// A measure of inodes of which a file system may hold only so much: the entry that has the most stands for all.
const MEASURES: [fn(&Entry, &Inode) -> i128; 8] = [
    |_, inode| i128::from(inode.metadata.mtime.seconds()),
    |_, inode| -i128::from(inode.metadata.mtime.seconds()),
    // The one with the finest time: an odd number of nanoseconds shows any rounding.
    |_, inode| match inode.metadata.mtime.nanoseconds() {
        0 => 0,
        nanoseconds => 32 - i128::from(nanoseconds.trailing_zeros()),
    },
    |_, inode| inode.metadata.xattrs.iter().map(|(name, value)| (name.len() + value.len()) as i128).sum(),
    |_, inode| match &inode.kind {
        Kind::Symlink(target) => target.len() as i128,
        _ => 0,
    },
    |_, inode| device(inode).map_or(0, |device| device.major.into()),
    |_, inode| device(inode).map_or(0, |device| device.minor.into()),
    |entry, _| entry.path.name().map_or(0, |name| name.len() as i128),
];

fn device(inode: &Inode) -> Option<Device> {
    match inode.kind {
        Kind::CharDevice(device) | Kind::BlockDevice(device) => Some(device),
        _ => None,
    }
}

/// Entries that between them demand everything that any entry demands, as far as the ownership applies it.
fn demanding(tree: &Tree, ownership: Ownership) -> Vec<(&Entry, &Inode)> {
    let mut first: BTreeMap<Demand<'_>, usize> = BTreeMap::new();
    let mut most: [Option<(i128, usize)>; MEASURES.len()] = [None; MEASURES.len()];
    for (index, entry) in tree.entries().iter().enumerate() {
        let Some(inode) = entry.as_inode().filter(|inode| ownership.makes(&inode.kind)) else { continue };
        let kind = inode.kind.name();
        first.entry(Demand::Kind(kind)).or_insert(index);
        if ownership == Ownership::Apply {
            first.entry(Demand::Owner(inode.metadata.uid, inode.metadata.gid)).or_insert(index);
        }
        for (name, _) in ownership.xattrs(&inode.metadata.xattrs) {
            let namespace = name.split(|&byte| byte == b'.').next().unwrap_or(name);
            first.entry(Demand::Namespace(kind, namespace)).or_insert(index);
        }
        for (measure, most) in MEASURES.iter().zip(&mut most) {
            let amount = measure(entry, inode);
            if most.is_none_or(|(before, _)| amount > before) {
                *most = Some((amount, index));
            }
        }
    }
    let chosen: BTreeSet<usize> =
        first.into_values().chain(most.into_iter().flatten().map(|(_, index)| index)).collect();
    let entries = tree.entries();
    chosen.into_iter().filter_map(|index| Some((&entries[index], entries[index].as_inode()?))).collect()
}
