//! What administrators and a server say to each other.

use serde::{Deserialize, Serialize};
use skiff_tree::ReleaseId;

use crate::{ImageDigest, Name, Problem, Status, Text};

/// Makes a fleet: the body of `POST /v1/fleets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewFleet {
    /// What it is called.
    pub name: Name,
}

/// A fleet: devices that shall run the same release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fleet {
    /// What it is called.
    pub name: Name,
    /// The release that its devices shall run.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub target: Option<Text<ReleaseId>>,
    /// The number of that release: the highest, where it was released more than once.
    #[serde(default)]
    pub target_number: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// How many devices it has.
    pub devices: u64,
}

/// Says which release a fleet's devices shall run: the body of `PUT /v1/fleets/{fleet}/target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetTarget {
    /// A release of the fleet that is ready.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^(sha256:)?[0-9a-fA-F]{64}$"))]
    pub release: Text<ReleaseId>,
}

/// Makes a device: the body of `POST /v1/fleets/{fleet}/devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewDevice {
    /// What it is called: one of that name on the server, whatever its fleet.
    pub name: Name,
}

/// A token, told once: the server keeps only its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewToken {
    /// The device that it is for.
    pub device: Name,
    /// The token, as it stands behind `Authorization: Bearer`.
    pub token: String,
}

/// Moves a device to another fleet: the body of `POST /v1/devices/{device}/move`. Its own variables go with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Move {
    /// Where to.
    pub fleet: Name,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// What it is called.
    pub name: Name,
    /// Its fleet.
    pub fleet: Name,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// What it said last.
    pub status: Option<Status>,
}

/// Releases an image to a fleet: the body of `POST /v1/fleets/{fleet}/releases`, where that is not the image itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewRelease {
    /// Where the image is: `docker://HOST/NAME[:TAG|@DIGEST]`, or `oci:DIRECTORY[:TAG]` in the server's directory for images.
    #[cfg_attr(
        feature = "openapi",
        schema(max_length = 1024, example = "oci:app:1", pattern = "^(docker://|oci:).+")
    )]
    pub image: String,
    /// Which image of several that are for different platforms: `OS/ARCH[/VARIANT]`. Needed where there are several.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_length = 100))]
    pub platform: Option<String>,
}

/// A release of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Release {
    /// Its fleet.
    pub fleet: Name,
    /// The how manieth of the fleet it is, from 1. Its image's tag is this number.
    pub number: u64,
    /// Where the image came from; none where it was sent.
    pub image: Option<String>,
    /// Which image of several platforms was asked for.
    #[serde(default)]
    pub platform: Option<String>,
    /// When it was released, in seconds since 1970.
    pub created: u64,
    /// How far it is.
    pub state: ReleaseState,
}

/// How far a release is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReleaseState {
    /// Its image is being read and checked.
    Preparing,
    /// Devices can have it.
    Ready {
        /// The release.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        release: Text<ReleaseId>,
        /// The digest of its image's manifest.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        manifest: Text<ImageDigest>,
        /// What pulling all of it takes, in bytes.
        bytes: u64,
        /// How many paths it has.
        entries: u64,
    },
    /// Its image cannot be used.
    Failed {
        /// Why.
        problem: Problem,
    },
}
