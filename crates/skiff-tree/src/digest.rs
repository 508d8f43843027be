use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A text that is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: it takes 64 hexadecimal digits, with or without \"sha256:\" before them")]
pub struct DigestParseError {
    text: String,
}

macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Shown and parsed as 64 hexadecimal digits; a leading `sha256:` is accepted when parsing.
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
                Self(Sha256::digest(bytes).into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
                parse(text).map(Self)
            }
        }
    )*};
}

digests! {
    /// The SHA-256 of a file's content.
    ContentDigest;
    /// The SHA-256 of a tree's canonical encoding: it changes with any path, metadata or content of the tree.
    TreeDigest;
    /// The SHA-256 of an image's config bytes.
    ConfigDigest;
    /// The SHA-256 of an image's manifest bytes.
    ManifestDigest;
    /// The name of a release: SHA-256 over its tree digest and its config digest, or the absence of one.
    ReleaseId;
}

impl ReleaseId {
    /// The name of the release that consists of this tree and this config.
    ///
    /// SHA-256 over the 16 bytes `skiff-release-0\n`, the tree digest, a byte 0 for no config or 1, and the config digest.
    #[must_use]
    pub fn new(tree: TreeDigest, config: Option<ConfigDigest>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"skiff-release-0\n");
        hasher.update(tree.as_bytes());
        hasher.update([u8::from(config.is_some())]);
        if let Some(config) = config {
            hasher.update(config.as_bytes());
        }
        Self(hasher.finalize().into())
    }
}

fn parse(text: &str) -> Result<[u8; 32], DigestParseError> {
    let refuse = || DigestParseError { text: text.chars().take(80).collect() };
    let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return Err(refuse());
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = nibble(pair[0]).zip(nibble(pair[1])).ok_or_else(refuse)?;
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_print_and_parse() {
        let digest = ContentDigest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(format!("sha256:{}", text.to_uppercase()).parse(), Ok(digest));
        assert!(text[1..].parse::<ContentDigest>().is_err());
        assert!(format!("+{}", &text[1..]).parse::<ContentDigest>().is_err());
    }

    #[test]
    fn a_release_is_its_tree_and_its_config() {
        let tree = TreeDigest::of(b"tree");
        let without = ReleaseId::new(tree, None);
        assert_ne!(without, ReleaseId::new(tree, Some(ConfigDigest::of(b"{}"))));
        // printf 'skiff-release-0\n' and the bytes named in the documentation, through sha256sum
        let mut bytes = b"skiff-release-0\n".to_vec();
        bytes.extend_from_slice(tree.as_bytes());
        bytes.push(0);
        assert_eq!(without, ReleaseId::of(&bytes));
    }
}
