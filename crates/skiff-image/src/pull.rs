//! What a device would fetch without a delta.

use std::collections::HashSet;
use std::io::{self, BufRead, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use skiff_fs::Control;

use crate::image::Source;
use crate::input::Blob;
use crate::{Compression, DiffId, FlattenOptions, Image, ImageError, LayerInfo, write_tar};

/// Bytes that a device with `base` fetches to get `target`: the stored sizes of the layers whose DiffID the base lacks, each
/// once.
///
/// That is what registries send where layers are stored compressed. For those that are not, as in a docker archive, and for
/// images without layers, see [`Image::pull_size`].
#[must_use]
pub fn pull_size(target: &[LayerInfo], base: &[LayerInfo]) -> u64 {
    let mut known: HashSet<DiffId> = base.iter().map(|layer| layer.diff_id).collect();
    let missing = target.iter().filter(|layer| known.insert(layer.diff_id));
    missing.fold(0, |sum, layer| sum.saturating_add(layer.size))
}

/// What a device fetches without a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pull {
    /// Bytes, all together.
    pub bytes: u64,
    /// The layers that the base lacks, from the bottom up; none of an image without layers, which is fetched as a whole.
    pub layers: Vec<PulledLayer>,
}

/// A layer that a device fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PulledLayer {
    /// The digest of the layer, uncompressed.
    pub diff_id: DiffId,
    /// What fetching it takes, in bytes.
    pub bytes: u64,
}

impl Image {
    /// Bytes that a device that has layers `base` fetches to get this image: the compressed sizes of the layers whose DiffID is not
    /// among them, each once. Of a device that has none, or none that are known, that is all. Layers that are stored uncompressed are compressed with gzip to find out, and so is the whole of a
    /// `tar:` or `rootfs:`, which has no layers to share: that takes as long as `gzip` does. A `tar:` that is compressed counts
    /// as it is.
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::Interrupted`]; of a `rootfs:`, those of [`flatten`](Self::flatten).
    pub fn pull_size(&self, base: &[LayerInfo], control: Control<'_>) -> Result<u64, ImageError> {
        Ok(self.pull(base, control)?.bytes)
    }

    /// As [`pull_size`](Self::pull_size), with what each of the layers takes.
    ///
    /// # Errors
    /// As for [`pull_size`](Self::pull_size).
    pub fn pull(&self, base: &[LayerInfo], control: Control<'_>) -> Result<Pull, ImageError> {
        let whole = |bytes| Pull { bytes, layers: Vec::new() };
        match &self.source {
            Source::Tar { compression: Compression::None, blob, path } => {
                Ok(whole(gzip_size(blob, path, control)?))
            }
            Source::Tar { blob, .. } => Ok(whole(blob.size)),
            Source::Rootfs(_) => {
                let flat = self.flatten(&FlattenOptions::default().with_control(control))?;
                let mut encoder = encoder();
                write_tar(&flat.tree, &flat.contents, &mut encoder, control)?;
                Ok(whole(encoder.finish().expect("because counting bytes does not fail").0))
            }
            Source::Layers(layers) => {
                let mut known: HashSet<DiffId> = base.iter().map(|layer| layer.diff_id).collect();
                let mut pull = whole(0);
                for layer in layers.iter().filter(|layer| known.insert(layer.info.diff_id)) {
                    let bytes = match layer.info.compression {
                        Compression::None => gzip_size(&layer.blob, &layer.path, control)?,
                        _ => layer.info.size,
                    };
                    pull.bytes = pull.bytes.saturating_add(bytes);
                    pull.layers.push(PulledLayer { diff_id: layer.info.diff_id, bytes });
                }
                Ok(pull)
            }
        }
    }
}

/// What `gzip -6` would make of it, or nearly: encoders differ by a percent.
fn gzip_size(blob: &Blob, path: &Path, control: Control<'_>) -> Result<u64, ImageError> {
    let failed = |source| ImageError::Io { op: "reading", path: path.into(), source };
    let (mut reader, mut encoder) = (blob.reader(), encoder());
    loop {
        control.check()?;
        let piece = reader.fill_buf().map_err(failed)?;
        if piece.is_empty() {
            return Ok(encoder.finish().map_err(failed)?.0);
        }
        encoder.write_all(piece).map_err(failed)?;
        let count = piece.len();
        reader.consume(count);
        control.advance(count as u64);
    }
}

fn encoder() -> GzEncoder<Count> {
    GzEncoder::new(Count(0), flate2::Compression::default())
}

/// Counts what is written.
#[derive(Debug)]
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
