//! The encoder: which piece each member becomes.

use std::io::Cursor;
use std::num::NonZeroU32;
use std::ops::Range;

use super::archive::{Archive, Entry};
use super::bases::{Base, Bases, joined};
use super::old::Extent;
use super::pieces::{Form, Piece};
use super::records::{DEFLATED, Descriptor, STORED, Sums};
use super::segments::{Chunk, assemble};
use crate::deflate::{self, Compressor, Expected};
use crate::{Codec, Job, Limits, Source};

/// What opening an archive may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most bytes of payload in a segment, about. The default is 7 MiB.
    pub segment_bytes: NonZeroU32,
    /// The most bytes of plain text that the decoder is to compress again. The default is 64 MiB: a few seconds on a small
    /// device.
    pub plain_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        const SEGMENT: NonZeroU32 = NonZeroU32::new(7 << 20).expect("because it is not zero");
        Self { segment_bytes: SEGMENT, plain_bytes: 64 << 20 }
    }
}

/// A part of an archive, decoded by itself. The segments' outputs, one after the other, are the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// How many bytes it stands for.
    pub output_len: u64,
    /// The encoded bytes.
    pub payload: Vec<u8>,
    /// Whether decoding reads the source.
    pub reads_source: bool,
}

/// The longest texts of a group, and about where it ends.
const GROUP_BYTES: usize = 64 << 10;
/// The longest member that is opened.
const MEMBER_BYTES: u64 = 8 << 20;
/// After so many members that no compressor makes, and none that one does, no more are tried.
const STRANGERS: u32 = 8;

/// Says how to make the archive `new`, from the archive `old` if there is one.
///
/// None where `new` is not an archive, or where none of its members is found in `old` or opened: then it is no more than bytes.
/// What is returned was decoded, and was the same. Depends on the arguments alone.
#[must_use]
pub fn encode(old: Option<&[u8]>, new: &[u8], options: &Options) -> Option<Vec<Segment>> {
    let archive = Archive::read(new)?;
    let mut planner = Planner {
        new,
        bases: old.and_then(Bases::new),
        plain_left: options.plain_bytes,
        compressor: None,
        strangers: 0,
        gained: 0,
        at: 0,
        chunks: Vec::new(),
    };
    planner.archive(&archive, &[]);
    planner.flush();
    if planner.gained == 0 {
        return None;
    }
    let archives = planner.bases.map_or_else(Vec::new, |bases| bases.archives);
    let segments = assemble(&archives, planner.chunks, (new.len(), options));
    decodes(&segments, old.unwrap_or_default(), new).then_some(segments)
}

struct Planner<'a> {
    new: &'a [u8],
    bases: Option<Bases<'a>>,
    plain_left: u64,
    compressor: Option<Compressor>,
    strangers: u32,
    /// How many bytes of compressed members need not be sent as they are.
    gained: usize,
    /// What is before is planned.
    at: usize,
    chunks: Vec<Chunk>,
}

