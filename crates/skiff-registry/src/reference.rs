use std::fmt;
use std::str::FromStr;

use skiff_image::BlobDigest;

use crate::RegistryError;

/// The host of Docker Hub as references have it, and where its registry is.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// As the specification has it for names and tags.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

const FORM: &str =
    "it takes docker://HOST[:PORT]/NAME[:TAG|@DIGEST], as in docker://registry.example/app:1.1";

/// A repository in a registry: `HOST[:PORT]/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    name: String,
}

/// An image in a registry, spelled `docker://HOST[:PORT]/NAME[:TAG|@DIGEST]`; without either, the tag is `latest`.
///
/// The host has to be there: where nothing says which registry is meant, whoever registers a name first answers. Names at
/// `docker.io` are Docker Hub's, whose one-word names are in `library`.
///
/// ```
/// use skiff_registry::{Reference, Version};
///
/// let reference: Reference = "docker://registry.example:5000/team/app:1.1".parse()?;
/// assert_eq!(reference.repository().host(), "registry.example:5000");
/// assert_eq!(reference.repository().name(), "team/app");
/// assert_eq!(reference.version(), &Version::Tag("1.1".into()));
///
/// let hub: Reference = "docker://docker.io/alpine".parse()?;
/// assert_eq!(hub.to_string(), "docker://docker.io/library/alpine:latest");
/// # Ok::<(), skiff_registry::RegistryError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    repository: Repository,
    version: Version,
}

/// Which manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// What a tag names now.
    Tag(String),
    /// What has this digest, forever.
    Digest(BlobDigest),
}

impl Repository {
    /// Takes a host, with a port where it has one, and a name.
    ///
    /// # Errors
    /// [`RegistryError::Reference`] where they are none.
    pub fn new(host: &str, name: &str) -> Result<Self, RegistryError> {
        let refuse = |what: &str| {
            Err(RegistryError::Reference { text: format!("{host}/{name}"), what: format!("{what}; {FORM}") })
        };
        if !is_host(host) {
            return refuse("the host is missing or not one");
        }
        let host = match host.to_ascii_lowercase() {
            host if host == "index.docker.io" || host == HUB.1 => HUB.0.to_owned(),
            host => host,
        };
        if !is_name(name) {
            return refuse(
                "a name has lower-case letters, digits, \".\", \"_\" and \"-\", in parts between \"/\"",
            );
        }
        let name = if host == HUB.0 && !name.contains('/') { format!("library/{name}") } else { name.into() };
        Ok(Self { host, name })
    }

    /// The host, with a port where it has one, as references have it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a tag or a digest names in it.
    ///
    /// # Errors
    /// [`RegistryError::Reference`] where the tag is none.
    pub fn at(&self, version: Version) -> Result<Reference, RegistryError> {
        match &version {
            Version::Tag(tag) if !is_tag(tag) => Err(RegistryError::Reference {
                text: format!("{self}:{tag}"),
                what: "a tag has up to 128 letters, digits, \"_\", \".\" and \"-\"".into(),
            }),
            _ => Ok(Reference { repository: self.clone(), version }),
        }
    }

    /// Where its registry answers.
    pub(crate) fn authority(&self) -> &str {
        if self.host == HUB.0 { HUB.1 } else { &self.host }
    }

    /// What has this digest in it.
    pub(crate) fn at_digest(&self, digest: BlobDigest) -> Reference {
        Reference { repository: self.clone(), version: Version::Digest(digest) }
    }
}

impl Reference {
    /// The repository that it is in.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag or digest.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }
}

