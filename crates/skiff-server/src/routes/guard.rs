//! What every request passes.

use std::any::Any;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use skiff_protocol::{Problem, ProblemCode};
use tower_http::catch_panic::CatchPanicLayer;

use super::answer::Refusal;
use crate::metrics;
use crate::{Server, ServerError};

/// Answers in time.
pub(crate) async fn limit_time(State(server): State<Server>, request: Request, next: Next) -> Response {
    let limit = server.parts.limits.request_timeout;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal(Problem::new(ProblemCode::TimedOut, format!("it took more than {limit:?}")))
            .into_response(),
    }
}

/// Refuses what is too much at once, instead of letting it wait.
pub(crate) async fn limit_requests(State(server): State<Server>, request: Request, next: Next) -> Response {
    match server.parts.requests.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => Refusal(Problem::new(ProblemCode::Busy, "too many requests are under way")).into_response(),
    }
}

/// What changes something is done to its end, whether whoever asked waits for that or not: else what is done once it is noted, such as
/// telling those who poll, would not be.
pub(crate) async fn to_the_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Refusal::from(ServerError::GoingDown).into_response(),
    }
}

/// Counts requests by their routes.
pub(crate) async fn count(State(server): State<Server>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    // Any token may be a method: each that is not known would be one more number to be kept for ever.
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let response = next.run(request).await;
    let status = response.status().as_u16();
    tracing::debug!(%method, %route, status, "answered");
    server.parts.metrics.requests.get_or_create(&metrics::Request { route, method, status }).inc();
    response
}

/// A defect in one request is answered, and ends no other.
pub(crate) fn catch_panics() -> CatchPanicLayer<fn(Box<dyn Any + Send + 'static>) -> Response> {
    CatchPanicLayer::custom(panicked as fn(_) -> _)
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let what =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = what.unwrap_or("without words"), "a request panicked");
    Refusal(Problem::new(ProblemCode::Internal, "the server has a defect that this request shows"))
        .into_response()
}
