//! Images, by the distribution protocol of OCI: only to be read.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use skiff_image::BlobDigest;
use skiff_protocol::{Name, Problem, ProblemCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answered, Refusal, refuse};
use super::caller::Caller;
use super::input::At;
use super::transfer::{Kept, send};
use crate::Server;
use crate::book::ready;
use crate::images::blobs;
use crate::record::ImageRecord;
use crate::releases::{by_manifest, by_tag};

pub(crate) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::new()
        .routes(routes!(version))
        .routes(routes!(tags))
        .routes(routes!(manifest))
        .routes(routes!(blob))
}

const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The tags of a repository.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Tags {
    /// The repository.
    name: Name,
    /// Its tags: numbers of releases, and `latest`.
    tags: Vec<String>,
}

/// Whether this is a registry that the token is known to.
#[utoipa::path(get, path = "/v2/", tag = "images", security(("token" = [])), responses(
    (status = 200, description = "It is", content_type = "application/json", headers(("docker-distribution-api-version" = String))),
    (status = 401, description = "No token that is known", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn version(_: Caller) -> impl axum::response::IntoResponse {
    ([(VERSION, "registry/2.0")], Json(serde_json::json!({})))
}

fn may_see(caller: &Caller, fleet: &Name) -> Result<(), Refusal> {
    if caller.may_see(fleet) {
        return Ok(());
    }
    // Whether there is such a fleet is none of its business.
    refuse(ProblemCode::NotFound, format!("there is no repository {fleet}"))
}

/// The tags of a fleet's images.
#[utoipa::path(get, path = "/v2/{fleet}/tags/list", tag = "images", security(("token" = [])), params(("fleet" = Name, Path)), responses(
    (status = 200, description = "The tags", body = Tags),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn tags(
    State(server): State<Server>,
    caller: Caller,
    At(fleet): At<Name>,
) -> Answered<Json<Tags>> {
    may_see(&caller, &fleet)?;
    let book = server.parts.books.read();
    let Some(record) = book.fleets.get(&fleet) else {
        return refuse(ProblemCode::NotFound, format!("there is no repository {fleet}"));
    };
    let ready = book.releases_of(&fleet).filter(|release| ready(release).is_some());
    let mut tags: Vec<String> = ready.map(|release| release.number.to_string()).collect();
    tags.extend(record.target.map(|_| "latest".into()));
    Ok(Json(Tags { name: fleet, tags }))
}

/// The manifest of an image, by its tag or digest.
#[utoipa::path(get, path = "/v2/{fleet}/manifests/{reference}", tag = "images", security(("token" = [])), params(("fleet" = Name, Path), ("reference" = String, Path),
    ("range" = Option<String>, Header, description = "`bytes=FIRST-[LAST]`, which part: one only"),
    ("if-none-match" = Option<String>, Header, description = "The ETag of what is there")), responses(
    (status = 200, description = "The manifest", content_type = "application/vnd.oci.image.manifest.v1+json", headers(("etag" = String), ("docker-content-digest" = String))),
    (status = 206, description = "The part of it that `Range` asked for", content_type = "application/vnd.oci.image.manifest.v1+json", headers(("etag" = String), ("docker-content-digest" = String))),
    (status = 304, description = "It is as the ETag has it", headers(("etag" = String))),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn manifest(
    State(server): State<Server>,
    caller: Caller,
    At((fleet, reference)): At<(Name, String)>,
    method: Method,
    headers: HeaderMap,
) -> Answered<Response> {
    may_see(&caller, &fleet)?;
    let found: Option<ImageRecord> = {
        let book = server.parts.books.read();
        let found = match reference.strip_prefix("sha256:") {
            Some(digits) => by_manifest(&book, &fleet, digits),
            None => by_tag(&book, &fleet, &reference),
        };
        found.cloned()
    };
    let Some(image) = found else {
        return refuse(ProblemCode::NotFound, format!("{fleet} has no image {reference}"));
    };
    let digest = BlobDigest::from_bytes(*image.manifest.0.as_bytes());
    let size = image.manifest_bytes;
    send_blob(
        &server,
        (&method, &headers),
        (&digest, size, &image.media_type),
        reference.starts_with("sha256:"),
    )
    .await
}

/// A layer, config or manifest of an image.
#[utoipa::path(get, path = "/v2/{fleet}/blobs/{digest}", tag = "images", security(("token" = [])), params(("fleet" = Name, Path), ("digest" = String, Path),
    ("range" = Option<String>, Header, description = "`bytes=FIRST-[LAST]`, which part: one only"),
    ("if-none-match" = Option<String>, Header, description = "The ETag of what is there")), responses(
    (status = 200, description = "The blob", body = Vec<u8>, content_type = "application/octet-stream", headers(("etag" = String), ("docker-content-digest" = String))),
    (status = 206, description = "The part of it that `Range` asked for", body = Vec<u8>, content_type = "application/octet-stream", headers(("etag" = String), ("docker-content-digest" = String))),
    (status = 304, description = "It is as the ETag has it", headers(("etag" = String))),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn blob(
    State(server): State<Server>,
    caller: Caller,
    At((fleet, digest)): At<(Name, String)>,
    method: Method,
    headers: HeaderMap,
) -> Answered<Response> {
    may_see(&caller, &fleet)?;
    let unknown = || Problem::new(ProblemCode::NotFound, format!("{fleet} has no blob {digest}"));
    let digest: BlobDigest = digest.parse().map_err(|_| unknown())?;
    let is_there = {
        let book = server.parts.books.read();
        let mut images = book.releases_of(&fleet).filter_map(ready).filter_map(|id| book.images.get(&id));
        images.any(|image| blobs(image).any(|blob| blob == digest))
    };
    let size = if is_there { server.parts.objects.size(&digest.blob_name()).await? } else { None };
    let size = size.ok_or_else(unknown)?;
    send_blob(&server, (&method, &headers), (&digest, size, "application/octet-stream"), true).await
}

async fn send_blob(
    server: &Server,
    asked: (&Method, &HeaderMap),
    (digest, size, content_type): (&BlobDigest, u64, &str),
    is_for_ever: bool,
) -> Answered<Response> {
    let (name, digest) = (digest.blob_name(), digest.to_string());
    let kept = Kept { name: &name, size, digest: &digest, content_type, is_for_ever, kind: "image" };
    let gone = || Problem::new(ProblemCode::NotFound, format!("the blob {digest} was removed meanwhile"));
    let sent = send(server, asked, &kept).await?.ok_or_else(gone)?;
    let told = HeaderValue::from_str(&digest).unwrap_or(HeaderValue::from_static(""));
    Ok(([(DIGEST, told)], sent).into_response())
}
