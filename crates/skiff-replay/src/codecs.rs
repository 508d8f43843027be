//! The codecs that a delta requires.

use skiff_format::Header;
use skiff_patch::Codec;

use crate::ReplayError;

/// The codecs that a header names, all of them known here.
#[derive(Debug, Clone)]
pub(crate) struct Codecs(Vec<Codec>);

impl Codecs {
    /// Looks up what the header names, before anything else of the delta is read.
    pub(crate) fn required<E: std::error::Error>(header: &Header) -> Result<Self, ReplayError<E>> {
        let known = |named: &skiff_format::CodecInfo| Codec::from_id(named.id, named.version);
        header.codecs().iter().map(known).collect::<Result<_, _>>().map(Self).map_err(ReplayError::Codec)
    }

    /// The codec of this number, where the header names it.
    pub(crate) fn find(&self, id: u16) -> Option<Codec> {
        self.0.iter().copied().find(|codec| codec.id() == id)
    }
}
