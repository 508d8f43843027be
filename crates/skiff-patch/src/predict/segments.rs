//! Sections of an executable without section headers, from what its loader goes by.
//!
//! Program headers and the dynamic section tell where tables begin, after the *System V Application Binary Interface* (edition
//! 4.1, chapter 5); what lies between them is taken for what the segment's permissions make likely.

use super::elf::{Elf, Facts, Read, number};
use super::layout::{Content, DETACHED, Place, Section, is_sound};
use crate::PatchError;

/// Executables with more program headers than this are left alone; linkers make some twelve.
const SEGMENT_LIMIT: u64 = 64;
/// How much of a dynamic section is read; few have more than fifty entries of 16 bytes.
const DYNAMIC_LIMIT: u64 = 8 << 10;
/// What is shorter than this between two tables is there to align the second.
const SHORTEST: u64 = 64;
/// How long the code at `DT_FINI` is: what follows it may be data.
const FINI: u64 = 20;

/// The sections that the program headers tell of, or none if they tell of no segment.
///
/// # Errors
/// Those of `read`, which is never asked for bytes past `length`.
pub(super) fn sections(facts: &Facts, length: u64, read: &mut Read<'_>) -> Result<Option<Elf>, PatchError> {
    let Some(headers) = program_headers(facts, length, read)? else { return Ok(None) };
    let mut segments: Vec<Segment> = headers
        .iter()
        .filter(|header| header.kind == ProgramHeader::LOAD)
        .filter_map(|header| header.segment(length))
        .collect();
    // They stand in the order of their addresses, so that no mark lies in two.
    let mut end = 0;
    segments.retain(|segment| {
        let is_next = segment.place.address >= end;
        end = end.max(segment.place.end() + segment.unset);
        is_next
    });
    let Some(first) = segments.first() else { return Ok(None) };
    let mut marks = Vec::new();
    if let Some(header) = headers.iter().find(|header| header.kind == ProgramHeader::DYNAMIC) {
        let tags = tags(facts, header, length, read)?;
        mark_dynamic(facts, header, &tags, &mut marks);
    }
    mark_unwind(&headers, &segments, read, &mut marks)?;
    // The first of several at one address counts.
    marks.sort_by_key(|mark| mark.address);
    marks.dedup_by_key(|mark| mark.address);

    let mut out = Sections::default();
    let header_end = facts.header_end.min(length);
    let address = first.place.address.saturating_sub(first.place.offset) & (DETACHED - 1);
    out.push(Place { address, offset: 0, size: header_end }, Content::Header, 1, Vec::new());
    for segment in &segments {
        out.cut(segment, header_end, &marks);
    }
    out.link();
    Ok(Some(Elf {
        machine: facts.machine,
        is_wide: facts.is_wide,
        is_fixed: facts.is_fixed,
        sections: out.sections,
        names: out.names,
    }))
}

/// A program header.
struct ProgramHeader {
    kind: u64,
    flags: u64,
    offset: u64,
    address: u64,
    in_file: u64,
    in_memory: u64,
}

impl ProgramHeader {
    const LOAD: u64 = 1;
    const DYNAMIC: u64 = 2;
    const UNWIND_INDEX: u64 = 0x6474_e550;
    const ARM_UNWIND_INDEX: u64 = 0x7000_0001;

    fn of(bytes: &[u8], is_wide: bool) -> Self {
        let word = if is_wide { 8 } else { 4 };
        let field = |index: usize| number(bytes, word * index, word);
        let flags = if is_wide { number(bytes, 4, 4) } else { field(6) };
        let [offset, address, _, in_file, in_memory] = [1, 2, 3, 4, 5].map(field);
        Self { kind: number(bytes, 0, 4), flags, offset, address, in_file, in_memory }
    }

    /// What is loaded, where that makes sense.
    fn segment(&self, length: u64) -> Option<Segment> {
        let place = Place { address: self.address, offset: self.offset, size: self.in_file };
        let memory = Place { size: self.in_memory, ..place };
        let is_in_file = self.offset.checked_add(self.in_file).is_some_and(|end| end <= length);
        let is_sound = is_in_file && is_sound(&place, false) && is_sound(&memory, false);
        is_sound.then(|| Segment {
            place,
            unset: self.in_memory.saturating_sub(self.in_file),
            is_code: self.flags & 1 != 0,
            is_written: self.flags & 2 != 0,
        })
    }
}

