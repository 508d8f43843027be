//! Fleets, devices and releases, for administrators.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use futures_util::StreamExt as _;
use serde::Deserialize;
use skiff_protocol::{
    Device, Fleet, FleetTarget, Move, Name, NewDevice, NewFleet, NewRelease, NewToken, Problem, ProblemCode,
    Release, Variables,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Answered, Refusal, refuse};
use super::caller::Administrator;
use super::input::{Asked, At, Sent};
use crate::book::{Book, remove};
use crate::clock::now;
use crate::database::Change;
use crate::objects::blocking;
use crate::record::{DeviceRecord, FleetRecord, Record as _, Role, TokenRecord};
use crate::{Server, ServerError, tokens};

fn fleet_of(book: &Book, record: &FleetRecord) -> Fleet {
    let FleetRecord { name, target, created, .. } = record.clone();
    let devices = book.devices_of(&name).count() as u64;
    Fleet { name, target, created, devices }
}

fn device_of(record: &DeviceRecord) -> Device {
    let DeviceRecord { name, fleet, created, status, .. } = record.clone();
    Device { name, fleet, created, status }
}

pub(crate) fn known_fleet<'b>(book: &'b Book, name: &Name) -> Result<&'b FleetRecord, Problem> {
    let missing = || Problem::new(ProblemCode::NotFound, format!("there is no fleet {name}"));
    book.fleets.get(name).ok_or_else(missing)
}

pub(crate) fn known_device<'b>(book: &'b Book, name: &Name) -> Result<&'b DeviceRecord, Problem> {
    let missing = || Problem::new(ProblemCode::NotFound, format!("there is no device {name}"));
    book.devices.get(name).ok_or_else(missing)
}

/// Changes the book beside what answers.
pub(crate) async fn change<T: Send + 'static>(
    server: &Server,
    decide: impl FnOnce(&Book) -> Result<(Vec<Change>, T), Problem> + Send + 'static,
) -> Result<T, ServerError> {
    let books = Arc::clone(&server.parts.books);
    blocking(move || books.change(decide)).await
}

/// Every fleet.
#[utoipa::path(get, path = "/v1/fleets", tag = "administrators", security(("token" = [])), responses(
    (status = 200, description = "The fleets, by name", body = Vec<Fleet>),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn fleets(State(server): State<Server>, _: Administrator) -> Json<Vec<Fleet>> {
    let book = server.parts.books.read();
    Json(book.fleets.values().map(|fleet| fleet_of(&book, fleet)).collect())
}

