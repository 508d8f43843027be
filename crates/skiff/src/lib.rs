//! Binary delta updates of container images: the paved path over the skiff crates.
//!
//! A server makes a delta from two images with [`diff()`]. A device puts its first image into a store with [`install`],
//! and from then on takes deltas with [`apply()`]: it proves the result and swaps it in atomically, or leaves everything
//! as it was.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use skiff_testkit::{Image, Layer, OciLayout};
//! # let work = tempfile::tempdir()?;
//! # let image = |text: &str| Image::new().layer(Layer::new().file("etc/motd", text.repeat(500)));
//! # OciLayout::new().image("1.0", image("ahoy ")).image("1.1", image("land ahoy ")).write_directory(&work.path().join("images"));
//! # let old = format!("oci:{}:1.0", work.path().join("images").display());
//! # let new = format!("oci:{}:1.1", work.path().join("images").display());
//! # let store = work.path().join("store");
//! // On the server: `old` and `new` are such as "oci:images:1.0" or "docker-archive:saved.tar".
//! let mut delta = Vec::new();
//! let report = skiff::diff(&old.parse()?, &new.parse()?, &skiff::diff::Options::default(), &mut delta)?;
//! println!("{} bytes instead of {}", report.delta_bytes, report.pull_bytes.unwrap_or_default());
//!
//! // On the device, here without root. `target` comes over a way that the device trusts; the delta need not.
//! let options = skiff::apply::Options { ownership: skiff::fs::Ownership::Record, ..Default::default() };
//! skiff::install(&store, &old.parse()?, &options)?;
//! let mut source = skiff::apply::SeekableDelta::new(std::io::Cursor::new(delta));
//! let target = skiff::apply::Expectation::Release(report.target);
//! let applied = skiff::apply(&store, &mut source, target, &options)?;
//! assert_eq!(applied.release, report.target);
//! assert!(std::fs::read_to_string(store.join("current/rootfs/etc/motd"))?.starts_with("land ahoy"));
//! # Ok(())
//! # }
//! ```
//!
//! Each feature adds one side and takes nothing away: `apply` for devices (no encoder, no image format), `diff` for
//! servers, `image` for reading images, `registry` for images and deltas in registries (not by default: it brings in HTTP and TLS), `signature` for a device whose image its server does not know, `block` for deltas of
//! single files as `rdiff` makes them. The crates underneath are re-exported, for whoever needs more than the paved path.

#[cfg(feature = "apply")]
mod device;
mod error;
#[cfg(feature = "registry")]
mod registries;
#[cfg(feature = "diff")]
mod server;

#[cfg(feature = "apply")]
pub use device::apply;
#[cfg(all(feature = "apply", feature = "signature"))]
pub use device::sign;
#[cfg(all(feature = "apply", feature = "image"))]
pub use device::{install, install_image};
pub use error::Error;
#[cfg(feature = "registry")]
pub use registries::{
    DeltaChoice, ImageSource, PushOptions, fetch_image, find_deltas, pull_delta, push_delta,
};
#[cfg(feature = "diff")]
pub use server::{ImagePair, SignedPair, diff, diff_against};
#[cfg(feature = "apply")]
pub use skiff_apply as apply;
#[cfg(feature = "block")]
pub use skiff_block as block;
#[cfg(feature = "diff")]
pub use skiff_diff as diff;
pub use skiff_format as format;
pub use skiff_fs as fs;
#[cfg(feature = "image")]
pub use skiff_image as image;
#[cfg(any(feature = "apply", feature = "diff", feature = "registry"))]
pub use skiff_keys as keys;
#[cfg(feature = "registry")]
pub use skiff_registry as registry;
pub use skiff_replay as replay;
#[cfg(feature = "signature")]
pub use skiff_signature as signature;
pub use skiff_tree as tree;

/// The README's examples are compiled like all others.
#[cfg(all(doctest, feature = "apply", feature = "diff"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
