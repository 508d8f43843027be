//! Fleets and devices, for administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use skiff_protocol::{
    Device, Fleet, FleetTarget, Move, Name, NewDevice, NewFleet, NewToken, Problem, ProblemCode, Variables,
};

use super::answer::Answered;
use super::caller::Administrator;
use super::input::{At, Sent};
use crate::book::{Book, ready, remove};
use crate::clock::now;
use crate::database::Change;
use crate::objects::blocking;
use crate::record::{DeviceRecord, FleetRecord, Record as _, Role, TokenRecord};
use crate::{Server, ServerError, tokens};

fn fleet_of(book: &Book, record: &FleetRecord) -> Fleet {
    let FleetRecord { name, target, created, .. } = record.clone();
    let devices = book.devices_of(&name).count() as u64;
    let mut releases = book.releases_of(&record.name).rev();
    let target_number = target.and_then(|target| releases.find(|release| ready(release) == Some(target.0)));
    let target_number = target_number.map(|release| release.number);
    Fleet { name, target, target_number, created, devices }
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
        let record =
            FleetRecord { name, target: None, created: now(), variables: Variables::new(), numbered: 0 };
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
