//! Texts within payloads: what a compressed file holds, by a codec for plain files.

use std::io::{Read, Seek};

use crate::{Codec, Job, PatchError, Source, bsdiff, data, deflate};

/// What decoding one takes beside its text.
pub(crate) const MEMORY: u64 = bsdiff::DECODER_MEMORY;

/// What makes `text` of `old`, and by which codec: none that reads the source where that is of no use.
#[cfg(feature = "encode")]
pub(crate) fn encode(old: &[u8], text: &[u8]) -> (Codec, Vec<u8>) {
    match bsdiff::encode_whole(old, text) {
        Some(payload) => (Codec::Bsdiff, payload),
        None => (Codec::Data, text.to_vec()),
    }
}

/// A payload within another one.
pub(crate) struct Inner<'a> {
    pub(crate) job: Job<'a>,
    /// Where in the outer payload it begins, for errors.
    pub(crate) offset: u64,
}

impl Inner<'_> {
    /// The codec of this id, if it may be an inner one.
    pub(crate) fn codec(id: u64) -> Option<Codec> {
        match id {
            1 => Some(Codec::Data),
            2 => Some(Codec::Bsdiff),
            _ => None,
        }
    }

    /// The text, with room to pad it.
    pub(crate) fn decode<S: Read + Seek>(&self, source: &mut Source<S>) -> Result<Vec<u8>, PatchError> {
        // None of these codecs makes more than its payload is long.
        let expected = self.job.payload.len().min(usize::try_from(self.job.output_len).unwrap_or(usize::MAX));
        let mut text = Vec::with_capacity(expected + deflate::PADDING);
        let result = match self.job.codec {
            Codec::Data => data::decode(&self.job, &mut text),
            _ => bsdiff::decode(&self.job, source, &mut text),
        };
        match result {
            Err(PatchError::Corrupt { offset, what }) => Err(PatchError::corrupt(self.offset + offset, what)),
            result => result.map(|()| text),
        }
    }
}
