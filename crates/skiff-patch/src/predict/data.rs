//! References in data and in the tables of executables.

use super::Map;
use super::elf::number;
use super::layout::{Content, Layout};
use super::reference::{Base, Form, Kind, Reference, Word};

/// Appends the references in `bytes`, which are at `position` of the old file, in the section of this number.
pub(super) fn find(
    layout: &Layout,
    map: &Map,
    section: usize,
    position: u64,
    bytes: &[u8],
    found: &mut Vec<Reference>,
) {
    let place = layout.old[section].place;
    let start = position - place.offset;
    let finder =
        Finder { layout, map, section, position, address: place.address.wrapping_add(start), start, bytes };
    match layout.old[section].content {
        Content::Pointers | Content::Table => finder.pointers(found),
        Content::RelocationsWithAddend => finder.relocations(true, found),
        Content::Relocations => finder.relocations(false, found),
        Content::PackedRelocations => finder.packed_relocations(found),
        Content::Symbols => finder.symbols(found),
        Content::Unwind => finder.unwind(found),
        Content::UnwindIndex => finder.unwind_index(found),
        Content::ReadOnly => finder.tables(found),
        Content::Dynamic => finder.dynamic(found),
        Content::SectionHeaders => finder.section_headers(found),
        Content::Header => finder.header(found),
        Content::ArmUnwindIndex => finder.arm_unwind_index(found),
        Content::Code | Content::Unset | Content::Strings | Content::Other => {}
    }
}

struct Finder<'a> {
    layout: &'a Layout,
    map: &'a Map,
    section: usize,
    /// Of the bytes, in the old file.
    position: u64,
    address: u64,
    /// Of the bytes, within the section.
    start: u64,
    bytes: &'a [u8],
}

