//! One request and its answer: credentials, redirects and statuses, and what is tried again.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use skiff_fs::Control;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use ureq::http::{HeaderMap, HeaderName, Method, Request, Uri};
use ureq::{Agent, Body, SendBody};

use crate::auth::{Access, Answer, Authorization, Challenge, TokenAnswer};
use crate::client::Shared;
use crate::documents::refusal;
use crate::retry::{Attempts, Failure, Passing};
use crate::url::{self, Origin};
use crate::{Login, RegistryError, Repository, Transport};

/// How often one request answers a challenge: once for a token that has ended, once for the registry to find another way.
const CHALLENGES_MAX: u32 = 2;

/// How much is read of what nobody wants to know.
const DRAINED_MAX: u64 = 64 << 10;

/// What goes on with a registry while a method of the client runs.
pub(crate) struct Session<'s> {
    pub(crate) shared: &'s Shared,
    pub(crate) agent: Agent,
    pub(crate) control: Control<'s>,
}

/// A request.
#[derive(Clone)]
pub(crate) struct Call<'c> {
    pub(crate) repository: &'c Repository,
    pub(crate) access: Access,
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) payload: Payload<'c>,
}

/// What goes with a request.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'c> {
    None,
    Bytes(&'c [u8]),
    Part { file: &'c File, offset: u64, size: u64 },
}

/// What came back, its body not read yet.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Who answered, in the end.
    pub(crate) url: Uri,
}

