//! One way into all decoders.

use std::io::{Read, Seek, Write};

use crate::{Codec, PatchError, Source, State, align, block, bsdiff, data};

/// A payload, and what is known about it beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// How the payload is encoded.
    pub codec: Codec,
    /// The encoded bytes.
    pub payload: &'a [u8],
    /// How many bytes it stands for, exactly.
    pub output_len: u64,
}

impl<'a> Job<'a> {
    /// A payload of `codec` that stands for `output_len` bytes.
    #[must_use]
    pub const fn new(codec: Codec, payload: &'a [u8], output_len: u64) -> Self {
        Self { codec, payload, output_len }
    }
}

/// What decoding one payload may take. The defaults suit a device with 64 MiB to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most memory a decoder may hold, in bytes, beside the payload: stops a small payload that makes a device swap.
    /// The need of a payload is [`decoder_memory`].
    pub memory_bytes: u64,
    /// The longest plain text that a compressed file is opened to, in bytes, be it the source or the output: stops a file
    /// that is small when compressed from costing the device's time.
    pub plain_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, plain_bytes: 8 << 20 }
    }
}

impl Limits {
    /// Whether a plain text may have so many bytes.
    #[cfg(any(feature = "gzip", feature = "png", feature = "zip"))]
    pub(crate) fn allow_plain(&self, wanted: u64) -> Result<(), PatchError> {
        let limit = self.plain_bytes;
        if wanted > limit {
            return Err(PatchError::LimitExceeded { what: "plain text", wanted, limit });
        }
        Ok(())
    }
}

/// Writes the bytes that `job` stands for, given `source`, to `output`. `state` has seen what stands before the payload in its
/// frame, and is of no more use after an error.
///
/// Exactly [`Job::output_len`] bytes are written on success, and never more; on an error that is the payload's fault none are,
/// but by codecs that write as they go (`align`, `zip`), which find out at the end: whoever takes their output proves it. The output is written in pieces of some 64 KiB, and is not flushed.
///
/// # Errors
/// - [`PatchError::Corrupt`] where the payload is not what an encoder writes for such an output and source;
/// - [`PatchError::LimitExceeded`] where decoding takes more than `limits` allow, told before anything is written;
/// - [`PatchError::Io`] where the source cannot be read (it may have become shorter) or the output not be written.
pub fn decode<S: Read + Seek + Send, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
    limits: &Limits,
    state: &mut State,
) -> Result<(), PatchError> {
    match decode_apart(job, source, output, limits, state)? {
        None => Ok(()),
        Some(rest) => rest.finish(output),
    }
}

/// As [`decode`], but stops where what is left needs neither the source nor the state: another thread may then do that while this
/// one goes on with the next payload. Nothing was written where something is left.
///
/// # Errors
/// As for [`decode`], but those that the rest ends in.
pub fn decode_apart<S: Read + Seek + Send, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
    limits: &Limits,
    state: &mut State,
) -> Result<Option<Rest>, PatchError> {
    let wanted = decoder_memory(job)?;
    if wanted > limits.memory_bytes {
        return Err(PatchError::LimitExceeded { what: "memory", wanted, limit: limits.memory_bytes });
    }
    match job.codec {
        Codec::Data => data::decode(job, output),
        Codec::Bsdiff => bsdiff::decode(job, source, output),
        #[cfg(feature = "gzip")]
        Codec::Gzip => {
            return crate::gzip::decode(job, source, limits, state).map(|gzip| Some(Rest(gzip)));
        }
        Codec::Block => block::decode(job, source, output),
        Codec::Align => align::decode(job, source, output, state),
        #[cfg(feature = "zip")]
        Codec::Zip => crate::zip::decode(job, source, output, limits, state),
        #[cfg(feature = "png")]
        Codec::Png => crate::png::decode(job, source, output, limits, state),
    }
    .map(|()| None)
}

/// What is left of a payload after [`decode_apart`]: to compress a text, once that is known.
#[derive(Debug)]
pub struct Rest(
    #[cfg(feature = "gzip")] crate::gzip::Rest,
    // Nothing else leaves anything.
    #[cfg(not(feature = "gzip"))] std::convert::Infallible,
);

impl Rest {
    /// The most memory that it holds, with the output that it will hold, in bytes. While it is finished, a compressor holds up to
    /// 1 MiB more.
    #[must_use]
    pub fn held(&self) -> u64 {
        #[cfg(feature = "gzip")]
        return self.0.held();
        #[cfg(not(feature = "gzip"))]
        match self.0 {}
    }

    /// Writes what the payload stands for to `output`.
    ///
    /// # Errors
    /// Those of [`decode`] but for sources and limits.
    pub fn finish<W: Write>(self, output: &mut W) -> Result<(), PatchError> {
        #[cfg(feature = "gzip")]
        return self.0.finish(output);
        #[cfg(not(feature = "gzip"))]
        {
            let _ = output;
            match self.0 {}
        }
    }
}

/// The most memory that decoding `job` holds at once, in bytes, beside the payload and the [`Source`]'s buffer
/// included. Encoders declare the largest of a delta; [`decode`] refuses a payload that needs more than its limits allow.
///
/// # Errors
/// [`PatchError::Corrupt`] where the payload's head cannot be read.
pub fn decoder_memory(job: &Job<'_>) -> Result<u64, PatchError> {
    match job.codec {
        Codec::Data => Ok(0),
        Codec::Bsdiff => Ok(bsdiff::DECODER_MEMORY),
        #[cfg(feature = "gzip")]
        Codec::Gzip => crate::gzip::decoder_memory(job),
        Codec::Block => Ok(block::DECODER_MEMORY),
        Codec::Align => align::decoder_memory(job),
        #[cfg(feature = "zip")]
        Codec::Zip => crate::zip::decoder_memory(job),
        #[cfg(feature = "png")]
        Codec::Png => crate::png::decoder_memory(job),
    }
}
