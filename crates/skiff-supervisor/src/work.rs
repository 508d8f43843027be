//! What goes on at once while a supervisor runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use skiff_fs::{Control, Interrupted};
use skiff_protocol::{Target, Text};
use skiff_tree::ReleaseId;

use crate::policy::{Again, Failure, jittered};
use crate::server::Trouble;
use crate::supervisor::{Checked, Supervisor};
use crate::tell::News;
use crate::{Event, SupervisorError};

/// How often it is looked whether everything shall end.
const TICK: Duration = Duration::from_millis(100);
/// How often it is looked whether the program runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long after a server could not be asked it is asked again: first, and at most.
const POLL_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));

/// Between two answers of a server that lets nobody wait.
const POLL_SOONEST: Duration = Duration::from_secs(5);
/// The longest that a server lets wait.
const POLL_LONGEST: Duration = Duration::from_secs(24 * 3600);
/// After how long a start is tried again that failed.
const START_AGAIN: Duration = Duration::from_secs(10);

/// What the threads share.
struct Work<'a> {
    supervisor: &'a Supervisor,
    /// The update that goes on ends.
    is_superseded: AtomicBool,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

/// What goes on beside the updates.
#[derive(Clone, Copy)]
enum Task {
    Keep,
    Report,
    Poll,
}

#[derive(Default)]
struct Inbox {
    /// What the server said last, until it is seen to.
    target: Option<Target>,
    /// What is worked towards.
    working: Option<ReleaseId>,
}

/// Ends everything where a thread panics, so that whoever started the supervisor sees it.
struct EndOnPanic<'w, 'a>(&'w Work<'a>);

impl Drop for EndOnPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

pub(crate) fn run(supervisor: &Supervisor, cancel: &AtomicBool) -> Result<(), SupervisorError> {
    let work = Work {
        supervisor,
        is_superseded: AtomicBool::new(false),
        inbox: Mutex::default(),
        arrived: Condvar::new(),
    };
    supervisor.device.is_over.store(false, Ordering::Relaxed);
    thread::scope(|scope| {
        let work = &work;
        let _end = EndOnPanic(work);
        let tasks = [Task::Keep, Task::Report, Task::Poll].map(|task| {
            scope.spawn(move || {
                let _end = EndOnPanic(work);
                match task {
                    Task::Keep => work.keep(),
                    Task::Report => work.report(),
                    Task::Poll => work.poll(),
                }
            })
        });
        scope.spawn(move || {
            let _end = EndOnPanic(work);
            work.end_when(cancel);
        });
        work.work();
        work.end();
        // What was just about to ask the server when it was interrupted is interrupted again.
        while tasks.iter().any(|task| !task.is_finished()) {
            supervisor.device.fetch.interrupt();
            thread::sleep(TICK);
        }
        supervisor.finish()
    })
}

