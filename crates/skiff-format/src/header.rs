use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use skiff_wire::{Input, WireError};

use crate::compression::{self, Compressor, CompressorFault};
use crate::{Digest, FormatError, Signatures};

/// The version of the container written and read here. What it means does not change any more.
pub const VERSION: u16 = 1;

/// Nobody but a delta begins like this; the odd bytes betray transfers that "mend" text, as PNG's do.
pub(crate) const MAGIC: [u8; 8] = [0x89, b'S', b'K', b'F', b'\r', b'\n', 0x1a, b'\n'];
pub(crate) const PREAMBLE_LEN: usize = 52;
const DIGEST_AT: usize = 16;
const SIGNATURES_AT: usize = 48;
/// A row of the table of frames: six integers and a digest.
const MIN_ROW_LEN: usize = 6 + 32;
/// More bases than anybody makes a delta for; stops floods.
const MAX_BASES: u64 = 16;
/// More codecs than there will be.
const MAX_CODECS: u64 = 256;
/// More extensions than there will be.
const MAX_EXTENSIONS: u64 = 256;

/// A codec that a device must have, and in which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodecInfo {
    /// The codec's number.
    pub id: u16,
    /// The version of what it writes.
    pub version: u16,
}

/// A release that the delta applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseInfo {
    /// Its name.
    pub release: Digest,
    /// The digest of its tree.
    pub tree: Digest,
}

/// The release that the delta leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetInfo {
    /// Its name.
    pub release: Digest,
    /// The digest of its tree.
    pub tree: Digest,
    /// The digest of its config, which the delta then carries.
    pub config: Option<Digest>,
    /// The digest of its manifest, which the delta then carries.
    pub manifest: Option<Digest>,
}

/// What a device wants to know before it says yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Bytes of the target's distinct contents.
    pub target_bytes: u64,
    /// Bytes of those that the base has not: what has to be written.
    pub new_bytes: u64,
    /// Bytes of those that the base has: what has to be shared or copied.
    pub unchanged_bytes: u64,
    /// Paths of the target.
    pub entries: u64,
    /// Inodes of the target.
    pub inodes: u64,
    /// Files of the target whose content the base has.
    pub unchanged_inodes: u64,
    /// What a full pull takes, in bytes.
    pub pull_bytes: Option<u64>,
    /// The most memory that decoding takes, in bytes.
    pub decoder_memory: u64,
}

/// What the payload of a frame is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The target's config, byte for byte.
    Config,
    /// The target's manifest, byte for byte.
    Manifest,
    /// The target's tree as a difference from the base's.
    Tree,
    /// The contents that the base has not.
    Contents,
    /// Something that a later version added: 0, or from 5 on.
    Unknown(u64),
}

/// A frame, as the header's table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// What it is a part of.
    pub section: Section,
    /// Whether one that does not know the section may leave it out.
    pub skippable: bool,
    /// How it is compressed.
    pub compressor: Compressor,
    /// Where it begins in the delta, in bytes.
    pub offset: u64,
    /// Its size in the delta, in bytes.
    pub encoded_size: u64,
    /// The size of its payload, in bytes; of a section that is left out, whatever is told.
    pub decoded_size: u64,
    /// The digest of its bytes in the delta.
    pub digest: Digest,
}

/// What a header says beside its table of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderFields {
    /// The codecs that a device must have, ascending.
    pub codecs: Vec<CodecInfo>,
    /// The releases that the delta applies to; at least one, and all of the same tree: they differ in their config.
    pub bases: Vec<BaseInfo>,
    /// The release that it leads to.
    pub target: TargetInfo,
    /// What a device wants to know.
    pub facts: Facts,
}

/// Without its extensions, of which none is known here.
impl From<&Header> for HeaderFields {
    fn from(header: &Header) -> Self {
        header.parsed.fields.clone()
    }
}

/// The header of a delta, checked. Cloning it is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    parsed: Arc<Parsed>,
}

#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    fields: HeaderFields,
    frames: Vec<FrameInfo>,
    digest: Digest,
    signatures: Signatures,
    bytes: Vec<u8>,
}

