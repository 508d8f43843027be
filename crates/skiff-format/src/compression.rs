//! How a frame's payload is compressed, both ways.

#[cfg(feature = "encode")]
use crate::{Digest, Section};

use crate::{FormatError, FrameInfo};

/// A compressor with what its decoder has to know beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compressor {
    /// Not compressed.
    Stored,
    /// LZMA, as xz has it: the stream of an `.lzma` file, with its end marker, without its header.
    Xz {
        /// Literal context bits, literal position bits and position bits in one number: `lc + 9 × (lp + 5 × pb)`.
        properties: u8,
        /// The dictionary: 2 or 3 times two to the power of this half and eleven, as in xz's filter properties.
        dictionary: u8,
    },
    /// Zstandard: one frame, with its content size.
    Zstd {
        /// Two to this power is the largest window the frame may ask for, in bytes.
        window_log: u8,
    },
    /// Mixed contexts: each byte coded in what the models of [`skiff_coder::Text`] make of those before it.
    Mixed,
    /// Of a section that is left out, whose frames nobody decodes here: the numbers as they are told.
    Other {
        /// The compressor's number.
        number: u64,
        /// Its parameter.
        parameter: u64,
    },
}

/// The dictionary code above which sizes do not fit 32 bits.
const MAX_DICTIONARY: u8 = 39;
/// What zstd's own format allows.
const WINDOW_LOGS: std::ops::RangeInclusive<u8> = 10..=31;

/// Why a row of the table names no compressor.
pub(crate) enum CompressorFault {
    /// A later version's.
    Unknown,
    /// One that is known, with a parameter that it does not have.
    Parameter,
}

/// A compressor that a later version added.
pub(crate) fn unknown(number: u64) -> FormatError {
    FormatError::Unsupported { what: format!("it has a frame of compressor {number}") }
}

/// Whether a number is `lc + 9 × (lp + 5 × pb)` with `lc + lp` and `pb` at most 4, which is what liblzma decodes.
fn are_lzma_properties(number: u8) -> bool {
    let (lc, lp, pb) = (number % 9, number / 9 % 5, number / 45);
    lc + lp <= 4 && pb <= 4
}

impl Compressor {
    #[cfg(feature = "encode")]
    pub(crate) fn numbers(self) -> (u64, u64) {
        match self {
            Self::Stored => (0, 0),
            Self::Xz { properties, dictionary } => (1, u64::from(dictionary) << 8 | u64::from(properties)),
            Self::Zstd { window_log } => (2, u64::from(window_log)),
            Self::Mixed => (3, 0),
            Self::Other { number, parameter } => (number, parameter),
        }
    }

    pub(crate) fn from_numbers(id: u64, parameter: u64) -> Result<Self, CompressorFault> {
        if id > 3 {
            return Err(CompressorFault::Unknown);
        }
        let parameter = u16::try_from(parameter).map_err(|_| CompressorFault::Parameter)?;
        let [high, low] = parameter.to_be_bytes();
        match id {
            0 if parameter == 0 => Ok(Self::Stored),
            1 if high <= MAX_DICTIONARY && are_lzma_properties(low) => {
                Ok(Self::Xz { properties: low, dictionary: high })
            }
            2 if high == 0 && WINDOW_LOGS.contains(&low) => Ok(Self::Zstd { window_log: low }),
            3 if parameter == 0 => Ok(Self::Mixed),
            _ => Err(CompressorFault::Parameter),
        }
    }

    /// Whether this build has it.
    pub(crate) fn check_built_in(self) -> Result<(), FormatError> {
        let name = match self {
            Self::Xz { .. } if !cfg!(feature = "xz") => "LZMA",
            Self::Zstd { .. } if !cfg!(feature = "zstd") => "Zstandard",
            _ => return Ok(()),
        };
        let what = format!("it has frames of {name}, which was left out when this was built");
        Err(FormatError::Unsupported { what })
    }

    /// How many bytes of earlier output the decoder keeps.
    #[must_use]
    pub fn dictionary_bytes(self) -> u64 {
        match self {
            Self::Stored | Self::Mixed | Self::Other { .. } => 0,
            Self::Xz { dictionary, .. } => u64::from(2 | dictionary & 1) << (dictionary / 2 + 11),
            Self::Zstd { window_log } => 1 << window_log,
        }
    }
}

/// What the decoders hold beside dictionary, input and output, in bytes: LZMA's probabilities, zstd's tables.
#[cfg(any(feature = "encode", feature = "xz"))]
pub(crate) const WORKING_MEMORY: u64 = 1 << 20;

