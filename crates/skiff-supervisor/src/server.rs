//! What is asked of the server.

use std::fs::File;
use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use skiff_protocol::{DELTA_SIZE_HEADER, Pending, Problem, ProblemCode, Report, Target};
use skiff_tree::ReleaseId;

use crate::fetch::{Answer, Fetch, FetchError, Payload, Place, Request};
use crate::policy::Failure;

/// The longest cause that is told to the server or written down.
pub(crate) const CAUSE_MAX: usize = 1000;
/// How often an answer may lead elsewhere.
const REDIRECTS_MAX: u32 = 4;

/// Why something could not be had: what kind of failure it is, and what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    pub(crate) cause: String,
    /// After how long the server wants to be asked again.
    pub(crate) asked: Option<Duration>,
    /// Whether a signature of what the device runs may help.
    pub(crate) wants_signature: bool,
    /// Whether it was tried as often as it may be.
    pub(crate) exhausted: bool,
}

/// What the server has of a delta.
#[derive(Debug)]
pub(crate) enum Delta {
    /// It is being made.
    Pending(Pending, Option<Duration>),
    /// Its bytes, from one on.
    Ready(Opened),
}

/// Bytes of a delta.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) answer: Answer,
    /// Where they begin.
    pub(crate) start: u64,
    /// How many the whole delta has.
    pub(crate) size: u64,
    /// Which delta it is.
    pub(crate) etag: Option<String>,
}

/// Which part of a delta is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) start: u64,
    /// The first byte that is not asked for any more; none for all there are.
    pub(crate) end: Option<u64>,
    /// What the delta has to be still.
    pub(crate) etag: Option<&'a str>,
}

/// The server, asked by way of a [`Fetch`].
#[derive(Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) fetch: &'a dyn Fetch,
    pub(crate) answer_within: Duration,
}

impl Trouble {
    pub(crate) fn new(failure: Failure, cause: impl ToString) -> Self {
        let cause: String = cause.to_string().chars().take(CAUSE_MAX).collect();
        Self { failure, cause, asked: None, wants_signature: false, exhausted: false }
    }

    pub(crate) fn of_fetch(error: &FetchError) -> Self {
        Self::new(fetch_failure(error), error)
    }

    /// What an answer says that is none of those that were hoped for.
    fn of_answer(answer: Answer) -> Self {
        let status = answer.status;
        let asked = retry_after(&answer);
        let bytes = answer.document().unwrap_or_default();
        let problem: Option<Problem> = serde_json::from_slice(&bytes).ok();
        let failure = match (status, problem.as_ref().map(|problem| problem.code)) {
            (401 | 403, _) => Failure::Unauthorized,
            (404, _) => Failure::NotKnown,
            (408 | 429 | 500..=599, _) => Failure::ServerError,
            (409, _) => Failure::Refused,
            _ => Failure::BadAnswer,
        };
        let wants_signature =
            problem.as_ref().is_some_and(|problem| problem.code == ProblemCode::BaseUnknown);
        let cause = problem.map_or(format!("the server answers {status}"), |problem| problem.to_string());
        Self { asked, wants_signature, ..Self::new(failure, cause) }
    }
}

fn fetch_failure(error: &FetchError) -> Failure {
    use skiff_registry::ErrorClass;

    match error {
        FetchError::Unreachable { .. } | FetchError::Setup { .. } => Failure::ServerDown,
        FetchError::TimedOut { .. } => Failure::TimedOut,
        FetchError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Failure::NoSpace,
        FetchError::Io { .. } => Failure::ApplyFailed,
        FetchError::Registry(error) => match error.class() {
            ErrorClass::Unauthorized => Failure::Unauthorized,
            ErrorClass::Usage => Failure::NotKnown,
            ErrorClass::Unavailable => Failure::ServerDown,
            ErrorClass::NoSpace => Failure::NoSpace,
            ErrorClass::CorruptInput => Failure::Corrupt,
            ErrorClass::Io => Failure::ApplyFailed,
            _ => Failure::Refused,
        },
    }
}

impl<'a> Server<'a> {
    /// What the device shall run; none where that is as `known` has it still. Waits as long for a change as the server lets it.
    pub(crate) fn target(
        &self,
        known: Option<&str>,
        wait: Duration,
    ) -> Result<Option<(Target, Option<String>)>, Trouble> {
        let path = format!("/v1/device/target?wait={}", wait.as_secs());
        // Nothing comes while the server waits.
        let mut request = Request::get(Place::Server(&path), wait.saturating_add(self.answer_within));
        if let Some(etag) = known {
            request = request.header("if-none-match", etag);
        }
        let answer = self.exchange(&request)?;
        match answer.status {
            304 => Ok(None),
            200 => {
                let etag = answer.header("etag").map(str::to_owned);
                Ok(Some((read(answer)?, etag)))
            }
            _ => Err(Trouble::of_answer(answer)),
        }
    }

