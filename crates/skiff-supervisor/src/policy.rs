//! What each failure leads to: one table.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use serde::Serialize;
use skiff_apply::{ApplyError, ErrorClass};
use skiff_fs::Interrupted;
use skiff_protocol::Settings;

/// How often a wait is doubled at most: to eight times the interval that is configured.
const DOUBLINGS: u32 = 3;
/// Waits that a server asks for beyond this are cut to it.
const ASKED_MAX: Duration = Duration::from_secs(10 * 60);

/// Nothing is tried again more often without getting further, nor sooner, whatever is configured.
const RETRIES_MAX: u32 = 1000;
const WAIT_MIN: Duration = Duration::from_millis(10);
/// Nor is a server asked more often whether it has made a delta.
const ASK_MIN: Duration = Duration::from_millis(100);

/// Declares the failures with their rules, each once: what the documentation's table shows.
macro_rules! policy {
    ($($(#[$doc:meta])* $failure:ident, $retries:ident $(($count:literal))?, $then:ident, $again:ident;)*) => {
        /// Why an update by a delta came to nothing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Failure {
            $($(#[$doc])* $failure,)*
        }

        /// What each failure leads to.
        pub const POLICY: &[Rule] = &[$(Rule {
            failure: Failure::$failure,
            retries: Retries::$retries $(($count))?,
            then: Then::$then,
            again: Again::$again,
        }),*];
    };
}

policy! {
    /// There is no way to the server, or it broke without a byte having come.
    ServerDown, Configured, FullPull, Later;
    /// The server does not know the device's token, or does not allow it (401, 403).
    Unauthorized, Never, FullPull, Later;
    /// The server does not know the base or the target, also once it was sent a signature (404).
    NotKnown, Never, FullPull, Later;
    /// The server says that there is no use in a delta (409).
    Refused, Never, FullPull, Later;
    /// The server or what is before it failed, or has too much to do (408, 429, 5xx).
    ServerError, Configured, FullPull, Later;
    /// The delta is still not made.
    StillComputing, WhilePatient, FullPull, Later;
    /// The server did not answer in time.
    TimedOut, Configured, FullPull, Later;
    /// The connection broke, or no byte came for too long.
    Stalled, Configured, FullPull, Later;
    /// The server's answer makes no sense.
    BadAnswer, Fixed(2), FullPull, Later;
    /// The delta became another one while it was fetched: it starts over.
    Changed, Fixed(2), FullPull, Later;
    /// The delta is damaged.
    Corrupt, Fixed(1), FullPull, Later;
    /// The delta is not signed by a key that has to have signed it; or nothing that is signed leads to the release.
    Untrusted, Never, Alarm, Later;
    /// The delta is not for what the device runs, or does not lead to what it shall run.
    WrongBase, Never, FullPull, Later;
    /// The delta needs a codec or a version of the format that the device does not have.
    CodecUnknown, Never, FullPull, Later;
    /// The delta needs more memory, or more of something else, than the device allows.
    DecoderMemory, Never, FullPull, Later;
    /// Applying took longer than is configured.
    ApplyTimedOut, Never, FullPull, Later;
    /// The disk or the system failed.
    ApplyFailed, Fixed(2), FullPull, Later;
    /// There is not enough room.
    NoSpace, Never, Alarm, Later;
    /// What was read back from the disk is not the release, or the release that runs was changed.
    VerificationFailed, Never, FullPull, Later;
    /// Another process works on the store.
    StoreBusy, Configured, Alarm, Later;
    /// The image is not what the server says that it is.
    WrongImage, Never, Alarm, WithNextTarget;
    /// The release did not get healthy, and was rolled back.
    Unhealthy, Never, Alarm, WithNextTarget;
}

/// What one failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The failure.
    pub failure: Failure,
    /// How often the delta is tried again.
    pub retries: Retries,
    /// What is done when that is over. A pull that fails leads to an alarm, whatever its failure.
    pub then: Then,
    /// Whether the update is begun again after an alarm.
    pub again: Again,
}

/// How often something is tried again without getting further. What got further begins to count anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// It is not.
    Never,
    /// So often.
    Fixed(u32),
    /// As often as `SUPERVISOR_DELTA_RETRY_COUNT` says.
    Configured,
    /// As long as [`Options::patience`](crate::Options::patience) lasts, whenever the server says.
    WhilePatient,
}

/// What is done when a delta is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The whole image is pulled.
    FullPull,
    /// The update is given up, and told.
    Alarm,
}

/// When an update that was given up is begun again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// After a pause, which doubles each time ([`Options::pause`](crate::Options::pause)).
    Later,
    /// When the server names another release.
    WithNextTarget,
}

impl Failure {
    /// What it leads to.
    #[must_use]
    pub fn rule(self) -> Rule {
        *POLICY
            .iter()
            .find(|rule| rule.failure == self)
            .expect("because failures and their rules are declared together")
    }

