//! What nobody may touch.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::image::hex;
use crate::run_program;

/// Files, directories, links, pipes and devices outside of where a test writes, under names that attacks go for. It takes root, for the
/// devices.
#[derive(Debug)]
pub struct Canary {
    root: PathBuf,
    digest: String,
    /// When each path was last looked at, as the file system has noted it.
    read: BTreeMap<PathBuf, (i64, i64)>,
}

impl Canary {
    /// Makes it at a path that is not there yet.
    ///
    /// # Panics
    /// Where that is not possible.
    #[must_use]
    pub fn plant(root: &Path) -> Self {
        let inside = |name: &str| root.join(name);
        for directory in ["", "directory", "directory/deeper", "d", "rootfs", "releases", "staging"] {
            fs::create_dir(inside(directory)).expect("making a directory");
        }
        // Files that an attack would take for the store's or the image's own are what those are.
        for (name, content) in
            [("base", "1"), ("secret", "root:$6$x"), ("directory/file", "2"), ("d/a", "2"), ("x", "1")]
        {
            fs::write(inside(name), content).expect("making a file");
        }
        fs::write(inside("setuid"), "#!/bin/sh\n").expect("making a file");
        fs::set_permissions(inside("secret"), fs::Permissions::from_mode(0o600)).expect("changing a mode");
        fs::set_permissions(inside("setuid"), fs::Permissions::from_mode(0o4755)).expect("changing a mode");
        fs::hard_link(inside("secret"), inside("linked")).expect("linking");
        symlink("secret", inside("link")).expect("linking");
        symlink("directory", inside("l")).expect("linking");
        run_program(Command::new("mkfifo").arg(inside("pipe")));
        run_program(Command::new("mknod").arg(inside("null")).args(["c", "1", "3"]));
        run_program(Command::new("mknod").arg(inside("disk")).args(["b", "7", "250"]));
        let mut canary = Self { root: root.into(), digest: String::new(), read: BTreeMap::new() };
        canary.digest = canary.look();
        canary
    }

    /// The SHA-256 over all names, metadata and contents.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Asserts that nothing of it was changed, and, where the file system notes that, nothing was read.
    ///
    /// # Panics
    /// Where something was.
    pub fn assert_untouched(&mut self, by: &str) {
        for (path, read) in &self.read {
            let now = fs::symlink_metadata(path).map(|metadata| (metadata.atime(), metadata.atime_nsec()));
            assert_eq!(now.ok(), Some(*read), "{path:?} was read or is gone: {by}");
        }
        assert_eq!(self.look(), self.digest, "something outside was changed: {by}");
    }

    fn look(&mut self) -> String {
        let mut hasher = Sha256::new();
        let mut left = vec![self.root.clone()];
        let mut seen = Vec::new();
        while let Some(path) = left.pop() {
            let metadata = fs::symlink_metadata(&path).expect("looking at the canary");
            let told = [
                metadata.dev(),
                metadata.ino(),
                metadata.nlink(),
                metadata.rdev(),
                metadata.size(),
                u64::from(metadata.mode()),
                u64::from(metadata.uid()),
                u64::from(metadata.gid()),
            ];
            let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
            hasher.update(path.as_os_str().as_bytes());
            hasher.update(format!("{told:?} {times:?}"));
            if metadata.is_dir() {
                let entries = fs::read_dir(&path).expect("listing the canary");
                let mut names: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
                names.sort();
                left.extend(names);
            } else if metadata.is_symlink() {
                hasher.update(fs::read_link(&path).expect("reading the canary").as_os_str().as_bytes());
            } else if metadata.is_file() {
                hasher.update(fs::read(&path).expect("reading the canary"));
            }
            seen.push(path);
        }
        // Looking was reading. The clock of a file system ticks every 10 ms at the slowest: what is read later has a later time.
        std::thread::sleep(Duration::from_millis(11));
        let read = |path: &Path| {
            let metadata = fs::symlink_metadata(path).expect("looking at the canary");
            (metadata.atime(), metadata.atime_nsec())
        };
        self.read = seen
            .into_iter()
            .map(|path| {
                let read = read(&path);
                (path, read)
            })
            .collect();
        hex(&hasher.finalize())
    }
}
