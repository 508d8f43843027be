//! Addresses of registries.

use ureq::http::Uri;

use crate::{RegistryError, Repository, Transport};

/// The place that may know a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// None where the address does not say a host.
    pub(crate) fn of(url: &Uri) -> Option<Self> {
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Some(Self { is_tls, host: url.host()?.to_ascii_lowercase(), port })
    }
}

/// An address in a repository.
pub(crate) fn in_repository(
    repository: &Repository,
    transport: Transport,
    path: &str,
) -> Result<Uri, RegistryError> {
    let scheme = match transport {
        Transport::Tls => "https",
        Transport::Plain => "http",
    };
    let text = format!("{scheme}://{}/v2/{}/{path}", repository.authority(), repository.name());
    text.parse().map_err(|error| RegistryError::Reference { text, what: format!("{error}") })
}

/// The address that a header names, as seen from the one that was asked.
pub(crate) fn join(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let text = if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let directory = &base.path()[..=base.path().rfind('/')?];
        format!("{scheme}://{authority}{directory}{location}")
    };
    // What follows "#" is for readers of pages.
    let url: Uri = text.split('#').next()?.parse().ok()?;
    // A name and a password in an address would be sent to wherever it leads.
    (!url.authority()?.as_str().contains('@')).then_some(url)
}

/// The same address, asked for one thing more.
pub(crate) fn with_query(url: &Uri, name: &str, value: &str) -> Option<Uri> {
    let separator = if url.query().is_some() { '&' } else { '?' };
    let path = url.path_and_query()?.as_str();
    let text =
        format!("{}://{}{path}{separator}{name}={}", url.scheme_str()?, url.authority()?, escape(value));
    text.parse().ok()
}

/// As queries have it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b',' => {
                escaped.push(byte.into());
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_headers_lead() {
        let base: Uri = "https://a.example:5000/v2/app/blobs/uploads/?x=1".parse().unwrap();
        for (location, leads_to) in [
            ("http://b.example/x?y=1", "http://b.example/x?y=1"),
            ("//b.example/x", "https://b.example/x"),
            ("/v2/x", "https://a.example:5000/v2/x"),
            ("x?y", "https://a.example:5000/v2/app/blobs/uploads/x?y"),
            ("?y=2", "https://a.example:5000/v2/app/blobs/uploads/?y=2"),
            ("/x#y", "https://a.example:5000/x"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), leads_to, "{location}");
        }
        assert_eq!(join(&base, "https://user:secret@b.example/"), None);
        assert_eq!(join(&base, "http://"), None);
    }

    #[test]
    fn queries_are_added() {
        let url: Uri = "https://a.example/x".parse().unwrap();
        let url = with_query(&url, "digest", "sha256:a+b").unwrap();
        assert_eq!(url.to_string(), "https://a.example/x?digest=sha256:a%2Bb");
        let url = with_query(&url, "n", "1").unwrap();
        assert_eq!(url.to_string(), "https://a.example/x?digest=sha256:a%2Bb&n=1");
    }

    #[test]
    fn origins_differ_in_what_decides_who_answers() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap()).unwrap();
        assert_eq!(origin("https://a.example/x"), origin("https://A.example:443/y"));
        assert_ne!(origin("https://a.example/x"), origin("http://a.example/x"));
        assert_ne!(origin("http://a.example/x"), origin("http://a.example:81/x"));
        assert_ne!(origin("https://a.example/x"), origin("https://b.a.example/x"));
    }
}
