/// What can go wrong on the paved path: what went wrong in one of the crates beneath it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image cannot be read.
    #[cfg(feature = "image")]
    #[error(transparent)]
    Image(#[from] skiff_image::ImageError),
    /// A delta cannot be made.
    #[cfg(feature = "diff")]
    #[error(transparent)]
    Diff(#[from] skiff_diff::DiffError),
    /// A store cannot be changed or read.
    #[cfg(feature = "apply")]
    #[error(transparent)]
    Apply(#[from] skiff_apply::ApplyError),
    /// A delta is not signed as it has to be.
    #[cfg(any(feature = "apply", feature = "diff", feature = "registry"))]
    #[error(transparent)]
    Trust(#[from] skiff_keys::TrustError),
    /// A key cannot be read or made.
    #[cfg(any(feature = "apply", feature = "diff", feature = "registry"))]
    #[error(transparent)]
    Key(#[from] skiff_keys::KeyError),
    /// A registry does not give, or take, what was asked for.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Registry(#[from] skiff_registry::RegistryError),
    /// A tree cannot be signed, or its signature not be read.
    #[cfg(feature = "signature")]
    #[error(transparent)]
    Signature(#[from] skiff_signature::SignatureError),
    /// A block signature, a block delta or a file cannot be made.
    #[cfg(feature = "block")]
    #[error(transparent)]
    Block(#[from] skiff_block::BlockError),
    /// A delta cannot be read.
    #[error(transparent)]
    Format(#[from] skiff_format::FormatError),
    /// A tree cannot be read from a disk, or written to one.
    #[error(transparent)]
    Fs(#[from] skiff_fs::FsError),
}
