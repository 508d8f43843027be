//! The root of a container: a release's files below, and above them what its program writes.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use skiff_fs::{Control, EntryType, FsError, Root};
use skiff_tree::{EntryPath, ReleaseId};

use super::super::{RunnerError, lookup};
use super::layout;

/// What a root that is only read must have for something to be mounted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    Directory,
    File,
}

/// Mounts the root of a release with a writable layer, which belongs to this release alone: over changed files below, what a
/// program wrote would be of neither release.
pub(crate) fn mount_writable(state: &Root, rootfs: &Root, release: ReleaseId) -> Result<(), RunnerError> {
    let uppers = layout::path(layout::UPPER);
    let of_release = layout::join(&uppers, release.to_string().as_bytes())?;
    let (upper, work) = (layout::join(&of_release, b"upper")?, layout::join(&of_release, b"work")?);
    for directory in [&uppers, &of_release, &upper] {
        state.ensure_directory(directory)?;
    }
    // The root itself is the upper one of the two directories, so that it has to look like the lower.
    let like = fs::metadata(rootfs.path()).map_err(RunnerError::io("looking at", rootfs.path()))?;
    let path = state.display(&upper);
    std::os::unix::fs::chown(&path, Some(like.uid()), Some(like.gid()))
        .and_then(|()| fs::set_permissions(&path, like.permissions()))
        .map_err(RunnerError::io("preparing the writable layer", &path))?;
    state.ensure_directory(&work)?;
    let options = [
        (&b"lowerdir="[..], escape(rootfs.path(), b":,\\")),
        (b",upperdir=", escape(&state.display(&upper), b",\\")),
        (b",workdir=", escape(&state.display(&work), b",\\")),
    ];
    mount_overlay(state, &options, MountFlags::empty())
}

/// Mounts the root of a release so that nobody writes to it. Below its files there is what it needs besides for something to be
/// mounted in it, which a bare bind mount would not have: an overlay of two lower layers.
pub(crate) fn mount_read_only<'p>(
    state: &Root,
    rootfs: &Root,
    points: impl Iterator<Item = (&'p EntryPath, Point)>,
) -> Result<(), RunnerError> {
    let skeleton = layout::path(layout::SKELETON);
    state.remove(&skeleton, &Control::default())?;
    make_directory(state, &skeleton)?;
    let skeleton = state.descend(&skeleton)?;
    for (point, kind) in points {
        make_point(&skeleton, &lookup::resolve(rootfs, point.as_bytes())?, kind)?;
    }
    let lower = [escape(rootfs.path(), b":,\\"), escape(skeleton.path(), b":,\\")].join(&b':');
    mount_overlay(state, &[(b"lowerdir=", lower)], MountFlags::RDONLY)
}

/// Unmounts whatever is mounted in a directory; what is in use still, as soon as it is not.
pub(crate) fn unmount_beneath(directory: &Path) -> Result<(), RunnerError> {
    // The last mounted lies on top.
    for mount in mounts()?.iter().rev().filter(|mount| mount.point.starts_with(directory)) {
        let unmounted = match rustix::mount::unmount(&mount.point, UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) => {
                rustix::mount::unmount(&mount.point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
            }
            other => other,
        };
        unmounted.map_err(|error| RunnerError::io("unmounting", &mount.point)(error.into()))?;
    }
    Ok(())
}

fn mount_overlay(state: &Root, options: &[(&[u8], Vec<u8>)], flags: MountFlags) -> Result<(), RunnerError> {
    let at = layout::path(layout::ROOT);
    state.ensure_directory(&at)?;
    let at = state.display(&at);
    let mut data: Vec<u8> =
        options.iter().flat_map(|(name, value)| [*name, value]).flatten().copied().collect();
    // With an index, a release that was removed and came again could not have its layer back.
    if Path::new("/sys/module/overlay/parameters/index").exists() {
        data.extend_from_slice(b",index=off");
    }
    let data = CString::new(data)
        .map_err(|_| RunnerError::io("mounting", &at)(io::ErrorKind::InvalidInput.into()))?;
    rustix::mount::mount("skiff", &at, "overlay", flags, data.as_c_str()).map_err(|error| {
        let at = at.display();
        let what = match error {
            Errno::NODEV => "this kernel has no overlayfs; load or build its module `overlay`".into(),
            Errno::PERM | Errno::ACCESS => "it takes root, or the capability CAP_SYS_ADMIN".into(),
            error => format!(
                "{error}; the runner's directory {} lies on {}. Overlayfs needs one that can hold its writable layer, such as \
                 ext4, xfs, btrfs or tmpfs, and not another overlay; `dmesg` says more",
                state.path().display(),
                file_system(state.path())
            ),
        };
        RunnerError::Program { program: format!("mounting an overlay at {at}"), what }
    })
}

