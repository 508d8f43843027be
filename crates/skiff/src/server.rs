//! What a server does.

use std::io::{Read, Write};

use skiff_diff::{Options, Release, Report};
use skiff_fs::Control;
use skiff_image::{FlatImage, FlattenOptions, Image, ImageError, ImageRef, OpenOptions, PulledLayer};
use skiff_signature::TreeSignature;

use crate::Error;

/// Flattens two images and makes the delta that leads from the first to the second.
///
/// The delta was replayed and proved before the first byte is written to `out`. What a full pull would take is found out
/// and told in the delta, unless the options say it.
///
/// ```
/// use skiff::diff::{Level, Options};
///
/// # use skiff_testkit::{Image, Layer, OciLayout};
/// # let work = tempfile::tempdir()?;
/// # let image = |text: &str| Image::new().layer(Layer::new().file("etc/motd", text.repeat(900)));
/// # OciLayout::new().image("1.0", image("ahoy ")).image("1.1", image("land ahoy ")).write_directory(&work.path().join("images"));
/// # let images = format!("oci:{}", work.path().join("images").display());
/// // `images` is such as "oci:/srv/images".
/// let (old, new) = (format!("{images}:1.0").parse()?, format!("{images}:1.1").parse()?);
/// let options = Options { level: Level::Best, ..Options::default() };
/// let mut delta = Vec::new();
/// let report = skiff::diff(&old, &new, &options, &mut delta)?;
///
/// println!("{} bytes to get from {} to {}", report.delta_bytes, report.base, report.target);
/// if report.is_smaller_than_pull() == Some(false) {
///     println!("pulling the new layers is cheaper");
/// }
/// # assert_eq!(delta.len() as u64, report.delta_bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Image`] where an image cannot be read, [`Error::Diff`] where the delta cannot be made or written.
pub fn diff(
    base: &ImageRef,
    target: &ImageRef,
    options: &Options<'_>,
    out: impl Write,
) -> Result<Report, Error> {
    // The options' progress tells of the delta, and knows nothing of images.
    let control = Control { progress: None, ..options.control };
    ImagePair::open(base, target, control)?.diff(options, out)
}

/// Makes the delta that leads to an image from a release that is not here, but was signed: `base` reads the signature (see
/// `skiff::sign`).
///
/// # Errors
/// [`Error::Signature`] where the signature cannot be read, [`Error::Image`] where the image cannot be, [`Error::Diff`] where the
/// delta cannot be made or written.
pub fn diff_against(
    base: impl Read,
    target: &ImageRef,
    options: &Options<'_>,
    out: impl Write,
) -> Result<Report, Error> {
    let control = Control { progress: None, ..options.control };
    SignedPair::open(base, target, control)?.diff(options, out)
}

/// Two images, flattened: what the first step of [`diff()`] makes, for those who want to see its progress on its own.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImagePair {
    /// The image that devices have.
    pub base: FlatImage,
    /// The image that they shall have.
    pub target: FlatImage,
    /// What a device that has the base would pull to get the target, in bytes: the layers that it lacks, compressed, or
    /// the whole, compressed with gzip, where there are no layers.
    pub pull_bytes: u64,
    /// The layers that this is made of; none where there are no layers.
    pub pulled_layers: Vec<PulledLayer>,
}

impl ImagePair {
    /// Reads two images, at the same time. Progress counts bytes of layers.
    ///
    /// # Errors
    /// [`Error::Image`], the base's where both fail.
    pub fn open(base: &ImageRef, target: &ImageRef, control: Control<'_>) -> Result<Self, Error> {
        let options = OpenOptions::default().with_control(control);
        Self::flatten(&Image::open(base, &options)?, &Image::open(target, &options)?, control)
    }

    /// Reads two images that were opened as [`OpenOptions`] can tell, for another platform for example, at the same time.
    /// Progress counts bytes of layers.
    ///
    /// # Errors
    /// [`Error::Image`], the base's where both fail.
    pub fn flatten(base: &Image, target: &Image, control: Control<'_>) -> Result<Self, Error> {
        let flatten = |image: &Image| image.flatten(&FlattenOptions::default().with_control(control));
        let uncounted = Control { progress: None, ..control };
        let (flat_base, flat_target, pull) = std::thread::scope(|scope| {
            let flat_base = scope.spawn(|| flatten(base));
            let pull = scope.spawn(|| target.pull(&base.layers(), uncounted));
            let flat_target = flatten(target);
            (join(flat_base), flat_target, join(pull))
        });
        let (base, target, pull) = (flat_base?, flat_target?, pull?);
        Ok(Self { base, target, pull_bytes: pull.bytes, pulled_layers: pull.layers })
    }

    /// Makes the delta that leads from the base to the target.
    ///
    /// # Errors
    /// [`Error::Diff`].
    pub fn diff(&self, options: &Options<'_>, out: impl Write) -> Result<Report, Error> {
        let options = Options { pull_bytes: options.pull_bytes.or(Some(self.pull_bytes)), ..*options };
        Ok(skiff_diff::diff(&release(&self.base), &release(&self.target), &options, out)?)
    }
}

/// A release that was signed and an image, flattened: what the first step of [`diff_against`] makes.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignedPair {
    /// What is known of the release that the device has.
    pub base: TreeSignature,
    /// The image that it shall have.
    pub target: FlatImage,
    /// What the device would pull to get the target, in bytes: all of its layers, compressed, as it is not known which of them
    /// it has.
    pub pull_bytes: u64,
    /// The layers that this is made of; none where there are no layers.
    pub pulled_layers: Vec<PulledLayer>,
}

impl SignedPair {
    /// Reads a signature, and an image. Progress counts bytes of layers.
    ///
    /// # Errors
    /// [`Error::Signature`], [`Error::Image`].
    pub fn open(base: impl Read, target: &ImageRef, control: Control<'_>) -> Result<Self, Error> {
        let image = Image::open(target, &OpenOptions::default().with_control(control))?;
        Self::flatten(base, &image, control)
    }

    /// As [`open`](Self::open), of an image that is open already.
    ///
    /// # Errors
    /// [`Error::Signature`], [`Error::Image`].
    pub fn flatten(base: impl Read, target: &Image, control: Control<'_>) -> Result<Self, Error> {
        let base = TreeSignature::read(base, &skiff_signature::Limits::default())?;
        let uncounted = Control { progress: None, ..control };
        let (flat, pull) = std::thread::scope(|scope| {
            let pull = scope.spawn(|| target.pull(&[], uncounted));
            let flat = target.flatten(&FlattenOptions::default().with_control(control));
            (flat, join(pull))
        });
        let (target, pull) = (flat?, pull?);
        Ok(Self { base, target, pull_bytes: pull.bytes, pulled_layers: pull.layers })
    }

    /// Makes the delta that leads from the release to the image.
    ///
    /// # Errors
    /// [`Error::Diff`].
    pub fn diff(&self, options: &Options<'_>, out: impl Write) -> Result<Report, Error> {
        let options = Options { pull_bytes: options.pull_bytes.or(Some(self.pull_bytes)), ..*options };
        Ok(skiff_diff::diff_against(&self.base, &release(&self.target), &options, out)?)
    }
}

fn release(image: &FlatImage) -> Release<'_> {
    Release {
        config: image.config.as_deref(),
        manifest: image.manifest.as_deref(),
        ..Release::new(&image.tree, &image.contents)
    }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, ImageError>>) -> Result<T, ImageError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
