//! Who may do what.

use skiff_tree::ContentDigest;

use crate::ServerError;

/// A new token: 32 bytes from the system's source of randomness, as hexadecimal digits behind `skiff_`, so that one that leaked is
/// found by those who look for such.
pub(crate) fn new() -> Result<String, ServerError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| ServerError::Internal(format!("no randomness: {error}")))?;
    Ok(format!("skiff_{}", ContentDigest::from_bytes(bytes)))
}

/// What is kept of a token. Nobody guesses one of 256 random bits, so that a digest without salt and rounds hides it well, and what is
/// compared are digests, whose first differing byte tells nothing.
pub(crate) fn digest(token: &str) -> String {
    ContentDigest::of(token.as_bytes()).to_string()
}
