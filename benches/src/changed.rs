//! Which files of a pair of trees differ.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Context as _, Failure};

/// A file of the new tree and the one of the old that it is to be made from.
#[derive(Debug)]
pub struct Changed {
    /// Its path in the tree.
    pub path: PathBuf,
    old: PathBuf,
    new: PathBuf,
}

impl Changed {
    /// The bytes of both, the old one's first.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn read(&self) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let read = |path: &Path| fs::read(path).context(|| path.display().to_string());
        Ok((read(&self.old)?, read(&self.new)?))
    }
}

/// All that differ, in the order of their paths. Compressed ones are left out: they are compared when opened.
///
/// `directory` is what make-pairs filled; the trees are in its directory `root`.
///
/// # Errors
/// Where there are no such trees, or they cannot be read.
pub fn changed(directory: &Path, pair: &str) -> Result<Vec<Changed>, Failure> {
    let root = |side: &str| directory.join("root").join(format!("{pair}.{side}"));
    let (old_root, new_root) = (root("old"), root("new"));
    let old_files = files(&old_root)?;
    let mut like: HashMap<String, &PathBuf> = HashMap::new();
    for path in &old_files {
        like.entry(without_versions(path)).or_insert(path);
    }
    let mut changed = Vec::new();
    for path in files(&new_root)? {
        let same = old_root.join(&path);
        let old = if same.is_file() {
            same
        } else if let Some(like) = like.get(&without_versions(&path)) {
            old_root.join(like)
        } else {
            continue;
        };
        let changed_file = Changed { new: new_root.join(&path), old, path };
        let (old, new) = changed_file.read()?;
        if old != new && !new.is_empty() && !new.starts_with(&[0x1f, 0x8b]) {
            changed.push(changed_file);
        }
    }
    Ok(changed)
}

fn without_versions(path: &Path) -> String {
    path.display().to_string().chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// The regular files below a directory, by their paths there.
fn files(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).context(|| directory.display().to_string())? {
            let entry = entry.context(|| "a directory".into())?;
            let kind = entry.file_type().context(|| "a file".into())?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                found.extend(entry.path().strip_prefix(root).map(Path::to_path_buf));
            }
        }
    }
    found.sort();
    Ok(found)
}
