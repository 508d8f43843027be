//! Reading the headers of an executable: as much as prediction needs.

use super::layout::{Content, DETACHED, FILE_LIMIT, Place, Section, is_sound};
use super::segments;
use crate::PatchError;

/// The instructions an executable is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    AArch64,
    /// With Thumb-2 among it.
    Arm,
}

/// The sections of one executable.
pub(super) struct Elf {
    pub(super) machine: Machine,
    pub(super) is_wide: bool,
    pub(super) is_fixed: bool,
    pub(super) sections: Vec<Section>,
    /// For each section, its name.
    #[cfg_attr(not(feature = "encode"), expect(dead_code, reason = "the decoder pairs no sections"))]
    pub(super) names: Vec<Vec<u8>>,
}

/// Executables with more section headers than this are left alone; linkers make some thirty.
const SECTION_LIMIT: u64 = 512;
/// Longest table of names that is read, and how much of a name counts.
const NAMES_LIMIT: u64 = 64 << 10;
const NAME_LIMIT: usize = 32;

/// Reads bytes at an offset of a file.
pub(crate) type Read<'a> = dyn FnMut(u64, &mut [u8]) -> Result<(), PatchError> + 'a;

/// Reads the headers of a file, or finds that it is not an executable of a known kind.
///
/// # Errors
/// Those of `read`, which is never asked for bytes past `length`.
pub(super) fn parse(length: u64, read: &mut Read<'_>) -> Result<Option<Elf>, PatchError> {
    const HEADER: u64 = 64;
    if !(HEADER..FILE_LIMIT).contains(&length) {
        return Ok(None);
    }
    let mut header = [0; HEADER as usize];
    read(0, &mut header)?;
    let Some(facts) = Facts::of(&header) else { return Ok(None) };
    let Some(table) = facts.section_headers(length) else { return segments::sections(&facts, length, read) };
    let mut headers = vec![0; usize::try_from(table).expect("because it is at most 32 KiB")];
    read(facts.table, &mut headers)?;
    let headers: Vec<Header> =
        headers.chunks_exact(facts.entry as usize).map(|bytes| Header::of(bytes, facts.is_wide)).collect();

    let mut names = Vec::new();
    if let Some(strings) = headers.get(facts.names)
        && strings.size <= NAMES_LIMIT
        && strings.offset.checked_add(strings.size).is_some_and(|end| end <= length)
    {
        names = vec![0; usize::try_from(strings.size).expect("because it is at most 64 KiB")];
        read(strings.offset, &mut names)?;
    }
    Ok(Some(elf(&facts, &headers, &names, length)))
}

/// Where each section of the old file is in the new one: the section of the same name, and of the same turn among those.
#[cfg(feature = "encode")]
pub(super) fn pair(old: &Elf, new: &Elf) -> Vec<Option<Place>> {
    let mut taken = vec![false; new.sections.len()];
    let mut pair = |(section, name): (&Section, &Vec<u8>)| {
        let index = (0..new.sections.len()).find(|&index| {
            !taken[index]
                && new.names[index] == *name
                && new.sections[index].content == section.content
                && new.sections[index].is_detached() == section.is_detached()
        })?;
        taken[index] = true;
        Some(new.sections[index].place)
    };
    old.sections.iter().zip(&old.names).map(&mut pair).collect()
}

/// What the file's own header says.
pub(super) struct Facts {
    pub(super) machine: Machine,
    pub(super) is_wide: bool,
    pub(super) is_fixed: bool,
    /// Where the program headers are, how long one is, and how many there are.
    pub(super) programs: u64,
    pub(super) program_entry: u64,
    pub(super) program_count: u64,
    /// Where the section headers are, how long one is, and how many there are.
    table: u64,
    entry: u64,
    count: u64,
    /// Which section has the names.
    names: usize,
    pub(super) header_end: u64,
}

impl Facts {
    fn of(header: &[u8; 64]) -> Option<Self> {
        const EXEC: u64 = 2;
        const DYN: u64 = 3;
        let is_wide = match header[..6] {
            [0x7f, b'E', b'L', b'F', 2, 1] => true,
            [0x7f, b'E', b'L', b'F', 1, 1] => false,
            _ => return None,
        };
        let machine = match (number(header, 18, 2), is_wide) {
            (62, true) => Machine::X86_64,
            (183, true) => Machine::AArch64,
            (40, false) => Machine::Arm,
            _ => return None,
        };
        let kind = number(header, 16, 2);
        if kind != EXEC && kind != DYN {
            return None;
        }
        let is_fixed = kind == EXEC;
        let (programs, table) = if is_wide {
            (number(header, 32, 8), number(header, 40, 8))
        } else {
            (number(header, 28, 4), number(header, 32, 4))
        };
        let at = if is_wide { 54 } else { 42 };
        let fields = [0, 2, 4, 6, 8].map(|field| number(header, at + field, 2));
        let [program_entry, program_count, entry, count, names] = fields;
        let header_end = if is_wide { 64 } else { 52 } + program_entry * program_count;
        let names = usize::try_from(names).ok()?;
        Some(Self {
            machine,
            is_wide,
            is_fixed,
            programs,
            program_entry,
            program_count,
            table,
            entry,
            count,
            names,
            header_end,
        })
    }

