//! Deltas on request: fleets, devices, releases and configuration behind one HTTP router that a server project mounts.
//!
//! A [`Server`] keeps images and makes the deltas between them, once for each pair however many devices ask, and ahead of their
//! asking where it knows what they run. Devices ask it what they shall run, get deltas, or pull images by the distribution
//! protocol of OCI. What is said is described in [`skiff_protocol`] and by [`Server::openapi`].
//!
//! ```
//! # let data = tempfile::tempdir()?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! use skiff_server::{Options, Server};
//!
//! let server = Server::open(Options::new(&data)).await?;
//! let token = server.new_administrator().await?;
//! println!("the administrator's token, which is shown this once: {token}");
//!
//! // Served alone, or as a part of another router.
//! let app = axum::Router::new().nest("/updates", server.router());
//! # if false {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8600").await.unwrap();
//! skiff_server::serve(listener, app, skiff_server::Connections::default(), std::future::pending()).await.unwrap();
//! # }
//! # server.shut_down();
//! # Ok::<(), skiff_server::ServerError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | it keeps | where |
//! |---|---|
//! | fleets, devices, releases, variables, digests of tokens | in SQLite, or behind [`Database`] |
//! | images, trees, deltas, signatures | in a directory, or in any store that [`object_store`] knows |
//! | what it works with | in the directory `spool`, gone with the process |

mod book;
mod clock;
mod copies;
mod database;
mod deltas;
mod encode;
mod error;
mod held;
mod images;
mod kept;
mod metrics;
mod objects;
mod options;
mod progress;
mod record;
mod releases;
mod resign;
mod routes;
mod serve;
mod server;
mod signatures;
mod sweep;
mod tokens;
mod variant;

pub use database::{Change, Database, Loader, Sqlite, Table};
pub use error::{DatabaseError, ServerError};
pub use options::{BeforeEach, Options};
pub use serve::{Connections, serve};
pub use server::Server;
