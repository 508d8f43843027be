//! Images and deltas in OCI registries: fetched, stored and found.
//!
//! A [`Reference`] says where an image is, and [`Client::fetch`] brings it into a [`Layout`] on disk, from which
//! [`skiff_image`] reads it. [`Client::push_delta`] puts a delta beside the image that it leads to, where [`Client::find_deltas`] finds
//! it, and [`Client::pull_delta`] fetches it. `doc/registry.md` defines how deltas are kept. Blocking, without an async runtime.
//!
//! | | |
//! |---|---|
//! | whom to trust | TLS unless something else is asked for ([`Transport`]); the system's authorities and one's own; every digest and size is checked |
//! | who asks | [`Credentials`], for each registry apart: names and passwords, tokens, docker's `config.json` |
//! | what fails | is tried again a few times ([`Retries`]), and goes on where it was: by ranges, and by the status of uploads |
//! | what it costs | is bounded by [`Limits`] and [`Timeouts`], and ended through a [`Control`](skiff_fs::Control) |
//!
//! ```
//! use skiff_registry::{Client, ClientOptions, Layout, Reference, Transport};
//! # use skiff_testkit::{Image, OciLayout, RegistryOptions, TestRegistry};
//! # let directory = tempfile::tempdir()?;
//! # let image = Image::new().layer(skiff_testkit::Layer::new().file("etc/motd", b"ahoy"));
//! # let registry = TestRegistry::start(RegistryOptions::default());
//! # registry.put_layout("app", &OciLayout::new().image("1.1", image));
//! # let (image, directory) = (format!("docker://{}/app:1.1", registry.address()), directory.path().join("images"));
//!
//! // `image` is such as "docker://registry.example/app:1.1". This registry speaks plain HTTP, which has to be asked for.
//! let client = Client::new(ClientOptions::default().with_transport(Transport::Plain))?;
//! let reference: Reference = image.parse()?;
//! let layout = Layout::create(directory)?;
//! let fetched = client.fetch(&reference, None, &layout)?;
//! assert!(fetched.transferred > 0);
//!
//! let image = skiff_image::Image::open(&fetched.image, &Default::default())?;
//! assert_eq!(image.layers().len(), 1);
//! // What is there is not fetched again.
//! assert!(client.fetch(&reference, None, &layout)?.reused > 0);
//!
//! // The deltas that lead to it; there are none yet.
//! assert!(client.find_deltas(reference.repository(), &fetched.manifest)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
mod throttle;
mod upload;
mod url;

pub use artifacts::{FoundDelta, ListedBy, NewDelta, PulledDelta, PushedDelta};
pub use client::{Client, trust};
pub use credentials::{Credentials, Login};
pub use delta::{DELTA_TYPE, DeltaInfo};
pub use error::{ErrorClass, RegistryError};
pub use fetch::{Fetched, Resolved};
pub use layout::Layout;
pub use options::{ClientOptions, Limits, Retries, Timeouts, Transport};
pub use reference::{Reference, Repository, Version};
pub use throttle::Throttle;