/// Decodes the bytes of a frame, whose digest held. The sizes were checked against the limits.
pub(crate) fn decompress(frame: &FrameInfo, encoded: &[u8]) -> Result<Vec<u8>, FormatError> {
    let size = usize::try_from(frame.decoded_size)
        .map_err(|_| FormatError::corrupt(frame.offset, "a frame larger than the address space"))?;
    let payload = match frame.compressor {
        Compressor::Stored => Ok(encoded.to_vec()),
        Compressor::Mixed => {
            skiff_coder::Text::decode(encoded, size).map_err(|_| "its coded bytes are damaged")
        }
        #[cfg(feature = "xz")]
        Compressor::Xz { properties, .. } => xz_decode(properties, frame.compressor, encoded, size),
        #[cfg(feature = "zstd")]
        Compressor::Zstd { window_log } => zstd_decode(window_log, encoded, size),
        Compressor::Other { number, .. } => return Err(unknown(number)),
        #[cfg(not(all(feature = "xz", feature = "zstd")))]
        // Always an error, and the header was refused with it already.
        other => return other.check_built_in().map(|()| Vec::new()),
    };
    payload.map_err(|what: &'static str| FormatError::corrupt(frame.offset, what))
}

/// The `.lzma` header that LZMA's decoder wants, and that every frame would repeat: properties, dictionary, and a size
/// that is not told, because the end marker tells.
#[cfg(feature = "xz")]
fn lzma_header(properties: u8, compressor: Compressor) -> [u8; 13] {
    let mut header = [0xff; 13];
    header[0] = properties;
    let dictionary = u32::try_from(compressor.dictionary_bytes()).unwrap_or(u32::MAX);
    header[1..5].copy_from_slice(&dictionary.to_le_bytes());
    header
}

#[cfg(feature = "xz")]
fn xz_decode(
    properties: u8,
    compressor: Compressor,
    encoded: &[u8],
    size: usize,
) -> Result<Vec<u8>, &'static str> {
    use xz2::stream::{Action, Status, Stream};

    let damaged = |_| "its LZMA stream is damaged";
    let memory = compressor.dictionary_bytes() + WORKING_MEMORY;
    let mut stream = Stream::new_lzma_decoder(memory).map_err(damaged)?;
    // One byte more than declared, so that a stream that goes on is caught.
    let mut payload = Vec::with_capacity(size + 1);
    stream.process_vec(&lzma_header(properties, compressor), &mut payload, Action::Run).map_err(damaged)?;
    let mut left = encoded;
    loop {
        let before = stream.total_in();
        let status = stream.process_vec(left, &mut payload, Action::Run).map_err(damaged)?;
        let read = usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX);
        left = left.get(read..).unwrap_or_default();
        match status {
            Status::StreamEnd if !left.is_empty() => {
                return Err("bytes follow its LZMA stream");
            }
            Status::StreamEnd if payload.len() == size => return Ok(payload),
            Status::StreamEnd => return Err("its payload is not as long as declared"),
            _ if payload.len() > size => return Err("its payload is longer than declared"),
            _ if left.is_empty() => return Err("its LZMA stream is cut off"),
            _ => {}
        }
    }
}

#[cfg(feature = "zstd")]
fn zstd_decode(window_log: u8, encoded: &[u8], size: usize) -> Result<Vec<u8>, &'static str> {
    use zstd::bulk::Decompressor;
    use zstd::zstd_safe::find_frame_compressed_size;

    let damaged = |_| "its Zstandard frame is damaged";
    // In one pass libzstd needs no window and so checks none, but other decoders do.
    let window = zstd_window(encoded).ok_or("it is not a Zstandard frame without a dictionary")?;
    if window > 1 << window_log {
        return Err("its Zstandard window is larger than declared");
    }
    // No match reaches further back than the payload is long. Beyond a window decoders differ: some refuse, this one would not.
    if window < size as u64 {
        return Err("its Zstandard window is smaller than its payload");
    }
    if find_frame_compressed_size(encoded).ok() != Some(encoded.len()) {
        return Err("it is not exactly one Zstandard frame");
    }
    let mut decoder = Decompressor::new().map_err(damaged)?;
    // Writes no further than the capacity, and looks back in there.
    let payload = decoder.decompress(encoded, size).map_err(damaged)?;
    if payload.len() == size { Ok(payload) } else { Err("its payload is not as long as declared") }
}

