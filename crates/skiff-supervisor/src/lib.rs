//! A device's policy: asks for deltas, resumes, retries, falls back to the pull, runs releases and rolls them back.

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
pub use options::{Health, OnExit, Options};
pub use policy::{Again, Failure, POLICY, Retries, Rule, Then};
pub use runner::{
    Access, Bind, CommandOptions, CommandRunner, Network, Output, RootAccess, RunState, RuncOptions,
    RuncRunner, Runnable, Runner, RunnerError,
};
pub use supervisor::{Checked, Parts, Supervisor};
