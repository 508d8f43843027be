use std::path::PathBuf;

use skiff_fs::{Control, DirectoryContents, ReadOptions, Root, read_tree};
use skiff_tree::{ConfigDigest, ReleaseId, Tree};

use crate::archive::{End, Members, Origin};
use crate::contents::{ContentStore, Destination, ImageContents};
use crate::image::{Layer, Source};
use crate::layer::Flattening;
use crate::merge::Merge;
use crate::stream::Stream;
use crate::{Compression, Image, ImageError, LayerInfo, Limits, Part};

/// An image as one tree: its layers laid over each other.
#[derive(Debug)]
#[non_exhaustive]
pub struct FlatImage {
    /// Every path, with all metadata.
    pub tree: Tree,
    /// The contents of the tree's files.
    pub contents: ImageContents,
    /// The bytes of the image's config; none of a `tar:` or `rootfs:`.
    pub config: Option<Vec<u8>>,
    /// The bytes of the image's manifest; none of a `docker-archive:`, `tar:` or `rootfs:`.
    pub manifest: Option<Vec<u8>>,
    /// The layers, from the bottom up; none of a `tar:` or `rootfs:`.
    pub layers: Vec<LayerInfo>,
    /// How many extended attributes were left out because they are notes of the host that built the image about its own
    /// directories, which no engine applies: those of overlayfs (`trusted.overlay.*`) and NFS (`system.nfs4_acl`).
    pub dropped_xattrs: u64,
}

/// How an image is flattened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FlattenOptions<'a> {
    /// Where contents are spooled, in a file without a name: as many bytes as the distinct contents of all compressed layers
    /// have. Those of layers and archives that are not compressed are read where they are. Default: the system's directory for
    /// temporary files, which may well be in memory.
    pub spool_directory: PathBuf,
    /// What it may cost. A `rootfs:` is read without limits.
    pub limits: Limits,
    /// Watches and stops it; progress counts the bytes of layers as they are stored (see [`Image::stored_bytes`]), and of a
    /// `rootfs:` those of files. Default: neither.
    pub control: Control<'a>,
}

impl Image {
    /// Lays the layers over each other, from the bottom up, and checks every digest on the way. Each layer is read once.
    ///
    /// Entries mean what the OCI image specification says, and where it says nothing, what umoci's unpacker makes of them:
    /// - A whiteout (`.wh.NAME`) and an opaque marker (`.wh..wh..opq`) hide what layers below have, wherever in their layer
    ///   they stand; what the same layer has stays.
    /// - An entry replaces what was at its path, with all that was beneath it; only a directory over a directory keeps that. The last
    ///   entry of a path counts.
    /// - A name that leads through symbolic links leads where they lead in the tree so far, never out of it. A name with `..` is
    ///   refused.
    /// - A hard link takes its metadata from what it links to; a target that is not there is refused.
    /// - A `tar:` is one layer: names with `.wh.` are whiteouts in it, too.
    /// - What overlayfs makes of a character device 0:0 and of `trusted.overlay.*` on its own disks means nothing in a layer: the one
    ///   is a device, the others are left out.
    /// - PAX records override headers, and the last of a key counts; one without value takes back. Global ones, a size that
    ///   contradicts its header, and whatever else readers are known to differ in, are refused.
    /// - Directories that no layer declares get mode 0755, owner 0:0, and the time 0; symbolic links have mode 0777, as on Linux.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] with the layer, entry and byte where it is damaged or made to mislead, and
    /// [`ImageError::DigestMismatch`] where a layer is not the promised one; [`ImageError::Unsupported`] for global PAX headers
    /// and unknown types; [`ImageError::LimitExceeded`], [`ImageError::Io`], [`ImageError::Interrupted`]; of a `rootfs:`,
    /// [`ImageError::Fs`].
    pub fn flatten(&self, options: &FlattenOptions<'_>) -> Result<FlatImage, ImageError> {
        let (tree, contents, dropped_xattrs) = match &self.source {
            Source::Rootfs(directory) => {
                let root = Root::open(directory)?;
                let tree = read_tree(&root, &ReadOptions::default().with_control(options.control))?;
                (tree, DirectoryContents::new(root).into(), 0)
            }
            _ => self.flatten_archives(options)?,
        };
        Ok(FlatImage {
            tree,
            contents,
            config: self.config.clone(),
            manifest: self.manifest.clone(),
            layers: self.layers(),
            dropped_xattrs,
        })
    }