/// Makes a fleet.
#[utoipa::path(post, path = "/v1/fleets", tag = "administrators", security(("token" = [])), request_body = NewFleet, responses(
    (status = 201, description = "It is made", body = Fleet),
    (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn new_fleet(
    State(server): State<Server>,
    _: Administrator,
    Sent(NewFleet { name }): Sent<NewFleet>,
) -> Answered<(StatusCode, Json<Fleet>)> {
    let fleet = change(&server, move |book| {
        if book.fleets.contains_key(&name) {
            return Err(Problem::new(ProblemCode::Conflict, format!("there is a fleet {name} already")));
        }
        let record = FleetRecord { name, target: None, created: now(), variables: Variables::new() };
        Ok((vec![record.put()], fleet_of(book, &record)))
    });
    Ok((StatusCode::CREATED, Json(fleet.await?)))
}

/// A fleet.
#[utoipa::path(get, path = "/v1/fleets/{fleet}", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path)), responses(
    (status = 200, description = "The fleet", body = Fleet),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn fleet(
    State(server): State<Server>,
    _: Administrator,
    At(name): At<Name>,
) -> Answered<Json<Fleet>> {
    let book = server.parts.books.read();
    Ok(Json(fleet_of(&book, known_fleet(&book, &name)?)))
}

/// Removes a fleet that has no devices, with its releases.
#[utoipa::path(delete, path = "/v1/fleets/{fleet}", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path)), responses(
    (status = 204, description = "It is removed"),
    (status = 409, description = "It has devices", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn remove_fleet(
    State(server): State<Server>,
    _: Administrator,
    At(name): At<Name>,
) -> Answered<StatusCode> {
    change(&server, move |book| {
        let fleet = known_fleet(book, &name)?;
        let devices = book.devices_of(&name).count();
        if devices > 0 {
            let detail = format!("it has {devices} devices: move or remove them first");
            return Err(Problem::new(ProblemCode::Conflict, detail));
        }
        let releases = book.releases_of(&name).map(remove);
        Ok((std::iter::once(remove(fleet)).chain(releases).collect(), ()))
    })
    .await?;
    server.parts.releases.sweep_beside();
    Ok(StatusCode::NO_CONTENT)
}

/// Has a fleet's devices run one of its releases: an older one, too.
#[utoipa::path(put, path = "/v1/fleets/{fleet}/target", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path)), request_body = FleetTarget, responses(
    (status = 200, description = "It is the fleet's target", body = Fleet),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn set_target(
    State(server): State<Server>,
    _: Administrator,
    At(name): At<Name>,
    Sent(FleetTarget { release }): Sent<FleetTarget>,
) -> Answered<Json<Fleet>> {
    let changed = name.clone();
    let fleet = change(&server, move |book| {
        let fleet = known_fleet(book, &name)?;
        if !book.is_of_fleet(release.0, &name) {
            let detail = format!("{release} is no release of {name} that is ready");
            return Err(Problem::new(ProblemCode::TargetUnknown, detail));
        }
        let record = FleetRecord { target: Some(release), ..fleet.clone() };
        Ok((vec![record.put()], fleet_of(book, &record)))
    })
    .await?;
    server.parts.releases.changes.tell(&changed);
    server.parts.releases.make_ahead(&changed).await;
    Ok(Json(fleet))
}

/// The devices of a fleet.
#[utoipa::path(get, path = "/v1/fleets/{fleet}/devices", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path)), responses(
    (status = 200, description = "The devices, by name", body = Vec<Device>),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn devices_of_fleet(
    State(server): State<Server>,
    _: Administrator,
    At(name): At<Name>,
) -> Answered<Json<Vec<Device>>> {
    let book = server.parts.books.read();
    known_fleet(&book, &name)?;
    Ok(Json(book.devices_of(&name).map(device_of).collect()))
}

/// Makes a device, and its token.
#[utoipa::path(post, path = "/v1/fleets/{fleet}/devices", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path)), request_body = NewDevice, responses(
    (status = 201, description = "It is made: the token is told this once", body = NewToken),
    (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn new_device(
    State(server): State<Server>,
    _: Administrator,
    At(fleet): At<Name>,
    Sent(NewDevice { name }): Sent<NewDevice>,
) -> Answered<(StatusCode, Json<NewToken>)> {
    let token = tokens::new()?;
    let digest = tokens::digest(&token);
    let device = change(&server, move |book| {
        known_fleet(book, &fleet)?;
        if let Some(other) = book.devices.get(&name) {
            let detail = format!("there is a device {name} already, in the fleet {}", other.fleet);
            return Err(Problem::new(ProblemCode::Conflict, detail));
        }
        let record = DeviceRecord {
            name: name.clone(),
            fleet,
            created: now(),
            variables: Variables::new(),
            status: None,
            bases: Vec::new(),
        };
        let token = TokenRecord { digest, role: Role::Device(name.clone()) };
        Ok((vec![record.put(), token.put()], name))
    })
    .await?;
    Ok((StatusCode::CREATED, Json(NewToken { device, token })))
}

/// Every device.
#[utoipa::path(get, path = "/v1/devices", tag = "administrators", security(("token" = [])), responses(
    (status = 200, description = "The devices, by name", body = Vec<Device>),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn devices(State(server): State<Server>, _: Administrator) -> Json<Vec<Device>> {
    Json(server.parts.books.read().devices.values().map(device_of).collect())
}

/// A device.
#[utoipa::path(get, path = "/v1/devices/{device}", tag = "administrators", security(("token" = [])), params(("device" = Name, Path)), responses(
    (status = 200, description = "The device", body = Device),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn device(
    State(server): State<Server>,
    _: Administrator,
    At(name): At<Name>,
) -> Answered<Json<Device>> {
    Ok(Json(device_of(known_device(&server.parts.books.read(), &name)?)))
}

/// The tokens of a device.
fn tokens_of<'b>(book: &'b Book, device: &'b Name) -> impl Iterator<Item = Change> + use<'b> {
    let of_device = move |(_, role): &(&String, &Role)| matches!(role, Role::Device(name) if name == device);
    let found = book.tokens.iter().filter(of_device);
    found.map(|(digest, role)| remove(&TokenRecord { digest: digest.clone(), role: role.clone() }))
}

/// Removes a device: its tokens are not known any more.
#[utoipa::path(delete, path = "/v1/devices/{device}", tag = "administrators", security(("token" = [])), params(("device" = Name, Path)), responses(
    (status = 204, description = "It is removed"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn remove_device(
    State(server): State<Server>,
    _: Administrator,
    At(name): At<Name>,
) -> Answered<StatusCode> {
    let fleet = change(&server, move |book| {
        let device = known_device(book, &name)?;
        let changes = std::iter::once(remove(device)).chain(tokens_of(book, &name)).collect();
        Ok((changes, device.fleet.clone()))
    })
    .await?;
    // Its polls end with it.
    server.parts.releases.changes.tell(&fleet);
    Ok(StatusCode::NO_CONTENT)
}

/// Moves a device to another fleet. Its own variables go with it.
#[utoipa::path(post, path = "/v1/devices/{device}/move", tag = "administrators", security(("token" = [])), params(("device" = Name, Path)), request_body = Move, responses(
    (status = 200, description = "It is moved", body = Device),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn move_device(
    State(server): State<Server>,
    _: Administrator,
    At(name): At<Name>,
    Sent(Move { fleet }): Sent<Move>,
) -> Answered<Json<Device>> {
    let (device, from) = change(&server, move |book| {
        known_fleet(book, &fleet)?;
        let device = known_device(book, &name)?;
        let record = DeviceRecord { fleet, ..book.with_what_it_runs(device.clone()) };
        Ok((vec![record.put()], (device_of(&record), device.fleet.clone())))
    })
    .await?;
    // It waits with its old fleet.
    server.parts.releases.changes.tell(&from);
    Ok(Json(device))
}

/// Makes a new token for a device. Those before are not known any more.
#[utoipa::path(post, path = "/v1/devices/{device}/token", tag = "administrators", security(("token" = [])), params(("device" = Name, Path)), responses(
    (status = 201, description = "It is made: the token is told this once", body = NewToken),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn new_token(
    State(server): State<Server>,
    _: Administrator,
    At(name): At<Name>,
) -> Answered<(StatusCode, Json<NewToken>)> {
    let token = tokens::new()?;
    let digest = tokens::digest(&token);
    let (device, fleet) = change(&server, move |book| {
        let fleet = known_device(book, &name)?.fleet.clone();
        let new = TokenRecord { digest, role: Role::Device(name.clone()) };
        let changes = tokens_of(book, &name).chain([new.put()]).collect();
        Ok((changes, (name, fleet)))
    })
    .await?;
    // Polls that the ones before hold end.
    server.parts.releases.changes.tell(&fleet);
    Ok((StatusCode::CREATED, Json(NewToken { device, token })))
}

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
    let book = server.parts.books.read();
    known_fleet(&book, &fleet)?;
    match book.releases.get(&(fleet, number)) {
        Some(release) => Ok(Json(release.clone())),
        None => refuse(ProblemCode::NotFound, format!("the fleet has no release {number}")),
    }
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

/// What is sent has to come at so many bytes a second, after a while.
const LEAST_RATE: u64 = 1 << 10;

/// What was sent, in a file that vanishes unless it is kept. It has its place among what is sent until then.
pub(crate) struct Spooled {
    pub(crate) file: tempfile::TempPath,
    _place: OwnedSemaphorePermit,
}

/// Brings a body to a file.
pub(crate) async fn spool(server: &Server, body: Body, limit: u64) -> Result<Spooled, Refusal> {
    let place = super::transfer::place(server)?;
    let directory = server.parts.images.spool();
    let made =
        tempfile::NamedTempFile::new_in(directory).map_err(ServerError::io("making a file in", directory))?;
    let (file, path) = made.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut stream = body.into_data_stream();
    let mut count = 0_u64;
    let idle = server.parts.limits.idle_timeout;
    let started = tokio::time::Instant::now();
    loop {
        // As long as bytes come at the least rate; each byte by itself would hold a place for ever.
        let late = started + idle + Duration::from_secs(count / LEAST_RATE);
        let next = tokio::time::timeout_at(late.min(tokio::time::Instant::now() + idle), stream.next()).await;
        let Ok(next) = next else {
            let detail =
                format!("nothing came for {idle:?}, or less than {LEAST_RATE} bytes a second in all");
            return refuse(ProblemCode::TimedOut, detail);
        };
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| Problem::new(ProblemCode::BadRequest, error.to_string()))?;
        count = count.saturating_add(chunk.len() as u64);
        if count > limit {
            return refuse(ProblemCode::TooLarge, format!("{limit} bytes are taken at most"));
        }
        file.write_all(&chunk).await.map_err(ServerError::io("writing in", directory))?;
    }
    // Else the error of the last write would be nobody's.
    file.flush().await.map_err(ServerError::io("writing in", directory))?;
    file.sync_all().await.map_err(ServerError::io("writing in", directory))?;
    Ok(Spooled { file: path, _place: place })
}
