use std::io;
use std::path::PathBuf;

use skiff_format::Digest;

use crate::KeyId;

/// Why a delta is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Nobody signed it.
    #[error("delta {delta} is not signed, and a signature is required; ask for one that is")]
    Unsigned {
        /// The delta's header digest.
        delta: Digest,
    },
    /// Only keys that are not required signed it.
    #[error(
        "delta {delta} is signed by {}, and {} is required; see whether the key was replaced",
        list(found, ", ", "nobody in a way that is known here"),
        list(required, " or ", "a key that nobody named")
    )]
    KeyUnknown {
        /// The delta's header digest.
        delta: Digest,
        /// The keys that it says signed it, in a way that is known here.
        found: Vec<KeyId>,
        /// Those of which one has to have.
        required: Vec<KeyId>,
    },
    /// The signature under the name of a required key is not that key's, or not of this delta: one of them was altered.
    #[error(
        "the signature of delta {delta} by key {key} is false: the delta or the signature was altered; fetch it again"
    )]
    WrongSignature {
        /// The delta's header digest.
        delta: Digest,
        /// The key.
        key: KeyId,
    },
}

fn list(keys: &[KeyId], between: &str, none: &str) -> String {
    match keys {
        [] => none.to_owned(),
        keys => keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(between),
    }
}

/// Why a key cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is no key as keys are written here.
    #[error("it is no key: {what}; `skiff keygen` makes some")]
    NotAKey {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A private key stands where the public one is wanted.
    #[error(
        "it is a private key, which is for signing alone; name the public one, and keep this one to yourself"
    )]
    PrivateGiven,
    /// A public key stands where the private one is wanted.
    #[error("it is a public key, and the private one is wanted")]
    PublicGiven,
    /// Others than its owner can read a private key, or put another one in its place.
    #[error(
        "others than its owner may read or write {path:?}, a private key: take that from them (chmod 600), and sign by another key if they have read it"
    )]
    Exposed {
        /// Its file.
        path: PathBuf,
    },
    /// Its file cannot be read or written.
    #[error("{op} {path:?}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What a file holds is no key, or not the one that is wanted.
    #[error("{path:?}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        source: Box<KeyError>,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness: {what}")]
    NoRandomness {
        /// What it said.
        what: String,
    },
}
