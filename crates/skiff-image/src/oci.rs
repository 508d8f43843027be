//! OCI layouts.

use crate::documents::{Config, Descriptor, Document, parse};
use crate::error::escape;
use crate::files::Files;
use crate::image::{Image, Layer, LayerInfo, OpenOptions, Source};
use crate::{BlobDigest, Compression, DiffId, ImageError, Limits, Location, Part, Platform, Selection};

/// How many indexes lead to a manifest: one of a layout, one of platforms, and some to spare.
const INDEXES_MAX: usize = 5;

/// Opens the selected image of a layout, for the wanted platform.
pub(crate) fn open(
    files: &Files,
    selection: Option<&Selection>,
    options: &OpenOptions<'_>,
) -> Result<Image, ImageError> {
    let index: Document = parse(&files.read("index.json", Part::Index, &options.limits)?, Part::Index)?;
    let manifests = index.manifests.unwrap_or_default();
    let Selected { mut descriptor, mut is_for_platform } = select(manifests, selection, files, options)?;
    for _ in 0..INDEXES_MAX {
        let bytes = read_blob(files, &descriptor, Part::Manifest, &options.limits)?;
        let document: Document = parse(&bytes, Part::Manifest)?;
        check_media_type(&descriptor, &document)?;
        match document {
            Document { manifests: Some(manifests), config: None, layers: None, .. } => {
                Selected { descriptor, is_for_platform } = for_platform(manifests, files, options)?;
            }
            Document { manifests: None, config: Some(config), layers: Some(layers), .. } => {
                let config = read_blob(files, &config, Part::Config, &options.limits)?;
                let diff_ids = diff_ids(&config, layers.len(), &options.limits)?;
                if !is_for_platform {
                    check_platform(&config, files, options)?;
                }
                let layers = layers.iter().zip(diff_ids).enumerate();
                let layers =
                    layers.map(|(index, (descriptor, diff_id))| layer(files, index, descriptor, diff_id));
                let layers = layers.collect::<Result<_, _>>()?;
                return Ok(Image {
                    config: Some(config),
                    manifest: Some(bytes),
                    source: Source::Layers(layers),
                });
            }
            // What is both means one thing to one reader and another to the next (CVE-2021-41190).
            _ => {
                return Err(ImageError::corrupt(
                    Part::Manifest,
                    "it is neither an index nor an image's manifest",
                ));
            }
        }
    }
    Err(ImageError::corrupt(Part::Index, format!("more than {INDEXES_MAX} indexes lead on to others")))
}

/// The DiffIDs in a config, as many as there are layers.
pub(crate) fn diff_ids(config: &[u8], layers: usize, limits: &Limits) -> Result<Vec<DiffId>, ImageError> {
    let config: Config = parse(config, Part::Config)?;
    let texts = config.rootfs.diff_ids.unwrap_or_default();
    if layers as u64 > limits.layers {
        let at = Location::start_of(Part::Manifest);
        return Err(ImageError::LimitExceeded {
            at,
            what: "layers",
            wanted: layers as u64,
            limit: limits.layers,
        });
    }
    if texts.len() != layers {
        let what = format!("it names {} layers, and the manifest {layers}", texts.len());
        return Err(ImageError::corrupt(Part::Config, what));
    }
    let parse = |text: &String| {
        let digest = text.starts_with("sha256:").then(|| text.parse().ok()).flatten();
        digest.ok_or_else(|| {
            ImageError::unsupported(Part::Config, format!("the DiffID {text:?} is not a SHA-256"))
        })
    };
    texts.iter().map(parse).collect()
}

/// A manifest or an index, and whether it was taken for its platform.
struct Selected {
    descriptor: Descriptor,
    is_for_platform: bool,
}

fn select(
    manifests: Vec<Descriptor>,
    selection: Option<&Selection>,
    files: &Files,
    options: &OpenOptions<'_>,
) -> Result<Selected, ImageError> {
    let name = |(index, manifest): (usize, &Descriptor)| {
        manifest.tag().map_or(format!("@{index}"), |tag| escape(tag.as_bytes()))
    };
    let known: Vec<String> = manifests.iter().enumerate().map(name).collect();
    let place = files.path().display();
    let what = match selection {
        None if manifests.is_empty() => format!("image in {place}"),
        None => format!("single image in {place}; say which"),
        Some(Selection::Name(tag)) => format!("image tagged {tag:?} in {place}"),
        Some(Selection::Index(index)) => format!("image at position {index} in {place}"),
    };
    let wanted = manifests.into_iter().enumerate().filter(|(index, manifest)| match selection {
        None => true,
        Some(Selection::Name(tag)) => manifest.tag() == Some(tag),
        Some(Selection::Index(wanted)) => index == wanted,
    });
    let mut wanted: Vec<Descriptor> = wanted.map(|(_, manifest)| manifest).collect();
    // Some tools write the platforms of one image into the layout's own index, under one tag or none.
    let is_one_image = wanted.iter().all(|other| {
        other.tag() == wanted[0].tag() && (other.platform().is_some() || other.is_attestation())
    });
    let is_one_blob = wanted.iter().all(|other| other.digest == wanted[0].digest);
    match wanted.len() {
        0 => Err(ImageError::NotFound { what, known }),
        2.. if is_one_image => for_platform(wanted, files, options),
        2.. if selection.is_none() || !is_one_blob => {
            let what = format!("single {what}").replacen("single single", "single", 1);
            Err(ImageError::NotFound { what, known })
        }
        _ => Ok(Selected { descriptor: wanted.swap_remove(0), is_for_platform: false }),
    }
}

