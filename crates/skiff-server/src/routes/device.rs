//! What devices are told, and tell.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use skiff_protocol::{
    Event, ImageDigest, ImageSource, Phase, Problem, ProblemCode, Report, Status, Target, Text, effective,
};

use super::admin::{change, known_device, known_fleet};
use super::answer::{Answered, refuse};
use super::caller::DeviceCaller;
use super::events::hold;
use super::input::{Asked, Sent};
use super::transfer::matches_any;
use crate::clock::now;
use crate::images::pull_bytes;
use crate::record::{DeviceRecord, Record as _};
use crate::{Server, tokens};

/// How long a poll may be held.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Poll {
    /// With `If-None-Match`: for so many seconds the answer waits for a change, instead of saying that there is none.
    #[serde(default)]
    #[param(value_type = Option<u32>, maximum = 86400)]
    wait: u64,
}

/// The longest that may be asked to wait, in seconds; the server may wait less.
const MAX_WAIT: u64 = 86_400;

/// What the device shall run, and how its supervisor shall behave.
#[utoipa::path(get, path = "/v1/device/target", tag = "devices", security(("token" = [])), params(Poll,
    ("if-none-match" = Option<String>, Header, description = "The ETag of what is known")), responses(
    (status = 200, description = "The target, with an ETag", body = Target, headers(("etag" = String))),
    (status = 304, description = "It is as the ETag has it still", headers(("etag" = String))),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many wait", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn target(
    State(server): State<Server>,
    device: DeviceCaller,
    Asked(Poll { wait }): Asked<Poll>,
    request: Request,
) -> Answered<Response> {
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let known = known.map(str::to_owned);
    // Its headers are parts of the buffer that the connection reads into: held for as long as the poll is, they would take another.
    drop(request);
    if wait > MAX_WAIT {
        return refuse(ProblemCode::BadRequest, format!("wait: {MAX_WAIT} seconds at most"));
    }
    let wait = Duration::from_secs(wait).min(server.parts.limits.poll_timeout);
    let deadline = tokio::time::Instant::now() + wait;
    let mut held = None;
    loop {
        // Before it is looked at, so that no change is missed.
        let fleet = {
            let book = server.parts.books.read();
            // It may have ended while the poll was held.
            if !book.tokens.contains_key(&device.token) {
                return refuse(ProblemCode::Unauthorized, "the token is not known any more");
            }
            known_device(&book, &device.name)?.fleet.clone()
        };
        let mut changes = server.parts.releases.changes.of(&fleet);
        let body = serde_json::to_string(&target_of(&server, &device)?)
            .map_err(|error| crate::ServerError::Internal(error.to_string()))?;
        let etag = format!("\"{}\"", tokens::digest(&body));
        let tagged =
            [(header::ETAG, HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\"")))];
        if !known.as_deref().is_some_and(|known| matches_any(known, &etag)) {
            let json = [(header::CONTENT_TYPE, "application/json")];
            return Ok((tagged, json, body).into_response());
        }
        if held.is_none() && !wait.is_zero() {
            held = Some(hold(&server)?);
        }
        // Nothing of that is kept while it waits.
        drop(body);
        let has_changed = tokio::select! {
            changed = changes.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = server.parts.going_down() => false,
        };
        if !has_changed {
            return Ok((StatusCode::NOT_MODIFIED, tagged).into_response());
        }
    }
}

fn target_of(server: &Server, device: &DeviceCaller) -> Result<Target, Problem> {
    let book = server.parts.books.read();
    let device = known_device(&book, &device.name)?;
    let fleet = known_fleet(&book, &device.fleet)?;
    let image = fleet.target.and_then(|release| book.images.get(&release.0)).map(|image| ImageSource {
        repository: fleet.name.clone(),
        manifest: Text(ImageDigest::from_bytes(*image.manifest.0.as_bytes())),
        bytes: pull_bytes(image),
    });
    Ok(Target {
        device: device.name.clone(),
        fleet: fleet.name.clone(),
        release: fleet.target,
        image,
        configuration: effective(&[&device.variables, &fleet.variables]),
    })
}

/// The longest cause that a device may tell, in bytes.
const CAUSE: usize = 4096;

/// What the device is at.
#[utoipa::path(put, path = "/v1/device/status", tag = "devices", security(("token" = [])), request_body = Report, responses(
    (status = 204, description = "It is noted"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn status(
    State(server): State<Server>,
    device: DeviceCaller,
    Sent(report): Sent<Report>,
) -> Answered<StatusCode> {
    let cause = report.outcome.as_ref().and_then(|outcome| outcome.cause.as_ref());
    if cause.is_some_and(|cause| cause.len() > CAUSE) {
        let detail = format!("a cause takes {CAUSE} bytes at most");
        return Err(Problem::new(ProblemCode::Unprocessable, detail).into());
    }
    let status = Status { at: now(), report };
    let before = known_device(&server.parts.books.read(), &device.name)?.status.clone();
    // How far a download is need not outlast the server: what the device runs does.
    let matters = |status: &Status| {
        let Report { running, outcome, capabilities, phase, .. } = status.report.clone();
        (running, outcome, capabilities, phase == Phase::Idle)
    };
    if before.as_ref().map(matters) == Some(matters(&status)) {
        server.parts.books.note(&device.name, status.clone());
    } else {
        let (name, noted) = (device.name.clone(), status.clone());
        change(&server, move |book| {
            let record = DeviceRecord { status: Some(noted), ..known_device(book, &name)?.clone() };
            Ok((vec![book.with_what_it_runs(record).put()], ()))
        })
        .await?;
    }
    // Nobody may be listening.
    let _ = server.parts.events.send(Event::Device { device: device.name, fleet: device.fleet, status });
    Ok(StatusCode::NO_CONTENT)
}