impl Header {
    /// Reads a header from exactly its bytes: what [`bytes`](Self::bytes) gave.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] or [`FormatError::Unsupported`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::parse_vec(bytes.to_vec())
    }

    /// The same, of bytes that need not be copied.
    pub(crate) fn parse_vec(bytes: Vec<u8>) -> Result<Self, FormatError> {
        let cut = || FormatError::corrupt(0, "the header is cut off");
        let (preamble, rest) = bytes.split_at_checked(PREAMBLE_LEN).ok_or_else(cut)?;
        let preamble = Preamble::parse(preamble.try_into().map_err(|_| cut())?)?;
        if preamble.header_len() != bytes.len() as u64 {
            return Err(cut());
        }
        // Their lengths fit: together they are as long as what is here.
        let body_len = usize::try_from(preamble.body_len).map_err(|_| cut())?;
        let (body, signatures) = rest.split_at_checked(body_len).ok_or_else(cut)?;
        let mut hasher = Sha256::new();
        hasher.update(&bytes[..DIGEST_AT]);
        hasher.update(body);
        if preamble.digest != Digest::from_bytes(hasher.finalize().into()) {
            return Err(FormatError::corrupt(0, "the header does not have its digest"));
        }
        let (fields, frames) = Body::new(body, preamble.header_len()).read()?;
        let signatures = Signatures::decode(signatures, PREAMBLE_LEN as u64 + preamble.body_len)?;
        let digest = preamble.digest;
        Ok(Self { parsed: Arc::new(Parsed { fields, frames, digest, signatures, bytes }) })
    }

    /// The same header under other signatures: its digest stays, and its frames move by as much as the signatures are longer.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] where they are more bytes than a header can say.
    #[cfg(feature = "encode")]
    pub fn with_signatures(&self, signatures: &Signatures) -> Result<Self, FormatError> {
        let block = signatures.encode();
        let length = u32::try_from(block.len()).map_err(|_| FormatError::LimitExceeded {
            what: "bytes of signatures",
            wanted: block.len() as u64,
            limit: u64::from(u32::MAX),
        })?;
        let unsigned = self.bytes().len() - self.signatures().encode().len();
        let mut bytes = self.bytes()[..unsigned].to_vec();
        bytes[SIGNATURES_AT..PREAMBLE_LEN].copy_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&block);
        Self::parse_vec(bytes)
    }

    /// The codecs that a device must have, ascending.
    #[must_use]
    pub fn codecs(&self) -> &[CodecInfo] {
        &self.parsed.fields.codecs
    }

    /// The releases that the delta applies to; at least one, and all of the same tree: they differ in their config.
    #[must_use]
    pub fn bases(&self) -> &[BaseInfo] {
        &self.parsed.fields.bases
    }

    /// The release that it leads to.
    #[must_use]
    pub fn target(&self) -> &TargetInfo {
        &self.parsed.fields.target
    }

    /// What a device wants to know.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.parsed.fields.facts
    }

    /// The frames, in their order.
    #[must_use]
    pub fn frames(&self) -> &[FrameInfo] {
        &self.parsed.frames
    }

    /// What names this delta and, through the frames' digests, covers all of its bytes but for the signatures.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.parsed.digest
    }

    /// Who vouches for the delta, as it says itself: nothing of that was checked. The digest does not cover them.
    #[must_use]
    pub fn signatures(&self) -> &Signatures {
        &self.parsed.signatures
    }

    /// The header's bytes as they stand in the delta, signatures included, to be kept and [parsed](Self::parse) again.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.parsed.bytes
    }

    /// The size of the whole delta, in bytes.
    #[must_use]
    pub fn delta_size(&self) -> u64 {
        // Parsing has checked that the last frame's end fits.
        self.frames().last().map_or(self.bytes().len() as u64, |last| last.offset + last.encoded_size)
    }
}

impl Section {
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Config => 1,
            Self::Manifest => 2,
            Self::Tree => 3,
            Self::Contents => 4,
            Self::Unknown(number) => number,
        }
    }

    fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Config,
            2 => Self::Manifest,
            3 => Self::Tree,
            4 => Self::Contents,
            other => Self::Unknown(other),
        }
    }
}

/// The fixed part at the front of a delta.
pub(crate) struct Preamble {
    pub(crate) body_len: u64,
    pub(crate) signatures_len: u64,
    digest: Digest,
}

impl Preamble {
    pub(crate) fn parse(bytes: &[u8; PREAMBLE_LEN]) -> Result<Self, FormatError> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..8] == *b"\x89SKS\r\n\x1a\n" {
            return Err(FormatError::corrupt(0, "it is a tree signature, and a delta is wanted"));
        }
        if bytes[..8] != MAGIC {
            return Err(FormatError::corrupt(0, "it does not begin like a delta"));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(FormatError::Unsupported {
                what: format!("it is of format version {version}, not {VERSION}"),
            });
        }
        if bytes[10..12] != [0, 0] {
            return Err(FormatError::corrupt(10, "reserved bytes are not zero"));
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[DIGEST_AT..SIGNATURES_AT]);
        Ok(Self {
            body_len: u64::from(word(12)),
            signatures_len: u64::from(word(SIGNATURES_AT)),
            digest: Digest::from_bytes(digest),
        })
    }

    /// Where the first frame begins.
    pub(crate) fn header_len(&self) -> u64 {
        PREAMBLE_LEN as u64 + self.body_len + self.signatures_len
    }
}

