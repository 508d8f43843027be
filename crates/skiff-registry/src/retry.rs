//! Trying again: how often, and after how long.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::time::Duration;

use skiff_fs::Control;

use crate::{RegistryError, Retries};

/// Why an exchange with a registry came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may go well another time.
    Passing(Passing),
    /// It will not.
    Final(RegistryError),
}

/// What may be over soon.
#[derive(Debug)]
pub(crate) enum Passing {
    /// No connection, or one that broke.
    Connection(io::Error),
    /// The registry, or what is behind it, is busy or broken.
    Status { status: u16, retry_after: Option<Duration> },
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    pub(crate) fn broken(kind: io::ErrorKind, what: &'static str) -> Self {
        Self::Passing(Passing::Connection(io::Error::new(kind, what)))
    }
}

/// The attempts at one thing.
pub(crate) struct Attempts<'c> {
    retries: Retries,
    control: Control<'c>,
    /// What is attempted, for messages.
    place: String,
    /// How many failed since it last got further.
    failed: u32,
    /// Whether it got further since the last failure.
    has_progressed: bool,
}

impl<'c> Attempts<'c> {
    pub(crate) fn new(retries: Retries, control: Control<'c>, place: impl Into<String>) -> Self {
        Self { retries, control, place: place.into(), failed: 0, has_progressed: false }
    }

    /// It got further: what failed before does not count.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
        self.has_progressed = true;
    }

    /// Waits for the time to try again.
    ///
    /// # Errors
    /// The failure, where it is final or one too many.
    pub(crate) fn failed(&mut self, failure: Failure) -> Result<(), RegistryError> {
        // Whoever ended the operation also broke its connections.
        self.control.check()?;
        let passing = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(passing) => passing,
        };
        self.failed += 1;
        if self.failed >= self.retries.attempts {
            return Err(self.exhausted(passing));
        }
        let asked = match passing {
            Passing::Status { retry_after, .. } => retry_after.unwrap_or_default(),
            Passing::Connection(_) => Duration::ZERO,
        };
        let wait = if std::mem::take(&mut self.has_progressed) { Duration::ZERO } else { self.backoff() };
        Ok(self.control.wait(wait.max(asked).min(self.retries.longest_wait))?)
    }

    fn exhausted(&self, passing: Passing) -> RegistryError {
        let (place, tried) = (self.place.clone(), self.failed);
        match passing {
            Passing::Connection(source) => RegistryError::Network { place, tried, source },
            Passing::Status { status, retry_after } => {
                RegistryError::Unavailable { place, tried, status, retry_after }
            }
        }
    }

    /// Between half of the wait and all of it.
    fn backoff(&self) -> Duration {
        let doubled = self.retries.first_wait.saturating_mul(1 << (self.failed - 1).min(16));
        let longest = doubled.min(self.retries.longest_wait);
        // Seeded by the system for each hasher: enough to tell clients apart.
        let chance = RandomState::new().hash_one(self.failed) as u32;
        longest.mul_f64(0.5 + 0.5 * f64::from(chance) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    fn cut() -> Failure {
        Failure::broken(io::ErrorKind::ConnectionReset, "cut")
    }

    fn retries(first: u64, longest: u64) -> Retries {
        Retries {
            attempts: 4,
            first_wait: Duration::from_millis(first),
            longest_wait: Duration::from_millis(longest),
        }
    }

    #[test]
    fn attempts_are_bounded_until_one_gets_further() {
        let mut attempts = Attempts::new(retries(0, 0), Control::default(), "here");
        for _ in 0..10 {
            for _ in 0..3 {
                attempts.failed(cut()).unwrap();
            }
            attempts.progressed();
        }
        for _ in 0..3 {
            attempts.failed(cut()).unwrap();
        }
        let error = attempts.failed(cut()).unwrap_err();
        assert!(matches!(error, RegistryError::Network { tried: 4, .. }), "{error}");
    }

    #[test]
    fn waits_double_up_to_the_longest_and_differ() {
        let mut attempts = Attempts::new(retries(100, 1000), Control::default(), "here");
        for (failed, least, most) in
            [(1, 50, 100), (2, 100, 200), (4, 400, 800), (5, 500, 1000), (99, 500, 1000)]
        {
            attempts.failed = failed;
            let waits: Vec<_> = (0..20).map(|_| attempts.backoff().as_millis()).collect();
            assert!(waits.iter().all(|wait| (least..=most).contains(wait)), "{failed}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
        }
    }

    #[test]
    fn what_the_registry_asks_for_is_waited_for_within_bounds() {
        let mut attempts = Attempts::new(retries(0, 60), Control::default(), "here");
        let busy = || {
            let retry_after = Some(Duration::from_secs(3600));
            Failure::Passing(Passing::Status { status: 429, retry_after })
        };
        let start = Instant::now();
        attempts.failed(busy()).unwrap();
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(60) && waited < Duration::from_secs(30), "{waited:?}");
    }

    #[test]
    fn a_wait_ends_when_it_is_no_longer_wanted() {
        let cancel = AtomicBool::new(false);
        let control = Control { cancel: Some(&cancel), ..Control::default() };
        let mut attempts = Attempts::new(retries(3_600_000, 3_600_000), control, "here");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                cancel.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            assert!(matches!(attempts.failed(cut()), Err(RegistryError::Interrupted(_))));
        });
    }
}
