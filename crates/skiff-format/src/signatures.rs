//! Detached signatures: who vouches for a delta. What is signed and by whom is for others to know: here they are bytes.

use skiff_wire::{Input, WireError};
#[cfg(feature = "encode")]
use skiff_wire::{put_bytes, put_varint};

use crate::{Digest, FormatError};

/// More signatures than anybody puts under a delta; stops floods.
pub const MAX_SIGNATURES: usize = 16;

/// A signature of a delta's [header digest](crate::Header::digest), and so of every byte of the delta but for the signatures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DetachedSignature {
    /// How it was made: [`ED25519`](Self::ED25519), or a number that a later version gives.
    pub algorithm: u16,
    /// Which key made it: the SHA-256 of the public key.
    pub key: Digest,
    /// The signature.
    pub bytes: Vec<u8>,
}

impl DetachedSignature {
    /// The algorithm Ed25519 of RFC 8032: public keys have 32 bytes, signatures 64.
    pub const ED25519: u16 = 1;

    /// How many bytes a signature has, where the algorithm is known.
    fn expected_bytes(&self) -> Option<usize> {
        (self.algorithm == Self::ED25519).then_some(64)
    }

    /// By what signatures are in order, and each is there once.
    fn order(&self) -> (u16, Digest) {
        (self.algorithm, self.key)
    }

    fn fault(&self) -> Option<&'static str> {
        if self.algorithm == 0 {
            return Some("no algorithm has the number 0");
        }
        if self.bytes.is_empty() || self.expected_bytes().is_some_and(|bytes| bytes != self.bytes.len()) {
            return Some("a signature is not as long as its algorithm makes it");
        }
        None
    }
}

/// The signatures of a delta, in order: by algorithm, then by key. No key has two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signatures(Vec<DetachedSignature>);

impl Signatures {
    /// All of them, in their order.
    #[must_use]
    pub fn all(&self) -> &[DetachedSignature] {
        &self.0
    }

    /// Adds one, in the place of one by the same key.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] where there are [`MAX_SIGNATURES`] already, [`FormatError::Corrupt`] where it is none: it has
    /// another length than its algorithm's signatures have.
    pub fn add(&mut self, signature: DetachedSignature) -> Result<(), FormatError> {
        if let Some(fault) = signature.fault() {
            return Err(FormatError::corrupt(0, fault));
        }
        match self.0.binary_search_by_key(&signature.order(), DetachedSignature::order) {
            Ok(at) => self.0[at] = signature,
            Err(_) if self.0.len() == MAX_SIGNATURES => {
                let limit = MAX_SIGNATURES as u64;
                return Err(FormatError::LimitExceeded { what: "signatures", wanted: limit + 1, limit });
            }
            Err(at) => self.0.insert(at, signature),
        }
        Ok(())
    }

    /// Reads the block that begins at this offset of a delta; one without bytes has none.
    pub(crate) fn decode(bytes: &[u8], start: u64) -> Result<Self, FormatError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut input = Input::new(bytes);
        let corrupt = |offset: u64, what: &str| FormatError::corrupt(start + offset, what);
        let wire = |error: WireError| FormatError::corrupt(start + error.offset, error.fault.to_string());
        let count = input.varint().map_err(wire)?;
        if count == 0 || count > MAX_SIGNATURES as u64 {
            return Err(corrupt(0, "signatures are 1 to 16 where there are any"));
        }
        let mut signatures: Vec<DetachedSignature> = Vec::new();
        for _ in 0..count {
            let offset = input.offset();
            let algorithm = u16::try_from(input.varint().map_err(wire)?)
                .map_err(|_| corrupt(offset, "a signature's algorithm does not fit 16 bits"))?;
            let key = Digest::from_bytes(input.array().map_err(wire)?);
            let length = input.varint().map_err(wire)?;
            let bytes = input.slice(length).map_err(wire)?.to_vec();
            let signature = DetachedSignature { algorithm, key, bytes };
            if let Some(fault) = signature.fault() {
                return Err(corrupt(offset, fault));
            }
            if signatures.last().is_some_and(|last| last.order() >= signature.order()) {
                return Err(corrupt(offset, "signatures out of order, or two by one key"));
            }
            signatures.push(signature);
        }
        if input.rest().is_empty() {
            Ok(Self(signatures))
        } else {
            Err(corrupt(input.offset(), "bytes follow the signatures"))
        }
    }

    /// The block that says the same; without signatures it has no bytes.
    #[cfg(feature = "encode")]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.0.is_empty() {
            return out;
        }
        put_varint(&mut out, self.0.len() as u64);
        for DetachedSignature { algorithm, key, bytes } in &self.0 {
            put_varint(&mut out, u64::from(*algorithm));
            out.extend_from_slice(key.as_bytes());
            put_bytes(&mut out, bytes);
        }
        out
    }
}