impl Work<'_> {
    /// Brings what the server names, one after the other.
    fn work(&self) {
        let device = &self.supervisor.device;
        let control = Control { cancel: Some(&self.is_superseded), ..Control::default() };
        self.start(&control);
        let (first_pause, longest_pause) = device.options.pause;
        let mut pause = first_pause;
        let mut given_up: Option<(Target, Instant)> = None;
        while let Some((target, is_new)) = self.next(&mut given_up) {
            if is_new {
                pause = first_pause;
            }
            let checked = self.supervisor.bring(&target, &control);
            self.lock().working = None;
            let (failure, cause, again) = match checked {
                Ok(Checked::GivenUp { failure, cause }) => (failure, cause, failure.rule().again),
                // Another target came, or the end.
                Ok(_) | Err(SupervisorError::Interrupted(Interrupted::Cancelled)) => continue,
                // What keeps the store or the runner from working may pass, and what runs goes on.
                Err(error) => (Failure::ApplyFailed, error.to_string(), Again::Later),
            };
            let is_later = again == Again::Later;
            let again_after_s = is_later.then_some(pause.as_secs());
            device.teller.tell(&Event::Alarm { failure, cause, again_after_s });
            let due = Instant::now().checked_add(jittered(pause));
            given_up = due.filter(|_| is_later).map(|due| (target, due));
            pause = pause.saturating_mul(2).min(longest_pause);
        }
    }

    /// Starts what is current, over and over where that fails, whether or not the server can be asked.
    fn start(&self, control: &Control<'_>) {
        let device = &self.supervisor.device;
        loop {
            self.lock().working = device.store.current().ok().flatten().map(|current| current.id);
            let started = self.supervisor.start(control);
            self.lock().working = None;
            match started {
                Ok(()) | Err(SupervisorError::Interrupted(_)) => return,
                Err(error) => {
                    let (failure, cause) = (Failure::ApplyFailed, error.to_string());
                    let again_after_s = Some(START_AGAIN.as_secs());
                    device.teller.tell(&Event::Alarm { failure, cause, again_after_s });
                }
            }
            // What the server says now may help.
            if control.wait(START_AGAIN).is_err() || self.lock().target.is_some() {
                return;
            }
        }
    }

    /// Waits for a target, or until it is time to begin with the last one again; none once everything ends. Tells whether it is a new one.
    fn next(&self, given_up: &mut Option<(Target, Instant)>) -> Option<(Target, bool)> {
        let mut inbox = self.lock();
        loop {
            if self.is_over() {
                return None;
            }
            // A server that says the same again is no reason to begin sooner.
            inbox.target.take_if(|target| given_up.as_ref().is_some_and(|(known, _)| known == target));
            let again = given_up.take_if(|(_, due)| inbox.target.is_some() || Instant::now() >= *due);
            let new = inbox.target.take().map(|target| (target, true));
            if let Some((target, is_new)) = new.or(again.map(|(target, _)| (target, false))) {
                inbox.working = target.release.map(|Text(release)| release);
                self.is_superseded.store(false, Ordering::Relaxed);
                return Some((target, is_new));
            }
            let left = given_up.as_ref().map(|(_, due)| due.saturating_duration_since(Instant::now()));
            let wait = left.unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(1));
            inbox = self.arrived.wait_timeout(inbox, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Asks the server over and over what the device shall run.
    fn poll(&self) {
        let device = &self.supervisor.device;
        let control = device.until_over();
        let (mut etag, mut wait, mut is_online) = (None::<String>, POLL_AGAIN.0, None);
        let poll = device.options.poll.min(POLL_LONGEST);
        while control.check().is_ok() {
            let begun = Instant::now();
            match device.server().target(etag.as_deref(), poll) {
                Ok(answer) => {
                    if is_online != Some(true) {
                        device.teller.tell(&Event::Online);
                    }
                    (is_online, wait) = (Some(true), POLL_AGAIN.0);
                    if let Some((target, tag)) = answer {
                        etag = tag;
                        self.deliver(target);
                    }
                    // A server that lets nobody wait is not asked all the time.
                    let soonest = poll.min(POLL_SOONEST);
                    if begun.elapsed() < soonest {
                        let _ = control.wait(jittered(soonest));
                    }
                }
                // Broken on purpose.
                Err(_) if self.is_superseded.load(Ordering::Relaxed) && is_online == Some(true) => {
                    let _ = control.wait(TICK);
                }
                Err(Trouble { failure, cause, asked, .. }) => {
                    if is_online != Some(false) {
                        device.teller.tell(&Event::Offline { cause: format!("{failure}: {cause}") });
                    }
                    is_online = Some(false);
                    if control.wait(jittered(wait).max(asked.unwrap_or_default().min(POLL_AGAIN.1))).is_err()
                    {
                        return;
                    }
                    wait = wait.saturating_mul(2).min(POLL_AGAIN.1);
                }
            }
        }
    }

    fn deliver(&self, target: Target) {
        let mut inbox = self.lock();
        let is_other = inbox.working.is_some_and(|working| target.release != Some(Text(working)));
        inbox.target = Some(target);
        if is_other {
            self.is_superseded.store(true, Ordering::Relaxed);
            self.supervisor.device.fetch.interrupt();
        }
        self.arrived.notify_all();
    }

    /// Tells the server what the device is at.
    fn report(&self) {
        let device = &self.supervisor.device;
        let control = device.until_over();
        let mut known = 0;
        let mut wait = POLL_AGAIN.0;
        while let News::Report(report, turn) = device.teller.news(known, device.options.report_every) {
            match device.server().report(&report) {
                Ok(()) => (known, wait) = (turn, POLL_AGAIN.0),
                // Told again, with what is new by then.
                Err(_) => {
                    if control.wait(jittered(wait)).is_err() {
                        return;
                    }
                    (known, wait) = (0, wait.saturating_mul(2).min(POLL_AGAIN.1));
                }
            }
        }
    }

    fn keep(&self) {
        while self.supervisor.device.until_over().wait(LOOK_EVERY).is_ok() {
            self.supervisor.look();
        }
    }

    fn end_when(&self, cancel: &AtomicBool) {
        while !self.is_over() {
            if cancel.load(Ordering::Relaxed) {
                return self.end();
            }
            thread::sleep(TICK);
        }
    }

    fn end(&self) {
        self.supervisor.device.is_over.store(true, Ordering::Relaxed);
        // With the lock held, so that whoever is just about to wait for a target sees it.
        let _inbox = self.lock();
        self.is_superseded.store(true, Ordering::Relaxed);
        self.supervisor.device.fetch.interrupt();
        self.supervisor.device.teller.end();
        self.arrived.notify_all();
    }

    fn is_over(&self) -> bool {
        self.supervisor.device.is_over.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
