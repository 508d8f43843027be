//! The JSON documents of images: what of them matters here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{ImageError, Part, Platform};

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
    platform: Option<PlatformField>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PlatformField {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) rootfs: RootFs,
    #[serde(flatten)]
    pub(crate) platform: PlatformField,
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

impl PlatformField {
    /// What it says; none where it does not say, or says that it is for none, as attestations do.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let (os, architecture) = (given(&self.os)?, given(&self.architecture)?);
        (os != "unknown").then(|| Platform { os, architecture, variant: given(&self.variant) })
    }
}

impl Descriptor {
    /// What the image is for, as far as that is told.
    pub(crate) fn platform(&self) -> Option<Platform> {
        self.platform.as_ref()?.platform()
    }

    /// Whether it names no image but what is said of one: BuildKit's attestations are for the platform "unknown".
    pub(crate) fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(|field| field.os.as_deref() == Some("unknown"))
    }

    /// The tag it has in a layout's index.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.annotations.as_ref()?.get(TAG).map(String::as_str)
    }
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], part: Part) -> Result<T, ImageError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ImageError::corrupt(part, format!("it is not the JSON it should be: {error}")))
}
