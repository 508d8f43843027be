//! What goes on at once while a supervisor runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use skiff_fs::{Control, Interrupted};
use skiff_protocol::{Report, Target, Text};
use skiff_tree::ReleaseId;

use crate::policy::{Again, jittered};
use crate::server::{Server, Trouble};
use crate::supervisor::{Checked, Supervisor};
use crate::tell::News;
use crate::{Event, SupervisorError};

/// How often it is looked whether everything shall end.
const TICK: Duration = Duration::from_millis(100);
/// How often it is looked whether the program runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long after a server could not be asked it is asked again: first, and at most.
const POLL_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));

/// What the threads share.
struct Work<'a> {
    supervisor: &'a Supervisor,
    /// Everything ends.
    is_over: AtomicBool,
    /// The update that goes on ends.
    is_superseded: AtomicBool,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inbox {
    /// What the server said last, until it is seen to.
    target: Option<Target>,
    /// What is worked towards.
    working: Option<ReleaseId>,
}

pub(crate) fn run(supervisor: &Supervisor, cancel: &AtomicBool) -> Result<(), SupervisorError> {
    let work = Work {
        supervisor,
        is_over: AtomicBool::new(false),
        is_superseded: AtomicBool::new(false),
        inbox: Mutex::default(),
        arrived: Condvar::new(),
    };
    thread::scope(|scope| {
        scope.spawn(|| work.end_when(cancel));
        scope.spawn(|| work.keep());
        scope.spawn(|| work.report());
        scope.spawn(|| work.poll());
        let result = work.work();
        work.end();
        match result {
            Ok(()) | Err(SupervisorError::Interrupted(_)) => supervisor.finish(),
            Err(error) => Err(error),
        }
    })
}

impl Work<'_> {
    /// Brings what the server names, one after the other.
    fn work(&self) -> Result<(), SupervisorError> {
        let device = &self.supervisor.device;
        let control = Control { cancel: Some(&self.is_superseded), ..Control::default() };
        self.supervisor.start(&control)?;
        let (first_pause, longest_pause) = device.options.pause;
        let mut pause = first_pause;
        let mut given_up: Option<(Target, Instant)> = None;
        while let Some((target, is_new)) = self.next(&mut given_up) {
            if is_new {
                pause = first_pause;
            }
            let checked = self.supervisor.bring(&target, &control);
            self.lock().working = None;
            match checked {
                Ok(Checked::GivenUp { failure, cause }) => {
                    let is_later = failure.rule().again == Again::Later;
                    let again_after_s = is_later.then_some(pause.as_secs());
                    device.teller.tell(&Event::Alarm { failure, cause, again_after_s });
                    let due = Instant::now().checked_add(jittered(pause));
                    given_up = due.filter(|_| is_later).map(|due| (target, due));
                    pause = pause.saturating_mul(2).min(longest_pause);
                }
                Ok(_) => {}
                // Another target came, or the end.
                Err(SupervisorError::Interrupted(Interrupted::Cancelled)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for a target, or until it is time to begin with the last one again; none once everything ends. Tells whether it is a new one.
    fn next(&self, given_up: &mut Option<(Target, Instant)>) -> Option<(Target, bool)> {
        let mut inbox = self.lock();
        loop {
            if self.is_over.load(Ordering::Relaxed) {
                return None;
            }
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
        let control = self.control();
        let (mut etag, mut wait, mut is_online) = (None::<String>, POLL_AGAIN.0, None);
        while control.check().is_ok() {
            match self.server().target(etag.as_deref(), device.options.poll) {
                Ok(answer) => {
                    if is_online != Some(true) {
                        device.teller.tell(&Event::Online);
                    }
                    (is_online, wait) = (Some(true), POLL_AGAIN.0);
                    if let Some((target, tag)) = answer {
                        etag = tag;
                        self.deliver(target);
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
        let control = self.control();
        let mut known = 0;
        let mut wait = POLL_AGAIN.0;
        while let News::Report(report, turn) = device.teller.news(known, device.options.report_every) {
            match self.send(&report) {
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

    fn send(&self, report: &Report) -> Result<(), Trouble> {
        self.server().report(report)
    }

    fn keep(&self) {
        while self.control().wait(LOOK_EVERY).is_ok() {
            self.supervisor.look();
        }
    }

    fn end_when(&self, cancel: &AtomicBool) {
        while !self.is_over.load(Ordering::Relaxed) {
            if cancel.load(Ordering::Relaxed) {
                return self.end();
            }
            thread::sleep(TICK);
        }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        // With the lock held, so that whoever is just about to wait for a target sees it.
        let _inbox = self.lock();
        self.is_superseded.store(true, Ordering::Relaxed);
        self.supervisor.device.fetch.interrupt();
        self.supervisor.device.teller.end();
        self.arrived.notify_all();
    }

    fn server(&self) -> Server<'_> {
        let device = &self.supervisor.device;
        Server { fetch: &*device.fetch, answer_within: device.settings().0.request_timeout }
    }

    fn control(&self) -> Control<'_> {
        Control { cancel: Some(&self.is_over), ..Control::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