struct Body<'a> {
    input: Input<&'a [u8]>,
    /// Where the first frame begins in the delta.
    frames_at: u64,
}

impl<'a> Body<'a> {
    fn new(bytes: &'a [u8], frames_at: u64) -> Self {
        Self { input: Input::new(bytes), frames_at }
    }

    fn read(mut self) -> Result<(HeaderFields, Vec<FrameInfo>), FormatError> {
        let codecs = self.codecs()?;
        let bases = self.bases()?;
        let target = TargetInfo {
            release: self.digest()?,
            tree: self.digest()?,
            config: self.optional_digest()?,
            manifest: self.optional_digest()?,
        };
        let facts = Facts {
            target_bytes: self.varint()?,
            new_bytes: self.varint()?,
            unchanged_bytes: self.varint()?,
            entries: self.varint()?,
            inodes: self.varint()?,
            unchanged_inodes: self.varint()?,
            pull_bytes: self.varint()?.checked_sub(1),
            decoder_memory: self.varint()?,
        };
        self.extensions()?;
        let frames = self.frames()?;
        self.check_sections(&target, &frames)?;
        if !self.input.rest().is_empty() {
            return Err(self.corrupt("bytes follow the table of frames"));
        }
        Ok((HeaderFields { codecs, bases, target, facts }, frames))
    }

    fn codecs(&mut self) -> Result<Vec<CodecInfo>, FormatError> {
        let mut codecs: Vec<CodecInfo> = Vec::new();
        for _ in 0..self.count(MAX_CODECS, "it names more codecs than there are")? {
            let codec = CodecInfo { id: self.varint16()?, version: self.varint16()? };
            if codecs.last().is_some_and(|last| last.id >= codec.id) {
                return Err(self.corrupt("codecs out of order"));
            }
            codecs.push(codec);
        }
        Ok(codecs)
    }

    fn bases(&mut self) -> Result<Vec<BaseInfo>, FormatError> {
        let mut bases: Vec<BaseInfo> = Vec::new();
        for _ in 0..self.count(MAX_BASES, "it names more bases than a delta has")? {
            let base = BaseInfo { release: self.digest()?, tree: self.digest()? };
            if bases.iter().any(|known| known.release == base.release) {
                return Err(self.corrupt("a base is named twice"));
            }
            // There is one tree section, which tells the target's tree from the base's.
            if bases.first().is_some_and(|first| first.tree != base.tree) {
                return Err(self.corrupt("its bases have different trees"));
            }
            bases.push(base);
        }
        if bases.is_empty() { Err(self.corrupt("it names no base")) } else { Ok(bases) }
    }

    /// What later versions say beside the facts, of which none is known here: they are passed, unless they must not be.
    fn extensions(&mut self) -> Result<(), FormatError> {
        let mut last = 0;
        for _ in 0..self.count(MAX_EXTENSIONS, "it has more extensions than there are")? {
            let number = self.varint()?;
            if number <= last {
                return Err(self.corrupt("extensions out of order"));
            }
            last = number;
            let is_needed = match self.input.byte().map_err(wire)? {
                0 => false,
                1 => true,
                _ => return Err(self.corrupt("an extension may be passed or not, 0 or 1")),
            };
            let length = self.varint()?;
            self.input.slice(length).map_err(wire)?;
            if is_needed {
                let what = format!("its header has an extension of kind {number} that must not be passed");
                return Err(FormatError::Unsupported { what });
            }
        }
        Ok(())
    }

    fn frames(&mut self) -> Result<Vec<FrameInfo>, FormatError> {
        let count = self.varint()?;
        let room = self.input.rest().len() / MIN_ROW_LEN;
        let count = usize::try_from(count).ok().filter(|&count| count <= room);
        let count =
            count.ok_or_else(|| self.corrupt("it counts more frames than its header has room for"))?;
        let mut offset = self.frames_at;
        // Rows are little larger in memory than in the header, whose size was limited.
        let mut frames = Vec::with_capacity(count);
        for _ in 0..count {
            let frame = self.frame(offset)?;
            offset = offset
                .checked_add(frame.encoded_size)
                .ok_or_else(|| self.corrupt("it is larger than any file"))?;
            frames.push(frame);
        }
        Ok(frames)
    }