    fn flatten_archives(
        &self,
        options: &FlattenOptions<'_>,
    ) -> Result<(Tree, ImageContents, u64), ImageError> {
        let mut flattening = Flattening {
            merge: Merge::new(options.limits),
            store: ContentStore::new(&options.spool_directory),
            dropped_xattrs: 0,
            control: options.control,
        };
        let mut before = 0;
        for stream in self.streams(options.limits) {
            let stream = Stream { before, ..stream };
            before += flattening.add_stream(&stream, options)?;
        }
        let store = flattening.store.seal()?;
        let (entries, extents) = flattening.merge.finish(&store);
        Ok((Tree::new(entries)?, store.finish(extents), flattening.dropped_xattrs))
    }

    /// What is read, in this order.
    fn streams(&self, limits: Limits) -> Vec<Stream> {
        let Limits { layer_bytes: limit, decoder_memory, .. } = limits;
        match &self.source {
            Source::Layers(layers) => {
                let stream = |(index, layer): (usize, &Layer)| Stream {
                    blob: layer.blob.clone(),
                    part: Part::Layer(index),
                    path: layer.path.clone(),
                    compression: layer.info.compression,
                    digest: layer.info.digest,
                    diff_id: Some(layer.info.diff_id),
                    limit,
                    before: 0,
                    decoder_memory,
                };
                layers.iter().enumerate().map(stream).collect()
            }
            Source::Tar { path, blob, compression } => {
                let (blob, path) = (blob.clone(), path.clone());
                let (part, compression) = (Part::Archive, *compression);
                let (digest, diff_id, before) = (None, None, 0);
                vec![Stream { blob, part, path, compression, digest, diff_id, limit, before, decoder_memory }]
            }
            Source::Rootfs(_) => Vec::new(),
        }
    }
}

impl Flattening<'_> {
    fn add_stream(&mut self, stream: &Stream, options: &FlattenOptions<'_>) -> Result<u64, ImageError> {
        let destination = match stream.compression {
            Compression::None => self.store.in_place(&stream.blob),
            _ => Destination::Spool,
        };
        let origin = Origin { part: stream.part, path: stream.path.clone() };
        let ((), count) = stream.read(options.control, |chunks| {
            let mut members = Members::new(chunks, origin, options.limits);
            self.add_layer(&mut members, destination)?;
            // A layer's digest shows that it is whole; of an archive, only its end does.
            match members.end() {
                Some(End::Bare) if stream.diff_id.is_none() => Err(members
                    .corrupt("it ends without the two blocks of zeros that end an archive: it was cut off")),
                // A layer may well be empty. A whole file system is not, and a file of zeros looks like this.
                Some(End::Marked) if stream.diff_id.is_none() && members.is_empty() => {
                    Err(members.corrupt("it has no entries: it is empty, or a file of zeros"))
                }
                _ => Ok(()),
            }
        })?;
        Ok(count)
    }
}

impl FlatImage {
    /// The name of the release that this image makes.
    #[must_use]
    pub fn release_id(&self) -> ReleaseId {
        ReleaseId::new(self.tree.digest(), self.config.as_deref().map(ConfigDigest::of))
    }
}

impl Default for FlattenOptions<'_> {
    fn default() -> Self {
        Self { spool_directory: std::env::temp_dir(), limits: Limits::default(), control: Control::default() }
    }
}

impl<'a> FlattenOptions<'a> {
    /// These options, with the spool in another directory.
    #[must_use]
    pub fn with_spool_directory(self, spool_directory: impl Into<PathBuf>) -> Self {
        Self { spool_directory: spool_directory.into(), ..self }
    }

    /// These options, with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// These options, watched and stopped by `control`.
    #[must_use]
    pub fn with_control(self, control: Control<'a>) -> Self {
        Self { control, ..self }
    }
}