impl Finder<'_> {
    /// The field of `length` bytes at `at`, if it lies within the bytes and `form` makes of it an address that is something's.
    fn field(&self, at: usize, length: usize, kind: Kind, form: Form) -> Option<Reference> {
        self.field_from(at, length, kind, form, Base::None).filter(|found| self.map.is_old(found.target))
    }

    fn field_from(&self, at: usize, length: usize, kind: Kind, form: Form, base: Base) -> Option<Reference> {
        let old = self.number(at, length)?;
        let mut reference = Reference {
            position: self.position + at as u64,
            length: length as u8,
            kind,
            form,
            base,
            old,
            address: self.address.wrapping_add(at as u64),
            target: 0,
        };
        let from = match base {
            Base::Section(index) => self.layout.old.get(index)?.place.address,
            Base::Near(address) | Base::Begin(address) => address,
            Base::None | Base::Told(_) | Base::Page { .. } | Base::Half { .. } => 0,
        };
        reference.target = match base {
            Base::Told(_) => 0,
            _ => reference.target_of(old, reference.address, from)?,
        };
        Some(reference)
    }

    fn told(&self, at: usize, length: usize, value: u64) -> Option<Reference> {
        self.field_from(at, length, Kind::Header, Form::Absolute, Base::Told(value))
    }

    fn number(&self, at: usize, length: usize) -> Option<u64> {
        (at + length <= self.bytes.len()).then(|| number(self.bytes, at, length))
    }

    /// Where entries of `size` bytes begin, counted from the section's start: offsets into the bytes, of whole ones only.
    fn entries(&self, size: usize, first: u64) -> impl Iterator<Item = usize> + use<> {
        let size = size as u64;
        let skip = if self.start <= first {
            first - self.start
        } else {
            (size - (self.start - first) % size) % size
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.bytes.len());
        (skip..self.bytes.len()).step_by(size as usize)
    }

    const fn word(&self) -> usize {
        if self.layout.is_wide { 8 } else { 4 }
    }

    /// Aligned words that hold addresses.
    fn pointers(&self, found: &mut Vec<Reference>) {
        let word = self.word();
        let skip = self.address.wrapping_neg() as usize % word;
        for at in (skip..self.bytes.len()).step_by(word) {
            found.extend(self.field(at, word, Kind::Pointer, Form::Absolute));
        }
    }

    fn relocations(&self, has_addend: bool, found: &mut Vec<Reference>) {
        let word = self.word();
        let symbols = self.layout.old[self.section].link;
        for at in self.entries(if has_addend { 3 * word } else { 2 * word }, 0) {
            found.extend(self.field(at, word, Kind::RelocationPlace, Form::Absolute));
            found.extend(self.relocation_symbol(at + word, symbols));
            if has_addend {
                found.extend(self.field(at + 2 * word, word, Kind::Addend, Form::Absolute));
            }
        }
    }

    /// Even entries are places, odd ones are bits.
    fn packed_relocations(&self, found: &mut Vec<Reference>) {
        let word = self.word();
        for at in self.entries(word, 0).filter(|&at| self.bytes[at] & 1 == 0) {
            found.extend(self.field(at, word, Kind::RelocationPlace, Form::Absolute));
        }
    }

    /// The number of a symbol: names the symbol's place in its table.
    fn relocation_symbol(&self, at: usize, symbols: usize) -> Option<Reference> {
        let (at, length, unit) = if self.layout.is_wide { (at + 4, 4, 24) } else { (at + 1, 3, 16) };
        if self.layout.old.get(symbols)?.content != Content::Symbols || self.number(at, length)? == 0 {
            return None;
        }
        let base = Base::Section(symbols);
        let found = self.field_from(at, length, Kind::RelocationSymbol, Form::Based(unit), base)?;
        self.map.is_old(found.target).then_some(found)
    }

    fn symbols(&self, found: &mut Vec<Reference>) {
        const THREAD_LOCAL: u64 = 6;
        let is_wide = self.layout.is_wide;
        let (size, value, length) = if is_wide { (24, 8, 16) } else { (16, 4, 8) };
        let names = self.layout.old[self.section].link;
        let has_names = self.layout.old.get(names).is_some_and(|names| names.content == Content::Strings);
        for at in self.entries(size, 0) {
            if has_names && self.number(at, 4).is_some_and(|name| name != 0) {
                let base = Base::Section(names);
                let name = self.field_from(at, 4, Kind::SymbolName, Form::Based(1), base);
                found.extend(name.filter(|name| self.map.is_old(name.target)));
            }
            let kind = self.number(at + if is_wide { 4 } else { 12 }, 1).unwrap_or(0) & 15;
            let word = self.word();
            if kind == THREAD_LOCAL {
                continue;
            }
            let Some(begin) = self.field(at + value, word, Kind::SymbolValue, Form::Absolute) else {
                continue;
            };
            found.push(begin);
            found.extend(self.extent(at + length, word, Kind::SymbolSize, begin.target));
        }
    }

    /// The length of what begins at `begin`.
    fn extent(&self, at: usize, length: usize, kind: Kind, begin: u64) -> Option<Reference> {
        let found = self.field_from(at, length, kind, Form::Based(1), Base::Begin(begin))?;
        let is_sound = found.old > 0 && found.old < 1 << 31 && self.map.is_old(found.target.wrapping_sub(1));
        is_sound.then_some(found)
    }

    /// Entries of `.eh_frame`, as the *Linux Standard Base* (Core, section 10.6) defines it.
    fn unwind(&self, found: &mut Vec<Reference>) {
        let mut at = self.address.wrapping_neg() as usize % 4;
        while at + 16 <= self.bytes.len() {
            let Some(length) = self.unwind_entry(at, found) else {
                at += 4;
                continue;
            };
            at = at.saturating_add(4).saturating_add(length).max(at + 4);
        }
    }

    /// Appends the references of the entry that begins at `at`, if one does, and tells its length.
    fn unwind_entry(&self, at: usize, found: &mut Vec<Reference>) -> Option<usize> {
        let length = usize::try_from(self.number(at, 4)?).ok()?;
        let parent = self.number(at + 4, 4)?;
        if !(12..1 << 16).contains(&length) || !length.is_multiple_of(4) {
            return None;
        }
        if parent == 0 {
            return Some(length);
        }
        let parent = self.field(at + 4, 4, Kind::UnwindParent, Form::Behind)?;
        let place = self.layout.old[self.section].place;
        let is_here = (place.address..self.address.wrapping_add(at as u64)).contains(&parent.target);
        let begin = self.field(at + 8, 4, Kind::UnwindBegin, Form::Relative(0))?;
        let is_code = |address| {
            self.map.section(address).is_some_and(|index| self.layout.old[index].content == Content::Code)
        };
        if !is_here || !is_code(begin.target) {
            return None;
        }
        let size = self.extent(at + 12, 4, Kind::UnwindSize, begin.target)?;
        found.extend([parent, begin, size]);
        if self.number(at + 16, 1) == Some(4) && length >= 17 {
            found.extend(self.field(at + 17, 4, Kind::Exceptions, Form::Relative(0)));
        }
        Some(length)
    }

    /// `.eh_frame_hdr`, as the *Linux Standard Base* (Core, section 10.6.2) defines it.
    fn unwind_index(&self, found: &mut Vec<Reference>) {
        if self.start <= 4 {
            let at = 4 - self.start as usize;
            found.extend(self.field(at, 4, Kind::Header, Form::Relative(0)));
        }
        let base = Base::Section(self.section);
        for at in self.entries(4, 12) {
            let is_entry = !(self.start + at as u64 - 12).is_multiple_of(8);
            let kind = if is_entry { Kind::IndexEntry } else { Kind::IndexBegin };
            let field = self.field_from(at, 4, kind, Form::Based(1), base);
            found.extend(field.filter(|field| self.map.is_old(field.target)));
        }
    }

    /// Pairs of a function and how to unwind it, as the *Exception Handling ABI for the Arm Architecture* (section 6)
    /// defines them.
    fn arm_unwind_index(&self, found: &mut Vec<Reference>) {
        let form = Form::Word(Word::Prel31);
        for at in self.entries(8, 0) {
            found.extend(self.field(at, 4, Kind::IndexBegin, form));
            if self.number(at + 4, 4).is_some_and(|entry| entry != 1 && entry >> 31 == 0) {
                found.extend(self.field(at + 4, 4, Kind::IndexEntry, form));
            }
        }
    }

    /// Tables of differences from their own beginning to code, as compilers make them of switches.
    fn tables(&self, found: &mut Vec<Reference>) {
        const SHORTEST: usize = 4;
        let mut at = self.address.wrapping_neg() as usize % 4;
        let is_code = |address| {
            self.map.section(address).is_some_and(|index| self.layout.old[index].content == Content::Code)
        };
        let target = |base: usize, at: usize| {
            let value = self.number(at, 4)? as u32;
            let base = self.address.wrapping_add(base as u64);
            Some(base.wrapping_add_signed(i64::from(value.cast_signed())))
        };
        while at + 4 * SHORTEST <= self.bytes.len() {
            let run =
                |from: usize| (from..).step_by(4).take_while(|entry| target(at, *entry).is_some_and(is_code));
            if run(at).take(SHORTEST).count() < SHORTEST {
                at += 4;
                continue;
            }
            let base = Base::Near(self.address.wrapping_add(at as u64));
            let mut end = at;
            for entry in run(at) {
                found.extend(self.field_from(entry, 4, Kind::TableEntry, Form::Based(1), base));
                end = entry + 4;
            }
            at = end;
        }
    }

    /// Entries of `.dynamic`, some of which hold addresses, and lengths of tables.
    fn dynamic(&self, found: &mut Vec<Reference>) {
        let word = self.word();
        let size_of = |tag: u64| match tag {
            2 => Some(23),
            8 => Some(7),
            10 => Some(5),
            18 => Some(17),
            27 => Some(25),
            28 => Some(26),
            35 => Some(36),
            _ => None,
        };
        for at in self.entries(2 * word, 0) {
            let Some(tag) = self.number(at, word) else { return };
            if let (Some(_), Some(size)) = (size_of(tag), self.number(at + word, word)) {
                let same = self.layout.old.iter().zip(&self.layout.new);
                let mut same = same.filter(|(old, _)| old.place.size == size && !old.is_detached());
                if let Some((_, Some(new))) = same.next() {
                    found.extend(self.told(at + word, word, new.size));
                }
                continue;
            }
            found.extend(self.field(at + word, word, Kind::Pointer, Form::Absolute));
        }
    }

    fn section_headers(&self, found: &mut Vec<Reference>) {
        let word = self.word();
        let size = if self.layout.is_wide { 64 } else { 40 };
        for at in self.entries(size, 0) {
            let index = (self.start as usize + at) / size + 1;
            let (Some(old), Some(Some(new))) = (self.layout.old.get(index), self.layout.new.get(index))
            else {
                continue;
            };
            if old.place.size == 0 {
                continue;
            }
            if !old.is_detached() {
                found.extend(self.told(at + 8 + word, word, new.address));
            }
            found.extend(self.told(at + 8 + 2 * word, word, new.offset));
            found.extend(self.told(at + 8 + 3 * word, word, new.size));
        }
    }

    /// The file's own header and the program headers.
    fn header(&self, found: &mut Vec<Reference>) {
        if self.start != 0 {
            return;
        }
        let word = self.word();
        let entry = 24;
        found.extend(self.field(entry, word, Kind::Pointer, Form::Absolute));
        if let (Some(old), Some(Some(new))) = (self.layout.old.last(), self.layout.new.last())
            && old.content == Content::SectionHeaders
        {
            found.extend(self.told(entry + 2 * word, word, new.offset));
        }
        let (first, size) = if self.layout.is_wide { (64, 56) } else { (52, 32) };
        for at in self.entries(size, first) {
            self.program_header(at, found);
        }
    }

    fn program_header(&self, at: usize, found: &mut Vec<Reference>) {
        let word = self.word();
        // Offset, address, physical address, length in the file and in memory.
        let fields = if self.layout.is_wide { [8, 16, 24, 32, 40] } else { [4, 8, 12, 16, 20] };
        let Some([offset, address, _, in_file, in_memory]) =
            number_all(self, fields.map(|field| at + field), word)
        else {
            return;
        };
        let sections = || {
            let pairs = self.layout.old.iter().zip(&self.layout.new);
            pairs.filter(|(old, _)| !old.is_detached() && old.place.size > 0)
        };
        let first = sections().find(|(old, _)| old.place.address == address && old.place.offset == offset);
        let Some((_, Some(first))) = first else { return };
        let end = |length: u64, is_file: bool| {
            let end = address.wrapping_add(length);
            let mut last = sections().filter(|(old, _)| !is_file || old.content != Content::Unset);
            last.find(|(old, _)| old.place.end() == end).and_then(|(_, new)| *new)
        };
        let values = [
            Some(first.offset),
            Some(first.address),
            Some(first.address),
            end(in_file, true).map(|last| last.end().wrapping_sub(first.address)),
            end(in_memory, false).map(|last| last.end().wrapping_sub(first.address)),
        ];
        for (field, value) in fields.into_iter().zip(values) {
            found.extend(value.and_then(|value| self.told(at + field, word, value)));
        }
    }
}

fn number_all(finder: &Finder<'_>, at: [usize; 5], length: usize) -> Option<[u64; 5]> {
    let mut values = [0; 5];
    for (value, at) in values.iter_mut().zip(at) {
        *value = finder.number(at, length)?;
    }
    Some(values)
}
