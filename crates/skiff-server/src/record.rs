//! What the database holds, as JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skiff_image::{BlobDigest, DiffId};
use skiff_keys::KeyId;
use skiff_protocol::{Name, Problem, Release, Status, Text, Variables};
use skiff_tree::{ManifestDigest, ReleaseId};

use crate::DatabaseError;
use crate::database::{Change, Table};

/// A kind of record.
pub(crate) trait Record: Serialize + DeserializeOwned {
    const TABLE: Table;

    fn key(&self) -> String;

    fn put(&self) -> Change {
        let value = serde_json::to_vec(self).expect("because records are structs with keys that are text");
        Change::Put { table: Self::TABLE, key: self.key(), value }
    }

    fn read(key: &str, value: &[u8]) -> Result<Self, DatabaseError> {
        serde_json::from_slice(value).map_err(|source| DatabaseError::Record {
            table: Self::TABLE.name(),
            key: key.into(),
            source,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FleetRecord {
    pub(crate) name: Name,
    pub(crate) target: Option<Text<ReleaseId>>,
    pub(crate) created: u64,
    pub(crate) variables: Variables,
    /// The highest number of a release that was removed: none gets a number that another one had.
    #[serde(default)]
    pub(crate) numbered: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    pub(crate) name: Name,
    pub(crate) fleet: Name,
    pub(crate) created: u64,
    pub(crate) variables: Variables,
    pub(crate) status: Option<Status>,
    /// Releases that it was known to run while it might have them, the last one last: deltas from these are made for it, whatever fleet
    /// it is in by now.
    #[serde(default)]
    pub(crate) bases: Vec<Text<ReleaseId>>,
}

/// How many bases of a device are remembered: as many as it may name at once.
const BASES: usize = skiff_protocol::MAX_BASES;

impl DeviceRecord {
    /// The release that it says that it runs.
    pub(crate) fn running(&self) -> Option<ReleaseId> {
        Some(self.status.as_ref()?.report.running?.0)
    }

    /// The device, with a release as its last base.
    pub(crate) fn with_base(mut self, base: ReleaseId) -> Self {
        self.bases.retain(|other| other.0 != base);
        self.bases.push(Text(base));
        self.bases.drain(..self.bases.len().saturating_sub(BASES));
        self
    }
}

/// Whom a token is for. The token itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) digest: String,
    pub(crate) role: Role,
}

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Administrator,
    Device(Name),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: Text<DiffId>,
    pub(crate) digest: Text<BlobDigest>,
    pub(crate) size: u64,
}

/// An image whose layers are here and were checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) release: Text<ReleaseId>,
    pub(crate) manifest: Text<ManifestDigest>,
    pub(crate) manifest_bytes: u64,
    pub(crate) media_type: String,
    pub(crate) config: Text<BlobDigest>,
    pub(crate) layers: Vec<LayerRecord>,
    pub(crate) entries: u64,
}

/// A release of which only a signature is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignatureRecord {
    pub(crate) release: Text<ReleaseId>,
    pub(crate) bytes: u64,
    pub(crate) at: u64,
    /// The device that sent it; none where an administrator did.
    #[serde(default)]
    pub(crate) by: Option<Name>,
}

/// What has come of a delta that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeltaRecord {
    pub(crate) name: String,
    pub(crate) base: Text<ReleaseId>,
    pub(crate) target: Text<ReleaseId>,
    pub(crate) found: Found,
    /// When it was asked for last, in seconds since 1970.
    pub(crate) used: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Found {
    /// It is there.
    Made {
        bytes: u64,
        digest: String,
        /// Who signed it.
        #[serde(default)]
        keys: Vec<Text<KeyId>>,
        /// What the object is called that has its bytes; none where that is the delta's name alone, as it was before.
        #[serde(default)]
        object: Option<String>,
    },
    /// There is no use in one: of what this version of the encoder made, or could not make.
    None {
        problem: Problem,
        #[serde(default)]
        encoder: String,
    },
}

/// What version of the encoder this is.
const ENCODER: &str = env!("CARGO_PKG_VERSION");

impl Found {
    /// That there is no use in a delta.
    pub(crate) fn none(problem: Problem) -> Self {
        Self::None { problem, encoder: ENCODER.into() }
    }

    /// Whether another version of the encoder might come to something else.
    pub(crate) fn is_outdated(&self) -> bool {
        matches!(self, Self::None { encoder, .. } if encoder != ENCODER)
    }
}

impl DeltaRecord {
    /// How many bytes are kept of it.
    pub(crate) fn bytes(&self) -> u64 {
        match self.found {
            Found::Made { bytes, .. } => bytes,
            Found::None { .. } => 0,
        }
    }

    /// What its object is called; none where there is no delta.
    pub(crate) fn object(&self) -> Option<String> {
        match &self.found {
            Found::Made { object, .. } => {
                Some(object.clone().unwrap_or_else(|| format!("{DELTAS}/{}", self.name)))
            }
            Found::None { .. } => None,
        }
    }
}

/// What the object of a delta is called that is made now. Other bytes of the same delta, as a further signature makes them, are another
/// object: whatever holds an object, a cache or a device in the middle of it, is never told wrong.
pub(crate) fn object_name(name: &str, digest: &str) -> String {
    format!("{DELTAS}/{name}-{digest}")
}

/// Where the objects of deltas are.
pub(crate) const DELTAS: &str = "deltas";

/// A delta that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) name: String,
    pub(crate) base: Text<ReleaseId>,
    pub(crate) target: Text<ReleaseId>,
    pub(crate) variant: crate::variant::Variant,
    /// The device that asked for it first, where one did.
    #[serde(default)]
    pub(crate) by: Option<Name>,
}

/// Declares which table a record is in, and by what it is found there.
macro_rules! records {
    ($($record:ident in $table:ident by |$value:ident| $key:expr;)*) => {$(
        impl Record for $record {
            const TABLE: Table = Table::$table;

            fn key(&self) -> String {
                let $value = self;
                $key
            }
        }
    )*};
}

records! {
    FleetRecord in Fleets by |fleet| fleet.name.to_string();
    DeviceRecord in Devices by |device| device.name.to_string();
    TokenRecord in Tokens by |token| token.digest.clone();
    Release in Releases by |release| format!("{}/{}", release.fleet, release.number);
    ImageRecord in Images by |image| image.release.to_string();
    SignatureRecord in Signatures by |signature| signature.release.to_string();
    DeltaRecord in Deltas by |delta| delta.name.clone();
    JobRecord in Jobs by |job| job.name.clone();
}
