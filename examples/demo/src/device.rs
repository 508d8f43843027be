//! A device: a store, and a supervisor over it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::ProgressBar;
use skiff_apply::{Store, StoreOptions};
use skiff_fs::Ownership;
use skiff_protocol::{ServerAddress, Tls, Token};
use skiff_supervisor::{
    Answer, CommandOptions, CommandRunner, Event, Fetch, FetchError, Health, HttpFetch, LocalVariables,
    Options, Output, Parts, Place, Pull, Pulled, Request, Supervisor,
};

use crate::Result;

/// How long anything may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A device that is running.
pub(crate) struct Device {
    pub(crate) name: &'static str,
    events: Receiver<Event>,
    line: Arc<AtomicBool>,
    cancel: Arc<AtomicBool>,
    log: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// How the way to a release ended.
pub(crate) struct Arrival {
    /// Bytes that came over the wire.
    pub(crate) received: u64,
    pub(crate) by_delta: bool,
    /// Why no delta could be used, or the release was rolled back.
    pub(crate) cause: Option<String>,
    pub(crate) is_rolled_back: bool,
}

impl Device {
    pub(crate) fn start(
        name: &'static str,
        (url, token): (&str, &str),
        directory: &Path,
        bar: ProgressBar,
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let log = directory.join("log");
        let line = Arc::new(AtomicBool::new(false));
        let server = ServerAddress::parse(url, Tls::Required)?;
        let http = HttpFetch::new(server, Token::parse(token)?, &Default::default())?;
        let (told, events) = channel();
        let output = Output::File(log.clone());
        let runner = CommandRunner::open(CommandOptions::new(directory.join("run")).with_output(output))?;
        let parts = Parts {
            store: Store::create(directory.join("store"), &StoreOptions::default())?,
            fetch: Box::new(Line { http, is_bad: Arc::clone(&line) }),
            runner: Box::new(runner),
            local: LocalVariables::default(),
            observer: Box::new(move |event| {
                show(&bar, event);
                // Nobody listens any more once the demo is over.
                let _ = told.send(event.clone());
            }),
        };
        let mut options = Options::new(directory.join("state"));
        options.ownership = Ownership::Record;
        options.health = Health::settled_after(Duration::from_millis(300));
        let supervisor = Supervisor::new(parts, options)?;
        let cancel = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&cancel);
        let thread = std::thread::spawn(move || {
            if let Err(error) = supervisor.run(&ends) {
                eprintln!("{name} ended: {error}");
            }
        });
        Ok(Self { name, events, line, cancel, log, thread: Some(thread) })
    }

    /// From now on, deltas are damaged on their way here.
    pub(crate) fn spoil_the_line(&self, is_bad: bool) {
        self.line.store(is_bad, Ordering::Relaxed);
    }

    /// Waits until it runs the next release, or has gone back from it.
    pub(crate) fn arrival(&self) -> Result<Arrival> {
        let mut cause = None;
        loop {
            match self.events.recv_timeout(PATIENCE)? {
                Event::FallBack { failure, cause: told } => cause = Some(format!("{failure}: {told}")),
                Event::Updated { by_delta, received, .. } => {
                    return Ok(Arrival { received, by_delta, cause, is_rolled_back: false });
                }
                Event::RolledBack { cause, .. } => {
                    return Ok(Arrival {
                        received: 0,
                        by_delta: false,
                        cause: Some(cause),
                        is_rolled_back: true,
                    });
                }
                _ => {}
            }
        }
    }

    /// What its program printed last.
    pub(crate) fn said(&self) -> Result<String> {
        let log = std::fs::read_to_string(&self.log)?;
        Ok(log.lines().last().unwrap_or_default().to_owned())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(bar: &ProgressBar, event: &Event) {
    match event {
        Event::Phase { phase, total } => {
            bar.set_message(format!("{phase:?}").to_lowercase());
            bar.set_length(*total);
            bar.set_position(0);
        }
        Event::Progress { done, total, .. } => {
            bar.set_length(*total);
            bar.set_position(*done);
        }
        _ => {}
    }
}

/// The way to the server, by a line on which deltas may be damaged.
#[derive(Debug)]
struct Line {
    http: HttpFetch,
    is_bad: Arc<AtomicBool>,
}

impl Fetch for Line {
    fn exchange(&self, request: &Request<'_>) -> std::result::Result<Answer, FetchError> {
        let mut answer = self.http.exchange(request)?;
        let is_delta = matches!(request.at, Place::Server(path) if path.starts_with("/v1/deltas/"));
        if is_delta && answer.status < 300 && answer.status != 202 && self.is_bad.load(Ordering::Relaxed) {
            answer.body = Box::new(Damaged { body: answer.body, position: 0 });
        }
        Ok(answer)
    }

    fn pull(&self, image: &Pull<'_>) -> std::result::Result<Pulled, FetchError> {
        self.http.pull(image)
    }

    fn interrupt(&self) {
        self.http.interrupt();
    }
}

/// A body one of whose bytes changes on the way.
struct Damaged {
    body: Box<dyn Read + Send>,
    position: usize,
}

impl Read for Damaged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const DAMAGED: usize = 5_000;
        let count = self.body.read(buffer)?;
        if let Some(byte) = DAMAGED.checked_sub(self.position).and_then(|at| buffer[..count].get_mut(at)) {
            *byte ^= 0x10;
        }
        self.position += count;
        Ok(count)
    }
}
