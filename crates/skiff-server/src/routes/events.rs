//! What happens, as it happens.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream;
use skiff_protocol::{Event, Problem, ProblemCode};
use tokio::sync::broadcast::error::RecvError;

use super::answer::Answered;
use super::caller::Administrator;
use crate::Server;

/// What happens, as it happens: events of devices, releases and deltas.
#[utoipa::path(get, path = "/v1/events", tag = "administrators", security(("token" = [])), responses(
    (status = 200, description = "A stream of events, each of them JSON", body = Event, content_type = "text/event-stream"),
    (status = 401, description = "No token that is known", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "No administrator's token", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many listen", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn events(
    State(server): State<Server>,
    _: Administrator,
) -> Answered<Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>>> {
    let permit = hold(&server)?;
    let listener = server.parts.events.subscribe();
    let state = (server, listener, permit);
    let events = stream::unfold(state, async |(server, mut listener, permit)| {
        let event = tokio::select! {
            event = listener.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Lagged(events)) => Event::Missed { events },
                Err(RecvError::Closed) => return None,
            },
            () = server.parts.going_down() => return None,
        };
        let event = sse::Event::default().json_data(&event).ok()?;
        Some((Ok(event), (server, listener, permit)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(20))))
}

/// Counts among what is held, for as long as it lives.
pub(crate) struct Held {
    _permit: tokio::sync::OwnedSemaphorePermit,
    gauge: prometheus_client::metrics::gauge::Gauge,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A place among what is held.
pub(crate) fn hold(server: &Server) -> Answered<Held> {
    let busy = |_| Problem::new(ProblemCode::Busy, "too many polls are held");
    let permit = std::sync::Arc::clone(&server.parts.polls).try_acquire_owned().map_err(busy)?;
    let gauge = server.parts.metrics.polls.clone();
    gauge.inc();
    Ok(Held { _permit: permit, gauge })
}
