//! A delta, read while it comes.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use skiff_apply::DeltaSource;
use skiff_fs::{Control, Interrupted};
use skiff_protocol::{Pending, Phase, Settings};

use crate::policy::{Attempts, Failure};
use crate::server::{Delta, Opened, Part, Server, Trouble};
use crate::tell::Teller;
use crate::{Event, SupervisorError};

/// How much of a delta is received in vain to go on with it where the server knows no ranges; beyond that it begins anew, a few times.
const SKIPPED_MAX: u64 = 1 << 20;

/// Why something did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was ended from outside.
    Interrupted(Interrupted),
    /// It failed.
    Trouble(Box<Trouble>),
}

impl From<Interrupted> for Stop {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(Box::new(trouble))
    }
}

impl From<SupervisorError> for Stop {
    /// What the device's own state cannot take is the disk's fault.
    fn from(error: SupervisorError) -> Self {
        Trouble::new(Failure::ApplyFailed, error).into()
    }
}

/// With what something is tried again.
#[derive(Clone, Copy)]
pub(crate) struct Trying<'a> {
    pub(crate) control: Control<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) teller: &'a Teller,
    /// Until when a delta is waited for that is being made; none for ever so long.
    pub(crate) patient_until: Option<Instant>,
}

impl Trying<'_> {
    /// Waits for the time to try again.
    ///
    /// # Errors
    /// The trouble, where it is not tried again.
    pub(crate) fn again(&self, attempts: &mut Attempts, trouble: Trouble) -> Result<(), Stop> {
        // Whoever ended it broke its connections as well.
        self.control.check()?;
        if trouble.exhausted {
            return Err(trouble.into());
        }
        let (failure, cause) = (trouble.failure, trouble.cause.clone());
        let is_waiting = failure == Failure::StillComputing;
        if is_waiting && self.patient_until.is_some_and(|until| Instant::now() >= until) {
            return Err(trouble.into());
        }
        let Some((wait, attempt)) = attempts.again(failure, self.settings, trouble.asked) else {
            return Err(trouble.into());
        };
        if !is_waiting {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.teller.tell(&Event::Retry { failure, cause, attempt, wait_ms });
        }
        Ok(self.control.wait(wait)?)
    }
}

/// A delta on the server, which is opened again where its connection breaks.
pub(crate) struct Download<'a> {
    server: Server<'a>,
    trying: Trying<'a>,
    /// What is asked for: [`DeltaRequest::path`](skiff_protocol::DeltaRequest::path).
    path: String,
    attempts: Attempts,
    /// How long the header is, where an earlier attempt left something to go on with: more than that is not asked for at first.
    header_bytes: Option<u64>,
    opened: Option<Opened>,
    etag: Option<String>,
    size: u64,
    /// Bytes that came.
    received: u64,
    /// The furthest byte that came, in this attempt or before it.
    furthest: u64,
    /// Why it cannot be read further.
    stop: Option<Stop>,
}

impl<'a> Download<'a> {
    pub(crate) fn new(
        server: Server<'a>,
        trying: Trying<'a>,
        path: String,
        header_bytes: Option<u64>,
    ) -> Self {
        Self {
            server,
            trying,
            path,
            attempts: Attempts::default(),
            header_bytes,
            opened: None,
            etag: None,
            size: 0,
            received: 0,
            furthest: header_bytes.unwrap_or(0),
            stop: None,
        }
    }

    /// Asks for the delta until its first byte can be read.
    pub(crate) fn prepare(&mut self) -> Result<(), Stop> {
        self.trying.teller.phase(Phase::Requesting, 0);
        self.connect(0)
    }

