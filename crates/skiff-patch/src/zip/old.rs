//! The old archive: its units, and their texts.

use std::io::{self, Read, Seek, Write};
use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};

use super::records::{
    CENTRAL_BYTES, Central, DEFLATED, LOCAL_BYTES, STORED, Sums, fill_central, local_length, local_sums,
};
use crate::{PatchError, Source};

/// Where in the source an archive's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OldArchive {
    /// Where the offsets of its headers count from.
    pub(super) start: u64,
    pub(super) directory: u64,
    /// With all that follows it.
    pub(super) directory_length: u64,
    pub(super) entries: u64,
}

/// A member, or a directory with what follows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    pub(super) offset: u64,
    pub(super) kind: UnitKind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum UnitKind {
    Member { method: u16, sums: Sums },
    Directory { length: u64, entries: u64 },
}

/// What a unit takes in memory.
pub(super) const UNIT_BYTES: u64 = size_of::<Unit>() as u64;

/// What inflating takes.
pub(super) const INFLATE_MEMORY: u64 = PIECE_BYTES as u64 + (128 << 10);

/// How much is read, copied or inflated at once.
const PIECE_BYTES: usize = 32 << 10;

/// How much of a unit is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Header,
    Whole,
}

/// What a text comes to, in bytes.
pub(super) struct TextLength {
    pub(super) text: u64,
    /// What is read for it, or made, whichever is more.
    pub(super) read: u64,
}

/// The units of the archives in a source: the members of each in the order of their headers, then its directory.
pub(super) struct Units {
    units: Vec<Unit>,
    inflater: Decompress,
}

impl Units {
    /// Reads the directories, which the caller has found to be ordered and within the source.
    pub(super) fn read<S: Read + Seek>(
        archives: &[OldArchive],
        source: &mut Source<S>,
    ) -> Result<Self, PatchError> {
        let count = archives.iter().map(|archive| archive.entries + 1).sum::<u64>();
        let mut units = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for archive in archives {
            let first = units.len();
            let mut at = archive.directory;
            let end = archive.directory + archive.directory_length;
            for _ in 0..archive.entries {
                let entry = read_central(source, at, end)?;
                let offset = archive.start.checked_add(entry.offset.into());
                let offset = offset.filter(|&offset| offset < archive.directory).ok_or_else(wrong)?;
                at += entry.length as u64;
                let kind = UnitKind::Member { method: entry.method, sums: entry.sums };
                units.push(Unit { offset, kind });
            }
            units[first..].sort_unstable_by_key(|unit| unit.offset);
            let kind = UnitKind::Directory { length: archive.directory_length, entries: archive.entries };
            units.push(Unit { offset: archive.directory, kind });
            // Each unit has a byte at least, so that whoever copies it gets on.
            if !units[first..].is_sorted_by(|left, right| left.offset < right.offset) {
                return Err(wrong());
            }
        }
        Ok(Self { units, inflater: Decompress::new(false) })
    }

    pub(super) fn get(&self, index: u64) -> Option<&Unit> {
        self.units.get(usize::try_from(index).ok()?)
    }

    /// How long the text of a unit is, and what it takes to read it.
    pub(super) fn text_length<S: Read + Seek>(
        &self,
        source: &mut Source<S>,
        (index, extent): (u64, Extent),
    ) -> Result<TextLength, PatchError> {
        let unit = self.get(index).ok_or_else(wrong)?;
        Ok(match unit.kind {
            UnitKind::Directory { length, .. } => TextLength { text: length, read: length },
            UnitKind::Member { sums, .. } => {
                let header = header_length(source, unit.offset)?;
                let [plain, packed] = match extent {
                    Extent::Header => [0; 2],
                    Extent::Whole => [sums.plain, sums.packed].map(u64::from),
                };
                // A member can be longer than what it holds.
                TextLength { text: header + plain, read: header + plain.max(packed) }
            }
        })
    }

    /// Appends the text of a unit to `text`: the header, its sums zeroed, and the plain text of a member; the directory, with
    /// what follows from the members zeroed.
    pub(super) fn append_text<S: Read + Seek>(
        &mut self,
        source: &mut Source<S>,
        (index, extent): (u64, Extent),
        text: &mut Vec<u8>,
    ) -> Result<(), PatchError> {
        let unit = *self.get(index).ok_or_else(wrong)?;
        let start = text.len();
        match unit.kind {
            UnitKind::Directory { length, entries } => {
                append(source, unit.offset, length, text)?;
                zero_directory(&mut text[start..], 0..entries, &[]);
            }
            UnitKind::Member { method, sums } => {
                let header = header_length(source, unit.offset)?;
                append(source, unit.offset, header, text)?;
                if let Some(sums) = local_sums(&mut text[start..]) {
                    sums.fill(0);
                }
                let content = unit.offset + header;
                match (extent, method) {
                    (Extent::Header, _) => {}
                    (Extent::Whole, STORED) if sums.packed == sums.plain => {
                        append(source, content, sums.plain.into(), text)?;
                    }
                    (Extent::Whole, DEFLATED) => self.inflate(source, content, sums, text)?,
                    (Extent::Whole, _) => return Err(wrong()),
                }
            }
        }
        Ok(())
    }

