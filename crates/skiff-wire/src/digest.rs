//! Digests as types: each kind of digest is a type of its own, so that none is taken for another.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A text that is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: it takes 64 hexadecimal digits, with or without \"sha256:\" before them")]
pub struct DigestParseError {
    text: String,
}

/// Declares types of SHA-256 digests. They are parsed from 64 hexadecimal digits, with or without `sha256:` before them,
/// and shown with the prefix that stands first.
///
/// ```
/// skiff_wire::digests! {
///     "";
///     /// The digest of a recipe.
///     RecipeDigest;
/// }
///
/// let digest = RecipeDigest::of(b"abc");
/// assert!(digest.to_string().starts_with("ba7816bf8f01cfea"));
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// ```
#[macro_export]
macro_rules! digests {
    ($prefix:literal; $($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        #[doc = concat!("Shown as `", $prefix, "` and 64 hexadecimal digits; parsed with or without `sha256:` before them.")]
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
                Self($crate::digest::sha256(bytes))
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str($prefix)?;
                $crate::digest::write_hex(&self.0, f)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::digest::DigestParseError;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                $crate::digest::parse(text).map(Self)
            }
        }
    )*};
}

/// The SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Writes bytes as hexadecimal digits.
///
/// # Errors
/// Those of the formatter.
pub fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Some at a time: names of releases are written for every request to a server.
    bytes.chunks(32).try_for_each(|bytes| {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        f.write_str(str::from_utf8(&digits[..2 * bytes.len()]).map_err(|_| fmt::Error)?)
    })
}

/// Reads the hexadecimal digits of a digest.
///
/// # Errors
/// [`DigestParseError`] for anything but 64 digits, with or without `sha256:` before them.
pub fn parse(text: &str) -> Result<[u8; 32], DigestParseError> {
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
    fn only_digests_are_parsed() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(parse(text), Ok(sha256(b"abc")));
        assert_eq!(parse(&format!("sha256:{}", text.to_uppercase())), Ok(sha256(b"abc")));
        assert!(parse(&text[1..]).is_err());
        assert!(parse(&format!("+{}", &text[1..])).is_err());
        assert!(parse(&format!("sha512:{text}")).is_err());
    }
}
