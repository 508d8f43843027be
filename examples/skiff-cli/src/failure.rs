//! Errors as a command tells them: a line on standard error, and an exit code.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use skiff::Error;
use skiff::apply::{ApplyError, ErrorClass};
use skiff::block::BlockError;
use skiff::diff::DiffError;
use skiff::format::FormatError;
use skiff::fs::FsError;
use skiff::image::ImageError;
use skiff::keys::KeyError;
use skiff::registry::RegistryError;
use skiff::signature::SignatureError;

/// Why a command failed. The codes are part of the command's interface: `skiff --help` lists them.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    /// Whether the command's report has told of it already.
    is_reported: bool,
}

impl Failure {
    pub(crate) const DEFECT: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const WRONG_RELEASE: u8 = 3;
    const CORRUPT: u8 = 4;
    const NO_SPACE: u8 = 5;
    pub(crate) const IO: u8 = 6;
    pub(crate) const DAMAGED: u8 = 7;
    const BUSY: u8 = 8;
    pub(crate) const CANCELLED: u8 = 9;
    const UNTRUSTED: u8 = 10;

    pub(crate) fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), is_reported: false }
    }

    /// What the report that was printed tells too.
    pub(crate) fn reported(mut self) -> Self {
        self.is_reported = true;
        self
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.is_reported
    }

    /// The report cannot be written: it is lost, and nothing else.
    pub(crate) fn unreported(error: &io::Error) -> Self {
        let message = format!("what was asked for is done, but the report of it cannot be written: {error}");
        Self { is_reported: true, ..Self::new(Self::IO, message) }
    }

    /// The command was ended by a signal, whatever else it says of that.
    pub(crate) fn cancelled() -> Self {
        Self::new(Self::CANCELLED, "cancelled; run it again: it goes on from the last checkpoint")
    }

    /// The same, told of a file.
    pub(crate) fn of_file(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Self::USAGE, message)
    }

    pub(crate) fn corrupt(message: impl fmt::Display) -> Self {
        Self::new(Self::CORRUPT, message)
    }

    /// Something that failed with a file. One that is not there is a mistake on the command line.
    pub(crate) fn io(op: &str, path: &Path, error: io::Error) -> Self {
        Self::new(of_io(&error), format!("{op} {}: {error}", path.display()))
    }

    /// The code to end the process with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// What tells the failure to programs.
    pub(crate) fn as_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": self.message, "exit_code": self.code })
    }
}

fn of_class(class: ErrorClass) -> u8 {
    match class {
        ErrorClass::Usage => Failure::USAGE,
        ErrorClass::WrongRelease => Failure::WRONG_RELEASE,
        ErrorClass::Untrusted => Failure::UNTRUSTED,
        ErrorClass::CorruptInput | ErrorClass::Unsupported => Failure::CORRUPT,
        ErrorClass::NoSpace => Failure::NO_SPACE,
        ErrorClass::Io => Failure::IO,
        ErrorClass::Damaged => Failure::DAMAGED,
        ErrorClass::Busy => Failure::BUSY,
        ErrorClass::Interrupted => Failure::CANCELLED,
        // A class that this command does not know yet.
        _ => Failure::DEFECT,
    }
}

fn of_io(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::NotSeekable
        | io::ErrorKind::PermissionDenied => Failure::USAGE,
        // Ours, of what is there and no file; the system's stands for too many things.
        io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => Failure::USAGE,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::NO_SPACE,
        _ => Failure::IO,
    }
}

fn of_image(error: &ImageError) -> u8 {
    match error {
        ImageError::Reference { .. } | ImageError::Platform { .. } | ImageError::NotFound { .. } => {
            Failure::USAGE
        }
        ImageError::Io { source, .. } => of_io(source),
        ImageError::Fs(error) => of_fs(error),
        ImageError::Interrupted(_) => Failure::CANCELLED,
        _ => Failure::CORRUPT,
    }
}

fn of_registry(error: &RegistryError) -> u8 {
    use skiff::registry::ErrorClass;

    match error.class() {
        // What may not be read is as good as not there.
        ErrorClass::Usage | ErrorClass::Unauthorized => Failure::USAGE,
        ErrorClass::WrongRelease => Failure::WRONG_RELEASE,
        ErrorClass::CorruptInput => Failure::CORRUPT,
        ErrorClass::NoSpace => Failure::NO_SPACE,
        ErrorClass::Unavailable => Failure::IO,
        ErrorClass::Io => match error {
            RegistryError::Io { source, .. } => of_io(source),
            _ => Failure::IO,
        },
        ErrorClass::Interrupted => Failure::CANCELLED,
        _ => Failure::DEFECT,
    }
}

fn of_fs(error: &FsError) -> u8 {
    match error {
        FsError::Io { source, .. } => of_io(source),
        FsError::Refused { .. } => Failure::USAGE,
        FsError::Locked { .. } => Failure::BUSY,
        FsError::Interrupted(_) => Failure::CANCELLED,
        FsError::WrongContent { .. } => Failure::DAMAGED,
        _ => Failure::CORRUPT,
    }
}

fn of_format(error: &FormatError) -> u8 {
    match error {
        FormatError::Io { source, .. } => of_io(source),
        _ => Failure::CORRUPT,
    }
}

fn of_signature(error: &SignatureError) -> u8 {
    match error {
        SignatureError::Read { source, .. } | SignatureError::Io { source, .. } => of_io(source),
        SignatureError::Changed { .. } => Failure::DAMAGED,
        SignatureError::Interrupted(_) => Failure::CANCELLED,
        _ => Failure::CORRUPT,
    }
}

fn of_key(error: &KeyError) -> u8 {
    match error {
        KeyError::Io { source, .. } => of_io(source),
        KeyError::NoRandomness { .. } => Failure::IO,
        // Whoever names a file that is no key has named the wrong one.
        _ => Failure::USAGE,
    }
}

fn of_diff(error: &DiffError) -> u8 {
    match error {
        DiffError::Read { source, .. } | DiffError::Io { source, .. } => of_io(source),
        DiffError::Format(error) => of_format(error),
        DiffError::Changed { .. } => Failure::DAMAGED,
        DiffError::DecoderMemory { .. } => Failure::USAGE,
        DiffError::TooLarge(_) | DiffError::Signature(_) | DiffError::Block(_) => Failure::CORRUPT,
        DiffError::Interrupted(_) => Failure::CANCELLED,
        _ => Failure::DEFECT,
    }
}

fn of_block(error: &BlockError) -> u8 {
    match error {
        BlockError::Parameter(_) => Failure::USAGE,
        BlockError::WrongBase { .. } | BlockError::WrongOld { .. } => Failure::WRONG_RELEASE,
        BlockError::Io { source, .. } => of_io(source),
        _ => Failure::CORRUPT,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let code = match &error {
            Error::Image(error) => of_image(error),
            Error::Registry(error) => of_registry(error),
            Error::Diff(error) => of_diff(error),
            Error::Signature(error) => of_signature(error),
            Error::Apply(ApplyError::Io { source, .. } | ApplyError::Delta { source }) => of_io(source),
            Error::Apply(error) => of_class(error.class()),
            Error::Block(error) => of_block(error),
            Error::Trust(_) => Self::UNTRUSTED,
            Error::Key(error) => of_key(error),
            Error::Format(error) => of_format(error),
            Error::Fs(error) => of_fs(error),
            _ => Self::DEFECT,
        };
        Self::new(code, error)
    }
}
