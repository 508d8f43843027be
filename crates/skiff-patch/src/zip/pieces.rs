//! Of what a payload is made: pieces, each of a kind with flags, and numbers.

use skiff_wire::{Input, unzigzag};

use super::old::Extent;
use super::records::Descriptor;
use crate::PatchError;
use crate::deflate::Compressor;

/// A part of the output, or what is said about those that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// The texts of the pieces up to the next group, by an inner codec.
    Group { codec: u64, text_length: u64, payload_length: u64 },
    /// As many units of the old archive as they are, with all that stands between them.
    Same { first: u64, count: u64 },
    /// The compressor from here on.
    Compressor(Compressor),
    /// An archive begins here, or so many bytes before.
    Begin { before: u64 },
    /// Text.
    Raw { length: u64 },
    /// A header, and the content of a member of the old archive as it is.
    Kept { base: u64, form: Form },
    /// A header, and a content that is to be compressed.
    Made { base: Option<u64>, form: Form, plain_length: u64 },
    /// Text that begins with the header of a member.
    Opaque { base: Option<u64>, length: u64 },
    /// The directory of the archive that began last, and what follows it.
    Directory { base: Option<u64>, length: u64, entries: u64, skipped: u64 },
}

impl Piece {
    /// What of the old archive its text is made from.
    pub(super) fn base(&self) -> Option<(u64, Extent)> {
        match *self {
            Self::Kept { base, .. } => Some((base, Extent::Header)),
            Self::Made { base, .. } | Self::Opaque { base, .. } | Self::Directory { base, .. } => {
                base.map(|base| (base, Extent::Whole))
            }
            _ => None,
        }
    }
}

/// How a member's sums are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Whether they are in its header.
    pub(super) in_header: bool,
    pub(super) descriptor: Descriptor,
}

const GROUP: u8 = 0;
const SAME: u8 = 1;
const COMPRESSOR: u8 = 2;
const BEGIN: u8 = 3;
const RAW: u8 = 4;
const KEPT: u8 = 5;
const MADE: u8 = 6;
const OPAQUE: u8 = 7;
const DIRECTORY: u8 = 8;
const KIND: u8 = 0x0f;
const IN_HEADER: u8 = 0x10;
const DESCRIPTOR_SIGNED: u8 = 0x20;
const DESCRIPTOR_BARE: u8 = 0x40;
const HAS_BASE: u8 = 0x80;

impl Form {
    fn from_flags(flags: u8) -> Option<Self> {
        let descriptor = match flags & (DESCRIPTOR_SIGNED | DESCRIPTOR_BARE) {
            0 => Descriptor::None,
            DESCRIPTOR_SIGNED => Descriptor::Signed,
            DESCRIPTOR_BARE => Descriptor::Bare,
            _ => return None,
        };
        Some(Self { in_header: flags & IN_HEADER != 0, descriptor })
    }
}

/// Reads pieces one after the other.
#[derive(Clone)]
pub(super) struct Pieces<'a> {
    kinds: &'a [u8],
    numbers: &'a [u8],
    numbers_offset: u64,
    /// The unit after the one that was named last.
    next_base: u64,
}

impl<'a> Pieces<'a> {
    /// `numbers_offset` is where the numbers are in the payload, for errors.
    pub(super) fn new(kinds: &'a [u8], numbers: &'a [u8], numbers_offset: u64) -> Self {
        Self { kinds, numbers, numbers_offset, next_base: 0 }
    }

    /// Where the next number is in the payload.
    pub(super) fn offset(&self) -> u64 {
        self.numbers_offset
    }

