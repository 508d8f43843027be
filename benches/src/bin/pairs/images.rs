//! The pairs that `make-pairs` built.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Context, Failure};

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
        let tag = format!("{}-{side}", self.name);
        let index = read_json(&self.directory.join("oci/index.json"))?;
        let manifests = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tagged = |manifest: &&Value| manifest["annotations"]["org.opencontainers.image.ref.name"] == *tag;
        let descriptor =
            manifests.iter().find(tagged).ok_or_else(|| Failure(format!("oci/ has no tag {tag}")))?;
        let manifest = self.blob(descriptor)?;
        let config = self.blob(&manifest["config"])?;
        let layers = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        let layer = |(layer, diff_id): (&Value, &Value)| {
            Some((diff_id.as_str()?.to_owned(), layer["size"].as_u64()?))
        };
        let pairs: Option<Vec<_>> = layers.iter().zip(diff_ids).map(layer).collect();
        pairs
            .filter(|_| layers.len() == diff_ids.len())
            .ok_or_else(|| Failure(format!("{tag} is not an OCI image")))
    }

    fn blob(&self, descriptor: &Value) -> Result<Value, Failure> {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        read_json(&self.directory.join("oci/blobs").join(digest.replace(':', "/")))
    }
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let bytes = std::fs::read(path).context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).context(|| format!("reading {}", path.display()))
}
