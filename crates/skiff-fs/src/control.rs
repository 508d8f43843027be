use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a wait goes on before it is looked whether it is still wanted.
const TICK: Duration = Duration::from_millis(50);

/// How a long operation is watched and stopped from outside. The default neither stops it nor tells anyone.
#[derive(Clone, Copy, Default)]
pub struct Control<'a> {
    /// Set it to true, from any thread or a signal handler, and the operation ends soon after.
    pub cancel: Option<&'a AtomicBool>,
    /// When the operation has to be done; past it, it ends.
    pub deadline: Option<Instant>,
    /// Called with the bytes dealt with since the last call, from any of the operation's threads.
    pub progress: Option<&'a (dyn Fn(u64) + Send + Sync)>,
}

/// Why a long operation was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interrupted {
    /// The cancel flag was set.
    #[error("cancelled")]
    Cancelled,
    /// The deadline has passed.
    #[error("the deadline has passed")]
    DeadlinePassed,
}

impl Control<'_> {
    /// Whether to go on. Cheap enough to be asked for every entry and every buffer.
    ///
    /// # Errors
    /// [`Interrupted`] when the cancel flag is set or the deadline has passed.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(Interrupted::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Interrupted::DeadlinePassed);
        }
        Ok(())
    }

    /// Waits, unless it is not to go on.
    ///
    /// # Errors
    /// As for [`check`](Self::check), soon after it would say so.
    pub fn wait(&self, time: Duration) -> Result<(), Interrupted> {
        let begun = Instant::now();
        loop {
            self.check()?;
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
    }

    /// Tells whoever watches that `bytes` more are dealt with.
    pub fn advance(&self, bytes: u64) {
        if let Some(progress) = self.progress {
            progress(bytes);
        }
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("cancel", &self.cancel)
            .field("deadline", &self.deadline)
            .field("progress", &self.progress.map(|_| ".."))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_deadlines_stop() {
        assert_eq!(Control::default().check(), Ok(()));
        let flag = AtomicBool::new(false);
        let control = Control { cancel: Some(&flag), ..Control::default() };
        assert_eq!(control.check(), Ok(()));
        flag.store(true, Ordering::Relaxed);
        assert_eq!(control.check(), Err(Interrupted::Cancelled));
        let control = Control { deadline: Some(Instant::now()), ..Control::default() };
        assert_eq!(control.check(), Err(Interrupted::DeadlinePassed));
        assert_eq!(control.wait(Duration::MAX), Err(Interrupted::DeadlinePassed));
    }
}
