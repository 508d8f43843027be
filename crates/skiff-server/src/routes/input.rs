//! What requests say, taken apart; what cannot be is refused as everything else is.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use skiff_protocol::{Problem, ProblemCode};

use super::answer::Refusal;

/// A body of JSON.
pub(crate) struct Sent<T>(pub(crate) T);

/// Parts of the path.
pub(crate) struct At<T>(pub(crate) T);

/// The query.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Json(value) = Json::from_request(request, state).await.map_err(|error| {
            let code = super::answer::code_of(error.status());
            Problem::new(code, error.body_text())
        })?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        // What is no name cannot be the name of anything.
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new(ProblemCode::NotFound, error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new(ProblemCode::BadRequest, error.body_text()))?;
        Ok(Self(value))
    }
}