/// A stretch of the file that is loaded.
struct Segment {
    place: Place,
    /// How much memory follows its bytes.
    unset: u64,
    is_code: bool,
    is_written: bool,
}

fn program_headers(
    facts: &Facts,
    length: u64,
    read: &mut Read<'_>,
) -> Result<Option<Vec<ProgramHeader>>, PatchError> {
    let size = if facts.is_wide { 56 } else { 32 };
    let table = size * facts.program_count;
    let is_there = facts.programs.checked_add(table).is_some_and(|end| end <= length);
    if facts.program_entry != size || facts.program_count > SEGMENT_LIMIT || !is_there {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(table).expect("because it is at most 4 KiB")];
    read(facts.programs, &mut bytes)?;
    let headers = bytes.chunks_exact(size as usize);
    Ok(Some(headers.map(|bytes| ProgramHeader::of(bytes, facts.is_wide)).collect()))
}

/// The entries of the dynamic section up to its end: tag and value.
fn tags(
    facts: &Facts,
    header: &ProgramHeader,
    length: u64,
    read: &mut Read<'_>,
) -> Result<Vec<(u64, u64)>, PatchError> {
    let size = header.in_file.min(DYNAMIC_LIMIT);
    if header.offset.checked_add(size).is_none_or(|end| end > length) {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; usize::try_from(size).expect("because it is at most 8 KiB")];
    read(header.offset, &mut bytes)?;
    let word = if facts.is_wide { 8 } else { 4 };
    let entries = bytes.chunks_exact(2 * word);
    let entries = entries.map(|entry| (number(entry, 0, word), number(entry, word, word)));
    Ok(entries.take_while(|(tag, _)| *tag != 0).collect())
}

/// Where a table begins.
struct Mark {
    address: u64,
    /// How long it is; none if it goes on to the next or to the segment's end.
    size: Option<u64>,
    content: Content,
    alignment: u64,
    /// What its section would be called.
    name: &'static str,
}

fn mark_dynamic(facts: &Facts, header: &ProgramHeader, tags: &[(u64, u64)], marks: &mut Vec<Mark>) {
    const WITH_ADDEND: u64 = 7;
    let value = |tag: u64| tags.iter().find(|(known, _)| *known == tag).map(|(_, value)| *value);
    let word = if facts.is_wide { 8 } else { 4 };
    marks.push(Mark {
        address: header.address,
        size: Some(header.in_file),
        content: Content::Dynamic,
        alignment: word,
        name: ".dynamic",
    });
    let mut mark = |tag: u64, size: Option<u64>, content: Content, alignment: u64, name: &'static str| {
        marks.extend(value(tag).map(|address| Mark { address, size, content, alignment, name }));
    };
    let late = match value(20) {
        Some(WITH_ADDEND) => Content::RelocationsWithAddend,
        _ => Content::Relocations,
    };
    mark(6, None, Content::Symbols, word, ".dynsym");
    mark(5, value(10), Content::Strings, 1, ".dynstr");
    mark(7, value(8), Content::RelocationsWithAddend, word, ".rela.dyn");
    mark(17, value(18), Content::Relocations, word, ".rel.dyn");
    mark(23, value(2), late, word, ".rela.plt");
    mark(36, value(35), Content::PackedRelocations, word, ".relr.dyn");
    mark(4, None, Content::Other, word, ".hash");
    mark(0x6fff_fef5, None, Content::Other, word, ".gnu.hash");
    mark(0x6fff_fff0, None, Content::Other, 2, ".gnu.version");
    mark(0x6fff_fffe, None, Content::Other, word, ".gnu.version_r");
    mark(0x6fff_fffc, None, Content::Other, word, ".gnu.version_d");
    mark(12, None, Content::Code, 4, ".init");
    mark(13, Some(FINI), Content::Code, 4, ".fini");
    mark(25, value(27), Content::Pointers, word, ".init_array");
    mark(26, value(28), Content::Pointers, word, ".fini_array");
    mark(3, None, Content::Table, word, ".got");
}

