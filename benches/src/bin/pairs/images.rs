//! The pairs that `make-pairs` built.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use skiff_benches::layout::Layout;
use skiff_benches::{Context as _, Failure};

/// A directory of pairs, and which of them are wanted.
pub(crate) struct Pairs {
    directory: PathBuf,
    names: Vec<String>,
}

/// Two images, as archives and in the OCI layout.
pub(crate) struct Pair<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) name: &'a str,
}

impl Pairs {
    /// Takes the pairs of these names, all where none is named.
    pub(crate) fn open(directory: &Path, names: &[String]) -> Result<Self, Failure> {
        let how = format!("build pairs with benches/corpus/make-pairs {}", directory.display());
        let listing = directory.read_dir().context(|| format!("reading {}; {how}", directory.display()))?;
        let files: HashSet<String> =
            listing.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let mut there: Vec<String> =
            files.iter().filter_map(|name| Some(name.strip_suffix(".old.tar")?.to_owned())).collect();
        there.retain(|name| files.contains(&format!("{name}.new.tar")));
        there.sort();
        if let Some(missing) = names.iter().find(|name| !there.contains(name)) {
            return Err(Failure(format!("no pair {missing:?}; there are {there:?}; {how} {missing}")));
        }
        if there.is_empty() {
            return Err(Failure(format!("{} has no pairs; {how}", directory.display())));
        }
        let names = if names.is_empty() { there } else { names.to_vec() };
        let directory = directory.canonicalize().context(|| format!("finding {}", directory.display()))?;
        Ok(Self { directory, names })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Pair<'_>> {
        self.names.iter().map(|name| Pair { directory: &self.directory, name })
    }
}

impl Pair<'_> {
    /// The old or the new image, as skiff spells it.
    pub(crate) fn image(&self, side: &str) -> String {
        format!("oci:{}/oci:{}-{side}", self.directory.display(), self.name)
    }

    /// The old or the new image, flattened.
    pub(crate) fn archive(&self, side: &str) -> PathBuf {
        self.directory.join(format!("{}.{side}.tar", self.name))
    }

    /// What a device pulls without a delta: the compressed layers of the new image that the old one lacks.
    pub(crate) fn pull_bytes(&self) -> Result<u64, Failure> {
        let had: HashSet<String> = self.layers("old")?.into_iter().map(|(diff_id, _)| diff_id).collect();
        let layers = self.layers("new")?;
        Ok(layers.into_iter().filter(|(diff_id, _)| !had.contains(diff_id)).map(|(_, size)| size).sum())
    }

    /// The DiffID and the compressed size of each layer.
    fn layers(&self, side: &str) -> Result<Vec<(String, u64)>, Failure> {
        let layout = Layout::new(self.directory.join("oci"));
        let layers = layout.layers(&format!("{}-{side}", self.name))?;
        Ok(layers.into_iter().map(|layer| (layer.diff_id, layer.size)).collect())
    }
}
