//! Texts within payloads: what a compressed file holds, by a codec for plain files.

use std::io::{Read, Seek};

#[cfg(any(feature = "gzip", feature = "png"))]
use skiff_wire::Input;

#[cfg(all(feature = "encode", any(feature = "gzip", feature = "zip")))]
use crate::Effort;
use crate::{Codec, Job, PatchError, Source, State, align, bsdiff, data, deflate};

/// What makes `text` of `old`, and by which codec: none that reads the source where that is of no use.
#[cfg(all(feature = "encode", any(feature = "gzip", feature = "zip")))]
pub(crate) fn encode(old: &[u8], text: &[u8], effort: Effort) -> (Codec, Vec<u8>) {
    match bsdiff::encode_whole(old, text, effort) {
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

impl<'a> Inner<'a> {
    /// A codec's number and its payload, to the end of the outer one.
    #[cfg(any(feature = "gzip", feature = "png"))]
    pub(crate) fn read(
        mut input: Input<&'a [u8]>,
        output_len: u64,
        is_source_opened: bool,
    ) -> Result<Self, PatchError> {
        let offset = input.offset();
        let unknown = PatchError::corrupt(offset, "this codec cannot be the inner one");
        let codec = Self::codec(input.varint()?).ok_or(unknown)?;
        if codec == Codec::Data && is_source_opened {
            return Err(PatchError::corrupt(offset, "the source is opened and not read"));
        }
        Ok(Self { job: Job::new(codec, input.rest(), output_len), offset: input.offset() })
    }

    /// The codec of this id, if it may be an inner one.
    pub(crate) fn codec(id: u64) -> Option<Codec> {
        match id {
            1 => Some(Codec::Data),
            2 => Some(Codec::Bsdiff),
            5 => Some(Codec::Align),
            _ => None,
        }
    }

    /// What decoding it takes beside its text.
    pub(crate) fn memory(&self) -> Result<u64, PatchError> {
        match self.job.codec {
            Codec::Align => self.within(align::decoder_memory(&self.job)),
            _ => Ok(bsdiff::DECODER_MEMORY),
        }
    }

    /// The text, with room to pad it. Its length is bounded by the caller.
    pub(crate) fn decode<S: Read + Seek + Send>(
        &self,
        source: &mut Source<S>,
        state: &mut State,
    ) -> Result<Vec<u8>, PatchError> {
        let longest = usize::try_from(self.job.output_len).unwrap_or(usize::MAX);
        // Only a model makes more than its payload is long.
        let expected =
            if self.job.codec == Codec::Align { longest } else { longest.min(self.job.payload.len()) };
        let mut text = Vec::with_capacity(expected + deflate::PADDING);
        let result = match self.job.codec {
            Codec::Data => data::decode(&self.job, &mut text),
            Codec::Align => align::decode(&self.job, source, &mut text, state),
            _ => bsdiff::decode(&self.job, source, &mut text),
        };
        self.within(result.map(|()| text))
    }

    /// Errors tell where in the outer payload they are.
    fn within<T>(&self, result: Result<T, PatchError>) -> Result<T, PatchError> {
        match result {
            Err(PatchError::Corrupt { offset, what }) => {
                Err(PatchError::corrupt(self.offset.saturating_add(offset), what))
            }
            result => result,
        }
    }
}
