//! Configuration variables, and which of several counts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::settings::Setting;

/// The longest value of a variable, in bytes.
pub const MAX_VALUE: usize = 4096;
/// How many variables a fleet or a device may have.
pub const MAX_VARIABLES: usize = 1000;
const MAX_NAME: usize = 128;

/// The name of a variable: 1 to 128 of `A` to `Z`, `0` to `9` and `_`, not beginning with a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariableName(String);

/// Why a variable cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariableError {
    /// It has no name that a variable can have.
    #[error(
        "{0:?} is no name of a variable: it takes 1 to {MAX_NAME} of A-Z, 0-9 and '_', not beginning with a digit"
    )]
    Name(String),
    /// It begins as those do that a supervisor goes by, and is none of them.
    #[error("{name} is no setting of the supervisor; there are {}", settings())]
    Unknown {
        /// The variable.
        name: String,
    },
    /// Its value is of another type than the setting takes.
    #[error("{name} takes {takes}, not {value:?}")]
    Value {
        /// The variable.
        name: String,
        /// What it takes.
        takes: &'static str,
        /// What was to be set, or its beginning.
        value: String,
    },
    /// Its value is too long, or holds a NUL byte.
    #[error("{name} takes at most {MAX_VALUE} bytes without NUL")]
    Length {
        /// The variable.
        name: String,
    },
}

fn settings() -> String {
    Setting::ALL.iter().map(|setting| format!("SKIFF_{}", setting.name())).collect::<Vec<_>>().join(", ")
}

impl VariableName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The variable's setting, and how much its prefix counts: the less, the more.
    #[must_use]
    pub fn setting(&self) -> Option<(Setting, usize)> {
        PREFIXES.iter().enumerate().find_map(|(rank, prefix)| {
            let setting = Setting::named(self.0.strip_prefix(prefix)?)?;
            Some((setting, rank))
        })
    }

    /// Checks that a value is one that this variable can have.
    ///
    /// # Errors
    /// [`VariableError`].
    pub fn check(&self, value: &str) -> Result<(), VariableError> {
        let name = || self.0.clone();
        if value.len() > MAX_VALUE || value.contains('\0') {
            return Err(VariableError::Length { name: name() });
        }
        match self.setting() {
            Some((setting, _)) if !setting.takes(value) => Err(VariableError::Value {
                name: name(),
                takes: setting.type_name(),
                value: value.chars().take(80).collect(),
            }),
            // Those with the other prefixes may mean something to other programs; one of ours that is misspelled would
            // silently do nothing.
            None if self.0.starts_with(PREFIXES[0]) => Err(VariableError::Unknown { name: name() }),
            _ => Ok(()),
        }
    }
}

/// The one that stands first counts most.
const PREFIXES: [&str; 3] = ["SKIFF_", "BALENA_", "RESIN_"];

impl FromStr for VariableName {
    type Err = VariableError;

