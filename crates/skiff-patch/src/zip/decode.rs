//! The decoder: piece by piece, a group's texts at a time.

use std::io::{Cursor, Read, Seek, Write};
use std::ops::Range;

use super::head::{Head, next_inner};
use super::old::{self, Extent, UnitKind, Units};
use super::pieces::{Form, Piece, Pieces};
use super::records::{Central, STORED, Sums, fill_central, local_length, local_method, local_sums};
use crate::deflate::{self, Compressor};
use crate::inner::Inner;
use crate::opened;
use crate::{Job, Limits, PatchError, Source, State};

/// How many archives may lie in each other.
const DEPTH: usize = 8;

pub(crate) fn decode<S: Read + Seek + Send, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
    limits: &Limits,
    state: &mut State,
) -> Result<(), PatchError> {
    let head = Head::read(job)?;
    for wanted in [head.largest_text, head.largest_old_text, head.largest_plain] {
        limits.allow_plain(wanted)?;
    }
    head.check_pieces(job.output_len)?;
    head.check_archives(source.length())?;
    let directories = head.archives.iter().map(|archive| archive.directory_length);
    opened::allow(job.output_len, &[directories.fold(0, u64::saturating_add)])?;
    let units = Units::read(&head.archives, source)?;
    let old_text_left = opened::most(job.output_len);
    let output = Output { output, left: job.output_len, position: head.start };
    let (pieces, payloads, payloads_offset) = (head.pieces.clone(), head.payloads, head.payloads_offset);
    let mut decoder = Decoder {
        head,
        source,
        state,
        units,
        output,
        pieces,
        payloads,
        payloads_offset,
        old_text_left,
        text: Vec::new(),
        taken: 0,
        compressor: None,
        archives: Vec::new(),
        members: Vec::new(),
    };
    decoder.run()
}

pub(crate) fn decoder_memory(job: &Job<'_>) -> Result<u64, PatchError> {
    Head::read(job)?.memory(job.output_len)
}

/// An archive that has begun.
struct Begun {
    start: u64,
    first_member: usize,
}

/// What is to be said of a member in its directory.
struct Member {
    offset: u32,
    sums: Option<Sums>,
}

/// What a member takes in memory.
pub(super) const MEMBER_BYTES: u64 = size_of::<Member>() as u64;

struct Decoder<'a, 'o, S, W> {
    head: Head<'a>,
    source: &'o mut Source<S>,
    state: &'o mut State,
    units: Units,
    output: Output<'o, W>,
    pieces: Pieces<'a>,
    payloads: &'a [u8],
    payloads_offset: u64,
    /// How many bytes may yet be read for old texts.
    old_text_left: u64,
    text: Vec<u8>,
    /// How much of the text is written.
    taken: usize,
    compressor: Option<Compressor>,
    archives: Vec<Begun>,
    members: Vec<Member>,
}

impl<S: Read + Seek + Send, W: Write> Decoder<'_, '_, S, W> {
    fn run(&mut self) -> Result<(), PatchError> {
        loop {
            let offset = self.pieces.offset();
            let Some(piece) = self.pieces.next()? else { break };
            self.piece(piece).map_err(|error| match error {
                // Where the piece says nothing of itself.
                PatchError::Corrupt { offset: 0, what } => PatchError::Corrupt { offset, what },
                error => error,
            })?;
        }
        self.text_is_used_up()?;
        if self.output.left > 0 {
            return Err(PatchError::corrupt(self.pieces.offset(), "the pieces make less than the output"));
        }
        Ok(())
    }

    fn piece(&mut self, piece: Piece) -> Result<(), PatchError> {
        match piece {
            Piece::Group { codec, text_length, payload_length } => {
                self.group(codec, text_length, payload_length)
            }
            Piece::Same { first, count } => self.same(first, count),
            Piece::Compressor(compressor) => {
                self.compressor = Some(compressor);
                Ok(())
            }
            Piece::Begin { before } => self.begin(before),
            Piece::Raw { length } => {
                let range = self.take(length)?;
                self.output.write(&self.text[range])
            }
            Piece::Kept { base, form } => self.kept(base, form),
            Piece::Made { form, plain_length, .. } => self.made(form, plain_length),
            Piece::Opaque { length, .. } => {
                self.member(self.output.position, None)?;
                let range = self.take(length)?;
                self.output.write(&self.text[range])
            }
            Piece::Directory { length, entries, skipped, .. } => self.directory(length, entries, skipped),
        }
    }

