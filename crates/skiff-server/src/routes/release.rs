//! Releases of fleets, for administrators.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use serde::Deserialize;
use skiff_protocol::{Name, NewRelease, Problem, ProblemCode, Release};

use super::admin::{change, known_fleet};
use super::answer::{Answered, Refusal};
use super::caller::Administrator;
use super::input::{Asked, At, Sent};
use super::spool::spool;
use crate::Server;
use crate::book::Book;

/// The releases of a fleet.
#[utoipa::path(get, path = "/v1/fleets/{fleet}/releases", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path)), responses(
    (status = 200, description = "The releases, the oldest first", body = Vec<Release>),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn releases(
    State(server): State<Server>,
    _: Administrator,
    At(fleet): At<Name>,
) -> Answered<Json<Vec<Release>>> {
    let book = server.parts.books.read();
    known_fleet(&book, &fleet)?;
    Ok(Json(book.releases_of(&fleet).cloned().collect()))
}

/// A release of a fleet.
#[utoipa::path(get, path = "/v1/fleets/{fleet}/releases/{number}", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path), ("number" = u64, Path, minimum = 0)), responses(
    (status = 200, description = "The release", body = Release),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn release(
    State(server): State<Server>,
    _: Administrator,
    At((fleet, number)): At<(Name, u64)>,
) -> Answered<Json<Release>> {
    Ok(Json(known_release(&server.parts.books.read(), &fleet, number)?.clone()))
}

/// Removes a release that failed, or that is not its fleet's target. Its number is not given again.
#[utoipa::path(delete, path = "/v1/fleets/{fleet}/releases/{number}", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path), ("number" = u64, Path, minimum = 0)), responses(
    (status = 204, description = "It is removed"),
    (status = 409, description = "It is being prepared, or the fleet's devices shall run it", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn remove_release(
    State(server): State<Server>,
    _: Administrator,
    At((fleet, number)): At<(Name, u64)>,
) -> Answered<StatusCode> {
    change(&server, move |book| {
        let release = known_release(book, &fleet, number)?;
        Ok((crate::releases::removal(book, known_fleet(book, &fleet)?, release)?, ()))
    })
    .await?;
    server.parts.releases.sweep_beside();
    Ok(StatusCode::NO_CONTENT)
}

fn known_release<'b>(book: &'b Book, fleet: &Name, number: u64) -> Result<&'b Release, Problem> {
    known_fleet(book, fleet)?;
    let missing = || Problem::new(ProblemCode::NotFound, format!("{fleet} has no release {number}"));
    book.releases.get(&(fleet.clone(), number)).ok_or_else(missing)
}

/// What goes with an image that is sent.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Upload {
    /// Which image of several that are for different platforms: `OS/ARCH[/VARIANT]`.
    platform: Option<String>,
}

/// The type of a body that is an archive.
const ARCHIVE: &str = "application/x-tar";

/// Releases an image to a fleet: one that is elsewhere, or the one that is sent, as an OCI archive.
///
/// The answer comes before the image was read: the release tells how far it is.
#[utoipa::path(post, path = "/v1/fleets/{fleet}/releases", tag = "administrators", security(("token" = [])),
    params(("fleet" = Name, Path), Upload),
    request_body(content((NewRelease = "application/json"), (Vec<u8> = "application/x-tar"))), responses(
    (status = 202, description = "It is being prepared", body = Release),
    (status = 415, description = "The body is neither JSON nor an archive", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn new_release(
    State(server): State<Server>,
    _: Administrator,
    At(fleet): At<Name>,
    Asked(Upload { platform }): Asked<Upload>,
    request: Request,
) -> Answered<(StatusCode, Json<Release>)> {
    known_fleet(&server.parts.books.read(), &fleet)?;
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let release = if kind == ARCHIVE {
        let limit = server.parts.limits.upload_bytes;
        let sent = spool(&server, request.into_body(), limit).await?;
        server.parts.releases.begin(fleet, None, (platform, Some(sent.file))).await?
    } else {
        let Sent(NewRelease { image, platform: named }) = small(&server, request).await?;
        server.parts.releases.begin(fleet, Some(image), (named.or(platform), None)).await?
    };
    Ok((StatusCode::ACCEPTED, Json(release)))
}

/// A body of JSON, where longer ones are taken of other types.
async fn small<T: serde::de::DeserializeOwned>(
    server: &Server,
    request: Request,
) -> Result<Sent<T>, Refusal> {
    let (parts, body) = request.into_parts();
    let limit = server.parts.limits.request_timeout;
    let bytes = tokio::time::timeout(limit, axum::body::to_bytes(body, super::JSON_BYTES)).await;
    let bytes =
        bytes.map_err(|_| Problem::new(ProblemCode::TimedOut, format!("it took more than {limit:?}")))?;
    let bytes = bytes.map_err(|error| Problem::new(ProblemCode::TooLarge, error.to_string()))?;
    Sent::from_request(Request::from_parts(parts, Body::from(bytes)), &()).await
}
