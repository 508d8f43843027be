//! Images into OCI layouts, blob for blob.

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use skiff_fs::Control;

use crate::image::{Image, Layer, Source};
use crate::{BlobDigest, ImageError, Part};

/// Where blobs are, as [`BlobDigest::blob_name`] has it.
const BLOBS: &str = "blobs/sha256";

impl Image {
    /// Brings the image's blobs into the directory `blobs/sha256` of a layout: its layers as they are stored, its config and its
    /// manifest, but for those that are there. Returns the digest of the manifest, by which
    /// [`Selection::Digest`](crate::Selection::Digest) finds it; the layout's index is left alone. A `docker-archive:` gets a
    /// manifest made, the same one each time. Progress counts bytes of layers.
    ///
    /// # Errors
    /// [`ImageError::DigestMismatch`] where a layer is not the promised one, [`ImageError::Unsupported`] of a `tar:` and
    /// `rootfs:`, which have no layers; [`ImageError::Io`], [`ImageError::Interrupted`].
    pub fn write_layout(&self, layout: &Path, control: Control<'_>) -> Result<BlobDigest, ImageError> {
        let (Source::Layers(layers), Some(config)) = (&self.source, &self.config) else {
            let what = "it is no image with layers, which a layout takes";
            return Err(ImageError::unsupported(Part::Archive, what));
        };
        let blobs = layout.join(BLOBS);
        fs::create_dir_all(&blobs).map_err(failed("making", &blobs))?;
        let mut descriptors = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let digest = write_layer(layer, index, layout, control)?;
            let media_type = layer.info.media_type.clone();
            let media_type = media_type.unwrap_or_else(|| layer.info.compression.media_type().into());
            descriptors.push(
                json!({ "mediaType": media_type, "digest": digest.to_string(), "size": layer.info.size }),
            );
        }
        let config_digest = write_document(config, layout)?;
        let made = || {
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": config_digest.to_string(),
                    "size": config.len(),
                },
                "layers": descriptors,
            });
            manifest.to_string().into_bytes()
        };
        let manifest = write_document(&self.manifest.clone().unwrap_or_else(made), layout)?;
        // What the blobs are called is to last as they do.
        let directory = fs::File::open(&blobs).and_then(|directory| directory.sync_all());
        directory.map_err(failed("syncing", &blobs))?;
        Ok(manifest)
    }
}

/// Brings a layer's blob there, unless it is.
fn write_layer(
    layer: &Layer,
    index: usize,
    layout: &Path,
    control: Control<'_>,
) -> Result<BlobDigest, ImageError> {
    if let Some(digest) = layer.info.digest {
        let there = fs::metadata(layout.join(digest.blob_name()));
        if there.is_ok_and(|there| there.is_file() && there.len() == layer.info.size) {
            control.advance(layer.info.size);
            return Ok(digest);
        }
    }
    let blobs = &layout.join(BLOBS);
    let mut file = tempfile::NamedTempFile::new_in(blobs).map_err(failed("making a file in", blobs))?;
    let (mut reader, mut hasher) = (layer.blob.reader(), Sha256::new());
    loop {
        control.check()?;
        let piece = reader.fill_buf().map_err(failed("reading", &layer.path))?;
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        file.write_all(piece).map_err(failed("writing in", blobs))?;
        let count = piece.len();
        reader.consume(count);
        control.advance(count as u64);
    }
    let found = BlobDigest::from_bytes(hasher.finalize().into());
    if let Some(expected) = layer.info.digest.filter(|&expected| expected != found) {
        let (expected, found) = (expected.to_string(), found.to_string());
        return Err(ImageError::DigestMismatch { what: Part::Layer(index).to_string(), expected, found });
    }
    persist(file, layout, &found)?;
    Ok(found)
}

fn write_document(bytes: &[u8], layout: &Path) -> Result<BlobDigest, ImageError> {
    let blobs = &layout.join(BLOBS);
    let digest = BlobDigest::of(bytes);
    let mut file = tempfile::NamedTempFile::new_in(blobs).map_err(failed("making a file in", blobs))?;
    file.write_all(bytes).map_err(failed("writing in", blobs))?;
    persist(file, layout, &digest)?;
    Ok(digest)
}

/// Gives a blob its name once it is on the disk.
fn persist(file: tempfile::NamedTempFile, layout: &Path, digest: &BlobDigest) -> Result<(), ImageError> {
    file.as_file().sync_all().map_err(failed("syncing a file in", layout))?;
    let path = layout.join(digest.blob_name());
    file.persist(&path).map_err(|error| failed("renaming to", &path)(error.error))?;
    Ok(())
}

fn failed(op: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImageError {
    move |source| ImageError::Io { op, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use crate::{FlattenOptions, ImageRef, OpenOptions, Selection};
    use skiff_fs::Control;
    use skiff_testkit::{Layer, OciLayout};

    #[test]
    fn an_image_that_was_brought_into_a_layout_is_the_same_release() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let image = skiff_testkit::Image::new()
            .layer(Layer::new().file("etc/motd", b"ahoy\n"))
            .layer(Layer::new().file("etc/issue", b"skiff\n"));
        OciLayout::new().image("1", image).write_directory(&from);
        let reference = ImageRef::Oci { directory: from, image: None };
        let image = super::Image::open(&reference, &OpenOptions::default()).unwrap();
        for _ in 0..2 {
            let manifest = image.write_layout(&to, Control::default()).unwrap();
            let reference = ImageRef::Oci { directory: to.clone(), image: Some(Selection::Digest(manifest)) };
            let copy = super::Image::open(&reference, &OpenOptions::default()).unwrap();
            let release =
                |image: &super::Image| image.flatten(&FlattenOptions::default()).unwrap().release_id();
            assert_eq!((copy.manifest(), release(&copy)), (image.manifest(), release(&image)));
        }
        // Four blobs, and nothing that was temporary.
        assert_eq!(std::fs::read_dir(to.join("blobs/sha256")).unwrap().count(), 4);
    }
}