/// The image that suits the platform best; the first of those that do equally.
fn for_platform(
    mut manifests: Vec<Descriptor>,
    files: &Files,
    options: &OpenOptions<'_>,
) -> Result<Selected, ImageError> {
    manifests.retain(|manifest| !manifest.is_attestation());
    // Its config says what it is for, if anything does.
    if manifests.len() == 1 && manifests[0].platform().is_none() {
        return Ok(Selected { descriptor: manifests.swap_remove(0), is_for_platform: false });
    }
    let wanted = options.platform.clone().unwrap_or_else(Platform::of_this_machine);
    let suits = |manifest: &Descriptor| manifest.platform().and_then(|platform| wanted.suits(&platform));
    let best = manifests.iter().enumerate().filter_map(|(index, manifest)| Some((suits(manifest)?, index)));
    match best.min() {
        Some((_, index)) => Ok(Selected { descriptor: manifests.swap_remove(index), is_for_platform: true }),
        None => {
            let known = manifests.iter().map(|manifest| match manifest.platform() {
                Some(platform) => escape(platform.to_string().as_bytes()),
                None => "one that does not say what it is for".into(),
            });
            Err(no_image_for(&wanted, files, known.collect()))
        }
    }
}

/// Compares what an image's config says that it is for with what it has to be for, if that was named.
pub(crate) fn check_platform(
    config: &[u8],
    files: &Files,
    options: &OpenOptions<'_>,
) -> Result<(), ImageError> {
    let config: Config = parse(config, Part::Config)?;
    match (&options.platform, config.platform.platform()) {
        (Some(wanted), Some(found)) if wanted.suits(&found).is_none() => {
            Err(no_image_for(wanted, files, vec![escape(found.to_string().as_bytes())]))
        }
        _ => Ok(()),
    }
}

fn no_image_for(wanted: &Platform, files: &Files, known: Vec<String>) -> ImageError {
    ImageError::NotFound { what: format!("image for {wanted} in {}", files.path().display()), known }
}

/// A document that says it is something else than its descriptor says is refused, as the specification asks.
fn check_media_type(descriptor: &Descriptor, document: &Document) -> Result<(), ImageError> {
    match &document.media_type {
        Some(own) if !descriptor.media_type.is_empty() && *own != descriptor.media_type => {
            let (own, named) = (escape(own.as_bytes()), escape(descriptor.media_type.as_bytes()));
            Err(ImageError::corrupt(Part::Manifest, format!("it says it is {own}, and is named as {named}")))
        }
        _ => Ok(()),
    }
}

fn read_blob(
    files: &Files,
    descriptor: &Descriptor,
    part: Part,
    limits: &Limits,
) -> Result<Vec<u8>, ImageError> {
    let digest = digest(descriptor, part)?;
    let bytes = files.read(&blob_name(&digest), part, limits)?;
    let found = BlobDigest::of(&bytes);
    if bytes.len() as u64 != descriptor.size {
        let what = format!("it has {} bytes, and is named with {}", bytes.len(), descriptor.size);
        return Err(ImageError::corrupt(part, what));
    }
    if found != digest {
        let (expected, found) = (digest.to_string(), found.to_string());
        return Err(ImageError::DigestMismatch { what: part.to_string(), expected, found });
    }
    Ok(bytes)
}

fn layer(files: &Files, index: usize, descriptor: &Descriptor, diff_id: DiffId) -> Result<Layer, ImageError> {
    let part = Part::Layer(index);
    let media_type = &descriptor.media_type;
    let shown = escape(media_type.as_bytes());
    if media_type.ends_with("+encrypted") || !media_type.contains("tar") {
        return Err(ImageError::unsupported(
            part,
            format!("its media type is {shown:?}, not that of a tar archive"),
        ));
    }
    let digest = digest(descriptor, part)?;
    let name = blob_name(&digest);
    let missing = || ImageError::NotFound {
        what: format!("{name} ({part}) in {}", files.path().display()),
        known: Vec::new(),
    };
    let blob = files.open(&name)?.ok_or_else(missing)?;
    if blob.size != descriptor.size {
        let what = format!("its blob has {} bytes, and the manifest says {}", blob.size, descriptor.size);
        return Err(ImageError::corrupt(part, what));
    }
    let path = files.path().join(&name);
    let info = LayerInfo {
        diff_id,
        digest: Some(digest),
        size: blob.size,
        media_type: Some(media_type.clone()),
        compression: Compression::of(&blob, part, &path)?,
    };
    Ok(Layer { info, blob, path })
}

fn digest(descriptor: &Descriptor, part: Part) -> Result<BlobDigest, ImageError> {
    let text = &descriptor.digest;
    let digest = text.starts_with("sha256:").then(|| text.parse().ok()).flatten();
    let shown = escape(text.as_bytes());
    digest.ok_or_else(|| ImageError::unsupported(part, format!("its digest {shown:?} is not a SHA-256")))
}

fn blob_name(digest: &BlobDigest) -> String {
    digest.to_string().replacen("sha256:", "blobs/sha256/", 1)
}
