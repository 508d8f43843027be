//! Serving a router, with limits on everything that a client may hold.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

/// What connections keep to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connections {
    /// How many there may be; further ones wait to be accepted. Default: 120,000.
    pub count: usize,
    /// How long the head of a request may take to come. Default: 30 s, which is how long an idle connection is kept, too.
    pub head_timeout: Duration,
    /// How long a client may take nothing of what is sent. Default: 60 s.
    pub stall_timeout: Duration,
    /// How long requests that are under way may take once the server goes down. Default: 30 s.
    pub drain_timeout: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            count: 120_000,
            head_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The longest head of a request, in bytes.
const HEAD: usize = 16 << 10;

/// Serves a router as HTTP/1.1 until `down` is done, and then ends the requests that are under way. TLS is the business of what stands
/// before it.
///
/// # Errors
/// [`io::Error`] where connections cannot be accepted any more.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Connections,
    down: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(limits.count));
    let graceful = GracefulShutdown::new();
    // They end with this.
    let mut connections = JoinSet::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout).max_buf_size(HEAD);
    let mut down = std::pin::pin!(down);
    loop {
        // Those that have ended.
        while connections.try_join_next().is_some() {}
        // There are as many as are let in as long as the server lives.
        let accepting = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            (Ok(place), accepted) = accepting => match accepted {
                Ok((stream, _)) => (place, stream),
                // Out of files, or a client that has gone again: others are served still.
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut down => break,
            else => break,
        };
        // What is written is written whole.
        let _ = stream.set_nodelay(true);
        let stream = TokioIo::new(Stalling { stream, limit: limits.stall_timeout, stalled: None });
        let connection = http.serve_connection(stream, TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off that took longer than {:?} to end", limits.drain_timeout);
    }
    Ok(())
}

/// A connection that ends where a client takes nothing for too long, so that it does not hold what it was sent for ever.
struct Stalling {
    stream: TcpStream,
    limit: Duration,
    /// Since what was to be written could not be.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Stalling {
    fn check<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled =
            self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what is sent")))
    }
}

impl AsyncRead for Stalling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.check(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