impl<'c> Call<'c> {
    /// Gets what is at an address in a repository.
    pub(crate) fn get(repository: &'c Repository, url: Uri) -> Self {
        Self {
            repository,
            access: Access::Pull,
            method: Method::GET,
            url,
            headers: Vec::new(),
            payload: Payload::None,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// As part of something that is put there, whose token is asked for once.
    pub(crate) fn pushing(mut self, method: Method) -> Self {
        (self.access, self.method) = (Access::Push, method);
        self
    }

    pub(crate) fn payload(mut self, payload: Payload<'c>) -> Self {
        self.payload = payload;
        self
    }
}

impl Answered {
    /// A header, if it is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the body is, if that is said.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header(&CONTENT_LENGTH)?.parse().ok()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads what nobody wants to know, if it is not much, so that the connection serves the next request.
    fn drain(self) {
        // Where that fails, another connection does.
        let _ = io::copy(&mut self.body.into_reader().take(DRAINED_MAX), &mut io::sink());
    }

    /// Reads a body into memory, one that is not larger than the limit.
    pub(crate) fn document(self, place: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let exceeded = |wanted| {
            let place = place.to_owned();
            Failure::Final(RegistryError::LimitExceeded { place, what: "bytes", wanted, limit })
        };
        if let Some(length) = self.length().filter(|&length| length > limit) {
            return Err(exceeded(length));
        }
        let mut bytes = Vec::new();
        let mut reader = self.body.into_reader().take(limit.saturating_add(1));
        reader.read_to_end(&mut bytes).map_err(|error| Failure::Passing(Passing::Connection(error)))?;
        if bytes.len() as u64 > limit { Err(exceeded(bytes.len() as u64)) } else { Ok(bytes) }
    }
}

impl<'s> Session<'s> {
    /// Attempts at something that the messages call `place`.
    pub(crate) fn attempts(&self, place: impl Into<String>) -> Attempts<'s> {
        Attempts::new(self.shared.options.retries, self.control, place)
    }

    /// Where something is in a repository.
    pub(crate) fn url(&self, repository: &Repository, path: &str) -> Result<Uri, RegistryError> {
        url::in_repository(repository, self.shared.options.transport, path)
    }

    /// Sends a request that may be sent again, until it is answered, and reads the answer with `read`.
    pub(crate) fn send<T>(
        &self,
        call: &Call<'_>,
        place: &str,
        read: impl Fn(Answered) -> Result<T, Failure>,
    ) -> Result<T, RegistryError> {
        let mut attempts = self.attempts(place);
        loop {
            match self.once(call, place).and_then(&read) {
                Ok(read) => return Ok(read),
                Err(failure) => attempts.failed(failure)?,
            }
        }
    }

    /// Sends a request once, or again to where the registry says, or with the credentials that it asks for. Answers that say
    /// that the caller may not, and that the registry cannot now, are failures.
    pub(crate) fn once(&self, call: &Call<'_>, place: &str) -> Result<Answered, Failure> {
        let home = Origin::of(&self.url(call.repository, "")?);
        let mut url = call.url.clone();
        let mut challenges = 0;
        for _ in 0..=self.shared.options.limits.redirects {
            // What is for this registry is told to nobody else.
            let is_home = home.is_some() && Origin::of(&url) == home;
            let authorization = if is_home { self.authorization(call, place)? } else { None };
            let answered = self.exchange(call, &url, authorization.as_ref(), place)?;
            match answered.status {
                401 if is_home && challenges < CHALLENGES_MAX => {
                    challenges += 1;
                    self.answer_challenge(call, place, answered, authorization.as_ref())?;
                }
                401 | 403 if is_home => return Err(self.unauthorized(answered, place).into()),
                301 | 302 | 303 | 307 | 308 => url = self.redirect(call, answered, place)?,
                // Elsewhere the address itself is the permission, and the next one that the registry gives may hold.
                status @ (401 | 403 | 408 | 429 | 500..=599) => {
                    let seconds = answered.header(&RETRY_AFTER).and_then(|text| text.trim().parse().ok());
                    let retry_after = seconds.map(Duration::from_secs);
                    return Err(Failure::Passing(Passing::Status { status, retry_after }));
                }
                _ => return Ok(answered),
            }
        }
        let limit = self.shared.options.limits.redirects.into();
        let (place, wanted) = (place.into(), limit + 1);
        Err(RegistryError::LimitExceeded { place, what: "redirects or more", wanted, limit }.into())
    }

    /// What is known to be wanted by who is asked.
    fn authorization(&self, call: &Call<'_>, place: &str) -> Result<Option<Authorization>, Failure> {
        let Some(origin) = Origin::of(&self.url(call.repository, "")?) else { return Ok(None) };
        match self.shared.known.answer(&origin, call.repository, call.access) {
            Answer::Ready(authorization) => Ok(Some(authorization)),
            Answer::None => {
                // Such a token is not asked for.
                let login = self.shared.options.credentials.for_repository(call.repository);
                let token = login.filter(|login| matches!(login, Login::Bearer { .. }));
                Ok(token.map(Authorization::of))
            }
            Answer::Renew(challenge) => self.obtain(call, challenge, place).map(Some),
        }
    }

    /// Learns how to answer a registry that refused for want of it.
    fn answer_challenge(
        &self,
        call: &Call<'_>,
        place: &str,
        answered: Answered,
        answered_with: Option<&Authorization>,
    ) -> Result<(), Failure> {
        let headers = answered.headers.get_all(WWW_AUTHENTICATE);
        let challenge = Challenge::parse(headers.iter().filter_map(|value| value.to_str().ok()));
        let login = self.shared.options.credentials.for_repository(call.repository);
        match (challenge, login) {
            // There is only one password; a token that was given cannot be had anew.
            (Some(challenge @ Challenge::Basic), Some(Login::Basic { .. })) if answered_with.is_none() => {
                answered.drain();
                self.obtain(call, challenge, place).map(drop)
            }
            (Some(challenge @ Challenge::Bearer { .. }), None | Some(Login::Basic { .. })) => {
                answered.drain();
                self.obtain(call, challenge, place).map(drop)
            }
            _ => Err(self.unauthorized(answered, place).into()),
        }
    }

    /// Gets what answers a challenge, and keeps it for the requests that follow.
    fn obtain(&self, call: &Call<'_>, challenge: Challenge, place: &str) -> Result<Authorization, Failure> {
        let login = self.shared.options.credentials.for_repository(call.repository);
        let (authorization, lifetime) = match (&challenge, login) {
            (Challenge::Bearer { .. }, login) => self.token(call, &challenge, login, place)?,
            (Challenge::Basic, Some(login)) => (Authorization::of(login), None),
            (Challenge::Basic, None) => {
                let what = "it wants a name and a password; log in, or give credentials".into();
                return Err(RegistryError::Unauthorized { place: place.into(), what }.into());
            }
        };
        if let Some(origin) = Origin::of(&self.url(call.repository, "")?) {
            let whom = (&origin, call.repository, call.access);
            self.shared.known.learn(whom, challenge, (authorization.clone(), lifetime));
        }
        Ok(authorization)
    }

    /// Asks for a token where the registry says that they come from.
    fn token(
        &self,
        call: &Call<'_>,
        challenge: &Challenge,
        login: Option<&Login>,
        place: &str,
    ) -> Result<(Authorization, Option<Duration>), Failure> {
        let Challenge::Bearer { realm, service, scope } = challenge else {
            return Err(RegistryError::corrupt(place, "it asks for no token").into());
        };
        let asked = call.access.scope(call.repository);
        // A registry that wants more than what is needed gets no more: what it names may be somebody else's repository.
        let scope = scope.as_deref().filter(|scope| *scope == asked).unwrap_or(&asked);
        let queries = service.iter().map(|service| ("service", &service[..])).chain([("scope", scope)]);
        let url = url::join(&call.url, realm).filter(|_| realm.contains("://"));
        let url = queries.fold(url, |url, (name, value)| url::with_query(&url?, name, value));
        let Some(url) = url else {
            return Err(RegistryError::corrupt(
                place,
                format!("its tokens come from {realm:?}, which is no address"),
            )
            .into());
        };
        self.check_transport(&url, place)?;
        let where_from = format!("the token for {place}, from {}", url.host().unwrap_or_default());
        let authorization = login.map(Authorization::of);
        let get = Call::get(call.repository, url.clone());
        let answered = self.exchange(&get, &url, authorization.as_ref(), &where_from)?;
        match answered.status {
            200 => {}
            408 | 429 | 500..=599 => {
                let status = answered.status;
                return Err(Failure::Passing(Passing::Status { status, retry_after: None }));
            }
            _ => return Err(self.unauthorized(answered, &where_from).into()),
        }
        let bytes = answered.document(&where_from, self.shared.options.limits.document)?;
        let answer =
            serde_json::from_slice::<TokenAnswer>(&bytes).ok().and_then(TokenAnswer::into_authorization);
        answer.ok_or_else(|| RegistryError::corrupt(where_from, "it sends none").into())
    }

    /// Where an answer leads. Only reading is led elsewhere: what is written would be sent to whoever the answer names.
    fn redirect(&self, call: &Call<'_>, answered: Answered, place: &str) -> Result<Uri, RegistryError> {
        let location = answered.header(&LOCATION).and_then(|location| url::join(&answered.url, location));
        let Some(location) = location else {
            return Err(RegistryError::corrupt(place, "it leads elsewhere, and does not say where"));
        };
        if !matches!(call.method, Method::GET | Method::HEAD) {
            let what = format!("it sends {} elsewhere; name the registry that it leads to", call.method);
            return Err(RegistryError::unsupported(place, what));
        }
        self.check_transport(&location, place)?;
        answered.drain();
        Ok(location)
    }

    /// Whoever wants TLS gets it from everybody.
    pub(crate) fn check_transport(&self, url: &Uri, place: &str) -> Result<(), RegistryError> {
        match (url.scheme_str(), self.shared.options.transport) {
            (Some("https"), _) | (Some("http"), Transport::Plain) => Ok(()),
            _ => Err(RegistryError::unsupported(
                place,
                format!("it leads to {url} without TLS, which has to be asked for"),
            )),
        }
    }

    fn exchange(
        &self,
        call: &Call<'_>,
        url: &Uri,
        authorization: Option<&Authorization>,
        place: &str,
    ) -> Result<Answered, Failure> {
        self.control.check().map_err(RegistryError::Interrupted)?;
        let mut request = Request::builder().method(call.method.clone()).uri(url.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        // What is sent is what the digest names, and its parts are counted in bytes of it.
        request = request.header("accept-encoding", "identity");
        if let Some(Authorization(value)) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let sendable = |error: ureq::http::Error| RegistryError::corrupt(url.to_string(), error.to_string());
        let answer = match call.payload {
            Payload::None => self.agent.run(request.body(()).map_err(sendable)?),
            Payload::Bytes(bytes) => self.agent.run(request.body(bytes).map_err(sendable)?),
            Payload::Part { mut file, offset, size } => {
                file.seek(SeekFrom::Start(offset)).map_err(Passing::Connection).map_err(Failure::Passing)?;
                let mut part = file.take(size);
                let request = request.header(CONTENT_LENGTH, size);
                self.agent.run(request.body(SendBody::from_reader(&mut part)).map_err(sendable)?)
            }
        };
        let (parts, body) = answer.map_err(|error| failure(error, place))?.into_parts();
        Ok(Answered { status: parts.status.as_u16(), headers: parts.headers, body, url: url.clone() })
    }

    fn unauthorized(&self, answered: Answered, place: &str) -> RegistryError {
        let status = answered.status;
        let (code, message) = refusal(answered, self.shared.options.limits.document);
        let what = format!("status {status}, {code}: {message}; log in, or give other credentials");
        RegistryError::Unauthorized { place: place.into(), what }
    }

    /// What an answer says that refuses for good.
    pub(crate) fn refused(&self, answered: Answered, place: &str) -> RegistryError {
        let (status, place) = (answered.status, place.to_owned());
        let (code, message) = refusal(answered, self.shared.options.limits.document);
        RegistryError::Refused { place, status, code, message }
    }

    /// As [`refused`](Self::refused), but that what is not there is called so.
    pub(crate) fn refused_or_missing(&self, answered: Answered, place: &str) -> RegistryError {
        match answered.status {
            404 => RegistryError::NotFound { what: place.into() },
            _ => self.refused(answered, place),
        }
    }
}

/// What the library says of an exchange that did not come about: what TLS refuses, and what makes no sense, stays so.
fn failure(error: ureq::Error, place: &str) -> Failure {
    let is_final = match &error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::BadUri(_) | ureq::Error::Http(_) => true,
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    };
    let source = error.into_io();
    if is_final {
        Failure::Final(RegistryError::Network { place: place.into(), tried: 1, source })
    } else {
        Failure::Passing(Passing::Connection(source))
    }
}
