//! Opening paths beneath a directory without ever following a symbolic link or leaving the directory.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;

/// Opens a directory as a place to look things up from: works without the right to list it.
pub(crate) const LOOKUP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
/// Opens a directory that is to be listed or synced.
pub(crate) const LISTING: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// How paths are kept beneath their root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// By the kernel, in one call: `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS` (Linux 5.6).
    Kernel,
    /// One component after the other with `O_NOFOLLOW`, where the kernel lacks `openat2` or a sandbox forbids it.
    ComponentWise,
}

impl Resolution {
    /// What works here; found out once per process.
    #[must_use]
    pub fn detect() -> Self {
        static FOUND: OnceLock<Resolution> = OnceLock::new();
        // Any answer but success means that openat2 cannot be relied on: sandboxes say ENOSYS, EPERM, EACCES, EINVAL.
        *FOUND.get_or_init(|| match open_by_kernel(CWD, b"/", (LOOKUP, ResolveFlags::NO_SYMLINKS)) {
            Ok(_) => Self::Kernel,
            Err(_) => Self::ComponentWise,
        })
    }

    /// Opens `path`, one or more components, beneath `base`. A symbolic link on the way or at the end is `ELOOP`.
    pub(crate) fn open(self, base: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        match self {
            Self::Kernel => {
                let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                Ok(open_by_kernel(base, path, (flags, beneath))?)
            }
            Self::ComponentWise => open_by_component(base, path, flags),
        }
    }

    /// Opens a directory inside `base` to list it, unless another file system is mounted there: `EXDEV`.
    pub(crate) fn open_same_mount(self, base: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        match self {
            Self::Kernel => {
                let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
                Ok(open_by_kernel(base, name, (LISTING, inside))?)
            }
            Self::ComponentWise => {
                let opened = open_by_component(base, name, LISTING)?;
                if mount_id(opened.as_fd())? == mount_id(base)? {
                    Ok(opened)
                } else {
                    Err(Errno::XDEV.into())
                }
            }
        }
    }
}

fn open_by_kernel(
    base: BorrowedFd<'_>,
    path: &[u8],
    (flags, resolve): (OFlags, ResolveFlags),
) -> Result<OwnedFd, Errno> {
    // Not O_NOFOLLOW: it would make a link at the end "not a directory"; without it NO_SYMLINKS says ELOOP.
    openat2(base, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn open_by_component(base: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let (mut current, mut rest) = (None::<OwnedFd>, path);
    loop {
        let at = current.as_ref().map_or(base, AsFd::as_fd);
        match rest.iter().position(|&byte| byte == b'/') {
            Some(slash) => {
                let next = open_component(at, &rest[..slash], LOOKUP)?;
                rest = &rest[slash + 1..];
                current = Some(next);
            }
            None => return open_component(at, rest, flags),
        }
    }
}

/// An `EntryPath` has no component `..`, so that with `O_NOFOLLOW` every step leads down.
fn open_component(at: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    if name == b".." {
        return Err(Errno::XDEV.into());
    }
    match openat(at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        // O_DIRECTORY makes the kernel say "not a directory" of a link before O_NOFOLLOW can say what it is.
        Err(Errno::NOTDIR) if is_symlink(at, name) => Err(Errno::LOOP.into()),
        other => Ok(other?),
    }
}

/// Which mount an open file lies on, from `/proc` (Linux 3.15): the device number of a bind mount is that of what is around
/// it, and `statx` tells of mounts only where there is `openat2` too.
fn mount_id(file: BorrowedFd<'_>) -> io::Result<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn is_symlink(at: BorrowedFd<'_>, name: &[u8]) -> bool {
    statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Symlink)
}