    /// Whether every number was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.kinds.is_empty() && self.numbers.is_empty()
    }

    pub(super) fn next(&mut self) -> Result<Option<Piece>, PatchError> {
        let Some((&kind, kinds)) = self.kinds.split_first() else { return Ok(None) };
        self.kinds = kinds;
        let unknown = || PatchError::corrupt(self.numbers_offset, "there is no piece of this kind");
        let flags = kind & !KIND;
        let allowed = match kind & KIND {
            KEPT | MADE => flags,
            OPAQUE | DIRECTORY => HAS_BASE,
            _ => 0,
        };
        if flags & !allowed != 0 || (kind & KIND == KEPT && flags & HAS_BASE == 0) {
            return Err(unknown());
        }
        let form = Form::from_flags(flags).ok_or_else(unknown)?;
        let unknown = unknown();
        let base = if flags & HAS_BASE == 0 { None } else { Some(self.base()?) };
        let piece = match (kind & KIND, base) {
            (GROUP, _) => Piece::Group {
                codec: self.number()?,
                text_length: self.number()?,
                payload_length: self.number()?,
            },
            (SAME, _) => self.same()?,
            (COMPRESSOR, _) => {
                let offset = self.numbers_offset;
                let compressor = Compressor::from_id(self.number()?);
                let unknown = PatchError::corrupt(offset, "there is no compressor of this number");
                Piece::Compressor(compressor.ok_or(unknown)?)
            }
            (BEGIN, _) => Piece::Begin { before: self.number()? },
            (RAW, _) => Piece::Raw { length: self.number()? },
            (KEPT, Some(base)) => Piece::Kept { base, form },
            (MADE, _) => Piece::Made { base, form, plain_length: self.number()? },
            (OPAQUE, _) => Piece::Opaque { base, length: self.number()? },
            (DIRECTORY, _) => Piece::Directory {
                base,
                length: self.number()?,
                entries: self.number()?,
                skipped: self.number()?,
            },
            _ => return Err(unknown),
        };
        Ok(Some(piece))
    }

    fn number(&mut self) -> Result<u64, PatchError> {
        let mut input = Input::new(self.numbers);
        let value = input.varint();
        let value = value.map_err(|error| {
            PatchError::from(skiff_wire::WireError { offset: error.offset + self.numbers_offset, ..error })
        })?;
        self.numbers_offset += input.offset();
        self.numbers = input.rest();
        Ok(value)
    }

    /// A unit, by its distance from the one after the last.
    fn base(&mut self) -> Result<u64, PatchError> {
        let offset = self.numbers_offset;
        let seek = unzigzag(self.number()?);
        let outside = PatchError::corrupt(offset, "there is no unit of this number");
        let base = self.next_base.checked_add_signed(seek).ok_or(outside)?;
        self.next_base = base.saturating_add(1);
        Ok(base)
    }

    fn same(&mut self) -> Result<Piece, PatchError> {
        let first = self.base()?;
        let count = self.number()?.saturating_add(1);
        self.next_base = first.saturating_add(count);
        Ok(Piece::Same { first, count })
    }
}

#[cfg(feature = "encode")]
pub(super) use write::Writer;

#[cfg(feature = "encode")]
mod write {
    use skiff_wire::{put_varint, zigzag};

    use super::{
        BEGIN, COMPRESSOR, DESCRIPTOR_BARE, DESCRIPTOR_SIGNED, DIRECTORY, Descriptor, Form, GROUP, HAS_BASE,
        IN_HEADER, KEPT, MADE, OPAQUE, Piece, RAW, SAME,
    };

    /// Writes pieces, for [`Pieces`](super::Pieces).
    #[derive(Default)]
    pub(in crate::zip) struct Writer {
        pub(in crate::zip) kinds: Vec<u8>,
        pub(in crate::zip) numbers: Vec<u8>,
        next_base: u64,
    }

    impl Writer {
        pub(in crate::zip) fn push(&mut self, piece: &Piece) {
            match *piece {
                Piece::Group { codec, text_length, payload_length } => {
                    self.put(GROUP, None, &[codec, text_length, payload_length]);
                }
                Piece::Same { first, count } => {
                    self.put(
                        SAME,
                        None,
                        &[zigzag(first.wrapping_sub(self.next_base).cast_signed()), count - 1],
                    );
                    self.next_base = first + count;
                }
                Piece::Compressor(compressor) => self.put(COMPRESSOR, None, &[compressor.id()]),
                Piece::Begin { before } => self.put(BEGIN, None, &[before]),
                Piece::Raw { length } => self.put(RAW, None, &[length]),
                Piece::Kept { base, form } => self.put(KEPT | form.flags(), Some(base), &[]),
                Piece::Made { base, form, plain_length } => {
                    self.put(MADE | form.flags(), base, &[plain_length]);
                }
                Piece::Opaque { base, length } => self.put(OPAQUE, base, &[length]),
                Piece::Directory { base, length, entries, skipped } => {
                    self.put(DIRECTORY, base, &[length, entries, skipped]);
                }
            }
        }

        fn put(&mut self, kind: u8, base: Option<u64>, numbers: &[u64]) {
            self.kinds.push(if base.is_some() { kind | HAS_BASE } else { kind });
            if let Some(base) = base {
                put_varint(&mut self.numbers, zigzag(base.wrapping_sub(self.next_base).cast_signed()));
                self.next_base = base + 1;
            }
            for &number in numbers {
                put_varint(&mut self.numbers, number);
            }
        }
    }

    impl Form {
        fn flags(self) -> u8 {
            let descriptor = match self.descriptor {
                Descriptor::None => 0,
                Descriptor::Signed => DESCRIPTOR_SIGNED,
                Descriptor::Bare => DESCRIPTOR_BARE,
            };
            if self.in_header { descriptor | IN_HEADER } else { descriptor }
        }
    }
}
