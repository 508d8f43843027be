//! Taking an archive apart.

use std::ops::Range;

use super::old::OldArchive;
use super::records::{Central, STORED, Sums, local_length, u16_at, u32_at};

/// An archive that is whole and in order: every member where the directory says, and none in another.
pub(super) struct Archive {
    /// Where the offsets of its headers count from.
    pub(super) start: usize,
    pub(super) directory: usize,
    /// The end of all that belongs to it.
    pub(super) end: usize,
    /// By where they are.
    pub(super) entries: Vec<Entry>,
    /// Whether the directory has them in that order too.
    pub(super) is_ordered: bool,
}

/// A member.
pub(super) struct Entry {
    pub(super) offset: usize,
    /// Behind the header.
    pub(super) content: Range<usize>,
    pub(super) method: u16,
    pub(super) sums: Sums,
    /// Where its name is.
    pub(super) name: Range<usize>,
    /// What it is as an archive.
    pub(super) archive: Option<Box<Archive>>,
}

/// The record at the end, without its comment.
const END_BYTES: usize = 22;
const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const LONGEST_COMMENT: usize = 0xffff;
/// Stands for a value that is elsewhere, in the extension for large archives.
const ELSEWHERE: u32 = u32::MAX;
/// An encrypted member is noise.
const ENCRYPTED: u16 = 1;
/// How deep archives in archives are taken apart.
const DEPTH: usize = 2;

impl Archive {
    /// None where `file` is not an archive, or not one that this codec takes apart.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        Self::read_in(file, 0..file.len(), DEPTH)
    }

    fn read_in(file: &[u8], range: Range<usize>, depth: usize) -> Option<Self> {
        let bytes = file.get(range.clone())?;
        let end = find_end(bytes)?;
        let record = &bytes[end..];
        let count = u16_at(record, 10)?;
        let length = usize::try_from(u32_at(record, 12)?).ok()?;
        let offset = usize::try_from(u32_at(record, 16)?).ok()?;
        // What is before the archive may count or not.
        let directory = end.checked_sub(length)?;
        let start = directory.checked_sub(offset)?;
        let mut archive = Self {
            start: range.start + start,
            directory: range.start + directory,
            end: range.end,
            entries: Vec::with_capacity(count.into()),
            is_ordered: true,
        };
        let mut at = archive.directory;
        for _ in 0..count {
            let central = Central::read(file.get(at..range.start + end)?)?;
            archive.entries.push(Entry::read(file, &archive, (at, &central), depth)?);
            at += central.length;
        }
        archive.is_ordered = archive.entries.is_sorted_by_key(|entry| entry.offset);
        archive.entries.sort_by_key(|entry| entry.offset);
        let next = archive.entries.iter().skip(1).map(|entry| entry.offset).chain([archive.directory]);
        let is_apart = archive.entries.iter().zip(next).all(|(entry, next)| entry.content.end <= next);
        is_apart.then_some(archive)
    }

    /// Where the unit after the entry of this index is.
    pub(super) fn next_offset(&self, index: usize) -> usize {
        self.entries.get(index + 1).map_or(self.directory, |entry| entry.offset)
    }

    pub(super) fn as_old(&self) -> OldArchive {
        OldArchive {
            start: self.start as u64,
            directory: self.directory as u64,
            directory_length: (self.end - self.directory) as u64,
            entries: self.entries.len() as u64,
        }
    }
}

impl Entry {
    fn read(file: &[u8], archive: &Archive, (at, central): (usize, &Central), depth: usize) -> Option<Self> {
        if [central.offset, central.sums.packed, central.sums.plain].contains(&ELSEWHERE) {
            return None;
        }
        let offset = archive.start.checked_add(usize::try_from(central.offset).ok()?)?;
        let before = file.get(..archive.directory)?;
        let start = offset + local_length(before.get(offset..)?)?;
        let content = start..start.checked_add(usize::try_from(central.sums.packed).ok()?)?;
        let bytes = before.get(content.clone())?;
        let name =
            at + super::records::CENTRAL_BYTES..at + super::records::CENTRAL_BYTES + central.name_length;
        file.get(name.clone())?;
        let is_encrypted = central.flags & ENCRYPTED != 0;
        let method = if is_encrypted { u16::MAX } else { central.method };
        let archive = if method == STORED && depth > 1 && bytes.starts_with(&super::records::LOCAL_SIGNATURE)
        {
            Archive::read_in(file, content.clone(), depth - 1).map(Box::new)
        } else {
            None
        };
        Some(Self { offset, content, method, sums: central.sums, name, archive })
    }
}

/// The last record that can be the end.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    (last.saturating_sub(LONGEST_COMMENT)..=last).rev().find(|&at| {
        let record = &bytes[at..];
        let comment = u16_at(record, 20).map_or(usize::MAX, usize::from);
        record.starts_with(&END_SIGNATURE) && at + END_BYTES + comment <= bytes.len()
    })
}
