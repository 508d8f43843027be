//! OCI layouts.

use crate::documents::{Config, Descriptor, Document, parse};
use crate::error::escape;
use crate::files::Files;
use crate::image::{Image, Layer, LayerInfo, OpenOptions, Source};
use crate::{BlobDigest, Compression, DiffId, ImageError, Limits, Location, Part, Selection};

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
    let mut descriptor = select(manifests, selection, files)?;
    for _ in 0..INDEXES_MAX {
        let bytes = read_blob(files, &descriptor, Part::Manifest, &options.limits)?;
        let document: Document = parse(&bytes, Part::Manifest)?;
        check_media_type(&descriptor, &document)?;
        match document {
            Document { manifests: Some(manifests), config: None, layers: None, .. } => {
                descriptor = for_platform(manifests, options)?;
            }
            Document { manifests: None, config: Some(config), layers: Some(layers), .. } => {
                let config = read_blob(files, &config, Part::Config, &options.limits)?;
                let diff_ids = diff_ids(&config, layers.len(), &options.limits)?;
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

fn select(
    manifests: Vec<Descriptor>,
    selection: Option<&Selection>,
    files: &Files,
) -> Result<Descriptor, ImageError> {
    let known = |manifests: &[Descriptor]| {
        let name = |(index, manifest): (usize, &Descriptor)| {
            manifest.tag().map_or(format!("@{index}"), |tag| escape(tag.as_bytes()))
        };
        manifests.iter().enumerate().map(name).collect::<Vec<_>>()
    };
    let place = files.path().display();
    let what = match selection {
        None if manifests.len() == 1 => String::new(),
        None if manifests.is_empty() => format!("image in {place}"),
        None => format!("single image in {place}; say which"),
        Some(Selection::Name(tag)) => format!("image tagged {tag:?} in {place}"),
        Some(Selection::Index(index)) => format!("image at position {index} in {place}"),
    };
    let known = known(&manifests);
    let wanted = manifests.into_iter().enumerate().find(|(index, manifest)| match selection {
        None => what.is_empty(),
        Some(Selection::Name(tag)) => manifest.tag() == Some(tag),
        Some(Selection::Index(wanted)) => index == wanted,
    });
    wanted.map(|(_, manifest)| manifest).ok_or(ImageError::NotFound { what, known })
}

fn for_platform(manifests: Vec<Descriptor>, options: &OpenOptions<'_>) -> Result<Descriptor, ImageError> {
    let wanted = &options.platform;
    let variant =
        |manifest: &Descriptor| manifest.platform.as_ref().and_then(|platform| platform.variant.clone());
    let known = manifests.iter().map(|manifest| {
        let platform = manifest.platform.as_ref();
        platform.map_or("one without platform".into(), |p| {
            format!("{}/{}", escape(p.os.as_bytes()), escape(p.architecture.as_bytes()))
        })
    });
    let known = known.collect();
    let mut fitting: Vec<Descriptor> = manifests
        .into_iter()
        .filter(|manifest| {
            let platform = manifest.platform.as_ref();
            platform.is_some_and(|p| p.os == wanted.os && p.architecture == wanted.architecture)
                && (wanted.variant.is_none() || variant(manifest) == wanted.variant)
        })
        .collect();
    let plain = fitting.iter().position(|manifest| variant(manifest).is_none()).unwrap_or(0);
    if fitting.is_empty() {
        return Err(ImageError::NotFound { what: format!("image for {wanted}"), known });
    }
    Ok(fitting.swap_remove(plain))
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
