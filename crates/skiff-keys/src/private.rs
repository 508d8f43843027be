use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey};
use skiff_format::{DetachedSignature, Digest, FormatError, Header, Limits, Signatures, replace_signatures};
use zeroize::Zeroizing;

use crate::public::message;
use crate::text::{self, PRIVATE};
use crate::{KeyError, PublicKey};

/// A key that signs. It is wiped from memory when it goes. As text it is one line, `skiff-private-key ed25519 HEX COMMENT`, where HEX is
/// the seed of RFC 8032.
#[derive(Clone)]
pub struct PrivateKey {
    key: SigningKey,
    public: PublicKey,
}

/// The files of a key that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The private key's, which its owner alone may read.
    pub private: PathBuf,
    /// The public key's: the same name, and `.pub` behind it.
    pub public: PathBuf,
}

impl PrivateKey {
    /// Makes one, of the system's randomness.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`]; [`KeyError::NotAKey`] where the comment is more than a line, or than 200 bytes.
    pub fn generate(comment: &str) -> Result<Self, KeyError> {
        if comment.len() > 200 || comment.contains(|character: char| character.is_control()) {
            return Err(KeyError::NotAKey {
                what: "a comment is one line of plain text, of 200 bytes at most",
            });
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| KeyError::NoRandomness { what: error.to_string() })?;
        Ok(Self::new(&seed, comment))
    }

    /// What others know it by.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Its signature of a delta with this header digest. The same delta gets the same signature each time.
    #[must_use]
    pub fn signature(&self, delta: &Digest) -> DetachedSignature {
        DetachedSignature {
            algorithm: DetachedSignature::ED25519,
            key: Digest::from_bytes(*self.public.id().as_bytes()),
            bytes: self.key.sign(&message(delta)).to_bytes().to_vec(),
        }
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// [`KeyError::Io`]; [`KeyError::Exposed`] where others than its owner may read or write it; [`KeyError::File`] where it holds anything
    /// else.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let failed = |source| KeyError::Io { op: "looking at", path: path.into(), source };
        let is_exposed = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0;
        let bytes = Zeroizing::new(text::read(path)?);
        // What is no private key is told as that first.
        match text::in_file(path, &bytes, str::parse)? {
            _ if is_exposed => Err(KeyError::Exposed { path: path.into() }),
            key => Ok(key),
        }
    }

    /// Writes it to a new file that its owner alone may read, and its public key to a new one beside it. Nothing is replaced.
    ///
    /// # Errors
    /// [`KeyError::Io`]; then neither is there that was not there before.
    pub fn write_new(&self, path: impl AsRef<Path>) -> Result<KeyPair, KeyError> {
        let private = path.as_ref().to_owned();
        let mut name = private.clone().into_os_string();
        name.push(".pub");
        let public = PathBuf::from(name);
        let line = Zeroizing::new(text::write(PRIVATE, self.key.as_bytes(), self.public.comment()));
        create(&private, 0o600, line.as_bytes())?;
        if let Err(error) = create(&public, 0o644, format!("{}\n", self.public).as_bytes()) {
            // The first error is the one to tell: a key that stays was made just now and is nobody's.
            let _ = std::fs::remove_file(&private);
            return Err(error);
        }
        Ok(KeyPair { private, public })
    }

    fn new(seed: &[u8; 32], comment: &str) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = PublicKey::new(key.verifying_key(), comment);
        Self { key, public }
    }
}

/// Copies a delta, signed by these keys beside whoever signed it before. Where a key has signed it already, that stays as it is: to sign
/// twice is to sign once. Frames are seen to have their digests on the way, and no more is held than the header.
///
/// # Errors
/// [`FormatError`], of reading, writing, a delta that is damaged, or one that has as many signatures as there may be. What was written
/// by then is of no use.
pub fn sign(delta: impl Read, out: impl Write, keys: &[PrivateKey]) -> Result<Header, FormatError> {
    replace_signatures(delta, Limits::default(), out, |header| signatures(header, keys))
}

/// The signatures of a delta, these keys' among them.
///
/// # Errors
/// [`FormatError::LimitExceeded`] where they are more than there may be.
pub fn signatures(header: &Header, keys: &[PrivateKey]) -> Result<Signatures, FormatError> {
    let mut signatures = header.signatures().clone();
    for key in keys {
        signatures.add(key.signature(header.digest()))?;
    }
    Ok(signatures)
}

/// Writes a new file, which stays only whole.
fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), KeyError> {
    let failed = |op| move |source| KeyError::Io { op, path: path.into(), source };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed("making"))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    written.map_err(|source| {
        // As above.
        let _ = std::fs::remove_file(path);
        failed("writing")(source)
    })
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (seed, comment) = text::parse(text, PRIVATE)?;
        Ok(Self::new(&Zeroizing::new(seed), comment))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(self.public.id()).finish()
    }
}
