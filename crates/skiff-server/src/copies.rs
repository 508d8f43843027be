//! Copies on this machine of blobs that are kept elsewhere: those that were used longest ago go where there are too many.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use skiff_fs::Control;
use skiff_image::BlobDigest;
use skiff_registry::Layout;

use crate::ServerError;

/// Notes that a copy is used, so that it goes after those that are not.
pub(crate) fn mark_used(copy: &Path) -> Result<(), ServerError> {
    let marked = File::options().write(true).open(copy).and_then(|file| file.set_modified(SystemTime::now()));
    marked.map_err(ServerError::io("noting the use of", copy))
}

/// Removes the copies that were used longest ago, until the others keep to a number of bytes, and files that a server left that was
/// killed. Nobody may be using them meanwhile; what is open stays readable.
pub(crate) fn collect(layout: &Layout, limit: u64, control: Control<'_>) -> Result<(), ServerError> {
    let directory = layout.directory().join("blobs/sha256");
    let failed = |op: &'static str, path: &Path| ServerError::io(op, path.to_owned());
    let mut copies = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed("reading", &directory))? {
        let entry = entry.map_err(failed("reading", &directory))?;
        let name = entry.file_name();
        let digest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse::<BlobDigest>().ok());
        let Some(digest) = digest else {
            fs::remove_file(entry.path()).map_err(failed("removing", &entry.path()))?;
            continue;
        };
        let about = entry.metadata().map_err(failed("reading", &entry.path()))?;
        let used = about.modified().map_err(failed("reading", &entry.path()))?;
        copies.push((used, about.len(), digest));
    }
    copies.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
    let mut sum = 0_u64;
    let kept: HashSet<BlobDigest> = copies
        .iter()
        .filter(|(_, bytes, _)| {
            sum = sum.saturating_add(*bytes);
            sum <= limit
        })
        .map(|(.., digest)| *digest)
        .collect();
    if kept.len() < copies.len() {
        tracing::info!(copies = copies.len() - kept.len(), "removed copies of blobs that are kept elsewhere");
        layout.retain(|digest| kept.contains(digest), control)?;
    }
    Ok(())
}
