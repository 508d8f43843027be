//! Where a server is, and what it is asked with.

use std::fmt;

/// Where a server is: `https://HOST[:PORT][/PATH]`, or `http://` where that was asked for or leads to this machine.
///
/// ```
/// use skiff_protocol::{ServerAddress, Tls};
///
/// let server = ServerAddress::parse("https://deltas.example/skiff/", Tls::Required)?;
/// assert_eq!(server.url("/v1/device/target"), "https://deltas.example/skiff/v1/device/target");
/// assert_eq!(server.authority(), "deltas.example");
/// // Whoever is on the way could read the token.
/// assert!(ServerAddress::parse("http://deltas.example", Tls::Required).is_err());
/// assert!(ServerAddress::parse("http://127.0.0.1:8600", Tls::Required).is_ok());
/// # Ok::<(), skiff_protocol::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress(String);

/// Whether a server has to be asked over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// It has, unless it is on this machine.
    #[default]
    Required,
    /// Plain HTTP will do: on a network that is trusted.
    Optional,
}

/// What a device or an administrator proves with who it is. Not shown where it is debugged.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text that is no address of a server, or no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is no address, or one without TLS.
    #[error(
        "{0:?} is no address of a server: it takes https://HOST[:PORT][/PATH]; http:// has to be asked for, as the token can be read on the way"
    )]
    Address(String),
    /// It is no token.
    #[error("the token is empty, or holds what no token holds")]
    Token,
}

impl ServerAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// [`AddressError::Address`].
    pub fn parse(text: &str, tls: Tls) -> Result<Self, AddressError> {
        let refused = || AddressError::Address(text.chars().take(200).collect());
        let address = text.trim_end_matches('/');
        let (scheme, rest) = address.split_once("://").ok_or_else(refused)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#@\\\"<>".contains(&byte);
        if authority.is_empty() || !rest.bytes().all(is_plain) {
            return Err(refused());
        }
        let host = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let host = host.map_or(authority, |(host, _)| host);
        let is_here = ["127.0.0.1", "localhost", "[::1]"].contains(&host);
        match scheme {
            "https" => {}
            "http" if is_here || tls == Tls::Optional => {}
            _ => return Err(refused()),
        }
        Ok(Self(address.into()))
    }

    /// The address of a path on the server, which begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Its host, with the port where that was given.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or(&self.0[..], |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Token {
    /// Reads a token; spaces and line ends around it do not count.
    ///
    /// # Errors
    /// [`AddressError::Token`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AddressError::Token);
        }
        Ok(Self(token.into()))
    }

    /// The token itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_leads_to_this_machine_or_was_asked_for() {
        for (text, is_right) in [
            ("https://a", true),
            ("https://a:1/b/", true),
            ("http://localhost:8600", true),
            ("http://[::1]:8600", true),
            ("http://[::1]", true),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://user@127.0.0.1", false),
            ("http://a", false),
            ("https://", false),
            ("https://a?b", false),
            ("https://a b", false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(ServerAddress::parse(text, Tls::Required).is_ok(), is_right, "{text}");
        }
        assert!(ServerAddress::parse("http://a", Tls::Optional).is_ok());
    }

    #[test]
    fn tokens_are_not_shown() {
        let token = Token::parse(" skiff_abc\n").expect("a token");
        assert_eq!(token.reveal(), "skiff_abc");
        assert!(!format!("{token:?}").contains("abc"));
        for text in ["", " ", "a b", "a\nb"] {
            assert!(Token::parse(text).is_err(), "{text:?}");
        }
    }
}
