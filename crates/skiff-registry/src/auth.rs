//! Who is asked for what: challenges, and tokens that answer them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::url::Origin;
use crate::{Login, Repository};

/// How long a token holds that does not say, as docker's specification of them has it.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(10);

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// What a registry wants to be told, as its `WWW-Authenticate` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// What goes into the header `Authorization`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authorization(pub(crate) String);

/// What was found out about who has to be told what. Shared by all that goes on with a client.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<(Origin, String, Access), Entry>>);

#[derive(Debug, Clone)]
struct Entry {
    challenge: Challenge,
    authorization: Authorization,
    /// None of what holds until it is refused.
    ends: Option<Instant>,
}

/// What is known of how to answer a registry before it asks.
pub(crate) enum Answer {
    /// Nothing.
    None,
    /// This holds still.
    Ready(Authorization),
    /// This has to be asked for a new token first.
    Renew(Challenge),
}

/// What a server of tokens answers.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Access {
    /// In the words of docker's tokens.
    pub(crate) fn scope(self, repository: &Repository) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        };
        format!("repository:{}:{actions}", repository.name())
    }
}

impl Authorization {
    pub(crate) fn of(login: &Login) -> Self {
        match login {
            Login::Basic { user, password } => {
                Self(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Login::Bearer { token } => Self(format!("Bearer {token}")),
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(..)")
    }
}

impl Known {
    pub(crate) fn answer(&self, origin: &Origin, repository: &Repository, access: Access) -> Answer {
        let known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match known.get(&(origin.clone(), repository.name().into(), access)) {
            None => Answer::None,
            Some(entry) if entry.ends.is_some_and(|ends| Instant::now() >= ends) => {
                Answer::Renew(entry.challenge.clone())
            }
            Some(entry) => Answer::Ready(entry.authorization.clone()),
        }
    }

    pub(crate) fn learn(
        &self,
        (origin, repository, access): (&Origin, &Repository, Access),
        challenge: Challenge,
        (authorization, lifetime): (Authorization, Option<Duration>),
    ) {
        let ends = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let key = (origin.clone(), repository.name().into(), access);
        known.insert(key, Entry { challenge, authorization, ends });
    }
}

impl TokenAnswer {
    /// The token and how long it is used. None where there is none.
    pub(crate) fn into_authorization(self) -> Option<(Authorization, Option<Duration>)> {
        let given = |token: Option<String>| token.filter(|token| !token.is_empty());
        let token = given(self.token).or(given(self.access_token))?;
        // What is no header cannot be sent.
        let is_sendable = token.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        let lifetime = self.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
        let lifetime = lifetime.saturating_sub(MARGIN).max(lifetime / 2);
        is_sendable.then(|| (Authorization(format!("Bearer {token}")), Some(lifetime)))
    }
}

impl Challenge {
    /// The first of a header's challenges that can be answered: of `Bearer` and `Basic` the former, where there are both.
    pub(crate) fn parse<'h>(headers: impl Iterator<Item = &'h str>) -> Option<Self> {
        let mut basic = None;
        for (scheme, parameters) in headers.flat_map(split) {
            let find = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = find("realm") {
                    return Some(Self::Bearer { realm, service: find("service"), scope: find("scope") });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
        }
        basic
    }
}

type Parameters = Vec<(String, String)>;

/// The challenges in one header, as RFC 9110 (11.6.1) has them: schemes, each with parameters that commas part, and commas part the
/// challenges, too.
fn split(header: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value.trim_start());
                if let Some((_, parameters)) = challenges.last_mut() {
                    parameters.push((word.into(), value));
                }
                rest = after;
            }
            None => {
                challenges.push((word.into(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// A value, in quotes or without, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].into(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[index + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(char),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        };
        for (headers, challenge) in [
            (
                &[
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#,
                ][..],
                Some(bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/alpine:pull"),
                )),
            ),
            (
                &[r#"bearer REALM=https://a/token , scope="a,b""#],
                Some(bearer("https://a/token", None, Some("a,b"))),
            ),
            (&[r#"Bearer realm="a\"b",,service = x"#], Some(bearer("a\"b", Some("x"), None))),
            (&[r#"Basic realm="Registry""#], Some(Challenge::Basic)),
            (&[r#"Basic realm="x", Bearer realm="y""#], Some(bearer("y", None, None))),
            (&["Basic", r#"Bearer realm="y""#], Some(bearer("y", None, None))),
            (&[r#"Negotiate, Basic realm="x""#], Some(Challenge::Basic)),
            (&["Negotiate"], None),
            (&["Bearer"], None),
            (&["", "=", "realm=x", "\"", "Bearer realm"], None),
            (&[r#"Bearer realm="never ends"#], Some(bearer("never ends", None, None))),
        ] {
            assert_eq!(Challenge::parse(headers.iter().copied()), challenge, "{headers:?}");
        }
    }

    #[test]
    fn tokens_end_before_they_do() {
        let answer = |text: &str| serde_json::from_str::<TokenAnswer>(text).unwrap().into_authorization();
        let token = |text: &str, seconds| {
            Some((Authorization(format!("Bearer {text}")), Some(Duration::from_secs(seconds))))
        };
        assert_eq!(answer(r#"{"token": "a"}"#), token("a", 50));
        assert_eq!(answer(r#"{"token": "", "access_token": "b", "expires_in": 300}"#), token("b", 290));
        assert_eq!(answer(r#"{"token": "c", "expires_in": 4, "issued_at": "x"}"#), token("c", 2));
        assert_eq!(answer(r#"{"expires_in": 4}"#), None);
        assert_eq!(answer(r#"{"token": "a\r\nX: y"}"#), None);
    }
}
