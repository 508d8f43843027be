//! The JSON documents of images: what of them matters here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{ImageError, Part};

/// The annotation that tags an image in an OCI layout.
pub(crate) const TAG: &str = "org.opencontainers.image.ref.name";

/// An index or a manifest: which one shows in what it has.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    #[serde(rename = "mediaType")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Option<Vec<Descriptor>>,
    pub(crate) config: Option<Descriptor>,
    pub(crate) layers: Option<Vec<Descriptor>>,
}

/// Names a blob.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Descriptor {
    #[serde(rename = "mediaType", default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    pub(crate) platform: Option<PlatformField>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PlatformField {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    pub(crate) variant: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub(crate) diff_ids: Option<Vec<String>>,
}

/// One image in the `manifest.json` of a docker archive.
#[derive(Debug, Deserialize)]
pub(crate) struct DockerImage {
    #[serde(rename = "Config")]
    pub(crate) config: String,
    #[serde(rename = "RepoTags", default)]
    pub(crate) names: Option<Vec<String>>,
    #[serde(rename = "Layers", default)]
    pub(crate) layers: Option<Vec<String>>,
}

impl Descriptor {
    /// The tag it has in a layout's index.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.annotations.as_ref()?.get(TAG).map(String::as_str)
    }
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], part: Part) -> Result<T, ImageError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ImageError::corrupt(part, format!("it is not the JSON it should be: {error}")))
}