/// Makes a directory or an empty file, and what leads to it.
fn make_point(skeleton: &Root, path: &EntryPath, kind: Point) -> Result<(), FsError> {
    let mut at = EntryPath::root();
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        at = at.join(component)?;
        let is_there = skeleton.entry_type(&at)?;
        match (components.peek(), kind, is_there) {
            (None, Point::File, None) => drop(skeleton.create_file(&at)?),
            (_, _, None) => make_directory(skeleton, &at)?,
            (None, ..) | (_, _, Some(EntryType::Directory)) => {}
            _ => {
                let what = "something is to be mounted on it and beneath it, and it is a file";
                return Err(FsError::Refused { path: skeleton.display(&at), what });
            }
        }
    }
    Ok(())
}

/// A directory that everybody may enter, as the program's user has to.
fn make_directory(root: &Root, path: &EntryPath) -> Result<(), FsError> {
    root.make_directory(path)?;
    let path = root.display(path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|source| FsError::Io {
        op: "setting the mode of",
        path,
        source,
    })
}

/// A path as it is written among the options of an overlay.
fn escape(path: &Path, special: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if special.contains(&byte) {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}

struct Mount {
    point: PathBuf,
    file_system: String,
}

fn mounts() -> Result<Vec<Mount>, RunnerError> {
    let path = Path::new("/proc/self/mountinfo");
    let table = fs::read(path).map_err(RunnerError::io("reading", path))?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(parse_mount).collect())
}

/// `36 35 98:0 /subtree /point rw,noatime master:1 - ext3 /dev/root rw`: a number of optional fields stands before the dash.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let point = unescape(fields.nth(4)?);
    let file_system = fields.skip_while(|field| *field != b"-").nth(1)?;
    let file_system = String::from_utf8_lossy(file_system).into_owned();
    Some(Mount { point: OsString::from_vec(point).into(), file_system })
}

/// Spaces and the like stand as three octal digits.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        field = rest;
        let code = rest.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            digits.iter().try_fold(0_u8, |code, digit| {
                code.checked_mul(8)?.checked_add(digit.checked_sub(b'0').filter(|digit| *digit < 8)?)
            })
        });
        match code {
            Some(code) => {
                plain.push(code);
                field = &rest[3..];
            }
            None => plain.push(*first),
        }
    }
    plain
}

/// What a directory lies on, for messages.
fn file_system(path: &Path) -> String {
    let mounts = mounts().unwrap_or_default();
    // Of two at the same place, the later one is on top.
    let longest = mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().len());
    longest.map_or_else(|| "an unknown file system".into(), |mount| mount.file_system.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_mounts_is_read() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue";
        let mount = parse_mount(line).unwrap();
        assert_eq!((mount.point.as_path(), &*mount.file_system), (Path::new(r"/mnt 2\x"), "ext3"));
        let plain = parse_mount(b"36 35 98:0 / /mnt rw - overlay skiff rw").unwrap();
        assert_eq!(plain.file_system, "overlay");
        for bad in [&b""[..], b"36 35 98:0 /", b"36 35 98:0 / /mnt rw", b"36 35 98:0 / /mnt rw -"] {
            assert!(parse_mount(bad).is_none());
        }
        for (field, plain) in
            [(r"a\04", r"a\04"), (r"\777", r"\777"), (r"\089", r"\089"), (r"\\040", r"\ "), ("", "")]
        {
            assert_eq!(unescape(field.as_bytes()), plain.as_bytes());
        }
        assert!(mounts().unwrap().iter().any(|mount| mount.point == Path::new("/proc")));
    }

    #[test]
    fn paths_cannot_add_options() {
        assert_eq!(escape(Path::new("/a:b,c\\d"), b":,\\"), br"/a\:b\,c\\d");
        assert_eq!(escape(Path::new("/a:b,c\\d"), b",\\"), br"/a:b\,c\\d");
    }

    #[test]
    fn mount_points_are_made_where_they_are_missing() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let path = |text: &str| EntryPath::new(text).unwrap();
        make_point(&root, &path("etc/hosts"), Point::File).unwrap();
        make_point(&root, &path("etc/hosts"), Point::File).unwrap();
        make_point(&root, &path("srv/data/deep"), Point::Directory).unwrap();
        make_point(&root, &path("srv/data"), Point::Directory).unwrap();
        make_point(&root, &EntryPath::root(), Point::Directory).unwrap();
        assert!(
            directory.path().join("etc/hosts").is_file() && directory.path().join("srv/data/deep").is_dir()
        );
        let mode = fs::metadata(directory.path().join("srv")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert!(matches!(make_point(&root, &path("etc/hosts/x"), Point::File), Err(FsError::Refused { .. })));
    }
}
