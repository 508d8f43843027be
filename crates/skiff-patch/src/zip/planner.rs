//! Which piece each member becomes.

use std::ops::Range;

use super::archive::{Archive, Entry};
use super::bases::{Base, Bases, joined};
use super::chunks::{Chunk, Placed};
use super::encode::Options;
use super::old::Extent;
use super::pieces::{Form, Piece};
use super::records::{DEFLATED, Descriptor, STORED, Sums, local_method, local_sums_of};
use crate::deflate::{self, Compressor};

/// About where a group ends. What is alike is mostly of one name, and longer groups find what is not.
const GROUP_BYTES: usize = 64 << 10;
/// How much goes into a group of its own, at once.
const RAW_BYTES: usize = 1 << 20;
/// The longest text of a member, its header included.
const MEMBER_BYTES: usize = 8 << 20;
/// The longest header.
const HEADER_BYTES: usize = 30 + 2 * 0xffff;
/// After so many members that no compressor makes, and none that one does, no more are tried.
const STRANGERS: u32 = 8;

pub(super) struct Planner<'a> {
    new: &'a [u8],
    bases: Option<Bases<'a>>,
    /// How many bytes of plain text may yet be compressed again.
    plain_left: u64,
    compressor: Option<Compressor>,
    strangers: u32,
    /// How many bytes of compressed members need not be sent as they are.
    gained: usize,
    /// What is before is planned.
    at: usize,
    chunks: Vec<Chunk>,
}

/// What a piece tells of a member.
enum Told {
    /// What the member's entry says.
    All,
    /// Where it is.
    Nothing,
    /// Something else than the entry says.
    Otherwise,
}

impl Told {
    fn of(entry: &Entry, sums: Sums) -> Self {
        if entry.sums == sums { Self::All } else { Self::Otherwise }
    }
}

/// The text of a unit of the old archive.
type OldText = Option<(u64, Vec<u8>)>;

impl<'a> Planner<'a> {
    pub(super) fn new(bases: Option<Bases<'a>>, new: &'a [u8], options: &Options) -> Self {
        Self {
            new,
            bases,
            plain_left: options.plain_bytes,
            compressor: None,
            strangers: 0,
            gained: 0,
            at: 0,
            chunks: vec![Chunk::new(0)],
        }
    }

    /// All of the archive, or none where nothing is gained.
    pub(super) fn plan(mut self, archive: &Archive) -> Option<(Option<Bases<'a>>, Vec<Chunk>)> {
        self.archive(archive, &[])?;
        (self.gained > 0).then_some((self.bases, self.chunks))
    }

    fn archive(&mut self, archive: &Archive, path: &[u8]) -> Option<()> {
        let first = archive.entries.first().map_or(archive.directory, |entry| entry.offset);
        self.raw_to(first)?;
        self.loose(Piece::Begin { before: first.checked_sub(archive.start)? as u64 }, first);
        let mut opaque = archive.is_ordered.then(Vec::new);
        for (index, entry) in archive.entries.iter().enumerate() {
            self.raw_to(entry.offset)?;
            match (self.member(archive, (index, entry), path)?, &mut opaque) {
                (Told::Nothing, Some(opaque)) => opaque.push(index as u64),
                (Told::Otherwise, _) => opaque = None,
                _ => {}
            }
        }
        self.raw_to(archive.directory)?;
        self.directory(archive, path, opaque)
    }

    /// Plans a member.
    fn member(&mut self, archive: &Archive, (index, entry): (usize, &Entry), path: &[u8]) -> Option<Told> {
        let name = &self.new[entry.name.clone()];
        let base = self.bases.as_ref().and_then(|bases| bases.find(path, name, entry));
        let next = archive.next_offset(index);
        if let (Some(bases), Some(base)) = (&self.bases, base)
            && bases.whole(base.unit) == Some(&self.new[entry.offset..next])
        {
            self.gained += next - entry.offset;
            self.loose(Piece::Same { first: base.unit, count: 1 }, next);
            return Some(Told::of(entry, base.sums));
        }
        if let Some(nested) = &entry.archive {
            self.opaque(entry.offset..entry.content.start, None)?;
            self.archive(nested, &joined(path, name))?;
            return Some(Told::Nothing);
        }
        let content = &self.new[entry.content.clone()];
        if let (Some(bases), Some(base)) = (&mut self.bases, base)
            && bases.packed(base) == Some(content)
        {
            let old = bases.text(base.unit, Extent::Header).map(|text| (base.unit, text));
            return self.kept(entry, base, old);
        }
        if let Some((plain_length, checksum)) = self.opened(entry) {
            let packed = entry.content.len() as u32;
            return self.made(entry, base, Sums { checksum, packed, plain: plain_length });
        }
        // Where noise is like noise, it is because neither is compressed.
        let base = base.filter(|base| base.method == STORED && entry.method == STORED);
        let old = base.and_then(|base| self.whole_text(base));
        self.opaque(entry.offset..entry.content.end, old)?;
        Some(Told::Nothing)
    }

    /// The text of a member that is opened, unless it is too long.
    fn whole_text(&mut self, base: Base) -> OldText {
        if !Bases::can_open(base) || base.sums.plain as usize > MEMBER_BYTES - HEADER_BYTES {
            return None;
        }
        Some((base.unit, self.bases.as_mut()?.text(base.unit, Extent::Whole)?))
    }

