//! Telling the program around, and the server, what goes on.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skiff_protocol::{Capabilities, Outcome, Phase, Report, Text};
use skiff_tree::ReleaseId;

use crate::Event;

/// How often progress is told to the program around.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Whom events are told, from any thread. One that panics is told the next event all the same.
pub type Observer = Box<dyn Fn(&Event) + Send + Sync>;

/// Knows what the device is at, and tells it.
pub(crate) struct Teller {
    observer: Observer,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    report: Report,
    /// Counts what matters more than progress.
    turns: u64,
    told_progress: Option<Instant>,
    is_over: bool,
}

/// What there is to report.
#[derive(Debug)]
pub(crate) enum News {
    /// This, which is newer than the turn that was known.
    Report(Box<Report>, u64),
    /// Nothing more, ever.
    Over,
}

impl Teller {
    pub(crate) fn new(observer: Observer, capabilities: Capabilities, outcome: Option<Outcome>) -> Self {
        let report = Report {
            running: None,
            phase: Phase::Idle,
            target: None,
            done: 0,
            total: 0,
            outcome,
            capabilities: Some(capabilities),
        };
        let state = State { report, turns: 1, told_progress: None, is_over: false };
        Self { observer, state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn tell(&self, event: &Event) {
        // Whoever is told may panic, when nobody reads its output any more for example: the device goes on.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.observer)(event)));
    }

    /// What the device runs now.
    pub(crate) fn running(&self, release: Option<ReleaseId>) {
        self.turn(|report| report.running = release.map(Text));
    }

    /// It works towards a release, or not any more.
    pub(crate) fn target(&self, release: Option<ReleaseId>) {
        self.turn(|report| report.target = release.map(Text));
    }

    /// How an update ended.
    pub(crate) fn outcome(&self, outcome: Option<Outcome>) {
        self.turn(|report| report.outcome = outcome);
    }

    /// A phase begins.
    pub(crate) fn phase(&self, phase: Phase, total: u64) {
        let is_new = self.lock().report.phase != phase;
        self.turn(|report| (report.phase, report.done, report.total) = (phase, 0, total));
        if is_new && phase != Phase::Idle {
            self.tell(&Event::Phase { phase, total });
        }
    }

    /// The phase is so far.
    pub(crate) fn reached(&self, done: u64) {
        self.progress(|report| report.done = done);
    }

    /// The phase got further by so much.
    pub(crate) fn advance(&self, bytes: u64) {
        self.progress(|report| report.done = report.done.saturating_add(bytes));
    }

    pub(crate) fn report(&self) -> Report {
        self.lock().report.clone()
    }

    /// Waits for a turn that is newer than `known`, or for progress after `every`.
    pub(crate) fn news(&self, known: u64, every: Duration) -> News {
        let every = every.max(PROGRESS_EVERY);
        let begun = Instant::now();
        let mut state = self.lock();
        let done = state.report.done;
        loop {
            if state.is_over {
                return News::Over;
            }
            let left = every.saturating_sub(begun.elapsed());
            if state.turns != known || (left.is_zero() && state.report.done != done) {
                return News::Report(Box::new(state.report.clone()), state.turns);
            }
            let wait = if left.is_zero() { every } else { left };
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whoever waits for news need not any more.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    fn turn(&self, change: impl FnOnce(&mut Report)) {
        let mut state = self.lock();
        let before = state.report.clone();
        change(&mut state.report);
        if state.report != before {
            state.turns += 1;
            self.changed.notify_all();
        }
    }

    fn progress(&self, change: impl FnOnce(&mut Report)) {
        let event = {
            let mut state = self.lock();
            change(&mut state.report);
            let report = &mut state.report;
            let is_whole = report.total > 0 && report.done == report.total;
            // What was expected was an estimate.
            report.total = if report.total == 0 { 0 } else { report.total.max(report.done) };
            let event = Event::Progress { phase: report.phase, done: report.done, total: report.total };
            let is_due = state.told_progress.is_none_or(|told| told.elapsed() >= PROGRESS_EVERY);
            if !is_due && !is_whole {
                return;
            }
            state.told_progress = Some(Instant::now());
            event
        };
        self.tell(&event);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("report", &self.lock().report).finish_non_exhaustive()
    }
}
