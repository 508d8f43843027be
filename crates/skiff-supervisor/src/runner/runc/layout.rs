//! Where a runner of containers keeps what it keeps, in its directory.

use skiff_fs::FsError;
use skiff_tree::EntryPath;

/// What `runc` is handed: its config, and the root where it is mounted.
pub(crate) const BUNDLE: &str = "bundle";
pub(crate) const CONFIG: &str = "bundle/config.json";
pub(crate) const ROOT: &str = "bundle/rootfs";
/// Mount points for a root that is only read.
pub(crate) const SKELETON: &str = "bundle/skeleton";
pub(crate) const PID: &str = "bundle/pid";
/// What `runc` answers when it is asked.
pub(crate) const ANSWER: &str = "bundle/answer.json";
pub(crate) const PROBE_PID: &str = "bundle/probe-pid";
/// What `runc` says when it fails.
pub(crate) const LOG: &str = "bundle/runc.log";
/// The state of `runc` itself.
pub(crate) const RUNC: &str = "runc";
/// A writable layer for each release.
pub(crate) const UPPER: &str = "upper";
/// The volumes of all releases, by the path inside the container.
pub(crate) const VOLUMES: &str = "volumes";
/// Volumes that are being filled for the first time.
pub(crate) const FILLING: &str = "filling";

pub(crate) fn path(name: &str) -> EntryPath {
    EntryPath::new(name).expect("because the names above are plain components")
}

pub(crate) fn join(directory: &EntryPath, name: &[u8]) -> Result<EntryPath, FsError> {
    Ok(directory.join(name)?)
}
