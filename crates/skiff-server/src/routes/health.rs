//! How the server is.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::Answered;
use crate::{Server, ServerError};

/// Whether it is up.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "It is up", content_type = "text/plain")))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// What is counted, for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "Metrics in the OpenMetrics format", content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(server): State<Server>) -> Answered<Response> {
    let text = server.parts.metrics.text().map_err(|error| ServerError::Internal(error.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, kind)], text).into_response())
}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, description = "The description", content_type = "application/json")))]
pub(crate) async fn openapi(State(server): State<Server>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], server.description().to_owned())
}
