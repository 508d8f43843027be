//! The skiff command, from two images to a verified release.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use skiff_benches::measure::{self, Cost};
use skiff_benches::{Context as _, Failure, program};

use crate::Level;
use crate::images::Pair;

/// The program that is measured.
pub(crate) struct Skiff {
    path: PathBuf,
    level: Level,
}

/// What skiff made of a pair, every step a process of its own.
pub(crate) struct Measured {
    pub(crate) delta_bytes: u64,
    pub(crate) diff: Cost,
    pub(crate) install: Cost,
    pub(crate) apply: Cost,
    pub(crate) verify: Cost,
}

impl Measured {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "delta_bytes": self.delta_bytes, "diff": self.diff.to_json(), "install": self.install.to_json(),
            "apply": self.apply.to_json(), "verify": self.verify.to_json(),
        })
    }
}

impl Skiff {
    /// The named program, or the one beside this one.
    pub(crate) fn find(named: Option<&Path>, level: Level) -> Result<Self, Failure> {
        Ok(Self { path: program::skiff(named)?, level })
    }

    /// Makes a delta, installs the old image, applies the delta and checks what came out.
    pub(crate) fn measure(&self, pair: &Pair<'_>) -> Result<Measured, Failure> {
        let scratch = tempfile::tempdir().context(|| "making a temporary directory".into())?;
        let (delta, store) = (scratch.path().join("delta.skiff"), scratch.path().join("store"));
        let (base, target) = (pair.image("old"), pair.image("new"));
        let [delta_path, store_path] = [delta.as_os_str(), store.as_os_str()];
        let step = |arguments: &[&OsStr]| measure::run(self.path.as_os_str(), arguments);
        let word = OsStr::new;

        let level = [word("--level"), word(self.level.name())];
        let images = [word("diff"), word(&base), word(&target), word("-o"), delta_path];
        let diff = step(&[&images[..], &level[..]].concat())?;
        let install = step(&[word("install"), word(&base), word("--store"), store_path])?;
        let apply = step(&[word("apply"), delta_path, word("--store"), store_path, word("--trust-delta")])?;
        let verify = step(&[word("verify"), word("--store"), store_path])?;
        let delta_bytes = fs::metadata(&delta).context(|| format!("reading {}", delta.display()))?.len();
        check(&store.join("current/rootfs"), &pair.archive("new"))?;
        Ok(Measured { delta_bytes, diff, install, apply, verify })
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
