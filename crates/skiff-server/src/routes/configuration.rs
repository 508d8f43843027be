//! Configuration variables of fleets and devices.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skiff_protocol::{MAX_VARIABLES, Name, Problem, ProblemCode, VariableName, Variables};

use super::admin::{change, known_device, known_fleet};
use super::answer::Answered;
use super::caller::Administrator;
use super::input::{At, Sent};
use crate::Server;
use crate::record::{DeviceRecord, FleetRecord, Record as _};

/// The value of a variable.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewValue {
    /// What it becomes.
    #[schema(max_length = 4096, pattern = r"^[^\x00]*$")]
    value: String,
}

fn set(variables: &Variables, name: VariableName, value: String) -> Result<Variables, Problem> {
    let mut variables = variables.clone();
    let set = variables.set(name, value);
    set.map_err(|error| Problem::new(ProblemCode::BadVariable, error.to_string()))?;
    if variables.len() > MAX_VARIABLES {
        let detail = format!("there may be {MAX_VARIABLES} variables");
        return Err(Problem::new(ProblemCode::BadVariable, detail));
    }
    Ok(variables)
}

fn removed(variables: &Variables, name: &VariableName) -> Result<Variables, Problem> {
    let mut variables = variables.clone();
    if !variables.remove(name) {
        return Err(Problem::new(ProblemCode::NotFound, format!("{name} is not set here")));
    }
    Ok(variables)
}

/// The variables of a fleet.
#[utoipa::path(get, path = "/v1/fleets/{fleet}/configuration", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path)), responses(
    (status = 200, description = "The variables", body = Variables),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn of_fleet(
    State(server): State<Server>,
    _: Administrator,
    At(fleet): At<Name>,
) -> Answered<Json<Variables>> {
    Ok(Json(known_fleet(&server.parts.books.read(), &fleet)?.variables.clone()))
}

/// Sets a variable of a fleet.
#[utoipa::path(put, path = "/v1/fleets/{fleet}/configuration/{variable}", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path), ("variable" = VariableName, Path)), request_body = NewValue, responses(
    (status = 204, description = "It is set"),
    (status = 422, description = "It cannot have this value", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn set_of_fleet(
    State(server): State<Server>,
    _: Administrator,
    At((fleet, name)): At<(Name, VariableName)>,
    Sent(NewValue { value }): Sent<NewValue>,
) -> Answered<StatusCode> {
    change_fleet(&server, fleet, move |variables| set(variables, name, value)).await
}

/// Removes a variable of a fleet.
#[utoipa::path(delete, path = "/v1/fleets/{fleet}/configuration/{variable}", tag = "administrators", security(("token" = [])), params(("fleet" = Name, Path), ("variable" = VariableName, Path)), responses(
    (status = 204, description = "It is removed"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn remove_of_fleet(
    State(server): State<Server>,
    _: Administrator,
    At((fleet, name)): At<(Name, VariableName)>,
) -> Answered<StatusCode> {
    change_fleet(&server, fleet, move |variables| removed(variables, &name)).await
}

/// The variables of a device: its own, without those of its fleet.
#[utoipa::path(get, path = "/v1/devices/{device}/configuration", tag = "administrators", security(("token" = [])), params(("device" = Name, Path)), responses(
    (status = 200, description = "The variables", body = Variables),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn of_device(
    State(server): State<Server>,
    _: Administrator,
    At(device): At<Name>,
) -> Answered<Json<Variables>> {
    Ok(Json(known_device(&server.parts.books.read(), &device)?.variables.clone()))
}

/// Sets a variable of a device.
#[utoipa::path(put, path = "/v1/devices/{device}/configuration/{variable}", tag = "administrators", security(("token" = [])), params(("device" = Name, Path), ("variable" = VariableName, Path)), request_body = NewValue, responses(
    (status = 204, description = "It is set"),
    (status = 422, description = "It cannot have this value", body = Problem, content_type = "application/problem+json"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn set_of_device(
    State(server): State<Server>,
    _: Administrator,
    At((device, name)): At<(Name, VariableName)>,
    Sent(NewValue { value }): Sent<NewValue>,
) -> Answered<StatusCode> {
    change_device(&server, device, move |variables| set(variables, name, value)).await
}

/// Removes a variable of a device.
#[utoipa::path(delete, path = "/v1/devices/{device}/configuration/{variable}", tag = "administrators", security(("token" = [])), params(("device" = Name, Path), ("variable" = VariableName, Path)), responses(
    (status = 204, description = "It is removed"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn remove_of_device(
    State(server): State<Server>,
    _: Administrator,
    At((device, name)): At<(Name, VariableName)>,
) -> Answered<StatusCode> {
    change_device(&server, device, move |variables| removed(variables, &name)).await
}

async fn change_fleet(
    server: &Server,
    fleet: Name,
    edit: impl FnOnce(&Variables) -> Result<Variables, Problem> + Send + 'static,
) -> Answered<StatusCode> {
    let changed = fleet.clone();
    change(server, move |book| {
        let fleet = known_fleet(book, &fleet)?;
        let record = FleetRecord { variables: edit(&fleet.variables)?, ..fleet.clone() };
        Ok((vec![record.put()], ()))
    })
    .await?;
    server.parts.releases.changes.tell(&changed);
    Ok(StatusCode::NO_CONTENT)
}

async fn change_device(
    server: &Server,
    device: Name,
    edit: impl FnOnce(&Variables) -> Result<Variables, Problem> + Send + 'static,
) -> Answered<StatusCode> {
    let fleet = change(server, move |book| {
        let device = known_device(book, &device)?;
        let record = DeviceRecord { variables: edit(&device.variables)?, ..device.clone() };
        Ok((vec![record.put()], device.fleet.clone()))
    })
    .await?;
    server.parts.releases.changes.tell(&fleet);
    Ok(StatusCode::NO_CONTENT)
}
