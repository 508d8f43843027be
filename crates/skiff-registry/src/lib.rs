//! Images and deltas in OCI registries: fetched, stored and found.
//!
//! A [`Reference`] says where an image is, and [`Client::fetch`] brings it into a [`Layout`] on disk, from which
//! [`skiff_image`] reads it. Blocking, without an async runtime.

mod artifacts;
mod auth;
mod client;
mod credentials;
mod delta;
mod documents;
mod download;
mod error;
mod fetch;
mod layout;
mod options;
mod reference;
mod retry;
mod session;
mod upload;
mod url;

pub use artifacts::{FoundDelta, ListedBy, NewDelta, PulledDelta, PushedDelta};
pub use client::Client;
pub use credentials::{Credentials, Login};
pub use delta::{DELTA_TYPE, DeltaInfo};
pub use error::{ErrorClass, RegistryError};
pub use fetch::{Fetched, Resolved};
pub use layout::Layout;
pub use options::{ClientOptions, Limits, Retries, Timeouts, Transport};
pub use reference::{Reference, Repository, Version};
