//! Names of fleets and devices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a fleet or a device: 1 to 63 of `a` to `z`, `0` to `9`, `-`, `_` and `.`, beginning and ending with a letter or digit,
/// and no two of the last three side by side. A fleet's name is the name of its images' repository as well.
///
/// ```
/// use skiff_protocol::Name;
///
/// assert!("pumps.north-3".parse::<Name>().is_ok());
/// for wrong in ["", "Pumps", "-a", "a/b", "..", "a..b"] {
///     assert!(wrong.parse::<Name>().is_err(), "{wrong}");
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text that is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name: it takes 1 to 63 of a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends and between any two of the last three"
)]
pub struct NameError(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let parts_are_plain = bytes
            .split(|byte| b"-_.".contains(byte))
            .all(|part| !part.is_empty() && part.iter().all(|&byte| is_plain(byte)));
        if parts_are_plain && bytes.len() <= 63 {
            Ok(Self(text.into()))
        } else {
            Err(NameError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
