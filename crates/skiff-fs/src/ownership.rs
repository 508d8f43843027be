use skiff_tree::{Inode, Kind, Mode, Xattrs};

/// Who owns what is made on disk, and how much of a tree's metadata is applied to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ownership {
    /// Everything is applied as the tree says. It takes root, or the capabilities that `chown` and `mknod` ask for.
    #[default]
    Apply,
    /// For an ordinary user: owners, devices, setuid and setgid bits, and extended attributes outside `user.` stay in the
    /// tree alone; what is on disk belongs to the user.
    ///
    /// The user keeps read access to every file and full access to every directory, whatever the tree's modes say:
    /// a file of mode 0000 could not be read again as a base, a directory of mode 0555 not be removed.
    Record,
}

/// Whether this process may give files away and make devices: whether it runs as root.
#[must_use]
pub fn can_apply_ownership() -> bool {
    rustix::process::geteuid().is_root()
}

impl Ownership {
    /// What this process can do: [`Apply`](Self::Apply) for root, else [`Record`](Self::Record).
    #[must_use]
    pub fn of_this_process() -> Self {
        if can_apply_ownership() { Self::Apply } else { Self::Record }
    }

    /// Whether such an inode is made on disk at all.
    #[must_use]
    pub fn makes<C>(self, kind: &Kind<C>) -> bool {
        match self {
            Self::Apply => true,
            Self::Record => !matches!(kind, Kind::CharDevice(_) | Kind::BlockDevice(_)),
        }
    }

    /// The mode that an inode gets on disk; none for a symbolic link, whose mode Linux does not keep.
    #[must_use]
    pub fn mode<C>(self, inode: &Inode<C>) -> Option<Mode> {
        let bits = inode.metadata.mode.bits();
        let recorded = bits & 0o1777;
        let applied = match (self, &inode.kind) {
            (_, Kind::Symlink(_)) => return None,
            (Self::Apply, _) => bits,
            (Self::Record, Kind::Directory) => recorded | 0o700,
            (Self::Record, Kind::File(_)) => recorded | 0o400,
            (Self::Record, _) => recorded,
        };
        Mode::new(applied)
    }

    /// The extended attributes that an inode gets on disk.
    pub fn xattrs(self, xattrs: &Xattrs) -> impl Iterator<Item = (&[u8], &[u8])> {
        xattrs
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .filter(move |(name, _)| self == Self::Apply || name.starts_with(b"user."))
    }
}
