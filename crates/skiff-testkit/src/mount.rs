//! File systems of a test's own; it takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run_program;

/// A file system of its own, unmounted when it is dropped, even by a panic.
#[derive(Debug)]
pub struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    /// One in memory, with the options that `mount` takes for it.
    ///
    /// # Panics
    /// Where it cannot be mounted, as whatever else here.
    #[must_use]
    pub fn tmpfs(options: &str) -> Self {
        Self::at(|_, at| {
            drop(run_program(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at)))
        })
    }

    /// One in a file of so many bytes, by the program that makes it.
    #[must_use]
    pub fn image(make: &[&str], bytes: u64) -> Self {
        Self::at(|directory, at| {
            let image = directory.join("image");
            fs::File::create(&image)
                .and_then(|file| file.set_len(bytes))
                .expect("making a file for a file system");
            run_program(Command::new(make[0]).args(&make[1..]).arg(&image));
            // The loop device goes with the mount.
            run_program(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at));
        })
    }

    /// An overlay, whose writable layer is elsewhere.
    #[must_use]
    pub fn overlay() -> Self {
        Self::at(|directory, at| {
            let layer = |name: &str| {
                let path = directory.join(name);
                fs::create_dir(&path).expect("making a layer");
                format!("{name}dir={}", path.display())
            };
            let options = ["lower", "upper", "work"].map(layer).join(",");
            run_program(Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay"]).arg(at));
        })
    }

    /// Its root.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    fn at(mount: impl FnOnce(&Path, &Path)) -> Self {
        let directory = tempfile::tempdir().expect("making a temporary directory");
        let at = directory.path().join("mount");
        fs::create_dir(&at).expect("making a mount point");
        mount(directory.path(), &at);
        Self { directory }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A failure shows as a mount that stays; a panic while panicking would hide the first.
        let _ = Command::new("umount").arg(self.path()).status();
    }
}
