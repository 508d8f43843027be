use std::fmt;
use std::path::Path;
use std::str::FromStr;

use ed25519_dalek::{Signature, VerifyingKey};
use skiff_format::{DetachedSignature, Digest, Header};

use crate::text::{self, PUBLIC};
use crate::{KeyError, TrustError};

skiff_wire::digests! {
    "";
    /// What names a key: the SHA-256 of the public one.
    KeyId;
}

/// A key whose signatures are believed. As text it is one line: `skiff-public-key ed25519 HEX COMMENT`.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
    comment: String,
}

impl PublicKey {
    /// What names it.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What whoever made it said of it: of no consequence.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// [`KeyError::Io`]; [`KeyError::File`] where it holds anything else.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        text::in_file(path, &text::read(path)?, str::parse)
    }

    pub(crate) fn new(key: VerifyingKey, comment: &str) -> Self {
        Self { key, id: KeyId::of(key.as_bytes()), comment: comment.to_owned() }
    }

    /// Whether a signature is this key's, of this delta. Strict: no signature has a second form, and no weak key or commitment is taken.
    fn is_signed(&self, delta: &Digest, signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        self.key.verify_strict(&message(delta), &signature).is_ok()
    }
}

/// Sees whether one of these keys signed a delta, and which. A signature under the name of one of them that is not its own is an error,
/// whoever else signed.
///
/// # Errors
/// Any of [`TrustError`]. Where there are no keys, nothing is believed.
pub fn check<'k>(header: &Header, keys: &'k [PublicKey]) -> Result<&'k PublicKey, TrustError> {
    let delta = *header.digest();
    let signatures = header.signatures().all();
    let mut signed = None;
    for signature in signatures.iter().filter(|found| found.algorithm == DetachedSignature::ED25519) {
        let Some(key) = keys.iter().find(|key| key.id.as_bytes() == signature.key.as_bytes()) else {
            continue;
        };
        if !key.is_signed(&delta, &signature.bytes) {
            return Err(TrustError::WrongSignature { delta, key: key.id });
        }
        signed = signed.or(Some(key));
    }
    signed.ok_or_else(|| match signatures {
        [] => TrustError::Unsigned { delta },
        others => {
            let known = others.iter().filter(|other| other.algorithm == DetachedSignature::ED25519);
            let found = known.map(|other| KeyId::from_bytes(*other.key.as_bytes())).collect();
            TrustError::KeyUnknown { delta, found, required: keys.iter().map(|key| key.id).collect() }
        }
    })
}

/// What is signed. Its beginning keeps a signature from being taken for one of anything else.
pub(crate) fn message(delta: &Digest) -> Vec<u8> {
    [b"skiff-delta-signature 1\n", &delta.as_bytes()[..]].concat()
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (bytes, comment) = text::parse(text, PUBLIC)?;
        let not = || KeyError::NotAKey { what: "its digits are no point of the curve that is safe to use" };
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| not())?;
        // One form of each key: else two ids would be one key's. And none for which signatures hold that anybody can make.
        let is_canonical = key.to_edwards().compress().to_bytes() == bytes;
        if key.is_weak() || !is_canonical { Err(not()) } else { Ok(Self::new(key, comment)) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text::write(PUBLIC, self.key.as_bytes(), &self.comment).trim_end_matches('\n'))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.id).finish()
    }
}
