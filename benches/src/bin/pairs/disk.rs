//! A disk that moves no more than so many bytes a second each way, as flash on small boards does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use skiff_benches::{Context as _, Failure};

/// A file system of its own on a loop device. What the device reads and writes is capped by the kernel's block layer.
pub(crate) struct Disk {
    device: String,
    /// Its major and minor number.
    number: String,
    mount: PathBuf,
    is_mounted: bool,
}

/// Where version 1 of control groups takes a limit for everything that goes to a device. Version 2 has none for the root
/// group, and there the kernel's own writeback would have to be told apart.
const THROTTLE: [&str; 2] = [
    "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device",
    "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device",
];

impl Disk {
    /// Makes a disk of so many bytes, ext4, in a directory, not capped yet.
    pub(crate) fn new(directory: &Path, bytes: u64) -> Result<Self, Failure> {
        if let Some(missing) = THROTTLE.iter().find(|file| !Path::new(file).exists()) {
            return Err(Failure(format!(
                "--io-cap takes the blkio controller of control groups, version 1: there is no {missing}"
            )));
        }
        let (image, mount) = (directory.join("disk"), directory.join("mount"));
        let making = || format!("making {}", image.display());
        fs::File::create(&image).and_then(|file| file.set_len(bytes)).context(making)?;
        fs::create_dir(&mount).context(|| format!("making {}", mount.display()))?;
        // What ext4 otherwise writes later, in the background, would be measured.
        let mkfs = ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        call(Command::new("mkfs.ext4").args(mkfs).arg(&image))?;
        let device = call(Command::new("losetup").args(["--find", "--show"]).arg(&image))?;
        let device = device.trim().to_owned();
        let mut disk = Self { device, number: String::new(), mount, is_mounted: false };
        let name = disk.device.trim_start_matches("/dev/");
        let number = fs::read_to_string(format!("/sys/block/{name}/dev"));
        disk.number = number.context(|| format!("finding the number of {}", disk.device))?.trim().to_owned();
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    /// Lets it forget what it has in memory, and caps it from now on.
    pub(crate) fn cap(&mut self, bytes_per_second: u64) -> Result<(), Failure> {
        self.unmount()?;
        self.throttle(bytes_per_second)?;
        self.mount()
    }

    fn throttle(&self, bytes_per_second: u64) -> Result<(), Failure> {
        THROTTLE.iter().try_for_each(|file| {
            fs::write(file, format!("{} {bytes_per_second}", self.number))
                .context(|| format!("capping {} by {file}", self.device))
        })
    }

    fn mount(&mut self) -> Result<(), Failure> {
        call(Command::new("mount").arg(&self.device).arg(&self.mount))?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), Failure> {
        call(Command::new("umount").arg(&self.mount))?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Zero is no cap; unmounting would be slow under one.
        let mut results = vec![if self.number.is_empty() { Ok(()) } else { self.throttle(0) }];
        if self.is_mounted {
            results.push(self.unmount());
        }
        results.push(call(Command::new("losetup").arg("--detach").arg(&self.device)).map(drop));
        for Failure(message) in results.into_iter().filter_map(Result::err) {
            eprintln!("pairs: clearing up: {message}");
        }
    }
}

/// Runs a program to a good end, and returns what it writes.
fn call(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().context(|| format!("starting {command:?}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure(format!("{command:?} ended with {}: {error}", output.status)))
    }
}
