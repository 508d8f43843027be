//! The JSON documents of images, and which image of an index is meant: for whoever has them from elsewhere than a layout, such
//! as from a registry.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::escape;
use crate::{BlobDigest, ImageError, Part, Platform};

/// How many indexes lead to a manifest: one of a layout, one of platforms, and some to spare.
pub const INDEXES_MAX: usize = 5;

/// What a manifest's digest names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Document {
    /// An index: several images, or one for several platforms.
    Index(Vec<Descriptor>),
    /// The manifest of one image.
    Image {
        /// Its config.
        config: Descriptor,
        /// Its layers, from the bottom up.
        layers: Vec<Descriptor>,
    },
}

/// Names a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Descriptor {
    /// What the blob is; empty where that is not said.
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    /// The digest as it stands there: [`blob_digest`](Self::blob_digest) has it parsed.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// What kind of artifact a manifest is that is no image's.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What else is said of the blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformField>,
}

/// The image that was taken from an index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chosen {
    /// Its manifest, or an index that leads on to it.
    pub descriptor: Descriptor,
    /// Whether it was taken for its platform, so that its config need not be asked.
    pub is_for_platform: bool,
}

/// The annotation that tags an image in an OCI layout.
pub(crate) const TAG: &str = "org.opencontainers.image.ref.name";

/// An index or a manifest: which one shows in what it has.
#[derive(Debug, Deserialize)]
struct AnyDocument {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlatformField {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    os: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

/// The `index.json` of a layout.
#[derive(Debug, Deserialize)]
pub(crate) struct LayoutIndex {
    pub(crate) manifests: Option<Vec<Descriptor>>,
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

impl Document {
    /// Makes sense of the bytes that a descriptor with this media type names; of any, where it says none.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where it is neither an index nor a manifest, both, or says that it is something else than it is
    /// named as.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self, ImageError> {
        let document: AnyDocument = parse(bytes, Part::Manifest)?;
        // As the specification asks.
        if let Some(own) = document.media_type.filter(|own| !media_type.is_empty() && own != media_type) {
            let (own, named) = (escape(own.as_bytes()), escape(media_type.as_bytes()));
            return Err(ImageError::corrupt(
                Part::Manifest,
                format!("it says it is {own}, and is named as {named}"),
            ));
        }
        match (document.manifests, document.config, document.layers) {
            (Some(manifests), None, None) => Ok(Self::Index(manifests)),
            (None, Some(config), Some(layers)) => Ok(Self::Image { config, layers }),
            // What is both means one thing to one reader and another to the next (CVE-2021-41190).
            _ => Err(ImageError::corrupt(Part::Manifest, "it is neither an index nor an image's manifest")),
        }
    }
}

impl Descriptor {
    /// Names a blob, and says nothing else of it.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: BlobDigest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest: digest.to_string(),
            size,
            artifact_type: None,
            annotations: None,
            platform: None,
        }
    }

    /// The digest, of a blob that is this part of an image.
    ///
    /// # Errors
    /// [`ImageError::Unsupported`] where it is not a SHA-256.
    pub fn blob_digest(&self, part: Part) -> Result<BlobDigest, ImageError> {
        let text = &self.digest;
        let digest = text.starts_with("sha256:").then(|| text.parse().ok()).flatten();
        let shown = escape(text.as_bytes());
        digest.ok_or_else(|| ImageError::unsupported(part, format!("its digest {shown:?} is not a SHA-256")))
    }

    /// What the image is for, as far as that is told.
    #[must_use]
    pub fn platform(&self) -> Option<Platform> {
        self.platform.as_ref()?.platform()
    }

    /// Whether it names no image but what is said of one: BuildKit's attestations are for the platform "unknown".
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(|field| field.os.as_deref() == Some("unknown"))
    }

    /// The tag it has in a layout's index.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.annotations.as_ref()?.get(TAG).map(String::as_str)
    }

    /// The same, with a tag in a layout's index.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.annotations.get_or_insert_default().insert(TAG.into(), tag.into());
        self
    }
}

/// The image that suits the platform best, or this machine where none is wanted; the first of those that do equally. `place` is
/// where they are, for messages.
///
/// # Errors
/// [`ImageError::NotFound`] where none runs on it; it says what there is.
pub fn choose(
    mut manifests: Vec<Descriptor>,
    wanted: Option<&Platform>,
    place: &dyn fmt::Display,
) -> Result<Chosen, ImageError> {
    manifests.retain(|manifest| !manifest.is_attestation());
    // Its config says what it is for, if anything does.
    if manifests.len() == 1 && manifests[0].platform().is_none() {
        return Ok(Chosen { descriptor: manifests.swap_remove(0), is_for_platform: false });
    }
    let wanted = wanted.cloned().unwrap_or_else(Platform::of_this_machine);
    let suits = |manifest: &Descriptor| manifest.platform().and_then(|platform| wanted.suits(&platform));
    let best = manifests.iter().enumerate().filter_map(|(index, manifest)| Some((suits(manifest)?, index)));
    match best.min() {
        Some((_, index)) => Ok(Chosen { descriptor: manifests.swap_remove(index), is_for_platform: true }),
        None => {
            let known = manifests.iter().map(|manifest| match manifest.platform() {
                Some(platform) => escape(platform.to_string().as_bytes()),
                None => "one that does not say what it is for".into(),
            });
            Err(no_image_for(&wanted, place, known.collect()))
        }
    }
}

/// Compares what an image's config says that it is for with what it has to be for, if that was named. `place` is where it is,
/// for messages.
///
/// # Errors
/// [`ImageError::NotFound`] where it does not run on what it has to; [`ImageError::Corrupt`] where it is no config.
pub fn check_platform(
    config: &[u8],
    wanted: Option<&Platform>,
    place: &dyn fmt::Display,
) -> Result<(), ImageError> {
    let config: Config = parse(config, Part::Config)?;
    match (wanted, config.platform.platform()) {
        (Some(wanted), Some(found)) if wanted.suits(&found).is_none() => {
            Err(no_image_for(wanted, place, vec![escape(found.to_string().as_bytes())]))
        }
        _ => Ok(()),
    }
}

fn no_image_for(wanted: &Platform, place: &dyn fmt::Display, known: Vec<String>) -> ImageError {
    ImageError::NotFound { what: format!("image for {wanted} in {place}"), known }
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], part: Part) -> Result<T, ImageError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ImageError::corrupt(part, format!("it is not the JSON it should be: {error}")))
}