    /// A row of the table, whose frame begins at `offset`.
    fn frame(&mut self, offset: u64) -> Result<FrameInfo, FormatError> {
        let section = Section::from_number(self.varint()?);
        let skippable = match self.varint()? {
            0 => false,
            1 => true,
            _ => return Err(self.corrupt("reserved flags are not zero")),
        };
        let is_left_out = matches!(section, Section::Unknown(_));
        if !skippable && is_left_out {
            let what = format!("it has a section of kind {} that must not be left out", section.number());
            return Err(FormatError::Unsupported { what });
        }
        let (number, parameter) = (self.varint()?, self.varint()?);
        // Only who knows the section knows what these say.
        let compressor = if is_left_out {
            Compressor::Other { number, parameter }
        } else {
            Compressor::from_numbers(number, parameter).map_err(|fault| self.compressor(fault, number))?
        };
        let (encoded_size, decoded_size) = (self.varint()?, self.varint()?);
        if encoded_size == 0 {
            return Err(self.corrupt("a frame that is empty"));
        }
        let stored = compressor == Compressor::Stored;
        if !is_left_out && (encoded_size > decoded_size || stored != (encoded_size == decoded_size)) {
            return Err(self.corrupt("a frame that is larger compressed than stored"));
        }
        // Decoders differ in what they do with matches that reach back beyond it.
        if matches!(compressor, Compressor::Xz { .. }) && compressor.dictionary_bytes() < decoded_size {
            return Err(self.corrupt("a dictionary that is smaller than its frame's payload"));
        }
        let digest = self.digest()?;
        Ok(FrameInfo { section, skippable, compressor, offset, encoded_size, decoded_size, digest })
    }

    fn check_sections(&self, target: &TargetInfo, frames: &[FrameInfo]) -> Result<(), FormatError> {
        let known =
            || frames.iter().map(|frame| frame.section).filter(|kind| !matches!(kind, Section::Unknown(_)));
        let has = |section| known().any(|kind| kind == section);
        if !known().is_sorted() {
            return Err(self.corrupt("sections out of order"));
        }
        if frames.iter().any(|frame| frame.skippable && !matches!(frame.section, Section::Unknown(_))) {
            return Err(self.corrupt("a section that cannot be left out is marked as skippable"));
        }
        // One that is empty has no frames, as frames are never empty.
        let expected = |digest: Option<Digest>| digest.is_some_and(|digest| digest != Digest::of(b""));
        if has(Section::Config) != expected(target.config)
            || has(Section::Manifest) != expected(target.manifest)
        {
            return Err(self.corrupt("config or manifest are not there exactly where the target has them"));
        }
        if has(Section::Tree) { Ok(()) } else { Err(self.corrupt("it has no tree section")) }
    }

    fn count(&mut self, limit: u64, what: &str) -> Result<u64, FormatError> {
        let count = self.varint()?;
        if count > limit { Err(self.corrupt(what)) } else { Ok(count) }
    }

    fn varint(&mut self) -> Result<u64, FormatError> {
        self.input.varint().map_err(wire)
    }

    fn varint16(&mut self) -> Result<u16, FormatError> {
        u16::try_from(self.varint()?)
            .map_err(|_| self.corrupt("a codec's number or version does not fit 16 bits"))
    }

    fn digest(&mut self) -> Result<Digest, FormatError> {
        self.input.array().map(Digest::from_bytes).map_err(wire)
    }

    fn optional_digest(&mut self) -> Result<Option<Digest>, FormatError> {
        match self.input.byte().map_err(wire)? {
            0 => Ok(None),
            1 => self.digest().map(Some),
            _ => Err(self.corrupt("a digest is there or not, 1 or 0")),
        }
    }

    fn compressor(&self, fault: CompressorFault, id: u64) -> FormatError {
        match fault {
            CompressorFault::Unknown => compression::unknown(id),
            CompressorFault::Parameter => self.corrupt("a compressor's parameter is out of range"),
        }
    }

    fn corrupt(&self, what: &str) -> FormatError {
        FormatError::corrupt(PREAMBLE_LEN as u64 + self.input.offset(), what)
    }
}

fn wire(error: WireError) -> FormatError {
    FormatError::corrupt(PREAMBLE_LEN as u64 + error.offset, error.fault.to_string())
}
