//! What goes wrong.

use std::io;
use std::path::PathBuf;

use skiff_diff::DiffError;
use skiff_fs::FsError;
use skiff_image::ImageError;
use skiff_protocol::{Problem, ProblemCode};
use skiff_registry::RegistryError;
use skiff_signature::SignatureError;

/// Why a server cannot start, or one of its parts failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Its state cannot be read or written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Images and deltas cannot be read or written.
    #[error("images and deltas: {0}")]
    Objects(#[from] object_store::Error),
    /// A file cannot be read or written.
    #[error("{op} {}: {source}", path.display())]
    Io {
        /// What was done.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another server works on the same data.
    #[error("another server works in {}: there may be one at a time", data.display())]
    Busy {
        /// The data.
        data: PathBuf,
    },
    /// The options contradict each other or name what is not there.
    #[error("{0}")]
    Options(String),
    /// What is kept is not as it was noted, or gone.
    #[error("{name}: {what}")]
    Broken {
        /// What it is called where images and deltas are kept.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Fs(FsError),
    /// Something failed that no request, image or option explains: a source of randomness, or the server itself.
    #[error("{0}")]
    Internal(String),
    /// An image cannot be read.
    #[error(transparent)]
    Image(ImageError),
    /// An image cannot be fetched.
    #[error(transparent)]
    Registry(RegistryError),
    /// A signature cannot be read.
    #[error(transparent)]
    Signature(SignatureError),
    /// A delta cannot be made.
    #[error(transparent)]
    Diff(DiffError),
    /// What was asked is refused.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// It was ended before it was done.
    #[error("the server is going down")]
    GoingDown,
}

/// Why a [`Database`](crate::Database) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// It cannot be read or written.
    #[error("the database: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It has no space left.
    #[error("the database has no space left: {0}")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A record is not what this version writes.
    #[error("the database: {table}/{key} cannot be read: {source}")]
    Record {
        /// The record's table.
        table: &'static str,
        /// Its key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// It was written by a later version.
    #[error(
        "the database is of version {found}, and this program knows {known} and before: it takes a later program"
    )]
    TooNew {
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
}

/// Declares what errors of other crates become: those that say that the server ended what was done say nothing of an image or a delta,
/// and nothing of them may be noted as a fault of these.
macro_rules! from {
    ($($error:ty = $variant:ident unless $ended:pat,)*) => {$(
        impl From<$error> for ServerError {
            fn from(error: $error) -> Self {
                match error {
                    $ended => Self::GoingDown,
                    error => Self::$variant(error),
                }
            }
        }
    )*};
}

from! {
    ImageError = Image unless ImageError::Interrupted(_) | ImageError::Fs(FsError::Interrupted(_)),
    SignatureError = Signature unless SignatureError::Interrupted(_),
    DiffError = Diff unless DiffError::Interrupted(_),
}

impl From<RegistryError> for ServerError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Interrupted(_) => Self::GoingDown,
            RegistryError::Image { source, place } => match Self::from(*source) {
                Self::Image(source) => Self::Registry(RegistryError::Image { place, source: source.into() }),
                other => other,
            },
            error => Self::Registry(error),
        }
    }
}

impl ServerError {
    pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { op, path: path.into(), source }
    }

    pub(crate) fn broken(name: &str, what: impl Into<String>) -> Self {
        Self::Broken { name: name.into(), what: what.into() }
    }

    /// Whether there is no space left, whatever was to be written.
    fn is_for_lack_of_space(&self) -> bool {
        if matches!(self, Self::Database(DatabaseError::Full(_))) {
            return true;
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let kind = error.downcast_ref().map(io::Error::kind);
            if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// What is told to whoever asked. What is the server's own fault is told to its log alone, because it may name what is not
    /// for everyone.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            error if error.is_for_lack_of_space() => {
                Problem::new(ProblemCode::NoSpace, "nothing was changed")
            }
            Self::Refused(problem) => problem.clone(),
            Self::Image(error) => Problem::new(ProblemCode::Unprocessable, error.to_string()),
            Self::Registry(error) => Problem::new(ProblemCode::Unprocessable, error.to_string()),
            Self::Signature(error) => Problem::new(ProblemCode::Unprocessable, error.to_string()),
            Self::GoingDown => Problem::new(ProblemCode::Busy, self.to_string()),
            _ => Problem::new(ProblemCode::Internal, "it is not the request's fault"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_fs::Interrupted;

    #[test]
    fn what_the_server_ended_is_no_fault_of_what_it_was_done_to() {
        let ended = || Interrupted::Cancelled;
        let registry = |source| RegistryError::Image { place: "app".into(), source: Box::new(source) };
        for error in [
            ServerError::from(ImageError::Interrupted(ended())),
            ServerError::from(ImageError::Fs(FsError::Interrupted(ended()))),
            ServerError::from(SignatureError::Interrupted(ended())),
            ServerError::from(DiffError::Interrupted(ended())),
            ServerError::from(RegistryError::Interrupted(ended())),
            ServerError::from(registry(ImageError::Interrupted(ended()))),
        ] {
            assert!(matches!(error, ServerError::GoingDown), "{error:?}");
            assert_eq!(error.problem().status, 503);
        }
        let reference = "app".parse::<skiff_image::ImageRef>().unwrap_err();
        let other = ServerError::from(registry(reference));
        assert!(matches!(other, ServerError::Registry(RegistryError::Image { .. })), "{other:?}");
        assert_eq!(other.problem().status, 422);
    }

    #[test]
    fn a_full_disk_is_told_as_one_whatever_met_it() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = || PathBuf::from("blob");
        let object = object_store::Error::Generic { store: "a store", source: Box::new(full()) };
        for error in [
            ServerError::io("writing", "blob")(full()),
            ServerError::from(ImageError::Io { op: "writing", path: path(), source: full() }),
            ServerError::from(RegistryError::Io { op: "writing", path: path(), source: full() }),
            ServerError::from(object),
            ServerError::from(DatabaseError::Full("it is full".into())),
        ] {
            assert_eq!(error.problem().code, ProblemCode::NoSpace, "{error:?}");
        }
        let other = ServerError::io("writing", "blob")(io::ErrorKind::PermissionDenied.into());
        assert_eq!(other.problem().code, ProblemCode::Internal);
    }
}
