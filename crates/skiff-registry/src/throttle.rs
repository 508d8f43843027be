//! Not more bytes in a second than were granted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use skiff_fs::{Control, Interrupted};

/// More than comes between two calls by far; keeps times within what a clock can tell.
const COUNTED_MAX: u64 = 1 << 40;

/// Spreads what is received over time. Whoever shares one shares what it grants.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: u64,
    /// Until when what was received already is spread.
    paid_until: Mutex<Instant>,
}

impl Throttle {
    /// Grants so many bytes in a second, at least 1.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_until: Mutex::new(Instant::now()) }
    }

    /// How many bytes it grants in a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Counts bytes that came, and waits until they are granted: to be called before more are read.
    ///
    /// # Errors
    /// [`Interrupted`] as the control has it.
    pub fn spend(&self, bytes: u64, control: &Control<'_>) -> Result<(), Interrupted> {
        let cost = Duration::from_secs_f64(bytes.min(COUNTED_MAX) as f64 / self.bytes_per_second as f64);
        let now = Instant::now();
        let wait = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            // Time in which nothing came is not made up for.
            *paid_until = (*paid_until).max(now) + cost;
            *paid_until - now
        };
        control.wait(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_is_paid_for_in_time() {
        let throttle = Throttle::new(100_000);
        let begun = Instant::now();
        for _ in 0..4 {
            throttle.spend(5_000, &Control::default()).expect("nobody ends it");
        }
        assert!(begun.elapsed() >= Duration::from_millis(200));
        let ended = Control { deadline: Some(Instant::now()), ..Control::default() };
        assert_eq!(throttle.spend(u64::MAX / 2, &ended), Err(Interrupted::DeadlinePassed));
    }
}
