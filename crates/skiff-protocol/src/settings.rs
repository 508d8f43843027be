//! What a supervisor goes by.

use std::time::Duration;

use crate::{VariableName, Variables};

/// A setting of the supervisor: a variable's name without its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// `SUPERVISOR_DELTA`: whether updates are asked for as deltas, 1 or 0.
    Delta,
    /// `SUPERVISOR_DELTA_REQUEST_TIMEOUT`: how long the server may take to answer, in milliseconds.
    RequestTimeout,
    /// `SUPERVISOR_DELTA_APPLY_TIMEOUT`: how long applying a delta may take, in milliseconds; 0 for as long as it takes.
    ApplyTimeout,
    /// `SUPERVISOR_DELTA_RETRY_COUNT`: how often a delta is tried again before the image is pulled.
    RetryCount,
    /// `SUPERVISOR_DELTA_RETRY_INTERVAL`: how long to wait before that, in milliseconds.
    RetryInterval,
    /// `SUPERVISOR_DELTA_VERSION`: a version of deltas, as other supervisors have it. Device and server agree on one by
    /// themselves, so that it changes nothing.
    Version,
}

impl Setting {
    /// Every setting.
    pub const ALL: &[Self] = &[
        Self::Delta,
        Self::RequestTimeout,
        Self::ApplyTimeout,
        Self::RetryCount,
        Self::RetryInterval,
        Self::Version,
    ];

    /// The variable's name without its prefix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delta => "SUPERVISOR_DELTA",
            Self::RequestTimeout => "SUPERVISOR_DELTA_REQUEST_TIMEOUT",
            Self::ApplyTimeout => "SUPERVISOR_DELTA_APPLY_TIMEOUT",
            Self::RetryCount => "SUPERVISOR_DELTA_RETRY_COUNT",
            Self::RetryInterval => "SUPERVISOR_DELTA_RETRY_INTERVAL",
            Self::Version => "SUPERVISOR_DELTA_VERSION",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|setting| setting.name() == name)
    }

    pub(crate) const fn type_name(self) -> &'static str {
        match self {
            Self::Delta => "0 or 1",
            Self::RequestTimeout | Self::ApplyTimeout | Self::RetryInterval => {
                "milliseconds, a number from 0 to 4294967295"
            }
            Self::RetryCount | Self::Version => "a number from 0 to 4294967295",
        }
    }

    /// Whether a value is of its type.
    #[must_use]
    pub fn takes(self, value: &str) -> bool {
        match self {
            Self::Delta => flag(value).is_some(),
            _ => number(value).is_some(),
        }
    }
}

/// The settings of a supervisor. Those that are not set are as balena's supervisor has them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Whether updates are asked for as deltas. Default: no.
    pub is_delta_enabled: bool,
    /// How long the server may take to answer. Default: 59 s.
    pub request_timeout: Duration,
    /// How long applying a delta may take; none for as long as it takes, which is the default.
    pub apply_timeout: Option<Duration>,
    /// How often a delta is tried again before the image is pulled. Default: 30.
    pub retry_count: u32,
    /// How long to wait before that. Default: 10 s.
    pub retry_interval: Duration,
}

/// A variable whose value is of the wrong type: the default counts instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} takes {takes}, not {value:?}: the default counts")]
pub struct WrongValue {
    /// The variable.
    pub name: VariableName,
    /// What it takes.
    pub takes: &'static str,
    /// What it has.
    pub value: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            is_delta_enabled: false,
            request_timeout: Duration::from_secs(59),
            apply_timeout: None,
            retry_count: 30,
            retry_interval: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// What variables say that are [`effective`](crate::effective), and what they say wrong.
    #[must_use]
    pub fn read(variables: &Variables) -> (Self, Vec<WrongValue>) {
        let (mut settings, mut wrong) = (Self::default(), Vec::new());
        for (name, value) in variables.iter() {
            let Some((setting, _)) = name.setting() else { continue };
            if settings.set(setting, value).is_none() {
                wrong.push(WrongValue {
                    name: name.clone(),
                    takes: setting.type_name(),
                    value: value.into(),
                });
            }
        }
        (settings, wrong)
    }

    fn set(&mut self, setting: Setting, value: &str) -> Option<()> {
        let milliseconds = || number(value).map(|number| Duration::from_millis(number.into()));
        match setting {
            Setting::Delta => self.is_delta_enabled = flag(value)?,
            Setting::RequestTimeout => self.request_timeout = milliseconds()?,
            Setting::ApplyTimeout => {
                self.apply_timeout = Some(milliseconds()?).filter(|timeout| !timeout.is_zero())
            }
            Setting::RetryCount => self.retry_count = number(value)?,
            Setting::RetryInterval => self.retry_interval = milliseconds()?,
            Setting::Version => {
                number(value)?;
            }
        }
        Some(())
    }
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn number(value: &str) -> Option<u32> {
    value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> (Settings, Vec<WrongValue>) {
        let mut variables = Variables::new();
        variables.take(format!("SKIFF_{name}").parse().unwrap(), value);
        Settings::read(&variables)
    }

    #[test]
    fn each_setting_is_read_from_its_variable() {
        let default = Settings::default;
        let second = Duration::from_secs(1);
        for (name, value, expected) in [
            ("SUPERVISOR_DELTA", "1", Settings { is_delta_enabled: true, ..default() }),
            ("SUPERVISOR_DELTA", "0", default()),
            ("SUPERVISOR_DELTA_REQUEST_TIMEOUT", "1000", Settings { request_timeout: second, ..default() }),
            ("SUPERVISOR_DELTA_APPLY_TIMEOUT", "1000", Settings { apply_timeout: Some(second), ..default() }),
            ("SUPERVISOR_DELTA_APPLY_TIMEOUT", "0", default()),
            ("SUPERVISOR_DELTA_RETRY_COUNT", "7", Settings { retry_count: 7, ..default() }),
            ("SUPERVISOR_DELTA_RETRY_INTERVAL", "1000", Settings { retry_interval: second, ..default() }),
            ("SUPERVISOR_DELTA_VERSION", "3", default()),
        ] {
            assert_eq!(read(name, value), (expected, Vec::new()), "{name}={value}");
        }
    }

    #[test]
    fn of_what_is_wrong_the_default_counts_and_it_is_reported() {
        for &setting in Setting::ALL {
            for value in ["", "-1", "+1", "1.5", "yes", "4294967296"] {
                let (settings, wrong) = read(setting.name(), value);
                assert_eq!((settings, wrong.len()), (Settings::default(), 1), "{setting:?}={value}");
                assert!(!setting.takes(value));
            }
        }
    }
}
