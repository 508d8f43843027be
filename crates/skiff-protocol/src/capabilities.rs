//! What a device can apply.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a device can apply: every delta that it gets keeps to this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Capabilities {
    /// Versions of the delta's format that it reads.
    #[serde(deserialize_with = "crate::whole::set")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::schema::Version>, inline))]
    pub formats: BTreeSet<u16>,
    /// Codecs that it has.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::schema::CodecText>, inline))]
    pub codecs: BTreeSet<Codec>,
    /// The most memory that decoding may take, in bytes; none where that is no matter.
    #[serde(default, deserialize_with = "crate::whole::one_or_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Bytes>, inline))]
    pub decoder_memory: Option<u64>,
}

/// A codec, by its number and the version of its payloads: spelled `ID` for version 0, else `ID.VERSION`.
///
/// ```
/// use skiff_protocol::Codec;
///
/// assert_eq!("5.1".parse(), Ok(Codec { id: 5, version: 1 }));
/// assert_eq!(Codec { id: 3, version: 0 }.to_string(), "3");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Codec {
    /// The codec's number.
    pub id: u16,
    /// The version of what it reads.
    pub version: u16,
}

/// A text that names no codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no codec: it takes ID or ID.VERSION, as in 5 or 5.1")]
pub struct CodecParseError(String);

impl FromStr for Codec {
    type Err = CodecParseError;

    fn from_str(text: &str) -> Result<Self, CodecParseError> {
        let (id, version) = text.split_once('.').unwrap_or((text, "0"));
        let number = |digits: &str| {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)
        };
        match (number(id), number(version)) {
            (Some(id), Some(version)) => Ok(Self { id, version }),
            _ => Err(CodecParseError(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Codec {
    type Error = CodecParseError;

    fn try_from(text: String) -> Result<Self, CodecParseError> {
        text.parse()
    }
}

impl From<Codec> for String {
    fn from(codec: Codec) -> Self {
        codec.to_string()
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            0 => write!(f, "{}", self.id),
            version => write!(f, "{}.{version}", self.id),
        }
    }
}