    /// How long the section headers are, if they can be gone by.
    fn section_headers(&self, length: u64) -> Option<u64> {
        let is_known = self.entry == if self.is_wide { 64 } else { 40 };
        let table = self.entry * self.count;
        let is_there = self.table.checked_add(table).is_some_and(|end| end <= length);
        (is_known && is_there && (1..=SECTION_LIMIT).contains(&self.count)).then_some(table)
    }
}

/// A section header.
struct Header {
    name: u64,
    kind: u64,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    link: u64,
    alignment: u64,
}

impl Header {
    fn of(bytes: &[u8], is_wide: bool) -> Self {
        let word = if is_wide { 8 } else { 4 };
        let field = |index: usize| number(bytes, 8 + index * word, word);
        let link = 8 + 4 * word;
        Self {
            name: number(bytes, 0, 4),
            kind: number(bytes, 4, 4),
            flags: field(0),
            address: field(1),
            offset: field(2),
            size: field(3),
            link: number(bytes, link, 4),
            alignment: number(bytes, link + 8, word),
        }
    }

    fn content(&self, name: &[u8]) -> Content {
        const WRITE: u64 = 1;
        const EXECUTE: u64 = 4;
        match (self.kind, name) {
            (_, b".eh_frame") => Content::Unwind,
            (_, b".eh_frame_hdr") => Content::UnwindIndex,
            (1, b".got") => Content::Table,
            (1, _) if self.flags & EXECUTE != 0 => Content::Code,
            (1 | 14 | 15 | 16, _) if self.flags & WRITE != 0 => Content::Pointers,
            (1, _) => Content::ReadOnly,
            (2 | 11, _) => Content::Symbols,
            (3, _) => Content::Strings,
            (4, _) => Content::RelocationsWithAddend,
            (6, _) => Content::Dynamic,
            (8, _) => Content::Unset,
            (9, _) => Content::Relocations,
            (19, _) => Content::PackedRelocations,
            (0x7000_0001, b".ARM.exidx") => Content::ArmUnwindIndex,
            _ => Content::Other,
        }
    }

    /// Where the section of this name lies in a file of this length, and what it is. One that makes no sense keeps its turn, because
    /// links are by number.
    fn place(&self, name: &[u8], length: u64) -> (Place, Content) {
        let is_allocated = self.flags & ALLOCATED != 0;
        let is_unset = self.kind == NO_BITS;
        let in_file = self.offset.checked_add(self.size).is_some_and(|end| end <= length);
        let address = if is_allocated { self.address } else { DETACHED.wrapping_add(self.offset) };
        let place = Place { address, offset: self.offset, size: self.size };
        // Thread-local memory shares its addresses with what comes next.
        let is_odd = self.kind == 0
            || is_unset && self.flags & THREAD_LOCAL != 0
            || !(in_file || is_unset)
            || !is_sound(&place, !is_allocated);
        if is_odd {
            return (Place { address: DETACHED, offset: 0, size: 0 }, Content::Other);
        }
        (place, self.content(name))
    }
}

const ALLOCATED: u64 = 2;
const THREAD_LOCAL: u64 = 0x400;
const NO_BITS: u64 = 8;

fn elf(facts: &Facts, headers: &[Header], names: &[u8], length: u64) -> Elf {
    let name = |header: &Header| {
        let from = usize::try_from(header.name).ok().and_then(|at| names.get(at..)).unwrap_or_default();
        let name = from.split(|byte| *byte == 0).next().unwrap_or_default();
        name[..name.len().min(NAME_LIMIT)].to_vec()
    };
    let (mut sections, mut kept_names) = (Vec::new(), Vec::new());
    let lowest = headers
        .iter()
        .filter(|header| header.flags & ALLOCATED != 0)
        .map(|header| header.address.saturating_sub(header.offset))
        .next()
        .unwrap_or_default();
    let mut keep = |place: Place, content, alignment, link, name: Vec<u8>| {
        sections.push(Section { place, content, alignment, link });
        kept_names.push(name);
    };
    let header_end = facts.header_end.min(length);
    keep(
        Place { address: lowest & (DETACHED - 1), offset: 0, size: header_end },
        Content::Header,
        1,
        0,
        vec![],
    );
    for header in headers {
        let name = name(header);
        let (place, content) = header.place(&name, length);
        let alignment = if header.alignment.is_power_of_two() { header.alignment.min(1 << 21) } else { 1 };
        // One more section stands before those of the headers.
        let link = usize::try_from(header.link).map_or(0, |link| link.saturating_add(1));
        keep(place, content, alignment, link, name);
    }
    let table = Place {
        address: DETACHED.wrapping_add(facts.table),
        offset: facts.table,
        size: facts.entry * facts.count,
    };
    keep(table, Content::SectionHeaders, 8, 0, vec![]);
    Elf {
        machine: facts.machine,
        is_wide: facts.is_wide,
        is_fixed: facts.is_fixed,
        sections,
        names: kept_names,
    }
}

/// The little-endian integer of `length` bytes at `at`; what lies beyond `bytes` counts as zero.
pub(super) fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes.iter().skip(at).take(length).enumerate();
    bytes.fold(0, |value, (index, byte)| value | u64::from(*byte) << (8 * index))
}