    /// Says what the device is at.
    pub(crate) fn report(&self, report: &Report) -> Result<(), Trouble> {
        let body = serde_json::to_vec(report)
            .expect("because a report consists of numbers and texts with texts for keys");
        self.put("/v1/device/status", Payload::Json(&body))
    }

    /// Sends a signature of what the device runs.
    pub(crate) fn sign(&self, base: ReleaseId, signature: &File) -> Result<(), Trouble> {
        self.put(&format!("/v1/signatures/{base}"), Payload::File(signature))
    }

    /// Opens a delta at a byte.
    pub(crate) fn delta(&self, path: &str, part: Part<'_>) -> Result<Delta, Trouble> {
        let mut answer = self.exchange(&ranged(Place::Server(path), part, self.answer_within))?;
        // What lies elsewhere has no header that tells.
        let size = answer.header(DELTA_SIZE_HEADER).and_then(|size| size.parse().ok());
        for _ in 0..REDIRECTS_MAX {
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                break;
            }
            let Some(location) = answer.header("location").map(str::to_owned) else {
                return Err(Trouble::new(
                    Failure::BadAnswer,
                    "the server leads elsewhere, and does not say where",
                ));
            };
            let place = if location.starts_with('/') {
                Place::Server(&location)
            } else {
                Place::Elsewhere(&location)
            };
            answer = self.exchange(&ranged(place, part, self.answer_within))?;
            // Whatever is there does not speak for the server, which may lead elsewhere the next time.
            if !location.starts_with('/') && !matches!(answer.status, 200 | 206 | 301..=308 | 416) {
                let cause = format!("where the server leads to, the answer is {}", answer.status);
                return Err(Trouble::new(Failure::ServerError, cause));
            }
        }
        match answer.status {
            200 | 206 => opened(answer, part, size).map(Delta::Ready),
            202 => {
                let after = retry_after(&answer);
                Ok(Delta::Pending(read(answer)?, after))
            }
            416 => Err(Trouble::new(Failure::Changed, "the delta ends before the byte that is wanted")),
            _ => Err(Trouble::of_answer(answer)),
        }
    }

    fn put(&self, path: &str, body: Payload<'_>) -> Result<(), Trouble> {
        let answer = self.exchange(&Request::put(path, body, self.answer_within))?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(Trouble::of_answer(answer)),
        }
    }

    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Trouble> {
        self.fetch.exchange(request).map_err(|error| Trouble::of_fetch(&error))
    }
}

fn ranged<'p>(at: Place<'p>, part: Part<'_>, answer_within: Duration) -> Request<'p> {
    let mut request = Request::get(at, answer_within);
    if part.start == 0 && part.end.is_none() {
        return request;
    }
    let end = part.end.map_or(String::new(), |end| (end - 1).to_string());
    request = request.header("range", format!("bytes={}-{end}", part.start));
    match part.etag {
        // Only where it is still the delta whose beginning is here; else all of what is there now is sent.
        Some(etag) => request.header("if-range", etag),
        None => request,
    }
}

fn opened(answer: Answer, part: Part<'_>, told: Option<u64>) -> Result<Opened, Trouble> {
    let etag = answer.header("etag").map(str::to_owned);
    if part.start > 0 && part.etag.is_some() && etag.as_deref() != part.etag {
        return Err(Trouble::new(Failure::Changed, "the server has another delta now"));
    }
    let (start, size) = match answer.status {
        206 => {
            let range = answer.header("content-range").and_then(content_range);
            let range = range.filter(|(start, _)| *start == part.start);
            let wrong =
                || Trouble::new(Failure::BadAnswer, "the server sends another part than was asked for");
            range.ok_or_else(wrong)?
        }
        _ => {
            let length = answer.header("content-length").and_then(|length| length.parse().ok());
            let wrong = || Trouble::new(Failure::BadAnswer, "the server does not say how long the delta is");
            (0, told.or(length).ok_or_else(wrong)?)
        }
    };
    Ok(Opened { answer, start, size, etag })
}

/// `bytes START-END/SIZE`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, size.parse().ok()?))
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header("retry-after")?.parse().ok().map(Duration::from_secs)
}

fn read<T: DeserializeOwned>(answer: Answer) -> Result<T, Trouble> {
    let bytes = answer.document().map_err(|error| Trouble::new(Failure::Stalled, error))?;
    let wrong =
        |error| Trouble::new(Failure::BadAnswer, format!("the server's answer is not understood: {error}"));
    serde_json::from_slice(&bytes).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        for wrong in ["bytes 5-9/*", "bytes */10", "items 5-9/10", "5-9", ""] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