impl FromStr for Reference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |what: &str| RegistryError::Reference { text: text.into(), what: what.into() };
        let of_text = |error| match error {
            RegistryError::Reference { what, .. } => refuse(&what),
            other => other,
        };
        let (host, rest) = text
            .strip_prefix("docker://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| refuse(FORM))?;
        let (name, version) = match (rest.split_once('@'), rest.rsplit_once(':')) {
            (Some((name, _)), _) if name.contains(':') => {
                return Err(refuse("it has a tag and a digest; leave one of them out"));
            }
            (Some((name, digest)), _) => {
                let digest = digest.starts_with("sha256:").then(|| digest.parse().ok()).flatten();
                let digest = digest.ok_or_else(|| refuse("a digest is sha256: and 64 hexadecimal digits"))?;
                (name, Version::Digest(digest))
            }
            (None, Some((name, tag))) => (name, Version::Tag(tag.into())),
            (None, None) => (rest, Version::Tag("latest".into())),
        };
        Repository::new(host, name).and_then(|repository| repository.at(version)).map_err(of_text)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker://{}", self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A name or address, with or without a port. A single word is none: it would be the first part of a name at Docker Hub.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        // An address of IPv6.
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (None, port),
            _ => return false,
        },
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (Some(host), port)
        }
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0) && !port.starts_with('+');
    let has_port = match port.strip_prefix(':') {
        Some(port) if is_port(port) => true,
        None if port.is_empty() => false,
        _ => return false,
    };
    let Some(host) = host else { return true };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    host.split('.').all(is_label) && (has_port || host.contains('.') || host == "localhost")
}

/// The specification's `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, in parts between slashes.
fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let separators = part.split(|char: char| char.is_ascii() && is_word(char as u8));
        let between = separators.filter(|run| !run.is_empty());
        part.bytes().next().is_some_and(is_word)
            && part.bytes().last().is_some_and(is_word)
            && between
                .into_iter()
                .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
    };
    text.len() <= NAME_MAX && text.split('/').all(is_part)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_is_shown_again() {
        let digest = format!("sha256:{}", "a7".repeat(32));
        for (text, is_shown_as) in [
            ("docker://registry.example/app:1", "docker://registry.example/app:1"),
            ("docker://registry.example/app", "docker://registry.example/app:latest"),
            ("docker://localhost/a/b/c:v1.2-3_4", "docker://localhost/a/b/c:v1.2-3_4"),
            ("docker://registry:5000/app", "docker://registry:5000/app:latest"),
            ("docker://127.0.0.1:5000/app__x/y-z.0", "docker://127.0.0.1:5000/app__x/y-z.0:latest"),
            ("docker://[::1]:5000/app", "docker://[::1]:5000/app:latest"),
            ("docker://docker.io/alpine:3", "docker://docker.io/library/alpine:3"),
            ("docker://index.docker.io/team/app", "docker://docker.io/team/app:latest"),
            ("docker://Registry.Example/app", "docker://registry.example/app:latest"),
            (&format!("docker://r.example/a@{digest}"), &format!("docker://r.example/a@{digest}")),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), is_shown_as);
            assert_eq!(is_shown_as.parse::<Reference>().unwrap().to_string(), is_shown_as);
        }
        let hub: Reference = "docker://docker.io/alpine".parse().unwrap();
        assert_eq!(hub.repository().authority(), "registry-1.docker.io");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let digest = format!("sha256:{}", "a7".repeat(32));
        for text in [
            "",
            "alpine",
            "docker:alpine",
            "docker://alpine",
            "docker://library/alpine",
            "docker:///alpine",
            "docker://registry.example/",
            "docker://registry.example/App",
            "docker://registry.example/a//b",
            "docker://registry.example/../b",
            "docker://registry.example/a___b",
            "docker://registry.example/a._b",
            "docker://registry.example/-a",
            "docker://registry.example/a:",
            "docker://registry.example/a:.1",
            "docker://registry.example/a b",
            "docker://registry.example/ä",
            "docker://registry.example:/a",
            "docker://registry.example:0/a",
            "docker://registry.example:65536/a",
            "docker://registry.example:+80/a",
            "docker://user:secret@registry.example/a",
            "docker://registry.example?x/a",
            "docker://[::1/a",
            "docker://[::g]:1/a",
            "docker://registry.example/a@sha256:12",
            "docker://registry.example/a@md5:12",
            &format!("docker://registry.example/a:1@{digest}"),
            &format!("docker://registry.example/{}", "a".repeat(256)),
            &format!("docker://registry.example/a:{}", "a".repeat(129)),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(matches!(error, RegistryError::Reference { .. }), "{text}: {error}");
        }
    }
}
