//! `release.json`: what a store knows of a release beside its tree.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use skiff_fs::{Ownership, Root};
use skiff_tree::{EntryPath, ReleaseId};

use crate::{ApplyError, layout};

/// The version of `release.json` written here. Later ones may add fields, which are kept; they count up where an older
/// reader would be misled.
const VERSION: u32 = 1;
/// Far more than a record takes; stops a file that somebody put there.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    #[serde(with = "optional_text")]
    pub(crate) previous: Option<ReleaseId>,
    /// Seconds since 1970.
    written_at: u64,
    pub(crate) origin: Origin,
    ownership: RecordedOwnership,
    pub(crate) trial: Trial,
    pub(crate) entries: u64,
    pub(crate) content_bytes: u64,
    /// What a later version added.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// How a release came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// From a whole image.
    Install,
    /// By a delta.
    Apply {
        /// The release that the delta was applied to.
        #[serde(with = "text")]
        base: ReleaseId,
        /// The digest of the delta's header, which covers all of it.
        #[serde(with = "text")]
        delta: skiff_format::Digest,
        /// The delta's size in bytes.
        delta_bytes: u64,
    },
}

/// Whether a release has proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trial {
    /// It has: [`Store::confirm`](crate::Store::confirm) was called.
    Confirmed,
    /// Not yet.
    OnTrial {
        /// How many starts it may take without being confirmed before it is rolled back; none for any number.
        starts: Option<u32>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RecordedOwnership {
    Applied,
    Recorded,
}

impl Record {
    /// The record of a release that is written now.
    pub(crate) fn new(origin: Origin, ownership: Ownership) -> Self {
        let ownership = match ownership {
            Ownership::Apply => RecordedOwnership::Applied,
            Ownership::Record => RecordedOwnership::Recorded,
        };
        Self {
            version: VERSION,
            previous: None,
            written_at: seconds_since_1970(),
            origin,
            ownership,
            trial: Trial::OnTrial { starts: None },
            entries: 0,
            content_bytes: 0,
            rest: BTreeMap::new(),
        }
    }

    pub(crate) fn ownership(&self) -> Ownership {
        match self.ownership {
            RecordedOwnership::Applied => Ownership::Apply,
            RecordedOwnership::Recorded => Ownership::Record,
        }
    }

    /// None where the clock was somewhere it cannot be.
    pub(crate) fn written_at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.written_at))
    }

    /// Reads the record of the release in a directory.
    pub(crate) fn read(directory: &Root) -> Result<Self, ApplyError> {
        let name = layout::path(layout::RECORD);
        let damaged = |what: String| ApplyError::StoreDamaged { path: directory.display(&name), what };
        let bytes =
            read_small(directory, &name, MAX_BYTES)?.ok_or_else(|| damaged("it is missing".into()))?;
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if record.version > VERSION {
            let what =
                format!("it is of version {}, and this skiff knows {VERSION}; update skiff", record.version);
            return Err(damaged(what));
        }
        Ok(record)
    }

    /// Puts the record in the place of the one there, in one step.
    pub(crate) fn replace(&self, directory: &Root) -> Result<(), ApplyError> {
        Ok(directory.replace_file(&layout::path(layout::RECORD), &self.to_bytes())?)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .expect("because a record consists of numbers and texts with texts for keys");
        bytes.push(b'\n');
        bytes
    }
}

/// Reads a file that is not longer than `limit`; none where there is none.
pub(crate) fn read_small(
    directory: &Root,
    name: &EntryPath,
    limit: u64,
) -> Result<Option<Vec<u8>>, ApplyError> {
    match directory.read_file(name, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Digests as their hexadecimal texts.
mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

mod optional_text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let delta = skiff_format::Digest::of(b"delta");
        let origin = Origin::Apply { base: ReleaseId::of(b"base"), delta, delta_bytes: 7 };
        Record { previous: Some(ReleaseId::of(b"base")), ..Record::new(origin, Ownership::Record) }
    }

    fn read(bytes: &[u8]) -> Result<Record, ApplyError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(layout::RECORD), bytes).unwrap();
        Record::read(&Root::open(directory.path()).unwrap())
    }

    #[test]
    fn a_record_comes_back_with_what_a_later_version_added() {
        let mut value: serde_json::Value = serde_json::from_slice(&record().to_bytes()).unwrap();
        value["signed_by"] = "somebody".into();
        let read = read(value.to_string().as_bytes()).unwrap();
        assert_eq!(read.previous, record().previous);
        assert_eq!(read.origin, record().origin);
        assert_eq!(read.ownership(), Ownership::Record);
        assert!(String::from_utf8(read.to_bytes()).unwrap().contains("\"signed_by\": \"somebody\""));
    }

    #[test]
    fn a_damaged_record_is_told_by_its_name() {
        let bytes = record().to_bytes();
        for length in 0..bytes.len() - 2 {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(matches!(error, ApplyError::StoreDamaged { .. }), "{length}: {error}");
            assert!(error.to_string().contains("release.json"), "{error}");
        }
        let later = String::from_utf8(bytes).unwrap().replace("\"version\": 1", "\"version\": 2");
        assert!(read(later.as_bytes()).unwrap_err().to_string().contains("version 2"));
    }
}
