//! What a server tells a device, and the device the server.

use serde::{Deserialize, Serialize};
use skiff_tree::ReleaseId;

use crate::{Capabilities, ImageDigest, Name, Problem, Text, Variables};

/// What a device shall run, and how its supervisor shall behave: the answer to `GET /v1/device/target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Target {
    /// The device's own name.
    pub device: Name,
    /// The fleet it belongs to.
    pub fleet: Name,
    /// The release it shall run; none where its fleet has none yet.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^(sha256:)?[0-9a-fA-F]{64}$"))]
    pub release: Option<Text<ReleaseId>>,
    /// Where the release's image is pulled from, where there is no delta.
    pub image: Option<ImageSource>,
    /// Its [effective](crate::effective) configuration.
    pub configuration: Variables,
}

/// An image on a server, for a pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageSource {
    /// The repository, on the server that answers.
    pub repository: Name,
    /// The digest of the image's manifest.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub manifest: Text<ImageDigest>,
    /// What pulling all of it takes, in bytes.
    pub bytes: u64,
}

/// What a device is at: the body of `PUT /v1/device/status`. Fields that a later version has are passed over: a device that is newer than
/// its server is heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Report {
    /// The release it runs; none where it runs none.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^(sha256:)?[0-9a-fA-F]{64}$"))]
    pub running: Option<Text<ReleaseId>>,
    /// What it is doing. Words that the server does not know are taken for `other`.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "idle"))]
    pub phase: Phase,
    /// The release it works towards, if it does.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^(sha256:)?[0-9a-fA-F]{64}$"))]
    pub target: Option<Text<ReleaseId>>,
    /// Bytes of this phase that are done.
    #[serde(default, deserialize_with = "crate::whole::one")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Bytes, inline))]
    pub done: u64,
    /// Bytes of this phase in all; 0 where that is not known.
    #[serde(default, deserialize_with = "crate::whole::one")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Bytes, inline))]
    pub total: u64,
    /// How the last update ended, once one has.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// What it can apply, so that deltas that it will ask for are made before it does.
    #[serde(default)]
    pub capabilities: Option<Capabilities>,
}

/// What a device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Phase {
    /// Nothing: it runs what it shall run, or has no target.
    Idle,
    /// It asks for a delta.
    Requesting,
    /// It waits while the delta is made.
    Waiting,
    /// It receives and applies.
    Downloading,
    /// It applies what is there already.
    Applying,
    /// It reads back what it wrote.
    Verifying,
    /// It changes over to the new release.
    Swapping,
    /// Something that a later version does.
    #[serde(other)]
    Other,
}

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outcome {
    /// The release it was to.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^(sha256:)?[0-9a-fA-F]{64}$"))]
    pub target: Text<ReleaseId>,
    /// Whether the device runs it now.
    pub succeeded: bool,
    /// Whether a delta led there: else the image was pulled.
    pub by_delta: bool,
    /// Why it failed, or why no delta could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 4096))]
    pub cause: Option<String>,
    /// Bytes that were received for it.
    #[serde(deserialize_with = "crate::whole::one")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Bytes, inline))]
    pub received: u64,
}

/// What is known of a device: when it spoke last, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What.
    pub report: Report,
}

/// Something that happened: an event of the stream `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Event {
    /// A device said what it is at.
    Device {
        /// The device.
        device: Name,
        /// Its fleet.
        fleet: Name,
        /// What it said.
        status: Status,
    },
    /// A release got ready, or failed to.
    Release {
        /// The fleet.
        fleet: Name,
        /// The release's number there.
        number: u64,
        /// Its name, once it is ready.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        release: Option<Text<ReleaseId>>,
        /// Why it failed.
        problem: Option<Problem>,
    },
    /// A delta was made, or could not be.
    Delta {
        /// The release it leads from.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        base: Text<ReleaseId>,
        /// The release it leads to.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        target: Text<ReleaseId>,
        /// Its size in bytes, where it was made.
        bytes: Option<u64>,
        /// Why there is none.
        problem: Option<Problem>,
    },
    /// Whoever reads is too slow: so many events were left out.
    Missed {
        /// How many.
        events: u64,
    },
}
