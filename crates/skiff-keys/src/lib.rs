//! Keys that deltas are signed with, and who is believed: Ed25519 over the header that names a delta.
//!
//! Through the digests of its frames, a delta's header digest covers every byte of the delta. So that is what is signed, and a device
//! knows whether it believes a delta once it has read the header, before anything is written. What a signature says, and what it does not,
//! is in `doc/format.md`.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[cfg(feature = "sign")] {
//! # use skiff_format::*;
//! # let digest = Digest::of(b"");
//! # let target = TargetInfo { release: digest, tree: digest, config: None, manifest: None };
//! # let fields = HeaderFields { codecs: vec![], bases: vec![BaseInfo { release: digest, tree: digest }], target, facts: Facts::default() };
//! # let mut encoder = Encoder::new(std::io::Cursor::new(Vec::new()));
//! # encoder.add(compress(Section::Tree, b"tree", &Compression::Stored)?)?;
//! # let mut delta = Vec::new();
//! # encoder.finish(&fields, &mut delta)?;
//! use skiff_keys::{PrivateKey, PublicKey, check, sign};
//!
//! // Where deltas are made:
//! let key = PrivateKey::generate("releases of 2026")?;
//! let mut signed = Vec::new();
//! let header = sign(&delta[..], &mut signed, &[key.clone()])?;
//!
//! // On a device, which was given the public key, as a line of text:
//! let trusted: PublicKey = key.public().to_string().parse()?;
//! assert_eq!(check(&header, &[trusted])?.id(), key.public().id());
//! # }
//! # Ok(())
//! # }
//! ```

mod error;
#[cfg(feature = "sign")]
mod private;
mod public;
mod text;

pub use error::{KeyError, TrustError};
#[cfg(feature = "sign")]
pub use private::{KeyPair, PrivateKey, sign, signatures};
pub use public::{KeyId, PublicKey, check};
