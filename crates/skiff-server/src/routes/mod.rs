//! What is asked over HTTP, and answered.

mod admin;
mod answer;
mod caller;
mod configuration;
mod delta;
mod description;
mod device;
mod distribution;
mod events;
mod guard;
mod health;
mod input;
mod release;
mod spool;
mod transfer;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Server;

/// The longest body of a request that is JSON, in bytes.
const JSON_BYTES: usize = 64 << 10;

/// All routes, and their description.
pub(crate) fn router(server: &Server) -> (Router, OpenApi) {
    let quick = OpenApiRouter::with_openapi(description::begun())
        .routes(routes!(admin::fleets, admin::new_fleet))
        .routes(routes!(admin::fleet, admin::remove_fleet))
        .routes(routes!(admin::set_target))
        .routes(routes!(admin::devices_of_fleet, admin::new_device))
        .routes(routes!(admin::devices))
        .routes(routes!(admin::device, admin::remove_device))
        .routes(routes!(admin::move_device))
        .routes(routes!(admin::new_token))
        .routes(routes!(release::releases))
        .routes(routes!(release::release, release::remove_release))
        .routes(routes!(configuration::of_fleet))
        .routes(routes!(configuration::set_of_fleet, configuration::remove_of_fleet))
        .routes(routes!(configuration::of_device))
        .routes(routes!(configuration::set_of_device, configuration::remove_of_device))
        .routes(routes!(device::status))
        .routes(routes!(delta::delta))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi))
        .merge(distribution::routes())
        .layer(DefaultBodyLimit::max(JSON_BYTES))
        .layer(from_fn_with_state(server.clone(), guard::limit_time))
        .layer(from_fn_with_state(server.clone(), guard::limit_requests));
    let held = OpenApiRouter::new().routes(routes!(device::target)).routes(routes!(events::events));
    let sent = OpenApiRouter::new()
        .routes(routes!(release::new_release))
        .routes(routes!(delta::sign))
        // What is sent has places of its own: slow senders take none of those that everything else needs.
        .layer(DefaultBodyLimit::disable());
    let (router, mut api) = quick
        .merge(held)
        .merge(sent)
        // Asked most where all else is refused.
        .routes(routes!(health::healthz))
        .layer(from_fn(guard::to_the_end))
        .layer(from_fn_with_state(server.clone(), guard::count))
        .split_for_parts();
    description::complete(&mut api);
    let router = router.with_state(server.clone());
    (router.layer(guard::catch_panics()).layer(from_fn(answer::as_problems)), api)
}
