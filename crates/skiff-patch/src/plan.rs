//! One way into the encoders whose payloads depend on those before them in their frame.

use std::io::{Read, Seek};
use std::ops::Range;

#[cfg(feature = "gzip")]
use crate::gzip;
#[cfg(feature = "png")]
use crate::png;
#[cfg(feature = "zip")]
use crate::zip;
use crate::{Codec, PatchError, Source, State, align};

/// What is known of a payload before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Whether decoding reads the source.
    pub reads_source: bool,
    /// How many bytes it makes.
    pub output_len: u64,
    /// About how many bytes it will have.
    pub estimate: u64,
    /// At most what decoding holds, in bytes: see [`decoder_memory`](crate::decoder_memory).
    pub decoder_memory: u64,
}

/// How a file is to be made from another one, before it is written.
///
/// Finding that out takes long and needs nothing but the files, so that many can be planned side by side; writing it down
/// takes the [`State`] of the frame, so that they are written one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// See [`align`](crate::align).
    Align(align::Plan),
    /// See [`gzip`](crate::gzip).
    #[cfg(feature = "gzip")]
    Gzip(gzip::Plan),
    /// See [`zip`](crate::zip).
    #[cfg(feature = "zip")]
    Zip(zip::Plan),
    /// See [`png`](crate::png).
    #[cfg(feature = "png")]
    Png(png::Plan),
}

impl Plan {
    /// What the payload will be of.
    #[must_use]
    pub fn codec(&self) -> Codec {
        match self {
            Self::Align(_) => Codec::Align,
            #[cfg(feature = "gzip")]
            Self::Gzip(_) => Codec::Gzip,
            #[cfg(feature = "zip")]
            Self::Zip(_) => Codec::Zip,
            #[cfg(feature = "png")]
            Self::Png(_) => Codec::Png,
        }
    }

    /// What comes of the plan.
    #[must_use]
    pub fn forecast(&self) -> Forecast {
        match self {
            Self::Align(plan) => plan.forecast(),
            #[cfg(feature = "gzip")]
            Self::Gzip(plan) => plan.forecast(),
            #[cfg(feature = "zip")]
            Self::Zip(plan) => plan.forecast(),
            #[cfg(feature = "png")]
            Self::Png(plan) => plan.forecast(),
        }
    }

    /// The plan for a part of the output, where the payload for all of it would be too large. None where the codec makes
    /// files only whole.
    #[must_use]
    pub fn part(&self, range: Range<u64>) -> Option<Self> {
        match self {
            Self::Align(plan) => Some(Self::Align(plan.part(range))),
            #[cfg(feature = "gzip")]
            Self::Gzip(_) => None,
            #[cfg(feature = "zip")]
            Self::Zip(_) => None,
            #[cfg(feature = "png")]
            Self::Png(_) => None,
        }
    }

    /// Writes the payload. Both files must be those that the plan was made from; `new` begins where the part does.
    ///
    /// # Errors
    /// [`PatchError::Io`] where one of the files cannot be read, [`PatchError::Corrupt`] where it is another one by now.
    pub fn write<S: Read + Seek>(
        &self,
        source: &mut Source<S>,
        new: impl Read,
        state: &mut State,
    ) -> Result<Vec<u8>, PatchError> {
        match self {
            Self::Align(plan) => plan.write(source, new, state),
            #[cfg(feature = "gzip")]
            Self::Gzip(plan) => plan.write(source, new, state),
            #[cfg(feature = "zip")]
            Self::Zip(plan) => plan.write(source, new, state),
            #[cfg(feature = "png")]
            Self::Png(plan) => plan.write(source, new, state),
        }
    }
}
