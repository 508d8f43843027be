//! The encoder: opens a gzip file, and finds out who made it.

use std::io::{Read, Seek};

use flate2::bufread::GzDecoder;
use skiff_wire::{put_bytes, put_varint};

use super::decode::TRAILER_BYTES;
use crate::deflate::{self, Compressor};
use crate::opened;
use crate::{Codec, Effort, Forecast, PatchError, Source, State, align, inner};

/// The longest plain text the encoder opens a file to, in bytes: such a payload fits a frame.
pub const PLAIN_BYTES: u64 = 4 << 20;

/// A gzip file, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The encoded bytes, of the whole file.
    pub payload: Vec<u8>,
    /// Whether decoding reads the source.
    pub reads_source: bool,
}

/// Says how to make the gzip file `new`, from the file `old` if there is one, which need not be a gzip file itself.
///
/// None where `new` is not one gzip member and nothing else, where its plain text is longer than [`PLAIN_BYTES`], or where
/// neither GNU gzip nor zlib, at any level, makes it of its plain text: the one that is told was seen to make it.
/// Depends on the arguments alone.
#[must_use]
pub fn encode(old: Option<&[u8]>, new: &[u8], effort: Effort) -> Option<Encoded> {
    let member = Member::read(new)?;
    let compressor = member.compressor(new)?;
    let opened = old.and_then(|old| open(old, new));
    let (codec, inner) = inner::encode(opened.as_deref().or(old).unwrap_or_default(), &member.plain, effort);
    let opened = opened.filter(|_| codec != Codec::Data);

    let mut payload = Vec::with_capacity(member.header.len() + inner.len() + 16);
    put_bytes(&mut payload, member.header);
    put_varint(&mut payload, compressor.id());
    put_varint(&mut payload, member.plain.len() as u64);
    put_varint(&mut payload, opened.map_or(0, |opened| opened.len() as u64 + 1));
    put_varint(&mut payload, codec.id().into());
    payload.extend(&inner);
    Some(Encoded { payload, reads_source: codec != Codec::Data })
}

/// How a gzip file is to be made from another file, before it is written: see [`align::Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    compressor: Compressor,
    /// The length of the old file's plain text, if it is to be opened.
    opened: Option<u64>,
    inner: align::Plan,
    output_len: u64,
}

impl Plan {
    /// Opens and compares two files; there need not be an old one. None as with [`encode`].
    #[must_use]
    pub fn new(old: Option<&[u8]>, new: &[u8], options: &align::Options) -> Option<Self> {
        let member = Member::read(new)?;
        let compressor = member.compressor(new)?;
        let opened = old.and_then(|old| open(old, new));
        let source = opened.as_deref().or(old).unwrap_or_default();
        let inner = align::Plan::new(source, &member.plain, options);
        let opened = opened.map(|opened| opened.len() as u64).filter(|_| inner.forecast().reads_source);
        Some(Self { compressor, opened, inner, output_len: new.len() as u64 })
    }

    /// What comes of the plan.
    #[must_use]
    pub fn forecast(&self) -> Forecast {
        let inner = self.inner.forecast();
        let plain = inner.output_len;
        let files = [plain, plain.saturating_add(plain / 2), self.opened.unwrap_or(0)];
        let beside = inner.decoder_memory.saturating_add(1 << 20);
        let decoder_memory = files.into_iter().fold(beside, u64::saturating_add);
        Forecast { output_len: self.output_len, decoder_memory, ..inner }
    }

    /// Writes the payload. Both files must be those that the plan was made from.
    ///
    /// # Errors
    /// [`PatchError::Io`] where one of the files cannot be read, [`PatchError::Corrupt`] where it is another one.
    pub fn write<S: Read + Seek>(
        &self,
        source: &mut Source<S>,
        mut new: impl Read,
        state: &mut State,
    ) -> Result<Vec<u8>, PatchError> {
        let mut file = Vec::new();
        new.read_to_end(&mut file).map_err(PatchError::output)?;
        let member =
            Member::read(&file).ok_or(PatchError::corrupt(0, "the file changed while it was read"))?;
        let mut payload = Vec::new();
        put_bytes(&mut payload, member.header);
        put_varint(&mut payload, self.compressor.id());
        put_varint(&mut payload, member.plain.len() as u64);
        put_varint(&mut payload, self.opened.map_or(0, |length| length + 1));
        put_varint(&mut payload, Codec::Align.id().into());
        payload.extend(match self.opened {
            None => self.inner.write(source, &member.plain[..], state)?,
            Some(length) => {
                let opened = super::decode::open(source, length)?;
                self.inner.write_held(&opened, &member.plain, state)?
            }
        });
        Ok(payload)
    }
}

/// A file that is one gzip member.
struct Member<'a> {
    header: &'a [u8],
    deflated: &'a [u8],
    plain: Vec<u8>,
}

impl<'a> Member<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        let (header, rest) = file.split_at_checked(header_length(file)?)?;
        let (deflated, trailer) = rest.split_at_checked(rest.len().checked_sub(TRAILER_BYTES as usize)?)?;
        let plain = deflate::inflate(deflated, PLAIN_BYTES)?;
        let expected = [crc32fast::hash(&plain).to_le_bytes(), (plain.len() as u32).to_le_bytes()].concat();
        (trailer == expected).then_some(Self { header, deflated, plain })
    }

    /// What makes `new` of the plain text, where that may be.
    fn compressor(&self, new: &[u8]) -> Option<Compressor> {
        opened::allow(new.len() as u64, &[self.plain.len() as u64]).ok()?;
        deflate::find(&self.plain, self.deflated, Compressor::all(None))
    }
}

/// RFC 1952, 2.3.
fn header_length(file: &[u8]) -> Option<usize> {
    let (fixed, rest) = file.split_first_chunk::<10>()?;
    let &[0x1f, 0x8b, 8, flags @ 0..32, ..] = fixed else { return None };
    let mut input = skiff_wire::Input::new(rest);
    if flags & 4 != 0 {
        let length = u16::from_le_bytes(input.array().ok()?);
        input.slice(length.into()).ok()?;
    }
    for text in [8, 16] {
        while flags & text != 0 && input.byte().ok()? != 0 {}
    }
    if flags & 2 != 0 {
        input.array::<2>().ok()?;
    }
    Some(fixed.len() + rest.len() - input.rest().len())
}

/// What the decoder would see in `old` if told to open it for `new`.
fn open(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let most = PLAIN_BYTES.min(opened::most(new.len() as u64));
    let mut plain = Vec::new();
    GzDecoder::new(old).take(most + 1).read_to_end(&mut plain).ok()?;
    (plain.len() as u64 <= most && old.len() as u64 <= opened::most(new.len() as u64)).then_some(plain)
}
