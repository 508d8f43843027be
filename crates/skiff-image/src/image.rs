use std::fmt;
use std::path::{Path, PathBuf};

use skiff_fs::Control;

use crate::files::Files;
use crate::input::Blob;
use crate::{BlobDigest, DiffId, ImageError, ImageRef, Limits, Part, Platform, docker, oci};

/// An image that was found, and whose layers were not read yet.
#[derive(Debug)]
pub struct Image {
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) source: Source,
}

/// What an image's tree is made from.
#[derive(Debug)]
pub(crate) enum Source {
    Layers(Vec<Layer>),
    Tar { path: PathBuf, blob: Blob, compression: Compression },
    Rootfs(PathBuf),
}

/// A layer and where it is.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) info: LayerInfo,
    pub(crate) blob: Blob,
    /// For messages.
    pub(crate) path: PathBuf,
}

/// What is known of a layer before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerInfo {
    /// The digest of the layer, uncompressed.
    pub diff_id: DiffId,
    /// The digest of the blob that is stored; none in a docker archive from before Docker 25, which does not tell.
    pub digest: Option<BlobDigest>,
    /// Bytes of the blob that is stored: compressed, if it is.
    pub size: u64,
    /// What the manifest says that the blob is; none in a docker archive, which does not tell.
    pub media_type: Option<String>,
    /// How the blob is compressed: what its first bytes say, whatever its media type says.
    pub compression: Compression,
}

/// How a layer or an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, in one or several members.
    Gzip,
    /// zstd, in one or several frames.
    Zstd,
    /// xz, in one or several streams.
    Xz,
}

/// How an image is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenOptions<'a> {
    /// The platform that the image must be for, or run on; of several, the one is taken that suits it best. Archives and
    /// directories without a config do not say what they are for, and are taken for any. Default: none is named, and an image
    /// is taken whatever it is for, or, where there are several, the one for this machine.
    pub platform: Option<Platform>,
    /// Where an archive that is compressed as a whole is decompressed to, in a file without a name. Default: the system's
    /// directory for temporary files.
    pub spool_directory: PathBuf,
    /// What it may cost.
    pub limits: Limits,
    /// Stops it; nothing worth a progress bar is done, but for compressed archives. Default: nothing stops it.
    pub control: Control<'a>,
}

impl Image {
    /// Finds an image and reads what describes it: its manifest and config, whose digests are checked, and the sizes of its
    /// layers. Of a `tar:` or `rootfs:`, nothing is read yet.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] where there is no such image, and it says which there are; [`ImageError::Corrupt`] and
    /// [`ImageError::DigestMismatch`] where it is damaged; [`ImageError::Unsupported`], [`ImageError::LimitExceeded`],
    /// [`ImageError::Io`], [`ImageError::Interrupted`].
    pub fn open(reference: &ImageRef, options: &OpenOptions<'_>) -> Result<Self, ImageError> {
        match reference {
            ImageRef::Oci { directory, image } => {
                oci::open(&Files::Directory(directory.clone()), image.as_ref(), options)
            }
            ImageRef::OciArchive { file, image } => {
                oci::open(&Files::open_archive(file, options)?, image.as_ref(), options)
            }
            ImageRef::DockerArchive { file, image } => {
                docker::open(&Files::open_archive(file, options)?, image.as_ref(), options)
            }
            ImageRef::Tar { file } => {
                let blob = Blob::open(file)?;
                let compression = Compression::of(&blob, Part::Archive, file)?;
                Ok(Self::without_config(Source::Tar { path: file.clone(), blob, compression }))
            }
            ImageRef::Rootfs { directory } => Ok(Self::without_config(Source::Rootfs(directory.clone()))),
        }
    }

    /// The bytes of the image's config, as its digest has them; none of a `tar:` or `rootfs:`.
    #[must_use]
    pub fn config(&self) -> Option<&[u8]> {
        self.config.as_deref()
    }

    /// The bytes of the image's manifest, as its digest has them; none of a `docker-archive:`, `tar:` or `rootfs:`.
    #[must_use]
    pub fn manifest(&self) -> Option<&[u8]> {
        self.manifest.as_deref()
    }

    /// The layers, from the bottom up; none of a `tar:` or `rootfs:`.
    #[must_use]
    pub fn layers(&self) -> Vec<LayerInfo> {
        match &self.source {
            Source::Layers(layers) => layers.iter().map(|layer| layer.info.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// How many bytes [`flatten`](Self::flatten) reads, which its progress adds up to; none where that is not known before,
    /// which is a `rootfs:`.
    #[must_use]
    pub fn stored_bytes(&self) -> Option<u64> {
        match &self.source {
            Source::Layers(layers) => {
                Some(layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.info.size)))
            }
            Source::Tar { blob, .. } => Some(blob.size),
            Source::Rootfs(_) => None,
        }
    }

    fn without_config(source: Source) -> Self {
        Self { config: None, manifest: None, source }
    }
}

impl Default for OpenOptions<'_> {
    fn default() -> Self {
        Self {
            platform: None,
            spool_directory: std::env::temp_dir(),
            limits: Limits::default(),
            control: Control::default(),
        }
    }
}

impl<'a> OpenOptions<'a> {
    /// These options, for a platform.
    #[must_use]
    pub fn with_platform(self, platform: Platform) -> Self {
        Self { platform: Some(platform), ..self }
    }

    /// These options, with spools in another directory.
    #[must_use]
    pub fn with_spool_directory(self, spool_directory: impl Into<PathBuf>) -> Self {
        Self { spool_directory: spool_directory.into(), ..self }
    }

    /// These options, with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// These options, stopped by `control`.
    #[must_use]
    pub fn with_control(self, control: Control<'a>) -> Self {
        Self { control, ..self }
    }
}

impl Compression {
    /// What the first bytes say.
    pub(crate) fn of(blob: &Blob, part: Part, path: &Path) -> Result<Self, ImageError> {
        let mut start = [0; 16];
        let failed = |source| ImageError::Io { op: "reading", path: path.into(), source };
        let count = blob.read_at(&mut start, 0).map_err(failed)?;
        let unsupported = |name| {
            let what = format!("it is compressed with {name}; gzip, zstd, xz and none are read");
            Err(ImageError::unsupported(part, what))
        };
        match &start[..count] {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            // The digits of pi, where the first block begins: a tar archive may begin with a name in "BZh".
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => unsupported("bzip2"),
            _ => Ok(Self::None),
        }
    }
}

impl Compression {
    /// What a manifest says of a layer that is compressed so.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            // No media type is registered for it; what reads this looks at the first bytes.
            Self::Xz => "application/vnd.oci.image.layer.v1.tar+xz",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        })
    }
}
