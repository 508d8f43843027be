//! Archives as `docker save` writes them.

use crate::documents::{DockerImage, check_platform, parse};
use crate::error::escape;
use crate::files::Files;
use crate::image::{Image, Layer, LayerInfo, OpenOptions, Source};
use crate::oci::diff_ids;
use crate::{BlobDigest, Compression, ImageError, Part, Selection};

/// What names the images, since Docker 1.10.
const MANIFEST: &str = "manifest.json";
/// What the names of blobs begin with, since Docker 25; their digests follow.
const BLOBS: &str = "blobs/sha256/";

/// Opens the selected image.
pub(crate) fn open(
    files: &Files,
    selection: Option<&Selection>,
    options: &OpenOptions<'_>,
) -> Result<Image, ImageError> {
    let limits = &options.limits;
    if files.open(MANIFEST)?.is_none() {
        return Err(without_manifest(files)?);
    }
    let images: Vec<DockerImage> = parse(&files.read(MANIFEST, Part::Manifest, limits)?, Part::Manifest)?;
    let image = select(images, selection, files)?;
    let config = files.read(&image.config, Part::Config, limits)?;
    check_name(&image.config, &config)?;
    check_platform(&config, options.platform.as_ref(), &files.path().display())?;
    let names = image.layers.unwrap_or_default();
    let diff_ids = diff_ids(&config, names.len(), limits)?;
    let mut layers = Vec::new();
    for (index, (name, diff_id)) in names.iter().zip(diff_ids).enumerate() {
        let part = Part::Layer(index);
        let shown = escape(name.as_bytes());
        let what = format!("{shown} ({part}) in {}", files.path().display());
        let blob = files.open(name)?.ok_or(ImageError::NotFound { what, known: Vec::new() })?;
        let path = files.path().join(&shown);
        let compression = Compression::of(&blob, part, &path)?;
        let digest = name.strip_prefix(BLOBS).and_then(|hex| hex.parse().ok());
        let info = LayerInfo { diff_id, digest, size: blob.size, media_type: None, compression };
        layers.push(Layer { info, blob, path });
    }
    Ok(Image { config: Some(config), manifest: None, source: Source::Layers(layers) })
}

/// Says of an archive that does not name its images what it may be.
fn without_manifest(files: &Files) -> Result<ImageError, ImageError> {
    let place = files.path().display();
    if files.open("index.json")?.is_some() {
        let what = format!("{MANIFEST} in {place}, which is an OCI layout: its name is oci-archive:{place}");
        return Ok(ImageError::NotFound { what, known: Vec::new() });
    }
    if files.open("repositories")?.is_some() {
        // Nothing in it tells what its layers should be, and its configs have another form.
        let what = "it was saved by a Docker before 1.10, without configs and digests; load it into a newer one and save it again";
        return Ok(ImageError::unsupported(Part::Archive, what));
    }
    let what = format!("{MANIFEST} in {place}; is it what `docker save` wrote?");
    Ok(ImageError::NotFound { what, known: Vec::new() })
}

/// A config's name is its digest (`HEX.json`, `blobs/sha256/HEX`), unless somebody made the archive by hand.
fn check_name(name: &str, config: &[u8]) -> Result<(), ImageError> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let expected: Option<BlobDigest> = file.strip_suffix(".json").unwrap_or(file).parse().ok();
    let found = BlobDigest::of(config);
    match expected.filter(|&expected| expected != found) {
        None => Ok(()),
        Some(expected) => {
            let (expected, found) = (expected.to_string(), found.to_string());
            Err(ImageError::DigestMismatch { what: Part::Config.to_string(), expected, found })
        }
    }
}

fn select(
    images: Vec<DockerImage>,
    selection: Option<&Selection>,
    files: &Files,
) -> Result<DockerImage, ImageError> {
    let names = |image: &DockerImage| image.names.clone().unwrap_or_default();
    let place = files.path().display();
    let what = match selection {
        None if images.is_empty() => format!("image in {place}"),
        None => format!("single image in {place}; say which"),
        Some(Selection::Name(name)) => format!("image named {name:?} in {place}"),
        Some(Selection::Index(index)) => format!("image at position {index} in {place}"),
        // Its images have no manifests.
        Some(Selection::Digest(digest)) => format!("image with the manifest {digest} in {place}"),
    };
    let known = images.iter().enumerate().flat_map(|(index, image)| match &names(image)[..] {
        [] => vec![format!("@{index}")],
        names => names.iter().map(|name| escape(name.as_bytes())).collect(),
    });
    let (known, count) = (known.collect(), images.len());
    let wanted = images.into_iter().enumerate().filter(|(index, image)| match selection {
        None => count == 1,
        Some(Selection::Name(name)) => names(image).iter().any(|own| full_name(own) == full_name(name)),
        Some(Selection::Index(wanted)) => index == wanted,
        Some(Selection::Digest(_)) => false,
    });
    let mut wanted: Vec<DockerImage> = wanted.map(|(_, image)| image).collect();
    match wanted.len() {
        0 => Err(ImageError::NotFound { what, known }),
        2.. if wanted.iter().any(|image| image.config != wanted[0].config) => {
            Err(ImageError::NotFound { what: format!("single {what}"), known })
        }
        _ => Ok(wanted.swap_remove(0)),
    }
}

/// A name with what Docker takes for granted: `alpine` is `docker.io/library/alpine:latest`.
fn full_name(name: &str) -> String {
    let (domain, path) = match name.split_once('/') {
        Some(("index.docker.io", path)) => ("docker.io", path),
        Some((domain, path)) if domain.contains(['.', ':']) || domain == "localhost" => (domain, path),
        _ => ("docker.io", name),
    };
    let library = if domain == "docker.io" && !path.contains('/') { "library/" } else { "" };
    let tag = if path.contains([':', '@']) { "" } else { ":latest" };
    format!("{domain}/{library}{path}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_docker_reads_them() {
        for (short, full) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.22", "docker.io/library/alpine:3.22"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine:latest"),
            ("balena/app:1", "docker.io/balena/app:1"),
            ("localhost/app", "localhost/app:latest"),
            ("registry:5000/app", "registry:5000/app:latest"),
            ("ghcr.io/a/b:c", "ghcr.io/a/b:c"),
        ] {
            assert_eq!(full_name(short), full);
        }
    }
}
