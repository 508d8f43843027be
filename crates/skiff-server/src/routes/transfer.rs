//! Sending what is kept, and parts of it.

use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use skiff_protocol::{Problem, ProblemCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::ReaderStream;

use super::answer::Answered;
use crate::held::LARGEST;
use crate::metrics::Kind;
use crate::objects::READ;
use crate::{Server, ServerError};

/// Something that is kept and never changes.
pub(crate) struct Kept<'a> {
    /// Where.
    pub(crate) name: &'a str,
    pub(crate) size: u64,
    /// A digest of it, which is its ETag.
    pub(crate) digest: &'a str,
    pub(crate) content_type: &'a str,
    /// Whether the same is always found under the URL, so that it may be kept without asking again.
    pub(crate) is_for_ever: bool,
    /// What it counts as.
    pub(crate) kind: &'static str,
}

/// Sends it, or the part that was asked for; none where it is not there any more.
pub(crate) async fn send(
    server: &Server,
    (method, asked): (&Method, &HeaderMap),
    kept: &Kept<'_>,
) -> Answered<Option<Response>> {
    let etag = format!("\"{}\"", kept.digest);
    let mut headers = described(kept, &etag);
    let listed = asked.get(header::IF_NONE_MATCH).and_then(|listed| listed.to_str().ok());
    if listed.is_some_and(|listed| matches_any(listed, &etag)) {
        return Ok(Some((StatusCode::NOT_MODIFIED, headers).into_response()));
    }
    // Of what only GET has a part (RFC 9110, section 14.2).
    let range = if method == Method::GET { asked_range(asked, &etag, kept.size) } else { Ok(None) };
    let range = match range {
        Ok(range) => range,
        Err(problem) => {
            headers.insert(header::CONTENT_RANGE, text(&format!("bytes */{}", kept.size)));
            headers.remove(header::CONTENT_TYPE);
            let refusal = super::answer::Refusal(problem);
            return Ok(Some((headers, refusal).into_response()));
        }
    };
    let (status, sent) = match &range {
        Some(range) => {
            let told = format!("bytes {}-{}/{}", range.start, range.end - 1, kept.size);
            headers.insert(header::CONTENT_RANGE, text(&told));
            (StatusCode::PARTIAL_CONTENT, range.end - range.start)
        }
        None => (StatusCode::OK, kept.size),
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(sent));
    if method == Method::HEAD {
        return Ok(Some((status, headers).into_response()));
    }
    let Some((size, body)) = opened(server, kept, range).await? else {
        tracing::warn!(object = kept.name, "it is gone from where it is kept");
        return Ok(None);
    };
    if size != kept.size {
        let what = format!("it has {size} bytes, not {}", kept.size);
        return Err(ServerError::broken(kept.name, what).into());
    }
    server.parts.metrics.sent_bytes.get_or_create(&Kind { kind: kept.kind }).inc_by(sent);
    Ok(Some((status, headers, body).into_response()))
}

/// What is told of it whatever part is asked for.
fn described(kept: &Kept<'_>, etag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, text(etag));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, text(kept.content_type));
    let caching = if kept.is_for_ever { "private, immutable, max-age=31536000" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

/// The bytes that are sent, and how many there are of all; none where it is not there any more.
async fn opened(
    server: &Server,
    kept: &Kept<'_>,
    range: Option<Range<u64>>,
) -> Answered<Option<(u64, Body)>> {
    let objects = &server.parts.objects;
    if kept.size <= LARGEST {
        let bytes = objects.small(kept.name).await?;
        let part = |bytes: Bytes| match &range {
            // What is shorter than was noted is refused by its size.
            Some(range) => bytes
                .get(range.start as usize..range.end as usize)
                .map(|_| Body::from(bytes.slice(range.start as usize..range.end as usize))),
            None => Some(Body::from(bytes)),
        };
        return Ok(bytes.map(|bytes| (bytes.len() as u64, part(bytes).unwrap_or_default())));
    }
    let place = place(server)?;
    let opened = objects.open(kept.name, range).await?;
    let sending = |body| {
        ReaderStream::with_capacity(body, READ).inspect(move |_| {
            // Taken until all is sent, or whoever asked has gone.
            let _ = &place;
        })
    };
    Ok(opened.map(|(body, size)| (size, Body::from_stream(sending(body)))))
}

/// A place among what is sent and received.
pub(crate) fn place(server: &Server) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = |_| Problem::new(ProblemCode::Busy, "too much is being sent and received");
    std::sync::Arc::clone(&server.parts.transfers).try_acquire_owned().map_err(busy)
}

/// Whether an ETag is among those of a header.
pub(crate) fn matches_any(listed: &str, etag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    listed.split(',').any(|tag| tag.trim() == "*" || bare(tag) == etag)
}

/// The one range that is asked for. More than one, and units that are not known, are answered with the whole, as is what has changed.
fn asked_range(asked: &HeaderMap, etag: &str, size: u64) -> Result<Option<Range<u64>>, Problem> {
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|tag| tag != etag) {
        return Ok(None);
    }
    let Some(range) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else { return Ok(None) };
    let number = |digits: &str| digits.trim().parse::<u64>().ok();
    let range = match (number(first), number(last)) {
        (Some(first), None) if last.trim().is_empty() => first..size,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (None, Some(count)) if first.trim().is_empty() && count > 0 => size.saturating_sub(count)..size,
        (None, Some(_)) if first.trim().is_empty() => size..size,
        _ => return Ok(None),
    };
    if range.is_empty() {
        let detail = format!("there are {size} bytes");
        return Err(Problem::new(ProblemCode::RangeNotSatisfiable, detail));
    }
    Ok(Some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(header::HeaderName, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn ranges_are_understood_as_rfc_9110_has_them() {
        for (range, expected) in [
            ("bytes=0-", Some(0..10)),
            ("bytes=3-5", Some(3..6)),
            ("bytes=3-99", Some(3..10)),
            ("bytes=-4", Some(6..10)),
            ("bytes=-40", Some(0..10)),
            ("bytes=0-1,4-5", None),
            ("bytes=5-3", None),
            ("lines=1-2", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(
                asked_range(&asked(&[(header::RANGE, range)]), "\"x\"", 10).unwrap(),
                expected,
                "{range}"
            );
        }
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=18446744073709551615-"] {
            assert!(asked_range(&asked(&[(header::RANGE, range)]), "\"x\"", 10).is_err(), "{range}");
        }
        let with = |tag| asked(&[(header::RANGE, "bytes=3-"), (header::IF_RANGE, tag)]);
        assert_eq!(asked_range(&with("\"x\""), "\"x\"", 10).unwrap(), Some(3..10));
        assert_eq!(asked_range(&with("\"y\""), "\"x\"", 10).unwrap(), None);
    }
}
