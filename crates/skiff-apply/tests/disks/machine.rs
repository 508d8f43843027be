//! A machine with one disk, which is switched off and on again many times.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiff_apply::{Store, StoreOptions};

use crate::mount::run;
use crate::update::Update;

/// A kind of file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileSystem {
    pub(crate) name: &'static str,
    make: &'static [&'static str],
    check: &'static [&'static str],
    bytes: u64,
}

impl FileSystem {
    /// An ext4 whose tables are written when it is made, and not beside what is tested.
    pub(crate) const fn ext4(make: &'static [&'static str]) -> Self {
        Self { name: "ext4", make, check: &["e2fsck", "-fn"], bytes: 40 << 20 }
    }
}

pub(crate) const EXT4: FileSystem = FileSystem::ext4(&["mkfs.ext4", "-q", "-E", LAZY]);
/// Options that come with it.
pub(crate) const LAZY: &str = "lazy_itable_init=0,lazy_journal_init=0";

pub(crate) const XFS: FileSystem =
    FileSystem { name: "xfs", make: &["mkfs.xfs", "-q"], check: &["xfs_repair", "-n"], bytes: 300 << 20 };

pub(crate) const BTRFS: FileSystem = FileSystem {
    name: "btrfs",
    make: &["mkfs.btrfs", "-q"],
    check: &["btrfs", "check", "--readonly"],
    bytes: 128 << 20,
};

/// An image file in memory, and where it is mounted.
pub(crate) struct Machine {
    directory: tempfile::TempDir,
    file_system: FileSystem,
}

impl Machine {
    /// One with an empty file system.
    pub(crate) fn new(file_system: FileSystem) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let image = directory.path().join("image");
        fs::File::create(&image).unwrap().set_len(file_system.bytes).unwrap();
        fs::create_dir(directory.path().join("mount")).unwrap();
        run(file_system.make[0], &[&file_system.make[1..], &[text(&image)]].concat());
        Self { directory, file_system }
    }

    /// One with a store that has the old release, off.
    pub(crate) fn with_old(file_system: FileSystem, update: &Update) -> Self {
        let machine = Self::new(file_system);
        machine.start();
        drop(update.install(&machine.store()));
        machine.stop();
        machine.check("after installing");
        machine
    }

    /// Something of the test's own beside the image.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.beside("image")
    }

    pub(crate) fn mount(&self) -> PathBuf {
        self.beside("mount")
    }

    /// The store's directory.
    pub(crate) fn store(&self) -> PathBuf {
        self.mount().join("store")
    }

    /// The store, on the real disk.
    pub(crate) fn open(&self) -> Store {
        Store::open(self.store(), &StoreOptions::default()).unwrap()
    }

    /// The name of the block device that is mounted.
    pub(crate) fn device_name(&self) -> String {
        let output = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(self.mount()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().trim_start_matches("/dev/").into()
    }

    /// Mounts it, which has the journal replayed. Each time on another loop device, so that nothing is left in its cache of what was on
    /// the disk before.
    pub(crate) fn start(&self) {
        run("mount", &["-o", "loop", text(&self.image()), text(&self.mount())]);
    }

    pub(crate) fn stop(&self) {
        run("umount", &[text(&self.mount())]);
    }

    /// Unmounts it, where it is mounted.
    pub(crate) fn let_go(&self) {
        // One that is gone already is as good.
        let _ = Command::new("umount").arg(self.mount()).output();
        // One that stays would be written under.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(std::thread::panicking() || !mounts.contains(text(&self.mount())), "it is mounted still");
    }

    /// The power goes: what is in memory does not reach the disk any more, the journal neither.
    pub(crate) fn cut_power(mount: &Path) {
        // Without -f, which would write the journal.
        run("xfs_io", &["-x", "-c", "shutdown", text(mount)]);
    }

    /// Has the file system checked by its own program, while it is off.
    pub(crate) fn check(&self, context: &str) {
        let [program, arguments @ ..] = self.file_system.check else { return };
        let output = Command::new(program).args(arguments).arg(self.image()).output().unwrap();
        assert!(
            output.status.success(),
            "{context}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Has the file system's own program mend what it finds.
    pub(crate) fn mend(&self) {
        let status = Command::new("e2fsck").args(["-fp"]).arg(self.image()).output().unwrap().status;
        // 1 says that there was something, which is mended.
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    }

    /// Keeps what is on the disk for [`restore`](Self::restore).
    pub(crate) fn keep(&self) -> PathBuf {
        let kept = self.beside("kept");
        copy_image(&self.image(), &kept);
        kept
    }

    /// Puts the disk back to what was kept.
    pub(crate) fn restore(&self, kept: &Path) {
        copy_image(kept, &self.image());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A mount that stays would keep the directory.
            self.let_go();
        }
    }
}

/// Copies what is no hole, to a new file.
pub(crate) fn copy_image(from: &Path, to: &Path) {
    run("cp", &["--remove-destination", "--sparse=always", text(from), text(to)]);
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