impl Planner<'_> {
    fn archive(&mut self, archive: &Archive, path: &[u8]) {
        let first = archive.entries.first().map_or(archive.directory, |entry| entry.offset);
        self.raw_to(first);
        self.loose(Piece::Begin { before: (first - archive.start) as u64 });
        let mut follows = archive.is_ordered;
        for (index, entry) in archive.entries.iter().enumerate() {
            self.raw_to(entry.offset);
            follows &= self.member(archive, (index, entry), path);
        }
        self.raw_to(archive.directory);
        self.directory(archive, path, follows);
    }

    /// Plans a member; tells whether what its entry says of it follows.
    fn member(&mut self, archive: &Archive, (index, entry): (usize, &Entry), path: &[u8]) -> bool {
        let name = &self.new[entry.name.clone()];
        let base = self.bases.as_ref().and_then(|bases| bases.find(path, name, entry));
        if let Some(base) = base {
            let next = archive.next_offset(index);
            if self.bases.as_ref().and_then(|bases| bases.whole(base.unit))
                == Some(&self.new[entry.offset..next])
            {
                self.loose(Piece::Same { first: base.unit, count: 1 });
                self.gained += next - entry.offset;
                self.at = next;
                return base.sums == entry.sums;
            }
        }
        if let Some(nested) = &entry.archive {
            self.opaque(entry.offset..entry.content.start, None);
            self.archive(nested, &joined(path, name));
            return true;
        }
        if let Some(base) = base
            && base.sums.packed == entry.sums.packed
            && self.has_content(base, &self.new[entry.content.clone()])
            && let Some(text) = self.text(base.unit, Extent::Header)
        {
            self.kept(entry, base, text);
            return base.sums == entry.sums;
        }
        match self.opened(entry) {
            Some((plain, compressor)) => self.made(entry, base, plain, compressor),
            None => {
                // Where noise is like noise, it is because neither is compressed.
                let base = base.filter(|base| base.method == STORED && entry.method == STORED);
                let text = base.and_then(|base| self.whole_text(base));
                self.opaque(entry.offset..entry.content.end, text);
                true
            }
        }
    }

    fn has_content(&mut self, base: Base, content: &[u8]) -> bool {
        self.bases.as_mut().and_then(|bases| bases.packed(base)) == Some(content)
    }

    fn text(&mut self, unit: u64, extent: Extent) -> Option<Vec<u8>> {
        self.bases.as_mut()?.text(unit, extent)
    }

    /// The text of a member that is opened, unless it is too long.
    fn whole_text(&mut self, base: Base) -> Option<(u64, Vec<u8>)> {
        if !Bases::can_open(base) || u64::from(base.sums.plain) > MEMBER_BYTES - (256 << 10) {
            return None;
        }
        Some((base.unit, self.text(base.unit, Extent::Whole)?))
    }

    /// The plain text of a member that can be made of it again, and the compressor.
    fn opened(&mut self, entry: &Entry) -> Option<(Vec<u8>, Option<Compressor>)> {
        let content = &self.new[entry.content.clone()];
        let plain_length = u64::from(entry.sums.plain);
        if plain_length > self.plain_left.min(MEMBER_BYTES - (256 << 10)) {
            return None;
        }
        match entry.method {
            STORED if content.len() as u64 == plain_length && self.header_method(entry) == Some(STORED) => {
                Some((content.to_vec(), None))
            }
            DEFLATED if self.strangers < STRANGERS && self.header_method(entry) != Some(STORED) => {
                let plain = deflate::inflate(content, plain_length)?;
                let Some(compressor) = deflate::find(&plain, content, self.compressor) else {
                    self.strangers += 1;
                    return None;
                };
                self.strangers = 0;
                self.plain_left -= plain.len() as u64;
                Some((plain, Some(compressor)))
            }
            _ => None,
        }
    }

    /// The method by the member's own header, which the decoder goes by.
    fn header_method(&self, entry: &Entry) -> Option<u16> {
        super::records::local_method(&self.new[entry.offset..])
    }

    fn kept(&mut self, entry: &Entry, base: Base, old_text: Vec<u8>) {
        let form = self.form(entry, base.sums);
        let header = entry.offset..entry.content.start;
        let end = entry.content.end + form.descriptor.bytes(base.sums).len();
        self.gained += entry.content.len();
        let piece = Piece::Kept { base: base.unit, form };
        self.group_member(piece, (header, form), &[], old_text);
        self.at = end;
    }

    fn made(
        &mut self,
        entry: &Entry,
        base: Option<Base>,
        plain: Vec<u8>,
        compressor: Option<Compressor>,
    ) -> bool {
        let sums = Sums {
            checksum: crc32fast::hash(&plain),
            packed: entry.content.len() as u32,
            plain: plain.len() as u32,
        };
        let form = self.form(entry, sums);
        let old = base.and_then(|base| self.whole_text(base));
        let (base, old_text) = old.map_or((None, Vec::new()), |(base, text)| (Some(base), text));
        if compressor.is_some() {
            self.gained += entry.content.len();
        }
        if let Some(compressor) = compressor.filter(|_| compressor != self.compressor) {
            self.compressor = Some(compressor);
            self.loose(Piece::Compressor(compressor));
        }
        let piece = Piece::Made { base, form, plain_length: plain.len() as u64 };
        self.group_member(piece, (entry.offset..entry.content.start, form), &plain, old_text);
        self.at = entry.content.end + form.descriptor.bytes(sums).len();
        sums == entry.sums
    }

    /// How a member of these sums has them written.
    fn form(&self, entry: &Entry, sums: Sums) -> Form {
        let in_header = self.new.get(entry.offset + 14..entry.offset + 26) == Some(&sums.bytes());
        let behind = &self.new[entry.content.end..];
        let descriptors = [Descriptor::Signed, Descriptor::Bare];
        let descriptor =
            descriptors.into_iter().find(|descriptor| behind.starts_with(&descriptor.bytes(sums)));
        Form { in_header, descriptor: descriptor.unwrap_or(Descriptor::None) }
    }

    /// Adds a member's header, without the sums it is given again, and plain text to the group.
    fn group_member(
        &mut self,
        piece: Piece,
        (header, form): (Range<usize>, Form),
        plain: &[u8],
        old_text: Vec<u8>,
    ) {
        let mut text = self.new[header].to_vec();
        if form.in_header
            && let Some(sums) = super::records::local_sums(&mut text)
        {
            sums.fill(0);
        }
        text.extend_from_slice(plain);
        self.grouped(piece, &text, &old_text);
    }

    /// Plans a header and what is behind it as they are.
    fn opaque(&mut self, range: Range<usize>, old: Option<(u64, Vec<u8>)>) {
        let (base, old_text) = old.map_or((None, Vec::new()), |(base, text)| (Some(base), text));
        let most = if base.is_some() { MEMBER_BYTES as usize } else { GROUP_BYTES };
        let end = range.end.min(range.start + most);
        let piece = Piece::Opaque { base, length: (end - range.start) as u64 };
        let new = self.new;
        self.grouped(piece, &new[range.start..end], &old_text);
        self.at = end;
        self.raw_to(range.end);
    }

    fn raw_to(&mut self, end: usize) {
        while self.at < end {
            let next = end.min(self.at + GROUP_BYTES);
            let new = self.new;
            self.grouped(Piece::Raw { length: (next - self.at) as u64 }, &new[self.at..next], &[]);
            self.at = next;
        }
    }

    fn directory(&mut self, archive: &Archive, path: &[u8], follows: bool) {
        let text = &self.new[archive.directory..archive.end];
        let most = MEMBER_BYTES as usize;
        let unit = self.bases.as_ref().and_then(|bases| bases.directory(path));
        let old = unit.and_then(|unit| Some((unit, self.text(unit, Extent::Whole)?)));
        let (base, old_text) = old.filter(|(_, text)| text.len() <= most).unzip();
        if text.len() > most {
            return self.raw_to(archive.end);
        }
        let entries = if follows { archive.entries.len() as u64 } else { 0 };
        let piece = Piece::Directory { base, length: text.len() as u64, entries, skipped: 0 };
        self.grouped(piece, text, &old_text.unwrap_or_default());
        self.at = archive.end;
    }

    /// Adds a piece that needs no text.
    fn loose(&mut self, piece: Piece) {
        let at = self.at;
        if let (Piece::Same { first, .. }, Some(Piece::Same { first: begun, count })) =
            (piece, self.chunks.last_mut().and_then(Chunk::last_piece))
            && *begun + *count == first
        {
            *count += 1;
            return;
        }
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::new(at));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(piece, at);
        }
    }

    /// Adds a piece with its text, and what that is made from.
    fn grouped(&mut self, piece: Piece, text: &[u8], old_text: &[u8]) {
        let fits = |chunk: &Chunk| {
            chunk.text.is_empty()
                || (chunk.text.len() + text.len() <= GROUP_BYTES
                    && chunk.old_text.len() + old_text.len() <= GROUP_BYTES)
        };
        if self.chunks.last().is_none_or(|chunk| !fits(chunk)) {
            self.flush();
            self.chunks.push(Chunk::new(self.at));
        }
        let at = self.at;
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(piece, at);
            chunk.text.extend_from_slice(text);
            chunk.old_text.extend_from_slice(old_text);
        }
    }

    /// Encodes the texts of the last group.
    fn flush(&mut self) {
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.encode_if_final();
        }
    }
}

fn decodes(segments: &[Segment], old: &[u8], new: &[u8]) -> bool {
    let mut rest = Expected::new(new);
    let mut source = Source::new(Cursor::new(old), old.len() as u64);
    let decoded = segments.iter().all(|segment| {
        let job = Job::new(Codec::Zip, &segment.payload, segment.output_len);
        crate::decode(&job, &mut source, &mut rest, &Limits::default()).is_ok()
    });
    decoded && rest.is_met()
}
