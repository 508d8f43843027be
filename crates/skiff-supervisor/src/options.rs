//! How a supervisor works.

use std::path::PathBuf;
use std::time::Duration;

use skiff_apply::{LinkPolicy, Verification};
use skiff_fs::{Ownership, RootOptions};
use skiff_keys::PublicKey;

/// How a supervisor works. What a server can set beside this is in [`Settings`](skiff_protocol::Settings).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where it keeps what it has to know after a restart, and images while they are pulled.
    pub state: PathBuf,
    /// How that directory is reached, and what every change in it goes through. Default: the real disk.
    pub root: RootOptions,
    /// Whether owners and devices are applied, which takes root, or only recorded. Default: they are applied.
    pub ownership: Ownership,
    /// How a release comes by files that the one before it has. Default: blocks are shared where the file system can, else they are
    /// copied.
    pub links: LinkPolicy,
    /// What is read back from the disk before a release is swapped in. Default: everything.
    pub verification: Verification,
    /// Who has to have signed what is brought; nothing that a server sends changes it. Default: nobody.
    pub signers: Option<Signers>,
    /// The most memory that decoding a delta may take, as its header declares it, in bytes. Default: 64 MiB, which leaves deltas as
    /// small as they get; what is declared is a bound, and a third more than is taken.
    pub decoder_memory: u64,
    /// When a release is healthy.
    pub health: Health,
    /// How many starts a release may take before it is healthy; the next one rolls it back. Each start of the supervisor counts, whatever
    /// ended the one before. Default 3.
    pub trial_starts: u32,
    /// How long a program may take to end when it is asked to. Default: 10 s.
    pub stop_grace: Duration,
    /// A file that whoever must not be restarted holds locked (`flock`): the restart waits for it, the download does not. Default: none.
    pub update_lock: Option<PathBuf>,
    /// What becomes of the program when the supervisor ends. Default: it is stopped.
    pub on_exit: OnExit,
    /// How long a delta is waited for that the server is making. Default: an hour.
    pub patience: Duration,
    /// How long after an update was given up it is begun again: the first pause, and the longest, to which it is doubled. Default:
    /// 1 min, 6 h.
    pub pause: (Duration, Duration),
    /// How long the server may let a question for changes wait, a day at most. Default: 5 min.
    pub poll: Duration,
    /// How often progress is told to the server. Default: every 10 s.
    pub report_every: Duration,
}

/// When a release is healthy: once it ran for a time without ending, and a command, if there is one, ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How long it has to run. Default: 10 s.
    pub settle: Duration,
    /// What is run where the program is, until it ends well. Default: nothing.
    pub command: Option<Vec<String>>,
    /// How long the command may take. Default: 10 s.
    pub command_within: Duration,
    /// How long it may take to get healthy. Default: 2 min.
    pub within: Duration,
}

/// Who has to have signed what is brought.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Signers {
    /// The keys, one of which has to have signed a delta.
    pub keys: Vec<PublicKey>,
    /// What is done of images that are pulled whole, which nobody signs. Default: only a release that a signed delta led to is taken.
    pub pulls: UnsignedPulls,
}

impl Signers {
    /// These keys. Where there are none, nothing is brought.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys, pulls: UnsignedPulls::default() }
    }

    /// Has images pulled whole as if there were no signers: a delta that is not signed is no way into the device then, but whoever
    /// can speak for the server has another one.
    #[must_use]
    pub fn with_unsigned_pulls(self) -> Self {
        Self { pulls: UnsignedPulls::Allowed, ..self }
    }
}

/// What is done of images that are pulled whole where signatures are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnsignedPulls {
    /// They are pulled where a signed delta to the same release came before in the same update, and failed on the device.
    #[default]
    Refused,
    /// They are pulled as ever.
    Allowed,
}

/// What becomes of the program when the supervisor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExit {
    /// It is stopped.
    #[default]
    Stop,
    /// It runs on, and the next supervisor finds it running.
    LeaveRunning,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            command: None,
            command_within: Duration::from_secs(10),
            within: Duration::from_secs(120),
        }
    }
}

impl Health {
    /// Healthy once it ran for so long.
    #[must_use]
    pub fn settled_after(settle: Duration) -> Self {
        Self { settle, ..Self::default() }
    }

    /// And once this command ends well.
    #[must_use]
    pub fn with_command(self, command: Vec<String>) -> Self {
        Self { command: Some(command), ..self }
    }

    /// All of it within this time.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }
}

impl Options {
    /// The defaults, with a directory for the state.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            root: RootOptions::default(),
            ownership: Ownership::Apply,
            links: LinkPolicy::default(),
            verification: Verification::default(),
            signers: None,
            decoder_memory: 64 << 20,
            health: Health::default(),
            trial_starts: 3,
            stop_grace: Duration::from_secs(10),
            update_lock: None,
            on_exit: OnExit::default(),
            patience: Duration::from_secs(3600),
            pause: (Duration::from_secs(60), Duration::from_secs(6 * 3600)),
            poll: Duration::from_secs(300),
            report_every: Duration::from_secs(10),
        }
    }
}