    /// Bytes that came over the wire.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Why reading ended, where it did.
    pub(crate) fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    /// Opens the delta at a byte, however often that takes.
    fn connect(&mut self, start: u64) -> Result<(), Stop> {
        let mut seen: Option<Pending> = None;
        loop {
            self.trying.control.check()?;
            let end = self.header_bytes.filter(|&end| start < end);
            let part = Part { start, end, etag: self.etag.as_deref() };
            match self.server.delta(&self.path, part) {
                Ok(Delta::Ready(mut opened)) => match self.skip(&mut opened, start) {
                    Ok(()) => {
                        self.etag.clone_from(&opened.etag);
                        self.size = opened.size;
                        self.trying.teller.phase(Phase::Downloading, opened.size);
                        self.trying.teller.reached(start);
                        self.opened = Some(opened);
                        return Ok(());
                    }
                    Err(Stop::Trouble(trouble)) if trouble.failure == Failure::Stalled => {
                        self.trying.again(&mut self.attempts, *trouble)?;
                    }
                    Err(stop) => return Err(stop),
                },
                Ok(Delta::Pending(pending, asked)) => {
                    self.trying.teller.phase(Phase::Waiting, pending.total);
                    self.trying.teller.reached(pending.done);
                    if seen.as_ref() != Some(&pending) {
                        self.attempts.progressed();
                    }
                    let cause = format!("the server is still at it: {:?}", pending.stage);
                    let trouble = Trouble { asked, ..Trouble::new(Failure::StillComputing, cause) };
                    seen = Some(pending);
                    self.trying.again(&mut self.attempts, trouble)?;
                }
                // Nothing that is here is of use: another one begins at the first byte.
                Err(trouble) if trouble.failure == Failure::Changed => return Err(trouble.into()),
                Err(trouble) => self.trying.again(&mut self.attempts, trouble)?,
            }
        }
    }

    /// Goes to a byte of what a server sends that knows no ranges, where that is not far.
    fn skip(&mut self, opened: &mut Opened, start: u64) -> Result<(), Stop> {
        let ahead = start.saturating_sub(opened.start);
        if ahead > SKIPPED_MAX {
            return Err(Trouble::new(
                Failure::Changed,
                "the server sends the delta from its first byte again",
            )
            .into());
        }
        let mut body = opened.answer.body.by_ref().take(ahead);
        let skipped =
            io::copy(&mut body, &mut io::sink()).map_err(|error| Trouble::new(Failure::Stalled, error))?;
        self.received += skipped;
        opened.start = start;
        if skipped < ahead {
            return Err(Trouble::new(
                Failure::Stalled,
                "the connection ended before the byte that is wanted",
            )
            .into());
        }
        Ok(())
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<usize, Stop> {
        loop {
            self.trying.control.check()?;
            // The size is known once it was opened.
            if self.size > 0 && position >= self.size {
                return Ok(0);
            }
            let Some(opened) = self.opened.as_mut() else {
                self.connect(position)?;
                continue;
            };
            match opened.answer.body.read(buffer) {
                Ok(0) if buffer.is_empty() => return Ok(0),
                Ok(0) => {
                    self.opened = None;
                    // Of the header alone this is the end; the rest is asked for by whoever reads on.
                    if self.header_bytes.take_if(|end| position >= *end).is_none() {
                        let trouble = Trouble::new(Failure::Stalled, "the connection ended before the delta");
                        self.trying.again(&mut self.attempts, trouble)?;
                    }
                }
                Ok(count) => {
                    let left = self.size - position;
                    let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.received += count as u64;
                    let reached = position + count as u64;
                    if reached > self.furthest {
                        self.furthest = reached;
                        self.attempts.progressed();
                    }
                    self.trying.teller.reached(reached);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.opened = None;
                    self.trying.again(&mut self.attempts, Trouble::new(Failure::Stalled, error))?;
                }
            }
        }
    }
}

impl DeltaSource for Download<'_> {
    fn open_at(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        if self.opened.as_ref().is_none_or(|opened| opened.start != offset) {
            self.opened = None;
        }
        if offset > 0 {
            self.header_bytes = None;
            self.furthest = self.furthest.max(offset);
            self.trying.teller.tell(&Event::Resumed { offset });
        }
        Ok(Box::new(Reader { download: self, position: offset }))
    }
}

struct Reader<'r, 'a> {
    download: &'r mut Download<'a>,
    position: u64,
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.download.read_at(self.position, buffer) {
            Ok(count) => {
                self.position += count as u64;
                if let Some(opened) = &mut self.download.opened {
                    opened.start = self.position;
                }
                Ok(count)
            }
            Err(stop) => {
                let message = match &stop {
                    Stop::Interrupted(interrupted) => interrupted.to_string(),
                    Stop::Trouble(trouble) => trouble.cause.clone(),
                };
                self.download.stop = Some(stop);
                Err(io::Error::other(message))
            }
        }
    }
}

/// The longest that a device waits for what the server makes.
pub(crate) fn patient_until(patience: Duration) -> Option<Instant> {
    Instant::now().checked_add(patience)
}