    /// Opens what the pieces of the group are made from, and makes their texts of it.
    fn group(&mut self, codec: u64, text_length: u64, payload_length: u64) -> Result<(), PatchError> {
        self.text_is_used_up()?;
        self.text = Vec::new();
        self.taken = 0;
        let old_text = self.old_text()?;
        let job = next_inner(&mut self.payloads, (codec, text_length, payload_length))?;
        let inner = Inner { job, offset: self.payloads_offset };
        self.payloads_offset += payload_length;
        let old_length = old_text.len() as u64;
        self.text = inner.decode(&mut Source::new(Cursor::new(&old_text), old_length), self.state)?;
        Ok(())
    }

    /// What the group's pieces are made from. How long it becomes is found first: nothing has to grow.
    fn old_text(&mut self) -> Result<Vec<u8>, PatchError> {
        let mut length = 0_u64;
        let mut pieces = self.pieces.clone();
        while let Some(wanted) = next_wanted(&mut pieces)? {
            let more = self.units.text_length(self.source, wanted)?;
            let sum = length.checked_add(more.text).filter(|&sum| sum <= self.head.largest_old_text);
            length = sum.ok_or(PatchError::corrupt(0, "the old texts are longer than promised"))?;
            let left = self.old_text_left.checked_sub(more.read);
            self.old_text_left = left.ok_or(PatchError::corrupt(0, "it opens far more than comes of it"))?;
        }
        let mut old_text = Vec::with_capacity(usize::try_from(length).unwrap_or_default().saturating_add(1));
        let mut pieces = self.pieces.clone();
        while let Some(wanted) = next_wanted(&mut pieces)? {
            self.units.append_text(self.source, wanted, &mut old_text)?;
        }
        Ok(old_text)
    }

    fn same(&mut self, first: u64, count: u64) -> Result<(), PatchError> {
        let missing = || PatchError::corrupt(0, "there are no such members in the source");
        let start = self.units.get(first).ok_or_else(missing)?.offset;
        let last = first.checked_add(count).ok_or_else(missing)?;
        let end = self.units.get(last).ok_or_else(missing)?.offset;
        let length = end.checked_sub(start).ok_or_else(missing)?;
        if length > self.output.left {
            return Err(PatchError::corrupt(0, "the pieces make more than the output"));
        }
        for index in first..last {
            let unit = *self.units.get(index).ok_or_else(missing)?;
            let UnitKind::Member { sums, .. } = unit.kind else { return Err(missing()) };
            self.member(self.output.position + (unit.offset - start), Some(sums))?;
        }
        old::copy(self.source, start, length, |piece| self.output.write(piece))
    }

    fn begin(&mut self, before: u64) -> Result<(), PatchError> {
        let start = self.output.position.checked_sub(before);
        let start = start.ok_or(PatchError::corrupt(0, "an archive begins before the file"))?;
        if self.archives.len() == DEPTH {
            return Err(PatchError::corrupt(0, "too many archives lie in each other"));
        }
        self.archives.push(Begun { start, first_member: self.members.len() });
        Ok(())
    }

    fn kept(&mut self, base: u64, form: Form) -> Result<(), PatchError> {
        let unit = *self.units.get(base).ok_or_else(old::wrong)?;
        let UnitKind::Member { sums, .. } = unit.kind else { return Err(old::wrong()) };
        let content = unit.offset + old::header_length(self.source, unit.offset)?;
        self.header(form, sums)?;
        old::copy(self.source, content, sums.packed.into(), |piece| self.output.write(piece))?;
        self.output.write(&form.descriptor.bytes(sums))
    }

    fn made(&mut self, form: Form, plain_length: u64) -> Result<(), PatchError> {
        let header = local_length(&self.text[self.taken..]).ok_or_else(no_header)?;
        let rest = self.text.get(self.taken + header..).ok_or_else(no_header)?;
        let plain = usize::try_from(plain_length).ok().and_then(|length| rest.get(..length));
        let plain = plain.ok_or_else(text_ends)?;
        let plain_size = u32::try_from(plain_length).map_err(|_| text_ends())?;
        let checksum = crc32fast::hash(plain);
        let packed = if local_method(&self.text[self.taken..]) == Some(STORED) {
            plain.to_vec()
        } else {
            let compressor = self.compressor.ok_or(PatchError::corrupt(0, "no compressor was named"))?;
            self.output.deflate(plain, compressor)?
        };
        let packed_size = u32::try_from(packed.len()).map_err(|_| text_ends())?;
        let sums = Sums { checksum, packed: packed_size, plain: plain_size };
        self.header(form, sums)?;
        self.taken += plain_size as usize;
        self.output.write(&packed)?;
        self.output.write(&form.descriptor.bytes(sums))
    }

