//! Container images in, a tree and its contents out.
//!
//! An [`ImageRef`] says where an image is, [`Image::open`] reads what describes it, and [`Image::flatten`] lays its layers over each
//! other, every digest checked: each layer is read once, and read, decompressed, hashed and taken apart at the same time.
//!
//! | | is read |
//! |---|---|
//! | images | OCI layouts in directories and archives, with an index of platforms or without; archives as `docker save` writes them since Docker 1.10; root file systems |
//! | which of several | by tag, name or position ([`Selection`]), and by [`Platform`], matched as containerd does |
//! | compression | none, gzip, zstd and xz, in one or several members, frames or streams, told by the first bytes |
//! | archives | ustar, PAX, GNU's and older ones; sparse files in all four formats |
//! | entries | of every kind but sockets, with owners, modes, times to the nanosecond, and extended attributes: capabilities, ACLs, SELinux labels |
//!
//! Every error of a layer names the layer, the entry as far as it is known, and the byte ([`Location`]); what an image may cost is
//! bounded by [`Limits`]. A tree that is written again with [`write_tar`] makes the same bytes, whatever its layers were.
//!
//! ```
//! use skiff_image::*;
//! use skiff_tree::{ContentSource, EntryPath, read_all};
//! # let directory = tempfile::tempdir()?;
//! # let layout = directory.path().join("layout");
//! # use skiff_testkit::Layer;
//! # let lower = Layer::new().file("etc/motd", b"ahoy\n").file("etc/issue", b"skiff\n");
//! # let image = skiff_testkit::Image::new().layer(lower).layer(Layer::new().whiteout("etc/issue"));
//! # skiff_testkit::OciLayout::new().image("latest", image).write_directory(&layout);
//!
//! let reference: ImageRef = format!("oci:{}:latest", layout.display()).parse()?;
//! let image = Image::open(&reference, &OpenOptions::default())?;
//! assert_eq!(image.layers().len(), 2);
//!
//! let flat = image.flatten(&FlattenOptions::default())?;
//! let motd = EntryPath::new("etc/motd")?;
//! assert_eq!(read_all(&flat.contents.open(&motd)?)?, b"ahoy\n");
//! // The upper layer hides it.
//! assert!(flat.tree.find(&EntryPath::new("etc/issue")?).is_none());
//! println!("{}", flat.release_id());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod contents;
mod digest;
mod docker;
pub mod documents;
mod error;
mod files;
mod flatten;
mod image;
mod input;
mod layer;
mod layout;
mod limits;
mod merge;
mod oci;
mod pipeline;
mod platform;
mod pull;
mod reference;
mod stream;
mod write;

pub use contents::ImageContents;
pub use digest::{BlobDigest, DiffId};
pub use error::{ImageError, Location, Part};
pub use flatten::{FlatImage, FlattenOptions};
pub use image::{Compression, Image, LayerInfo, OpenOptions};
pub use limits::Limits;
pub use platform::Platform;
pub use pull::{Pull, PulledLayer, pull_size};
pub use reference::{ImageRef, Selection};
pub use write::write_tar;