    /// What a store's refusal is; none where the caller ended it.
    pub(crate) fn of_store(error: &ApplyError) -> Option<Self> {
        Some(match error {
            ApplyError::Interrupted(Interrupted::DeadlinePassed) => Self::ApplyTimedOut,
            ApplyError::LimitExceeded { .. } => Self::DecoderMemory,
            ApplyError::VerificationFailed { .. } => Self::VerificationFailed,
            _ => match error.class() {
                ErrorClass::Interrupted => return None,
                ErrorClass::WrongRelease => Self::WrongBase,
                ErrorClass::Untrusted => Self::Untrusted,
                ErrorClass::CorruptInput => Self::Corrupt,
                ErrorClass::Unsupported => Self::CodecUnknown,
                ErrorClass::NoSpace => Self::NoSpace,
                ErrorClass::Damaged => Self::VerificationFailed,
                ErrorClass::Busy => Self::StoreBusy,
                ErrorClass::Usage | ErrorClass::Io => Self::ApplyFailed,
                // What a later version of the store has.
                _ => Self::ApplyFailed,
            },
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Counts what failed since something last got further.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: u32,
}

impl Attempts {
    /// It got further: what failed before does not count.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// How long to wait before it is tried again, and which try that is; none where it is not.
    pub(crate) fn again(
        &mut self,
        failure: Failure,
        settings: &Settings,
        asked: Option<Duration>,
    ) -> Option<(Duration, u32)> {
        let most = match failure.rule().retries {
            Retries::Never => 0,
            Retries::Fixed(count) => count.min(settings.retry_count),
            Retries::Configured => settings.retry_count.min(RETRIES_MAX),
            Retries::WhilePatient => u32::MAX,
        };
        self.failed = self.failed.saturating_add(1);
        if self.failed > most {
            return None;
        }
        let wait = match failure.rule().retries {
            // The server knows how far it is.
            Retries::WhilePatient => settings.retry_interval.max(ASK_MIN),
            _ => settings.retry_interval.saturating_mul(1 << (self.failed - 1).min(DOUBLINGS)).max(WAIT_MIN),
        };
        let asked = asked.unwrap_or_default().min(ASKED_MAX);
        let wait = match failure {
            Failure::StillComputing if !asked.is_zero() => asked.max(ASK_MIN),
            _ => wait.max(asked),
        };
        Some((jittered(wait), self.failed))
    }
}

/// Between half of a wait and all of it, so that many devices do not come back at once.
pub(crate) fn jittered(wait: Duration) -> Duration {
    // Seeded by the system for each: enough to tell devices apart.
    let chance = RandomState::new().hash_one(wait) as u32;
    wait.mul_f64(0.5 + 0.5 * f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(retry_count: u32) -> Settings {
        let mut settings = Settings::default();
        (settings.retry_count, settings.retry_interval) = (retry_count, Duration::from_millis(1000));
        settings
    }

    #[test]
    fn waits_double_and_end() {
        let (mut attempts, settings) = (Attempts::default(), settings(5));
        let mut waits = Vec::new();
        while let Some((wait, attempt)) = attempts.again(Failure::ServerError, &settings, None) {
            waits.push(wait);
            assert_eq!(attempt as usize, waits.len());
        }
        for (wait, whole) in waits.iter().zip([1, 2, 4, 8, 8]) {
            let whole = Duration::from_secs(whole);
            assert!(*wait >= whole / 2 && *wait <= whole, "{wait:?} of {whole:?}");
        }
        assert_eq!(waits.len(), 5);
    }

    #[test]
    fn what_got_further_begins_anew() {
        let (mut attempts, settings) = (Attempts::default(), settings(1));
        for _ in 0..10 {
            assert!(attempts.again(Failure::Stalled, &settings, None).is_some());
            attempts.progressed();
        }
        assert!(attempts.again(Failure::Stalled, &settings, None).is_some());
        assert!(attempts.again(Failure::Stalled, &settings, None).is_none());
    }

    #[test]
    fn a_server_is_asked_when_it_says() {
        let asked = Some(Duration::from_secs(30));
        let (mut attempts, settings) = (Attempts::default(), settings(3));
        let (wait, _) = attempts.again(Failure::ServerError, &settings, asked).expect("a wait");
        assert!(wait >= Duration::from_secs(15));
        let asked = Some(Duration::from_millis(200));
        let (wait, _) = attempts.again(Failure::StillComputing, &settings, asked).expect("a wait");
        assert!(wait <= Duration::from_millis(200));
        let (wait, _) =
            attempts.again(Failure::StillComputing, &settings, Some(Duration::MAX)).expect("a wait");
        assert!(wait <= ASKED_MAX);
    }

    #[test]
    fn some_failures_are_final() {
        for failure in [Failure::Refused, Failure::WrongBase, Failure::Unauthorized, Failure::NoSpace] {
            assert_eq!(Attempts::default().again(failure, &settings(30), None), None, "{failure}");
        }
    }
}
