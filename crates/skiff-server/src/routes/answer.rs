//! How things are answered that were not done.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use skiff_protocol::{Problem, ProblemCode};

use crate::ServerError;

/// Why something was not done, as a response.
pub(crate) struct Refusal(pub(crate) Problem);

pub(crate) type Answered<T> = Result<T, Refusal>;

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        let problem = error.problem();
        if problem.status >= 500 {
            tracing::error!(%error, "a request failed");
        }
        Self(problem)
    }
}

pub(crate) fn refuse<T>(code: ProblemCode, detail: impl Into<String>) -> Answered<T> {
    Err(Problem::new(code, detail).into())
}

/// What a problem is told as.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// How long to wait before what is too much now is asked again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let whole = problem.clone();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        match problem.code {
            ProblemCode::Busy => drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER)),
            // What clients of registries ask people for; others send what they have.
            ProblemCode::Unauthorized => {
                let challenge = HeaderValue::from_static("Basic realm=\"skiff\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response.extensions_mut().insert(whole);
        response
    }
}

/// The longest text that is taken from a response into a problem, in bytes.
const DETAIL: usize = 4096;

/// Gives every refusal the same form, wherever it came from: what was not understood, what is not there, what took too long. Where
/// clients of registries read it, it is told in their words as well.
pub(crate) async fn as_problems(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let unknown = path.starts_with("/v2").then(|| match path {
        _ if !request.method().is_safe() => "UNSUPPORTED",
        path if path.contains("/manifests/") => "MANIFEST_UNKNOWN",
        path if path.contains("/blobs/") => "BLOB_UNKNOWN",
        _ => "NAME_UNKNOWN",
    });
    let asked = format!("{} {path}", request.method());
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None => {
            let bytes = to_bytes(body, DETAIL).await.unwrap_or_default();
            let detail = match status {
                // The router has no words.
                StatusCode::NOT_FOUND if bytes.is_empty() => {
                    format!("{asked}: there is no such path; GET /v1/openapi.json tells which there are")
                }
                StatusCode::METHOD_NOT_ALLOWED if bytes.is_empty() => {
                    format!("{asked}: the path is there, and takes the methods that Allow names")
                }
                _ => String::from_utf8_lossy(&bytes).into_owned(),
            };
            Problem::new(code_of(status), detail)
        }
    };
    let mut told = serde_json::json!(problem);
    if let Some(unknown) = unknown {
        told["errors"] = serde_json::json!([{ "code": distribution_code(problem.code, unknown), "message": problem.detail }]);
    }
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.status = StatusCode::from_u16(problem.status).unwrap_or(status);
    Response::from_parts(parts, Body::from(told.to_string()))
}

pub(crate) fn code_of(status: StatusCode) -> ProblemCode {
    match status {
        StatusCode::UNAUTHORIZED => ProblemCode::Unauthorized,
        StatusCode::FORBIDDEN => ProblemCode::Forbidden,
        StatusCode::NOT_FOUND => ProblemCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ProblemCode::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT => ProblemCode::TimedOut,
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemCode::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => ProblemCode::Unprocessable,
        StatusCode::SERVICE_UNAVAILABLE => ProblemCode::Busy,
        status if status.is_client_error() => ProblemCode::BadRequest,
        _ => ProblemCode::Internal,
    }
}

/// The code that the distribution specification has for it.
fn distribution_code(code: ProblemCode, unknown: &'static str) -> &'static str {
    match code {
        ProblemCode::Unauthorized => "UNAUTHORIZED",
        ProblemCode::Forbidden => "DENIED",
        ProblemCode::NotFound => unknown,
        ProblemCode::Busy => "TOOMANYREQUESTS",
        _ => "UNSUPPORTED",
    }
}