    /// Length and checksum of the plain text of a member that can be made of it again; the compressor is then set.
    fn opened(&mut self, entry: &Entry) -> Option<(u32, u32)> {
        let content = &self.new[entry.content.clone()];
        let plain_length = entry.sums.plain;
        if u64::from(plain_length) > self.plain_left.min((MEMBER_BYTES - HEADER_BYTES) as u64) {
            return None;
        }
        // The decoder goes by the header.
        let method = local_method(&self.new[entry.offset..])?;
        match entry.method {
            STORED if method == STORED => {
                (content.len() == plain_length as usize).then(|| (plain_length, crc32fast::hash(content)))
            }
            DEFLATED if method != STORED && self.strangers < STRANGERS => {
                let plain = deflate::inflate(content, plain_length.into())?;
                if plain.len() != plain_length as usize {
                    return None;
                }
                let Some(compressor) = deflate::find(&plain, content, Compressor::all(self.compressor))
                else {
                    self.strangers += 1;
                    return None;
                };
                self.strangers = 0;
                self.plain_left -= u64::from(plain_length);
                self.gained += content.len();
                if self.compressor != Some(compressor) {
                    self.compressor = Some(compressor);
                    self.loose(Piece::Compressor(compressor), self.at);
                }
                Some((plain_length, crc32fast::hash(&plain)))
            }
            _ => None,
        }
    }

    fn kept(&mut self, entry: &Entry, base: Base, old: OldText) -> Option<Told> {
        let form = self.form(entry, base.sums);
        let old = old?;
        self.gained += entry.content.len();
        let piece = Piece::Kept { base: base.unit, form };
        self.grouped(piece, entry.offset..entry.content.end, Some(old))?;
        self.at = entry.content.end + form.descriptor.bytes(base.sums).len();
        Some(Told::of(entry, base.sums))
    }

    fn made(&mut self, entry: &Entry, base: Option<Base>, sums: Sums) -> Option<Told> {
        let form = self.form(entry, sums);
        let old = base.and_then(|base| self.whole_text(base));
        let base = old.as_ref().map(|(unit, _)| *unit);
        let piece = Piece::Made { base, form, plain_length: sums.plain.into() };
        self.grouped(piece, entry.offset..entry.content.end, old)?;
        self.at = entry.content.end + form.descriptor.bytes(sums).len();
        Some(Told::of(entry, sums))
    }

    /// How a member of these sums has them written.
    fn form(&self, entry: &Entry, sums: Sums) -> Form {
        let in_header = local_sums_of(&self.new[entry.offset..]) == Some(&sums.bytes()[..]);
        let behind = &self.new[entry.content.end..];
        let descriptors = [Descriptor::Signed, Descriptor::Bare];
        let descriptor =
            descriptors.into_iter().find(|descriptor| behind.starts_with(&descriptor.bytes(sums)));
        Form { in_header, descriptor: descriptor.unwrap_or(Descriptor::None) }
    }

    /// Plans a header and what is behind it as they are.
    fn opaque(&mut self, range: Range<usize>, old: OldText) -> Option<()> {
        let most = if old.is_some() { MEMBER_BYTES } else { RAW_BYTES };
        let end = range.end.min(range.start + most);
        let base = old.as_ref().map(|(unit, _)| *unit);
        self.grouped(Piece::Opaque { base, length: (end - range.start) as u64 }, range.start..end, old)?;
        self.raw_to(range.end)
    }

    fn raw_to(&mut self, end: usize) -> Option<()> {
        while self.at < end {
            let next = end.min(self.at + RAW_BYTES);
            self.grouped(Piece::Raw { length: (next - self.at) as u64 }, self.at..next, None)?;
        }
        Some(())
    }

    fn directory(&mut self, archive: &Archive, path: &[u8], opaque: Option<Vec<u64>>) -> Option<()> {
        let length = archive.end - archive.directory;
        if length > MEMBER_BYTES {
            return None;
        }
        let old = self.bases.as_mut().and_then(|bases| {
            let unit = bases.directory(path)?;
            Some((unit, bases.text(unit, Extent::Whole)?))
        });
        let old = old.filter(|(_, text)| text.len() <= MEMBER_BYTES);
        let base = old.as_ref().map(|(unit, _)| *unit);
        let entries = if opaque.is_some() { archive.entries.len() as u64 } else { 0 };
        let piece = Piece::Directory { base, length: length as u64, entries, skipped: 0 };
        let placed =
            Placed { piece, range: archive.directory..archive.end, opaque: opaque.unwrap_or_default() };
        self.grouped_as(placed, old)
    }

    /// Adds a piece that needs no text, up to `end`.
    fn loose(&mut self, piece: Piece, end: usize) {
        let range = self.at..end;
        self.at = end;
        let Some(chunk) = self.chunks.last_mut() else { return };
        if let (Piece::Same { first, .. }, Some(last)) = (piece, chunk.pieces.last_mut())
            && let Piece::Same { first: begun, count } = &mut last.piece
            && *begun + *count == first
        {
            *count += 1;
            last.range.end = end;
        } else {
            chunk.pieces.push(Placed { piece, range, opaque: Vec::new() });
        }
    }

    /// Adds a piece with its text, and what that is made from.
    fn grouped(&mut self, piece: Piece, range: Range<usize>, old: OldText) -> Option<()> {
        self.grouped_as(Placed { piece, range, opaque: Vec::new() }, old)
    }

    fn grouped_as(&mut self, placed: Placed, old: OldText) -> Option<()> {
        let text = placed.text(self.new)?;
        let old_text = old.map_or_else(Vec::new, |(_, text)| text);
        if self.chunks.last().is_none_or(|chunk| !chunk.has_room(text.len(), old_text.len(), GROUP_BYTES)) {
            self.chunks.push(Chunk::new(self.at));
        }
        self.at = placed.range.end;
        let chunk = self.chunks.last_mut()?;
        chunk.add(placed, &text, &old_text);
        Some(())
    }
}