/// How far back a Zstandard frame without a dictionary may look, in bytes (RFC 8878, 3.1.1.1).
#[cfg(feature = "zstd")]
fn zstd_window(frame: &[u8]) -> Option<u64> {
    const SINGLE_SEGMENT: u8 = 1 << 5;
    const DICTIONARY: u8 = 3;
    let (descriptor, rest) = frame.strip_prefix(&0xfd2f_b528_u32.to_le_bytes())?.split_first()?;
    if descriptor & DICTIONARY != 0 {
        return None;
    }
    if descriptor & SINGLE_SEGMENT == 0 {
        let (exponent, mantissa) = (rest.first()? >> 3, rest.first()? & 7);
        let base = 1_u64 << (10 + exponent);
        return Some(base + base / 8 * u64::from(mantissa));
    }
    // The window is the content, whose size is in the next bytes.
    let mut size = [0; 8];
    let width = 1 << (descriptor >> 6);
    size[..width].copy_from_slice(rest.get(..width)?);
    let size = u64::from_le_bytes(size);
    if width == 2 { Some(size + 256) } else { Some(size) }
}

/// How to compress a frame. Where nothing is gained the payload is stored.
#[cfg(feature = "encode")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Stored,
    /// With LZMA, as hard as it can.
    #[cfg(feature = "xz")]
    Xz {
        /// How many high bits of the byte before predict a literal: 0 to 4, 4 at most together with the next. 3 suits most data.
        literal_context_bits: u8,
        /// How many low bits of the position predict a literal: 0 to 4.
        literal_position_bits: u8,
        /// How many low bits of the position predict what comes: 0 to 4. 2 suits executables, 0 text.
        position_bits: u8,
    },
    /// With Zstandard, at its levels 1 to 22.
    #[cfg(feature = "zstd")]
    Zstd {
        /// The level.
        level: i32,
    },
    /// With mixed contexts: smallest for text and tables, and slowest to decode, at a few megabytes a second.
    Mixed,
}

#[cfg(all(feature = "encode", feature = "xz"))]
impl Compression {
    /// LZMA with the parameters that xz uses for data of any kind.
    pub const XZ: Self = Self::Xz { literal_context_bits: 3, literal_position_bits: 0, position_bits: 2 };
}

/// A frame, compressed and ready to be added to a delta.
#[cfg(feature = "encode")]
#[derive(Debug, Clone)]
pub struct CompressedFrame {
    /// Its row of the table; the offset is not known yet.
    pub(crate) info: FrameInfo,
    pub(crate) bytes: Vec<u8>,
}

#[cfg(feature = "encode")]
impl CompressedFrame {
    /// The section that it belongs to.
    #[must_use]
    pub fn section(&self) -> Section {
        self.info.section
    }

    /// Its size in the delta, in bytes.
    #[must_use]
    pub fn encoded_size(&self) -> u64 {
        self.info.encoded_size
    }

    /// What decoding it takes, in bytes: input, output and the decoder's own.
    #[must_use]
    pub fn decoder_memory(&self) -> u64 {
        let info = &self.info;
        let models =
            if info.compressor == Compressor::Mixed { skiff_coder::Text::MEMORY } else { WORKING_MEMORY };
        info.encoded_size + info.decoded_size + info.compressor.dictionary_bytes() + models
    }
}

/// The most that decoding a frame of this much payload takes, in bytes, however it is compressed:
/// [`CompressedFrame::decoder_memory`] is never above it. It may be stored as it is, or have a dictionary of its size.
#[cfg(feature = "encode")]
#[must_use]
pub fn frame_memory(payload_bytes: usize) -> u64 {
    /// xz's smallest dictionary.
    const LEAST_DICTIONARY: u64 = 4 << 10;
    let size = payload_bytes as u64;
    let dictionary = size.checked_next_power_of_two().unwrap_or(u64::MAX).max(LEAST_DICTIONARY);
    [size, size, dictionary].into_iter().fold(WORKING_MEMORY, u64::saturating_add)
}