    /// Writes the header that the text has here.
    fn header(&mut self, form: Form, sums: Sums) -> Result<(), PatchError> {
        self.member(self.output.position, Some(sums))?;
        let length = local_length(&self.text[self.taken..]).ok_or_else(no_header)?;
        let range = self.take(length as u64)?;
        let header = &mut self.text[range];
        if form.in_header
            && let Some(place) = local_sums(header)
        {
            place.copy_from_slice(&sums.bytes());
        }
        self.output.write(header)
    }

    fn directory(&mut self, length: u64, entries: u64, skipped: u64) -> Result<(), PatchError> {
        let range = self.take(length)?;
        let begun = self.archives.pop().ok_or(PatchError::corrupt(0, "no archive has begun"))?;
        let mut members = self.members[begun.first_member..].iter();
        let mut text = &mut self.text[range.clone()];
        for entry in 0..entries {
            let no_entry = || PatchError::corrupt(0, "a directory has no entry where one should be");
            let length = Central::read(text).ok_or_else(no_entry)?.length;
            let (this, rest) = std::mem::take(&mut text).split_at_mut_checked(length).ok_or_else(no_entry)?;
            text = rest;
            if entry >= skipped {
                let member = members.next();
                let member =
                    member.ok_or(PatchError::corrupt(0, "a directory has more entries than members"))?;
                fill_central(this, member.sums, member.offset);
            }
        }
        self.members.truncate(begun.first_member);
        self.output.write(&self.text[range])
    }

    /// Notes a member, for the directory of the archive it is in.
    fn member(&mut self, position: u64, sums: Option<Sums>) -> Result<(), PatchError> {
        let Some(archive) = self.archives.last() else { return Ok(()) };
        let offset = position.checked_sub(archive.start).and_then(|offset| u32::try_from(offset).ok());
        let offset =
            offset.ok_or(PatchError::corrupt(0, "a member is too far behind the archive's start"))?;
        if self.members.len() as u64 == self.head.most_members {
            return Err(PatchError::corrupt(0, "there are more members than promised"));
        }
        if self.members.len() == self.members.capacity() {
            // Grown by halves, as all of them were declared.
            let more = (self.members.len() / 2).max(16);
            let more =
                more.min(usize::try_from(self.head.most_members).unwrap_or(usize::MAX) - self.members.len());
            self.members.reserve_exact(more);
        }
        self.members.push(Member { offset, sums });
        Ok(())
    }

    /// The next so many bytes of the text.
    fn take(&mut self, length: u64) -> Result<Range<usize>, PatchError> {
        let start = self.taken;
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        let end = end.filter(|&end| end <= self.text.len()).ok_or_else(text_ends)?;
        self.taken = end;
        Ok(start..end)
    }

    fn text_is_used_up(&self) -> Result<(), PatchError> {
        if self.taken == self.text.len() {
            Ok(())
        } else {
            Err(PatchError::corrupt(0, "a group's text is longer than its pieces"))
        }
    }
}

/// What the group's next piece that has a base is made from.
fn next_wanted(pieces: &mut Pieces<'_>) -> Result<Option<(u64, Extent)>, PatchError> {
    while let Some(piece) = pieces.next()? {
        if let Piece::Group { .. } = piece {
            return Ok(None);
        }
        if let Some(wanted) = piece.base() {
            return Ok(Some(wanted));
        }
    }
    Ok(None)
}

fn no_header() -> PatchError {
    PatchError::corrupt(0, "the text has no header where one should be")
}

fn text_ends() -> PatchError {
    PatchError::corrupt(0, "a group's text is shorter than its pieces")
}

/// Writes no more than was promised.
struct Output<'o, W> {
    output: &'o mut W,
    left: u64,
    /// Where in the new archive it is.
    position: u64,
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), PatchError> {
        let count = bytes.len() as u64;
        let too_long = || PatchError::corrupt(0, "the pieces make more than the output");
        self.left = self.left.checked_sub(count).ok_or_else(too_long)?;
        self.position = self.position.checked_add(count).ok_or_else(too_long)?;
        self.output.write_all(bytes).map_err(PatchError::output)
    }

    /// What the compressor makes of a plain text, if there is room for it.
    fn deflate(&self, plain: &[u8], compressor: Compressor) -> Result<Vec<u8>, PatchError> {
        let most = deflate::longest(plain.len() as u64).min(self.left);
        let mut packed = Vec::with_capacity(usize::try_from(most).unwrap_or(usize::MAX));
        let mut padded = Vec::with_capacity(plain.len() + deflate::PADDING);
        padded.extend_from_slice(plain);
        deflate::append(padded, compressor, &mut packed, most)?;
        Ok(packed)
    }
}
