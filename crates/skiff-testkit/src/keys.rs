use skiff_keys::PrivateKey;

/// The key whose seed is so many times this byte. Its comment is "of a test".
#[must_use]
pub fn key(byte: u8) -> PrivateKey {
    let line = format!("skiff-private-key ed25519 {} of a test", format!("{byte:02x}").repeat(32));
    line.parse().expect("because any seed makes a key")
}
