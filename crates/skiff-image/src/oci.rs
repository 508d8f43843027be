//! OCI layouts.

use crate::documents::{
    Chosen, Config, Descriptor, Document, INDEXES_MAX, LayoutIndex, check_platform, choose, parse,
};
use crate::error::escape;
use crate::files::Files;
use crate::image::{Image, Layer, LayerInfo, OpenOptions, Source};
use crate::{BlobDigest, Compression, DiffId, ImageError, Limits, Location, Part, Selection};

/// Opens the selected image of a layout, for the wanted platform.
pub(crate) fn open(
    files: &Files,
    selection: Option<&Selection>,
    options: &OpenOptions<'_>,
) -> Result<Image, ImageError> {
    let Chosen { mut descriptor, mut is_for_platform } = match selection {
        Some(Selection::Digest(digest)) => named(digest, files)?,
        _ => {
            let index = files.read("index.json", Part::Index, &options.limits)?;
            let index: LayoutIndex = parse(&index, Part::Index)?;
            select(index.manifests.unwrap_or_default(), selection, files, options)?
        }
    };
    for _ in 0..INDEXES_MAX {
        let bytes = read_blob(files, &descriptor, Part::Manifest, &options.limits)?;
        match Document::parse(&bytes, &descriptor.media_type)? {
            Document::Index(manifests) => {
                Chosen { descriptor, is_for_platform } =
                    choose(manifests, options.platform.as_ref(), &files.path().display())?;
            }
            Document::Image { config, layers } => {
                let config = read_blob(files, &config, Part::Config, &options.limits)?;
                let diff_ids = diff_ids(&config, layers.len(), &options.limits)?;
                if !is_for_platform {
                    check_platform(&config, options.platform.as_ref(), &files.path().display())?;
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

/// The manifest of this digest, which the index need not name.
fn named(digest: &BlobDigest, files: &Files) -> Result<Chosen, ImageError> {
    let missing = || ImageError::NotFound {
        what: format!("image {digest} in {}", files.path().display()),
        known: Vec::new(),
    };
    let size = files.open(&digest.blob_name())?.ok_or_else(missing)?.size;
    Ok(Chosen { descriptor: Descriptor::new("", *digest, size), is_for_platform: false })
}

fn select(
    manifests: Vec<Descriptor>,
    selection: Option<&Selection>,
    files: &Files,
    options: &OpenOptions<'_>,
) -> Result<Chosen, ImageError> {
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
        Some(Selection::Digest(digest)) => format!("image {digest} in {place}"),
    };
    let wanted = manifests.into_iter().enumerate().filter(|(index, manifest)| match selection {
        None => true,
        Some(Selection::Name(tag)) => manifest.tag() == Some(tag),
        Some(Selection::Index(wanted)) => index == wanted,
        Some(Selection::Digest(digest)) => manifest.digest == digest.to_string(),
    });
    let mut wanted: Vec<Descriptor> = wanted.map(|(_, manifest)| manifest).collect();
    // Some tools write the platforms of one image into the layout's own index, under one tag or none.
    let is_one_image = wanted.iter().all(|other| {
        other.tag() == wanted[0].tag() && (other.platform().is_some() || other.is_attestation())
    });
    let is_one_blob = wanted.iter().all(|other| other.digest == wanted[0].digest);
    match wanted.len() {
        0 => Err(ImageError::NotFound { what, known }),
        2.. if is_one_image => choose(wanted, options.platform.as_ref(), &place),
        2.. if selection.is_none() || !is_one_blob => {
            let what = format!("single {what}").replacen("single single", "single", 1);
            Err(ImageError::NotFound { what, known })
        }
        _ => Ok(Chosen { descriptor: wanted.swap_remove(0), is_for_platform: false }),
    }
}

fn read_blob(
    files: &Files,
    descriptor: &Descriptor,
    part: Part,
    limits: &Limits,
) -> Result<Vec<u8>, ImageError> {
    let digest = descriptor.blob_digest(part)?;
    let bytes = files.read(&digest.blob_name(), part, limits)?;
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
    let digest = descriptor.blob_digest(part)?;
    let name = digest.blob_name();
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