    fn inflate<S: Read + Seek>(
        &mut self,
        source: &mut Source<S>,
        content: u64,
        sums: Sums,
        text: &mut Vec<u8>,
    ) -> Result<(), PatchError> {
        let start = text.len();
        let plain = sums.plain as usize;
        let mut packed = within(source, content, sums.packed.into())?;
        // A byte beyond what is expected shows whether it ends there.
        let mut room = plain + 1;
        let mut input = vec![0; PIECE_BYTES.min(sums.packed as usize)];
        let mut filled = 0..0;
        self.inflater.reset(false);
        loop {
            if filled.is_empty() {
                filled = 0..packed.read(&mut input).map_err(PatchError::source)?;
            }
            // Grown as bytes come: the promise may be false.
            let piece = room.min(PIECE_BYTES);
            let end = text.len();
            text.resize(end + piece, 0);
            let before = (self.inflater.total_in(), self.inflater.total_out());
            let status = self.inflater.decompress(
                &input[filled.clone()],
                &mut text[end..],
                if filled.is_empty() { FlushDecompress::Finish } else { FlushDecompress::None },
            );
            let read = (self.inflater.total_in() - before.0) as usize;
            let made = (self.inflater.total_out() - before.1) as usize;
            text.truncate(end + made);
            filled.start += read;
            room -= made;
            match status {
                Ok(Status::StreamEnd) if text.len() - start == plain => return Ok(()),
                Ok(Status::Ok | Status::BufError) if room > 0 && read + made > 0 => {}
                _ => return Err(wrong()),
            }
        }
    }
}

pub(super) fn wrong() -> PatchError {
    PatchError::corrupt(0, "the source is not the archive it was said to be")
}

/// Where the content of the member begins whose header is at `offset`, counted from there.
pub(super) fn header_length<S: Read + Seek>(source: &mut Source<S>, offset: u64) -> Result<u64, PatchError> {
    let mut header = [0; LOCAL_BYTES];
    if offset.checked_add(header.len() as u64).is_none_or(|end| end > source.length()) {
        return Err(wrong());
    }
    source.read_to(offset, &mut header)?;
    local_length(&header).map(|length| length as u64).ok_or_else(wrong)
}

/// Copies a range of the source.
pub(super) fn copy<S: Read + Seek>(
    source: &mut Source<S>,
    offset: u64,
    length: u64,
    mut write: impl FnMut(&[u8]) -> Result<(), PatchError>,
) -> Result<(), PatchError> {
    let mut range = within(source, offset, length)?;
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(length).unwrap_or(PIECE_BYTES))];
    let mut left = length;
    while left > 0 {
        let count = match range.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(PatchError::source)?,
        };
        if count == 0 {
            return Err(PatchError::source(io::ErrorKind::UnexpectedEof.into()));
        }
        write(&piece[..count])?;
        left -= count as u64;
    }
    Ok(())
}

fn within<S: Read + Seek>(source: &mut Source<S>, offset: u64, length: u64) -> Result<impl Read, PatchError> {
    if offset.checked_add(length).is_none_or(|end| end > source.length()) {
        return Err(wrong());
    }
    source.range(offset, length).map_err(PatchError::source)
}

fn append<S: Read + Seek>(
    source: &mut Source<S>,
    offset: u64,
    length: u64,
    text: &mut Vec<u8>,
) -> Result<(), PatchError> {
    copy(source, offset, length, |piece| text.write_all(piece).map_err(PatchError::output))
}

fn read_central<S: Read + Seek>(source: &mut Source<S>, at: u64, end: u64) -> Result<Central, PatchError> {
    let mut entry = [0; CENTRAL_BYTES];
    if at.checked_add(entry.len() as u64).is_none_or(|last| last > end) {
        return Err(wrong());
    }
    source.read_to(at, &mut entry)?;
    let central = Central::read(&entry).filter(|central| at + central.length as u64 <= end);
    central.ok_or_else(wrong)
}

/// Leaves of these entries of a directory what does not follow from the members; of the members at `opaque` only the place
/// is known.
pub(super) fn zero_directory(mut text: &mut [u8], entries: Range<u64>, mut opaque: &[u64]) {
    let none = Sums { checksum: 0, packed: 0, plain: 0 };
    for index in 0..entries.end {
        let Some(length) = Central::read(text).map(|entry| entry.length) else { return };
        let is_opaque = opaque.first() == Some(&index);
        opaque = &opaque[usize::from(is_opaque)..];
        if entries.contains(&index) {
            fill_central(text, (!is_opaque).then_some(none), 0);
        }
        let Some((_, rest)) = text.split_at_mut_checked(length) else { return };
        text = rest;
    }
}
