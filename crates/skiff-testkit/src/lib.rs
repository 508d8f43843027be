//! Test tools of the skiff workspace: layers made by hand, oracles, a model of power cuts, and the bodies of the fuzz targets.
//!
//! Everything here panics where the product would return an error: a test that cannot be set up has failed.
//!
//! ```
//! use skiff_testkit::{Encoding, Image, Layer, OciLayout};
//!
//! let base = Layer::new().directory("etc").file("etc/motd", b"ahoy\n").mode(0o600);
//! let upper = Layer::new().whiteout("etc/motd").symlink("etc/issue", "/run/issue");
//! let image = Image::new().layer(base).encoded_layer(upper, Encoding::Zstd).command(&["/bin/sh"]);
//! # let directory = std::env::temp_dir().join(format!("skiff-testkit-{}", std::process::id()));
//! OciLayout::new().image("latest", image).write_directory(&directory);
//! assert!(directory.join("index.json").exists());
//! # std::fs::remove_dir_all(&directory).unwrap();
//! ```

mod canary;
#[cfg(feature = "crash")]
pub mod crash;
mod docker;
mod docker_registry;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hostile;
mod http;
mod image;
#[cfg(feature = "keys")]
mod keys;
mod large;
mod layer;
mod mount;
mod namespace;
mod noise;
#[cfg(feature = "replay")]
mod nowhere;
mod picture;
mod program;
mod registry;
mod sparse;

pub use canary::Canary;
pub use docker::{DockerForm, docker_archive, write_docker_archive};
pub use docker_registry::DockerRegistry;
pub use hostile::{Fate, Fault, HostileImage, hostile_images};
pub use http::{FlakyProxy, HttpAnswer, HttpRequest, HttpServer};
pub use image::{Encoding, Image, OciLayout, sha256_hex, write_archive};
#[cfg(feature = "keys")]
pub use keys::key;
pub use large::{LargeImage, LargeLayout};
pub use layer::Layer;
pub use mount::Mounted;
pub use namespace::{OUTSIDE, SCRATCH, in_mount_namespace};
pub use noise::{Random, noise, noise_of};
#[cfg(feature = "replay")]
pub use nowhere::Nowhere;
pub use picture::{Picture, Shown, ShownMetadata};
pub use program::{run_program, static_program};
pub use registry::{CutUploads, RegistryOptions, TestRegistry};
pub use sparse::SparseFormat;
