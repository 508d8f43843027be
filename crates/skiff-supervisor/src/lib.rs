//! A device's policy: asks for deltas, resumes, retries, falls back to the pull, runs releases and rolls them back.
//!
//! A [`Supervisor`] keeps a device running what its server says. It is told of a release, asks for the difference from what runs, and
//! applies it while it comes; it pulls the whole image where a delta cannot be had. Then it starts the release by its [`Runner`],
//! and keeps it once it is healthy, or goes back to the one before. What each failure leads to is one table, [`POLICY`].
//! Blocking, without an async runtime.
//!
//! | what is exchangeable | by |
//! |---|---|
//! | the way to the server | [`Fetch`]: [`HttpFetch`] |
//! | what runs releases | [`Runner`]: [`RuncRunner`], [`CommandRunner`] |
//! | who is told what goes on | a function that takes [`Event`]s, which are stable JSON lines as well |
//!
//! ```
//! use skiff_protocol::{ServerAddress, Tls, Token};
//! use skiff_supervisor::*;
//! # use skiff_testkit::{HttpAnswer, HttpServer, Image, Layer, OciLayout};
//! # let work = tempfile::tempdir()?;
//! # let (images, device) = (work.path().join("images"), work.path());
//! # let image = |text: &str| Image::new().layer(Layer::new().file("etc/motd", text)).command(&["sleep", "60"]);
//! # OciLayout::new().image("1", image("ahoy")).image("2", image("land ahoy")).write_directory(&images);
//! # let of = |tag: &str| format!("oci:{}:{tag}", images.display()).parse().unwrap();
//! # let mut delta = std::io::Cursor::new(Vec::new());
//! # let report = skiff::diff(&of("1"), &of("2"), &Default::default(), &mut delta)?;
//! # let rootless = skiff_apply::Options::rootless();
//! # skiff::install(device.join("store"), &of("1"), &rootless)?;
//! # let target = format!(r#"{{"device": "pump-1", "fleet": "pumps", "release": "{}", "image": null,
//! #     "configuration": {{"SKIFF_SUPERVISOR_DELTA": "1"}}}}"#, report.target);
//! # let server = HttpServer::start(move |request| match &request.path[..] {
//! #     "/v1/device/target" => HttpAnswer::new(200).body(target.clone()),
//! #     "/v1/device/status" => HttpAnswer::new(204),
//! #     _ => HttpAnswer::new(200).body(delta.get_ref().clone()),
//! # });
//! # let (server, token) = (format!("http://{}", server.address()), "skiff_0123");
//!
//! // `server` is such as "https://deltas.example"; `device` is a directory of the device's.
//! let address = ServerAddress::parse(&server, Tls::Required)?;
//! let parts = Parts {
//!     store: skiff_apply::Store::open(device.join("store"), &Default::default())?,
//!     fetch: Box::new(HttpFetch::new(address, Token::parse(token)?, &Default::default())?),
//!     runner: Box::new(CommandRunner::open(CommandOptions::new(device.join("run")).with_command(["sleep", "60"]))?),
//!     local: LocalVariables::new(std::env::vars()),
//!     observer: Box::new(|event| println!("{event:?}")),
//! };
//! let mut options = Options::new(device.join("state"));
//! # options.ownership = skiff_fs::Ownership::Record;
//! options.health = Health::settled_after(std::time::Duration::from_millis(100));
//! let supervisor = Supervisor::new(parts, options)?;
//!
//! // `run` does this, and goes on until it is told to end. Here, once:
//! supervisor.start(&Default::default())?;
//! assert_eq!(supervisor.check(&Default::default())?, Checked::Updated { by_delta: true });
//! supervisor.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod configuration;
mod device;
mod download;
mod error;
mod event;
mod fetch;
mod http;
mod journal;
mod keeper;
mod lock;
mod options;
mod policy;
mod runner;
mod server;
mod supervisor;
mod tell;
mod trial;
mod update;
mod work;

pub use configuration::LocalVariables;
pub use error::SupervisorError;
pub use event::Event;
pub use fetch::{Answer, Fetch, FetchError, Method, Payload, Place, Pull, Pulled, Request};
pub use http::{HttpFetch, HttpOptions};
pub use options::{Health, OnExit, Options, Signers, UnsignedPulls};
pub use policy::{Again, Failure, POLICY, Retries, Rule, Then};
pub use runner::{
    Access, Bind, CommandOptions, CommandRunner, Network, Output, RootAccess, RunState, RuncOptions,
    RuncRunner, Runnable, Runner, RunnerError,
};
pub use supervisor::{Checked, Parts, Supervisor};
pub use tell::Observer;
