//! What a device does.

use std::path::Path;

use skiff_apply::{Applied, DeltaSource, Expectation, Options, Store, StoreOptions};
#[cfg(feature = "image")]
use skiff_apply::{InstallInput, Installed};
#[cfg(feature = "image")]
use skiff_image::{FlattenOptions, Image, ImageRef, OpenOptions};

use crate::Error;

/// Applies a delta to the current release of a store and swaps the result in.
///
/// Whatever happens, the store's current release is the old one, whole, or the new one, whole and proved. Applying again
/// after an interruption goes on from the last checkpoint; applying what is already there does nothing.
///
/// ```
/// use skiff::apply::{ErrorClass, Expectation, Options, SeekableDelta};
///
/// # use skiff_testkit::{Image, Layer, OciLayout};
/// # let work = tempfile::tempdir()?;
/// # let image = |text: &str| Image::new().layer(Layer::new().file("etc/motd", text.repeat(900)));
/// # OciLayout::new().image("1.0", image("ahoy ")).image("1.1", image("land ahoy ")).write_directory(&work.path().join("images"));
/// # let image = |tag: &str| format!("oci:{}:{tag}", work.path().join("images").display()).parse();
/// # let (store, options) = (work.path().join("store"), Options { ownership: skiff::fs::Ownership::Record, ..Options::default() });
/// # skiff::install(&store, &image("1.0")?, &options)?;
/// # let mut file = std::io::Cursor::new(Vec::new());
/// # let wanted = skiff::diff(&image("1.0")?, &image("1.1")?, &Default::default(), &mut file)?.target;
/// // `file` holds the delta; `wanted` is the release that a trusted server named.
/// match skiff::apply(&store, &mut SeekableDelta::new(file), Expectation::Release(wanted), &options) {
///     Ok(applied) => println!("{} is current, in {}", applied.release, store.join("current/rootfs").display()),
///     Err(skiff::Error::Apply(error)) => match error.class() {
///         ErrorClass::Interrupted | ErrorClass::Io => println!("try again, it goes on: {error}"),
///         ErrorClass::NoSpace => println!("make room: {error}"),
///         _ => println!("pull the whole image: {error}"),
///     },
///     Err(other) => return Err(other.into()),
/// }
/// # assert!(std::fs::read_to_string(store.join("current/rootfs/etc/motd"))?.starts_with("land"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Apply`]; its [`class`](skiff_apply::ApplyError::class) says what to do about it.
pub fn apply(
    store: impl AsRef<Path>,
    delta: &mut dyn DeltaSource,
    target: Expectation,
    options: &Options<'_>,
) -> Result<Applied, Error> {
    let store = Store::open(store.as_ref(), &StoreOptions::default())?;
    Ok(store.apply(delta, target, options)?)
}

/// Puts an image into a store, which is made where there is none, and makes it the current release: the first release, or
/// what a device falls back to when it cannot have a delta.
///
/// # Errors
/// [`Error::Image`] where the image cannot be read, [`Error::Apply`] where the store refuses it.
#[cfg(feature = "image")]
pub fn install(store: impl AsRef<Path>, image: &ImageRef, options: &Options<'_>) -> Result<Installed, Error> {
    let open = OpenOptions::default().with_control(options.control);
    install_image(store, &Image::open(image, &open)?, options)
}

/// Puts an image into a store as [`install`] does, one that was opened as [`OpenOptions`] can tell: for another platform, for
/// example.
///
/// # Errors
/// [`Error::Image`] where the image cannot be read, [`Error::Apply`] where the store refuses it.
#[cfg(feature = "image")]
pub fn install_image(
    store: impl AsRef<Path>,
    image: &Image,
    options: &Options<'_>,
) -> Result<Installed, Error> {
    let flat = image.flatten(&FlattenOptions::default().with_control(options.control))?;
    let input = InstallInput {
        config: flat.config.as_deref(),
        manifest: flat.manifest.as_deref(),
        ..InstallInput::new(&flat.tree, &flat.contents)
    };
    let store = Store::create(store.as_ref(), &StoreOptions::default())?;
    Ok(store.install(&input, options)?)
}

/// Signs the current release of a store, for a server that does not know it: [`diff_against`](crate::diff_against) makes a delta
/// of that. Files that are long enough to be signed are read, and seen to be what the release's tree says;
/// [`Store::verify`] looks at all.
///
/// ```
/// # use skiff_testkit::{Image, Layer, OciLayout};
/// # let work = tempfile::tempdir()?;
/// # let image = |text: &str| Image::new().layer(Layer::new().file("etc/motd", text.repeat(900)));
/// # OciLayout::new().image("1.0", image("ahoy ")).image("1.1", image("land ahoy ")).write_directory(&work.path().join("images"));
/// # let image = |tag: &str| format!("oci:{}:{tag}", work.path().join("images").display()).parse();
/// # let (store, options) = (work.path().join("store"), skiff::apply::Options::rootless());
/// # skiff::install(&store, &image("1.0")?, &options)?;
/// // On the device:
/// let mut signature = Vec::new();
/// skiff::sign(&store, &Default::default(), &mut signature)?;
///
/// // On a server that has never seen the device's image:
/// let mut delta = std::io::Cursor::new(Vec::new());
/// let report = skiff::diff_against(&signature[..], &image("1.1")?, &Default::default(), &mut delta)?;
///
/// // On the device again:
/// let target = skiff::apply::Expectation::Release(report.target);
/// skiff::apply(&store, &mut skiff::apply::SeekableDelta::new(delta), target, &options)?;
/// # assert!(std::fs::read_to_string(store.join("current/rootfs/etc/motd"))?.starts_with("land"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Apply`] where the store has no release or is damaged, [`Error::Signature`] where a file is, or writing fails.
#[cfg(feature = "signature")]
pub fn sign(
    store: impl AsRef<Path>,
    options: &skiff_signature::Options<'_>,
    out: impl std::io::Write,
) -> Result<skiff_signature::Report, Error> {
    let release = Store::open(store.as_ref(), &StoreOptions::default())?.hold_current()?;
    let signed =
        skiff_signature::Signed { tree: &release.tree, contents: &release.contents, config: release.config };
    Ok(skiff_signature::sign_tree(&signed, options, out)?)
}
