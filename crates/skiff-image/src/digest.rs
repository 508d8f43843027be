use std::fmt;
use std::str::FromStr;

use skiff_tree::{ContentDigest, DigestParseError};

macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Shown as `sha256:` and 64 hexadecimal digits, as OCI documents have it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes the 32 bytes of a SHA-256 digest.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The digest's 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The SHA-256 of `bytes`.
            #[must_use]
            pub fn of(bytes: &[u8]) -> Self {
                Self(*ContentDigest::of(bytes).as_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "sha256:{}", ContentDigest::from_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = DigestParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse::<ContentDigest>().map(|digest| Self(*digest.as_bytes()))
            }
        }
    )*};
}

digests! {
    /// The SHA-256 of a layer's tar archive, uncompressed: what the config names it by, and what two images have in common.
    DiffId;
    /// The SHA-256 of a blob as it is stored and pulled, compressed where it is: what the manifest names it by.
    BlobDigest;
}