/// Compresses a payload; frames can be compressed on any number of threads and added in their order.
///
/// # Errors
/// [`FormatError::Io`] where the compressor fails or does not have the parameters, [`FormatError::LimitExceeded`] for an empty payload or one above 4 GiB.
#[cfg(feature = "encode")]
pub fn compress(
    section: Section,
    payload: &[u8],
    compression: &Compression,
) -> Result<CompressedFrame, FormatError> {
    if payload.is_empty() || u32::try_from(payload.len()).is_err() {
        let (wanted, limit) = (payload.len() as u64, u64::from(u32::MAX));
        return Err(FormatError::LimitExceeded { what: "bytes in one frame (1 at least)", wanted, limit });
    }
    let (mut compressor, mut bytes) = match *compression {
        Compression::Stored => (Compressor::Stored, payload.to_vec()),
        #[cfg(feature = "xz")]
        Compression::Xz { literal_context_bits: lc, literal_position_bits: lp, position_bits: pb } => {
            if lc > 4 || lp > 4 || lc + lp > 4 || pb > 4 {
                let wrong = "LZMA takes at most 4 literal bits of both kinds together, and 4 position bits";
                return Err(compressing(std::io::Error::new(std::io::ErrorKind::InvalidInput, wrong)));
            }
            xz_encode(lc + 9 * (lp + 5 * pb), payload).map_err(compressing)?
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd { level } => {
            let bytes = zstd_encode(level, payload).map_err(compressing)?;
            (Compressor::Zstd { window_log: window_log(&bytes) }, bytes)
        }
        Compression::Mixed => (Compressor::Mixed, skiff_coder::Text::encode(payload)),
    };
    if bytes.is_empty() || bytes.len() >= payload.len() {
        (compressor, bytes) = (Compressor::Stored, payload.to_vec());
    }
    let info = FrameInfo {
        section,
        skippable: matches!(section, Section::Unknown(_)),
        compressor,
        offset: 0,
        encoded_size: bytes.len() as u64,
        decoded_size: payload.len() as u64,
        digest: Digest::of(&bytes),
    };
    Ok(CompressedFrame { info, bytes })
}

#[cfg(all(feature = "encode", any(feature = "xz", feature = "zstd")))]
fn compressing(source: std::io::Error) -> FormatError {
    FormatError::Io { op: "compressing a frame", source }
}

/// With a window that holds the payload, which low levels would not have.
#[cfg(all(feature = "encode", feature = "zstd"))]
fn zstd_encode(level: i32, payload: &[u8]) -> std::io::Result<Vec<u8>> {
    /// The window of the lowest level.
    const LEAST_WINDOW: usize = 1 << 19;
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    if payload.len() > LEAST_WINDOW {
        compressor.window_log(payload.len().next_power_of_two().trailing_zeros())?;
    }
    compressor.compress(payload)
}

/// The smallest window to declare for a Zstandard frame.
#[cfg(all(feature = "encode", feature = "zstd"))]
fn window_log(frame: &[u8]) -> u8 {
    let window = zstd_window(frame).and_then(u64::checked_next_power_of_two);
    u8::try_from(window.map_or(u32::MAX, u64::trailing_zeros))
        .unwrap_or(u8::MAX)
        .clamp(*WINDOW_LOGS.start(), *WINDOW_LOGS.end())
}

#[cfg(all(feature = "encode", feature = "xz"))]
fn xz_encode(properties: u8, payload: &[u8]) -> std::io::Result<(Compressor, Vec<u8>)> {
    use xz2::stream::{Action, LzmaOptions, Status, Stream};

    /// xz's flag for the slower variant of a preset.
    const EXTREME: u32 = 1 << 31;
    let size = payload.len() as u64;
    let fits = |&dictionary: &u8| Compressor::Xz { properties, dictionary }.dictionary_bytes() >= size;
    let too_large =
        || std::io::Error::new(std::io::ErrorKind::InvalidInput, "no dictionary of LZMA holds it");
    let dictionary = (0..=MAX_DICTIONARY).find(fits).ok_or_else(too_large)?;
    let compressor = Compressor::Xz { properties, dictionary };
    let mut options = LzmaOptions::new_preset(9 | EXTREME)?;
    options.dict_size(u32::try_from(compressor.dictionary_bytes()).unwrap_or(u32::MAX));
    options.literal_context_bits(u32::from(properties % 9));
    options.literal_position_bits(u32::from(properties / 9 % 5));
    options.position_bits(u32::from(properties / 45));
    let mut stream = Stream::new_lzma_encoder(&options)?;
    let mut bytes = Vec::new();
    let mut left = payload;
    loop {
        bytes.reserve(64 << 10);
        let before = stream.total_in();
        let status = stream.process_vec(left, &mut bytes, Action::Finish)?;
        left = &left[usize::try_from(stream.total_in() - before).map_err(std::io::Error::other)?..];
        if status == Status::StreamEnd {
            break;
        }
    }
    debug_assert_eq!(bytes[..13], lzma_header(properties, compressor));
    Ok((compressor, bytes.split_off(13)))
}
