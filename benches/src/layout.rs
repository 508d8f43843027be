//! Images in a directory with the layout that the OCI image specification describes, as other tools are given them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Context as _, Failure};

/// A directory of images.
#[derive(Debug, Clone)]
pub struct Layout(PathBuf);

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct LayerBlob {
    /// The digest of the layer, uncompressed.
    pub diff_id: String,
    /// What the manifest says that it is.
    pub media_type: String,
    /// Bytes, as they are stored.
    pub size: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Layout {
    /// A directory of images, which is read when it is asked.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The images' tags.
    ///
    /// # Errors
    /// Where there is no such layout.
    pub fn tags(&self) -> Result<Vec<String>, Failure> {
        let tags = self.manifests()?.iter().filter_map(|manifest| Some(tag(manifest)?.to_owned())).collect();
        Ok(tags)
    }

    /// The layers of the image with a tag, from the bottom up.
    ///
    /// # Errors
    /// Where there is no such image.
    pub fn layers(&self, name: &str) -> Result<Vec<LayerBlob>, Failure> {
        let manifests = self.manifests()?;
        let descriptor = manifests.iter().find(|manifest| tag(manifest) == Some(name));
        let missing = || Failure(format!("{} has no tag {name}", self.0.display()));
        let manifest = read_json(&self.blob(descriptor.ok_or_else(missing)?))?;
        let config = read_json(&self.blob(&manifest["config"]))?;
        let (layers, diff_ids) = (array(&manifest["layers"]), array(&config["rootfs"]["diff_ids"]));
        let layer = |(layer, diff_id): (&Value, &Value)| {
            let (diff_id, size) = (diff_id.as_str()?.to_owned(), layer["size"].as_u64()?);
            let media_type = layer["mediaType"].as_str()?.to_owned();
            Some(LayerBlob { diff_id, media_type, size, path: self.blob(layer) })
        };
        let found: Option<Vec<_>> = layers.iter().zip(diff_ids).map(layer).collect();
        found
            .filter(|_| layers.len() == diff_ids.len())
            .ok_or_else(|| Failure(format!("{name} is not an OCI image")))
    }

    fn manifests(&self) -> Result<Vec<Value>, Failure> {
        Ok(array(&read_json(&self.0.join("index.json"))?["manifests"]).to_vec())
    }

    fn blob(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        self.0.join("blobs").join(digest.replace(':', "/"))
    }
}

fn tag(manifest: &Value) -> Option<&str> {
    manifest["annotations"]["org.opencontainers.image.ref.name"].as_str()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let bytes = std::fs::read(path).context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).context(|| format!("reading {}", path.display()))
}
