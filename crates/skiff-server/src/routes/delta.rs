//! Deltas, and signatures of what devices run that is not known here.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use skiff_protocol::{
    DELTA_BASE_HEADER, DELTA_SIZE_HEADER, DeltaQuery, DeltaRequest, Pending, Problem, ProblemCode,
};
use skiff_tree::ReleaseId;

use super::admin::known_device;
use super::answer::{Answered, Refusal, refuse};
use super::caller::Caller;
use super::input::{Asked, At};
use super::spool::spool;
use super::transfer::{Kept, send};
use crate::clock::now;
use crate::deltas::{Answer, Wanted};
use crate::record::{DeltaRecord, Found};
use crate::variant::Variant;
use crate::{Server, ServerError};

/// How long to wait before a delta is asked for again that is being made, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");
/// What a delta is sent as.
const DELTA_TYPE: &str = "application/vnd.skiff.delta";

/// The delta to a release from one that the device runs: the smallest, where it names several.
#[utoipa::path(get, path = "/v1/deltas/{base}/{target}", tag = "devices", security(("token" = [])),
    params(("base" = String, Path, pattern = "^(sha256:)?[0-9a-fA-F]{64}$"), ("target" = String, Path, pattern = "^(sha256:)?[0-9a-fA-F]{64}$"), DeltaQuery,
        ("range" = Option<String>, Header, description = "`bytes=FIRST-[LAST]`, which part: one only"),
        ("if-range" = Option<String>, Header, description = "The ETag that the part must be of"),
        ("if-none-match" = Option<String>, Header, description = "The ETag of what is there")), responses(
    (status = 200, description = "The delta, with an ETag", body = Vec<u8>, content_type = "application/vnd.skiff.delta",
        headers(("etag" = String), ("skiff-delta-base" = String, description = "Which of the bases it is from"), ("skiff-delta-size" = u64, description = "All bytes of it"))),
    (status = 202, description = "It is being made: `Retry-After` says when to ask again", body = Pending, headers(("retry-after" = u64, description = "In so many seconds"))),
    (status = 206, description = "The part of the delta that `Range` asked for", body = Vec<u8>, content_type = "application/vnd.skiff.delta",
        headers(("etag" = String), ("content-range" = String), ("skiff-delta-base" = String), ("skiff-delta-size" = u64))),
    (status = 303, description = "It lies where `Location` says",
        headers(("location" = String), ("skiff-delta-base" = String), ("skiff-delta-size" = u64))),
    (status = 304, description = "It is as the ETag has it", headers(("etag" = String))),
    (status = 404, description = "The base or the target is not known: of a base, a signature helps", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "There is none that the device could use, or pulling is cheaper", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many wait to be made, or too many of those that the device asked for", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delta(
    State(server): State<Server>,
    caller: Caller,
    At((base, target)): At<(String, String)>,
    Asked(query): Asked<DeltaQuery>,
    method: Method,
    headers: HeaderMap,
) -> Answered<Response> {
    let request = DeltaRequest::parse(&base, &target, &query)?;
    let variant = Variant::of(&request.capabilities)?;
    let bases = known_bases(&server, &caller, &request)?;
    let (mut made, mut none): (Vec<DeltaRecord>, _) = (Vec::new(), None);
    let mut pending = None;
    for base in bases {
        match server
            .parts
            .deltas
            .ask(Wanted { base, target: request.target, variant }, caller.device().cloned())
            .await
        {
            Ok(Answer::Made(record)) => made.push(record),
            Ok(Answer::Pending(state)) => pending = Some(state),
            Ok(Answer::None(problem)) => none = Some(problem),
            // Where another base leads there too, this one does not stand in its way.
            Err(ServerError::Refused(problem)) => none = Some(problem),
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(state) = pending {
        return Ok((StatusCode::ACCEPTED, [(header::RETRY_AFTER, RETRY_AFTER)], Json(state)).into_response());
    }
    let size = |record: &DeltaRecord| match record.found {
        Found::Made { bytes, .. } => bytes,
        Found::None { .. } => u64::MAX,
    };
    match (made.into_iter().min_by_key(size), none) {
        (Some(record), _) => serve(&server, (&method, &headers), &record).await,
        (None, Some(problem)) => Err(problem.into()),
        (None, None) => refuse(ProblemCode::BaseUnknown, "none of the bases is known here"),
    }
}

/// The bases that a caller may have a delta from.
fn known_bases(server: &Server, caller: &Caller, request: &DeltaRequest) -> Result<Vec<ReleaseId>, Refusal> {
    let book = server.parts.books.read();
    let is_visible = match caller {
        Caller::Administrator => book.images.contains_key(&request.target),
        Caller::Device(device) => book.is_of_fleet(request.target, &device.fleet),
    };
    if !is_visible {
        return refuse(
            ProblemCode::TargetUnknown,
            format!("{} is no release that is ready here", request.target),
        );
    }
    // What is signed outlives the asking: a device is not to have a way back signed that nobody chose.
    if let Caller::Device(device) = caller
        && server.parts.deltas.signs()
        && book.target_of(&device.fleet) != Some(request.target)
    {
        let detail =
            "this server signs deltas, and makes them for devices only to the release that they are to run";
        return refuse(ProblemCode::TargetUnknown, detail);
    }
    let may_use = |base: &ReleaseId| match caller {
        Caller::Administrator => true,
        Caller::Device(device) => {
            book.devices.get(&device.name).is_some_and(|device| book.may_start_from(device, *base))
        }
    };
    let known: Vec<ReleaseId> =
        request.bases.iter().copied().filter(|base| may_use(base) && book.is_known(*base)).collect();
    if known.is_empty() {
        let detail = "none of the bases is a release of the fleet, one that the device ran before it came to the fleet, or one that it sent a signature of";
        return refuse(ProblemCode::BaseUnknown, detail);
    }
    Ok(known)
}

async fn serve(server: &Server, asked: (&Method, &HeaderMap), record: &DeltaRecord) -> Answered<Response> {
    let (Found::Made { bytes, digest, .. }, Some(name)) = (&record.found, record.object()) else {
        return refuse(ProblemCode::NotFound, "there is no delta");
    };
    server.parts.books.use_delta(&record.name, now());
    let text = |value: String| HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""));
    let about = [
        (HeaderName::from_static(DELTA_BASE_HEADER), text(record.base.to_string())),
        (HeaderName::from_static(DELTA_SIZE_HEADER), HeaderValue::from(*bytes)),
    ];
    if let Some(public) = &server.parts.limits.public_objects {
        let at = format!("{}/{name}", public.as_str().trim_end_matches('/'));
        return Ok((StatusCode::SEE_OTHER, about, [(header::LOCATION, text(at))]).into_response());
    }
    let kept = Kept {
        name: &name,
        size: *bytes,
        digest,
        content_type: DELTA_TYPE,
        is_for_ever: false,
        kind: "delta",
    };
    match send(server, asked, &kept).await? {
        Some(sent) => Ok((about, sent).into_response()),
        None => {
            // Collected since, or lost: it is made anew for who asks again.
            server.parts.deltas.forget(record.clone()).await?;
            refuse(ProblemCode::Busy, "the delta was removed meanwhile: ask again")
        }
    }
}

/// Takes a signature of the release that the device runs, which is not known here: deltas can be made from it then. It is not read
/// where the device may have deltas from the release already. What is kept of one device's is limited: a new one takes the place of the
/// oldest.
#[utoipa::path(put, path = "/v1/signatures/{base}", tag = "devices", security(("token" = [])),
    params(("base" = String, Path, pattern = "^(sha256:)?[0-9a-fA-F]{64}$")), request_body(content = Option<Vec<u8>>, content_type = "application/octet-stream"), responses(
    (status = 204, description = "It is kept, or not needed"),
    (status = 413, description = "It is too long", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "It is no signature, or of another release", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too much is being sent, by all or by this device", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn sign(
    State(server): State<Server>,
    caller: Caller,
    At(base): At<String>,
    request: Request,
) -> Answered<StatusCode> {
    let base: ReleaseId = base.parse().map_err(|error: skiff_tree::DigestParseError| {
        Problem::new(ProblemCode::NotFound, error.to_string())
    })?;
    if !is_needed(&server, &caller, base)? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let sending = server.parts.signatures.place(caller.device().cloned())?;
    let sent = spool(&server, request.into_body(), server.parts.limits.signature_bytes).await?;
    server.parts.signatures.take(base, sent.file, sending).await?;
    server.parts.metrics.signatures.inc();
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a signature is of use that a caller sends.
fn is_needed(server: &Server, caller: &Caller, base: ReleaseId) -> Result<bool, Refusal> {
    let book = server.parts.books.read();
    let Caller::Device(device) = caller else { return Ok(!book.is_known(base)) };
    let device = known_device(&book, &device.name)?;
    if device.running() != Some(base) {
        let detail = "the device is not recorded to run this release: send its status first";
        return refuse(ProblemCode::Forbidden, detail);
    }
    Ok(!(book.is_known(base) && book.may_start_from(device, base)))
}
