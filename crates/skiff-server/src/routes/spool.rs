//! Receiving what is sent.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use skiff_protocol::{Problem, ProblemCode};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Refusal, refuse};
use crate::{Server, ServerError};

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
