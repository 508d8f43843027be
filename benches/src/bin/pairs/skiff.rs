//! The skiff command, from two images to a verified release.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use skiff_benches::measure::{self, Cost};
use skiff_benches::{Context as _, Failure, program};

use crate::Level;
use crate::disk::Disk;
use crate::images::Pair;

/// The program that is measured.
pub(crate) struct Skiff {
    path: PathBuf,
    /// The most bytes a second that the disk of a second run of `apply` moves, each way.
    io_cap: Option<u64>,
}

/// What skiff made of a pair, every step a process of its own.
pub(crate) struct Measured {
    pub(crate) level: Level,
    pub(crate) delta_bytes: u64,
    pub(crate) diff: Cost,
    pub(crate) install: Cost,
    pub(crate) apply: Cost,
    pub(crate) verify: Cost,
    /// As `apply`, on a disk that is capped.
    pub(crate) capped: Option<Cost>,
}

impl Measured {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "level": self.level.name(), "delta_bytes": self.delta_bytes, "diff": self.diff.to_json(), "install": self.install.to_json(),
            "apply": self.apply.to_json(), "verify": self.verify.to_json(),
            "apply_capped": self.capped.map(Cost::to_json),
        })
    }
}

impl Skiff {
    /// The named program, or the one beside this one.
    pub(crate) fn find(named: Option<&Path>, io_cap: Option<u64>) -> Result<Self, Failure> {
        Ok(Self { path: program::skiff(named)?, io_cap })
    }

    /// Makes a delta, installs the old image, applies the delta and checks what came out.
    pub(crate) fn measure(&self, pair: &Pair<'_>, level: Level) -> Result<Measured, Failure> {
        let scratch = tempfile::tempdir().context(|| "making a temporary directory".into())?;
        let (delta, store) = (scratch.path().join("delta.skiff"), scratch.path().join("store"));
        let (base, target) = (pair.image("old"), pair.image("new"));
        let word = OsStr::new;
        let images = [word("diff"), word(&base), word(&target), word("-o"), delta.as_os_str()];
        let diff = self.step(&[&images[..], &[word("--level"), word(level.name())]].concat())?;
        let delta_bytes = fs::metadata(&delta).context(|| format!("reading {}", delta.display()))?.len();
        let install = self.install(&base, &store)?;
        let apply = self.apply(&delta, &store)?;
        let verify = self.step(&[word("verify"), word("--store"), store.as_os_str()])?;
        check(&store.join("current/rootfs"), &pair.archive("new"))?;
        fs::remove_dir_all(&store).context(|| format!("removing {}", store.display()))?;
        let capped = |bytes| self.apply_capped(pair, &delta, scratch.path(), bytes);
        let capped = self.io_cap.map(capped).transpose()?;
        Ok(Measured { level, delta_bytes, diff, install, apply, verify, capped })
    }

    /// Applies the delta to a store on a disk of its own that is capped, and that has nothing of the store in memory.
    fn apply_capped(
        &self,
        pair: &Pair<'_>,
        delta: &Path,
        scratch: &Path,
        bytes_per_second: u64,
    ) -> Result<Cost, Failure> {
        let size = |side| {
            let archive = pair.archive(side);
            fs::metadata(&archive).map(|file| file.len()).context(|| format!("reading {}", archive.display()))
        };
        // Both releases, with room for what a file system adds.
        let room = (size("old")? + size("new")?) / 2 * 3 + (512 << 20);
        let mut disk = Disk::new(scratch, room)?;
        let store = disk.path().join("store");
        self.install(&pair.image("old"), &store)?;
        disk.cap(bytes_per_second)?;
        let cost = self.apply(delta, &store)?;
        check(&store.join("current/rootfs"), &pair.archive("new"))?;
        Ok(cost)
    }

    fn install(&self, image: &str, store: &Path) -> Result<Cost, Failure> {
        let word = OsStr::new;
        self.step(&[word("install"), word(image), word("--store"), store.as_os_str()])
    }

    fn apply(&self, delta: &Path, store: &Path) -> Result<Cost, Failure> {
        let [apply, in_store, trust] = ["apply", "--store", "--trust-delta"].map(OsStr::new);
        self.step(&[apply, delta.as_os_str(), in_store, store.as_os_str(), trust])
    }

    fn step(&self, arguments: &[&OsStr]) -> Result<Cost, Failure> {
        measure::run(self.path.as_os_str(), arguments)
    }
}

/// Lets GNU tar, which knows nothing of us, compare a directory with the archive it should equal. That covers type,
/// mode, owner, time, link target and content; `skiff verify` has covered attributes.
fn check(rootfs: &Path, archive: &Path) -> Result<(), Failure> {
    let mut compare = Command::new("tar");
    compare.args(["--compare", "--numeric-owner", "--file"]).arg(archive).arg("--directory").arg(rootfs);
    let output = compare.stdin(Stdio::null()).output().context(|| "starting GNU tar".into())?;
    if !output.status.success() {
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        let few: Vec<&str> = told.lines().take(10).collect();
        return Err(Failure(format!(
            "the applied release differs from {}:\n{}",
            archive.display(),
            few.join("\n")
        )));
    }
    // Comparing goes through the archive's entries and does not see what is there beside them.
    let list = Command::new("tar")
        .arg("--list")
        .arg("--file")
        .arg(archive)
        .output()
        .context(|| "starting tar".into())?;
    let (wanted, found) = (list.stdout.split(|&byte| byte == b'\n').count() - 1, count_entries(rootfs)?);
    if wanted == found {
        Ok(())
    } else {
        Err(Failure(format!("the release has {found} entries, not {wanted}")))
    }
}

fn count_entries(directory: &Path) -> Result<usize, Failure> {
    let mut open = vec![directory.to_path_buf()];
    let mut count = 1;
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir().context(|| format!("reading {}", directory.display()))? {
            let entry = entry.context(|| format!("reading {}", directory.display()))?;
            count += 1;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    Ok(count)
}
