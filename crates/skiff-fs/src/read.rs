use std::num::NonZeroUsize;

use skiff_tree::{Entry, Inode, Kind, Node, Tree};

use crate::listing::SELINUX;
use crate::walk::{Found, HashOptions, hash_files, walk};
use crate::{Control, FsError, Root, parallel};

/// How a tree is read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ReadOptions<'a> {
    /// Hash files with so many threads, and no more than the machine has cores. Default: as many as those.
    pub threads: NonZeroUsize,
    /// What becomes of `security.selinux`. Default: left out.
    pub selinux: Selinux,
    /// Watches and stops it; progress counts the bytes of files. Default: neither.
    pub control: Control<'a>,
}

/// Whether the labels that a host with SELinux gives to every file are part of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selinux {
    /// They are the host's: left out.
    #[default]
    Omit,
    /// They are read as any other extended attribute.
    Keep,
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        Self { threads: parallel::available(), selinux: Selinux::default(), control: Control::default() }
    }
}

impl<'a> ReadOptions<'a> {
    /// These options, watched and stopped by `control`.
    #[must_use]
    pub fn with_control(self, control: Control<'a>) -> Self {
        Self { control, ..self }
    }

    /// These options, with so many threads.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }
}

/// Reads everything beneath a root, and hashes every file.
///
/// Symbolic links are read, not followed; what is mounted beneath is read too. Paths of one inode become hard links
/// of the first in canonical order. Of extended attributes, those are read that this process may read. What changes while it
/// is read may be read as it was before or after.
///
/// # Errors
/// [`FsError::Io`]; [`FsError::Refused`] for a socket, or a file that was replaced meanwhile; [`FsError::Tree`] for what a
/// tree cannot hold, as a path of more than 4,095 bytes; [`FsError::Interrupted`].
pub fn read_tree(root: &Root, options: &ReadOptions<'_>) -> Result<Tree, FsError> {
    let found = walk(root, &options.control, |name| options.selinux == Selinux::Keep || name != SELINUX)?;
    if let Some(socket) = found.iter().find(|entry| entry.kind.is_none()) {
        let what = "it is a socket, which an image cannot hold; end the program that made it, or remove it";
        return Err(FsError::Refused { path: root.display(&socket.path), what });
    }
    let is_file = |entry: &Found| matches!(entry.kind, Some(Kind::File(_))) && entry.owner.is_none();
    let jobs = (0..found.len()).filter(|&index| is_file(&found[index])).collect();
    let hashing = HashOptions { threads: options.threads, drop_cache: false, control: options.control };
    let mut hashed = hash_files(root, &found, jobs, hashing)?;
    hashed.sort_unstable_by_key(|&(index, _)| index);
    let mut contents = hashed.into_iter();
    let owners: Vec<Option<_>> = found.iter().map(|entry| Some(found[entry.owner?].path.clone())).collect();
    let mut entries = Vec::with_capacity(found.len());
    for (entry, owner) in found.into_iter().zip(owners) {
        let node = match (owner, entry.kind) {
            (Some(owner), _) => Node::HardLink { owner },
            (None, Some(kind)) => {
                let kind = kind.try_map(|_| contents.next().map(|(_, content)| content).ok_or(()));
                let kind = kind.expect("because every file without an owner was hashed, in this order");
                Node::Inode(Inode { metadata: entry.metadata, kind })
            }
            (None, None) => continue,
        };
        entries.push(Entry { path: entry.path, node });
    }
    Ok(Tree::new(entries)?)
}
