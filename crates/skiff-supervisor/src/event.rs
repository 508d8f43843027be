//! What a supervisor tells of itself.

use serde::Serialize;
use skiff_protocol::{Phase, Text};
use skiff_tree::ReleaseId;

use crate::policy::Failure;

/// Something that happened. As JSON, one object a line, these are a stable form: fields and kinds are added, and none is taken away.
///
/// ```
/// # use skiff_supervisor::Event;
/// # use skiff_tree::ReleaseId;
/// let line = serde_json::to_string(&Event::Started { release: ReleaseId::of(b"one").into() })?;
/// assert!(line.starts_with(r#"{"event":"started","release":"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The server can be asked again, or for the first time.
    Online,
    /// The server cannot be asked; what runs goes on.
    Offline {
        /// Why.
        cause: String,
    },
    /// A variable has a value that it cannot have: its default counts.
    WrongValue {
        /// The variable.
        name: String,
        /// The value.
        value: String,
        /// What it takes.
        takes: String,
    },
    /// What the store found at the start: something was put right, or cannot be.
    Recovered {
        /// What, in words.
        what: String,
    },
    /// The server names another release than the one that runs.
    Target {
        /// The release.
        release: Text<ReleaseId>,
    },
    /// A phase of the update begins.
    Phase {
        /// Which.
        phase: Phase,
        /// How many bytes it has; 0 where that is not known.
        total: u64,
    },
    /// The update got further. Ten a second at most.
    Progress {
        /// Of which phase.
        phase: Phase,
        /// Bytes that are done.
        done: u64,
        /// Bytes in all; 0 where that is not known.
        total: u64,
    },
    /// The download goes on from a byte, at which an earlier one was cut off.
    Resumed {
        /// Which.
        offset: u64,
    },
    /// The delta is tried again.
    Retry {
        /// Why.
        failure: Failure,
        /// What was said.
        cause: String,
        /// Which try without getting further it is.
        attempt: u32,
        /// After how long, in milliseconds.
        wait_ms: u64,
    },
    /// No delta can be had, and the whole image is pulled.
    FallBack {
        /// Why.
        failure: Failure,
        /// What was said.
        cause: String,
    },
    /// The update was given up, or something else is to be looked at by a person.
    Alarm {
        /// Why.
        failure: Failure,
        /// What was said.
        cause: String,
        /// After how long it is begun again, in seconds; none where only another release is.
        again_after_s: Option<u64>,
    },
    /// The release is there, and the update lock holds the restart.
    Held {
        /// The release.
        release: Text<ReleaseId>,
    },
    /// A release was started.
    Started {
        /// Which.
        release: Text<ReleaseId>,
    },
    /// A release's program ended by itself, and is started again.
    Ended {
        /// Which.
        release: Text<ReleaseId>,
        /// How.
        how: String,
        /// After how long it is started again, in milliseconds.
        wait_ms: u64,
    },
    /// The release got healthy, and stays.
    Updated {
        /// Which.
        release: Text<ReleaseId>,
        /// Whether a delta led to it; else the image was pulled.
        by_delta: bool,
        /// Bytes that came over the wire for it.
        received: u64,
    },
    /// A release did not get healthy, or lost power on trial: the one before it runs.
    RolledBack {
        /// From which.
        from: Text<ReleaseId>,
        /// To which.
        to: Text<ReleaseId>,
        /// Why.
        cause: String,
    },
}
