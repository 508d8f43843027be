//! The registry: which codecs there are, and by which numbers a delta names them.

use crate::PatchError;

/// How a payload becomes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// The payload is the output.
    Data,
    /// Ranges of the source, corrected byte by byte, and new bytes: see [`bsdiff`](crate::bsdiff).
    Bsdiff,
    /// The plain text of a gzip file, encoded by one of the above, and the compressor that made the file of it: see
    /// [`gzip`](crate::gzip).
    #[cfg(feature = "gzip")]
    Gzip,
    /// Blocks of the source and new bytes, for sources that the encoder does not have: see [`block`](crate::block).
    Block,
    /// Ranges of the source, and a model of how the output differs from them: see [`align`](crate::align).
    Align,
    /// An archive whose members were opened, matched with those of another one, and compressed as they were: see
    /// [`zip`](crate::zip).
    #[cfg(feature = "zip")]
    Zip,
    /// An image as its scanlines, its other chunks, and the compressor that made the file of them: see [`png`](crate::png).
    #[cfg(feature = "png")]
    Png,
}

/// How much of a file a payload makes at least. What a payload may open beside what it makes is granted to each, so that there must
/// not be many for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Portion {
    /// Whatever is asked for.
    Any,
    /// So many bytes, unless the file ends with them.
    Least(u64),
    /// The whole of it.
    Whole,
}

impl Portion {
    /// Whether it may be `output_len` bytes of a file of `size`, behind which `left` are still to be made.
    #[must_use]
    pub const fn allows(self, output_len: u64, size: u64, left: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Least(least) => output_len >= least || left == 0,
            Self::Whole => output_len == size,
        }
    }
}

impl Codec {
    /// Every codec of this build, in the order of their ids.
    pub const ALL: &[Self] = &[
        Self::Data,
        Self::Bsdiff,
        #[cfg(feature = "gzip")]
        Self::Gzip,
        Self::Block,
        Self::Align,
        #[cfg(feature = "zip")]
        Self::Zip,
        #[cfg(feature = "png")]
        Self::Png,
    ];

    /// The number that names the codec in a delta. Never given to another codec.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Data => 1,
            Self::Bsdiff => 2,
            #[cfg(feature = "gzip")]
            Self::Gzip => 3,
            Self::Block => 4,
            Self::Align => 5,
            #[cfg(feature = "zip")]
            Self::Zip => 6,
            #[cfg(feature = "png")]
            Self::Png => 7,
        }
    }

    /// The version of the codec's payloads. Payloads of another version are not read.
    #[must_use]
    pub const fn version(self) -> u16 {
        match self {
            Self::Data | Self::Bsdiff | Self::Block | Self::Align => 0,
            #[cfg(feature = "gzip")]
            Self::Gzip => 0,
            #[cfg(feature = "zip")]
            Self::Zip => 0,
            #[cfg(feature = "png")]
            Self::Png => 0,
        }
    }

    /// How much of a file one payload makes at least.
    #[must_use]
    pub const fn portion(self) -> Portion {
        match self {
            Self::Data | Self::Bsdiff | Self::Block | Self::Align => Portion::Any,
            #[cfg(feature = "gzip")]
            Self::Gzip => Portion::Whole,
            #[cfg(feature = "zip")]
            Self::Zip => Portion::Least(4096),
            #[cfg(feature = "png")]
            Self::Png => Portion::Whole,
        }
    }

    /// The codec of this id and version.
    ///
    /// # Errors
    /// [`PatchError::Unsupported`] where this build has none: a delta that needs it cannot be applied here.
    pub fn from_id(id: u16, version: u16) -> Result<Self, PatchError> {
        let known = Self::ALL.iter().find(|codec| codec.id() == id && codec.version() == version);
        known.copied().ok_or(PatchError::Unsupported { codec: id, version })
    }

    /// The codec's name, as messages and reports spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Bsdiff => "bsdiff",
            #[cfg(feature = "gzip")]
            Self::Gzip => "gzip",
            Self::Block => "block",
            Self::Align => "align",
            #[cfg(feature = "zip")]
            Self::Zip => "zip",
            #[cfg(feature = "png")]
            Self::Png => "png",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_ascending_and_found_again() {
        assert!(Codec::ALL.is_sorted_by(|left, right| left.id() < right.id()));
        for &codec in Codec::ALL {
            assert_eq!(Codec::from_id(codec.id(), codec.version()).unwrap(), codec);
        }
    }

    #[test]
    fn unknown_ids_and_versions_are_unsupported() {
        for (id, version) in [(0, 0), (1, 1), (u16::MAX, 0)] {
            let error = Codec::from_id(id, version).unwrap_err();
            assert!(
                matches!(error, PatchError::Unsupported { codec, version: found } if codec == id && found == version)
            );
        }
    }
}