    fn from_str(text: &str) -> Result<Self, VariableError> {
        let is_right = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let begins_right = text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if begins_right && text.len() <= MAX_NAME && text.bytes().all(is_right) {
            Ok(Self(text.into()))
        } else {
            Err(VariableError::Name(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for VariableName {
    type Error = VariableError;

    fn try_from(text: String) -> Result<Self, VariableError> {
        text.parse()
    }
}

impl From<VariableName> for String {
    fn from(name: VariableName) -> Self {
        name.0
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The variables of one level: a device's, its fleet's, or what is set on the device itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = std::collections::HashMap<String, String>))]
pub struct Variables(BTreeMap<VariableName, String>);

impl Variables {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable, whether it was set before or not.
    ///
    /// # Errors
    /// [`VariableError`] where the value is none that it can have; nothing is changed then.
    pub fn set(&mut self, name: VariableName, value: impl Into<String>) -> Result<(), VariableError> {
        let value = value.into();
        name.check(&value)?;
        self.0.insert(name, value);
        Ok(())
    }

    /// Removes a variable, and tells whether it was set.
    pub fn remove(&mut self, name: &VariableName) -> bool {
        self.0.remove(name).is_some()
    }

    /// The value of a variable.
    #[must_use]
    pub fn value(&self, name: &VariableName) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&VariableName, &str)> {
        self.0.iter().map(|(name, value)| (name, value.as_str()))
    }

    /// Takes a variable as it is found, right or not: for the environment and files of a device, whose errors
    /// [`Settings::read`](crate::Settings::read) reports.
    pub fn take(&mut self, name: VariableName, value: impl Into<String>) {
        self.0.insert(name, value.into());
    }
}

/// What counts of several levels, the one that counts most first.
///
/// A setting of the supervisor may be spelled with each prefix: the level decides first, then `SKIFF_` before `BALENA_` before
/// `RESIN_`; it comes out with the first of them. Of any other variable the first level that has it counts.
#[must_use]
pub fn effective(levels: &[&Variables]) -> Variables {
    let mut effective = BTreeMap::new();
    let mut settings: BTreeMap<Setting, ((usize, usize), &str)> = BTreeMap::new();
    for (level, variables) in levels.iter().enumerate() {
        for (name, value) in variables.iter() {
            match name.setting() {
                Some((setting, rank)) => {
                    let found = settings.entry(setting).or_insert(((level, rank), value));
                    if (level, rank) < found.0 {
                        *found = ((level, rank), value);
                    }
                }
                None => {
                    effective.entry(name.clone()).or_insert_with(|| value.to_owned());
                }
            }
        }
    }
    for (setting, (_, value)) in settings {
        effective.insert(VariableName(format!("{}{}", PREFIXES[0], setting.name())), value.to_owned());
    }
    Variables(effective)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(variables: &[(&str, &str)]) -> Variables {
        let mut level = Variables::new();
        for (name, value) in variables {
            level.set(name.parse().unwrap(), *value).unwrap();
        }
        level
    }

    #[test]
    fn the_level_decides_first_and_then_the_prefix() {
        let [a, b, c] =
            ["SKIFF_", "BALENA_", "RESIN_"].map(|prefix| format!("{prefix}SUPERVISOR_DELTA_RETRY_COUNT"));
        let (a, b, c) = (a.as_str(), b.as_str(), c.as_str());
        type Set<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Set<'_>, Set<'_>, &str); 5] = [
            (&[(c, "1")], &[(a, "2")], "1"),
            (&[(c, "1"), (b, "2"), (a, "3")], &[], "3"),
            (&[(c, "1"), (b, "2")], &[(a, "4")], "2"),
            (&[], &[(c, "1"), (a, "4")], "4"),
            (&[("OTHER", "1")], &[(b, "5")], "5"),
        ];
        for (device, fleet, expected) in cases {
            let variables = effective(&[&level(device), &level(fleet)]);
            assert_eq!(variables.value(&a.parse().unwrap()), Some(expected), "{device:?} {fleet:?}");
            assert_eq!(variables.iter().filter(|(name, _)| name.setting().is_some()).count(), 1);
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused_and_changes_nothing() {
        let mut variables = level(&[("SKIFF_SUPERVISOR_DELTA", "1")]);
        for (name, value) in [
            ("SKIFF_SUPERVISOR_DELTA", "yes"),
            ("BALENA_SUPERVISOR_DELTA_RETRY_COUNT", "-1"),
            ("RESIN_SUPERVISOR_DELTA_REQUEST_TIMEOUT", "5s"),
            ("SKIFF_SUPERVISOR_DELTAS", "1"),
            ("OTHER", &"x".repeat(MAX_VALUE + 1)),
            ("OTHER", "\0"),
        ] {
            assert!(variables.set(name.parse().unwrap(), value).is_err(), "{name}={value}");
        }
        assert_eq!(variables, level(&[("SKIFF_SUPERVISOR_DELTA", "1")]));
        for name in ["", "lower", "1A", "A-B", "A=B", &"A".repeat(129)] {
            assert!(name.parse::<VariableName>().is_err(), "{name}");
        }
        // Other programs' variables are theirs.
        variables.set("BALENA_SUPERVISOR_POLL_INTERVAL".parse().unwrap(), "x").unwrap();
    }
}