/// The tables that tell how functions are unwound, and what the index of one says of where it is.
fn mark_unwind(
    headers: &[ProgramHeader],
    segments: &[Segment],
    read: &mut Read<'_>,
    marks: &mut Vec<Mark>,
) -> Result<(), PatchError> {
    let find = |kind: u64| headers.iter().find(|header| header.kind == kind);
    let mut mark = |address: u64, size: Option<u64>, content: Content, alignment: u64, name: &'static str| {
        marks.push(Mark { address, size, content, alignment, name });
    };
    if let Some(header) = find(ProgramHeader::ARM_UNWIND_INDEX) {
        mark(header.address, Some(header.in_file), Content::ArmUnwindIndex, 4, ".ARM.exidx");
    }
    let Some(header) = find(ProgramHeader::UNWIND_INDEX) else { return Ok(()) };
    mark(header.address, Some(header.in_file), Content::UnwindIndex, 4, ".eh_frame_hdr");
    let offset = segments.iter().find_map(|segment| {
        let inside = header.address.checked_sub(segment.place.address)?;
        (inside.checked_add(8)? <= segment.place.size).then_some(segment.place.offset + inside)
    });
    let Some(offset) = offset else { return Ok(()) };
    let mut bytes = [0; 8];
    read(offset, &mut bytes)?;
    // The table of entries is told by its distance, in four bytes.
    if bytes[..2] == [1, 0x1b] {
        let distance = number(&bytes, 4, 4) as u32;
        let address = header.address.wrapping_add(4).wrapping_add_signed(i64::from(distance.cast_signed()));
        mark(address, None, Content::Unwind, 8, ".eh_frame");
    }
    Ok(())
}

/// The sections so far, and their names.
#[derive(Default)]
struct Sections {
    sections: Vec<Section>,
    names: Vec<Vec<u8>>,
}

impl Sections {
    fn push(&mut self, place: Place, content: Content, alignment: u64, name: Vec<u8>) {
        self.sections.push(Section { place, content, alignment, link: 0 });
        self.names.push(name);
    }

    /// Cuts a segment at the marks in it; its first bytes may be those of the file's header.
    fn cut(&mut self, segment: &Segment, header_end: u64, marks: &[Mark]) {
        let skip = header_end.saturating_sub(segment.place.offset).min(segment.place.size);
        let (begin, end) = (segment.place.address + skip, segment.place.end());
        let shift = segment.place.offset.wrapping_sub(segment.place.address);
        let place =
            |from: u64, to: u64| Place { address: from, offset: from.wrapping_add(shift), size: to - from };
        let marks: Vec<&Mark> = marks.iter().filter(|mark| (begin..end).contains(&mark.address)).collect();
        let has_tables = marks.iter().any(|mark| mark.content == Content::Strings);
        let between = match segment {
            Segment { is_code: true, .. } if !has_tables => Content::Code,
            Segment { is_code: false, is_written: true, .. } => Content::Pointers,
            _ => Content::ReadOnly,
        };
        let (mut at, mut before) = (begin, "");
        for (index, mark) in marks.iter().enumerate() {
            if mark.address - at >= SHORTEST || at == begin && mark.address > at {
                self.gap(place(at, mark.address), between, before);
            }
            let next = marks.get(index + 1).map_or(end, |next| next.address);
            let to =
                mark.size.and_then(|size| mark.address.checked_add(size)).map_or(next, |to| to.min(next));
            self.push(place(mark.address, to), mark.content, mark.alignment, mark.name.into());
            (at, before) = (to, mark.name);
        }
        if at < end {
            self.gap(place(at, end), between, before);
        }
        if segment.unset > 0 {
            let unset = Place { size: segment.unset, ..place(end, end) };
            self.push(unset, Content::Unset, 1, b".bss".into());
        }
    }

    /// What lies between marks is as aligned as it looks, and known again by what it follows.
    fn gap(&mut self, place: Place, content: Content, before: &str) {
        const ALIGNMENT: u64 = 64;
        let alignment = 1 << place.address.trailing_zeros().min(ALIGNMENT.ilog2());
        self.push(place, content, alignment, format!("after {before}").into());
    }

    /// Relocations have their symbols, and those their names, in the only table there is.
    fn link(&mut self) {
        let find = |content: Content| self.sections.iter().position(|section| section.content == content);
        let (symbols, strings) = (find(Content::Symbols), find(Content::Strings));
        for section in &mut self.sections {
            section.link = match section.content {
                Content::Symbols => strings.unwrap_or(0),
                Content::Relocations | Content::RelocationsWithAddend => symbols.unwrap_or(0),
                _ => 0,
            };
        }
    }
}
