//! Where the sections of the two executables lie, and how the new ones are told in terms of the old.

use skiff_wire::{Input, unzigzag};
#[cfg(feature = "encode")]
use skiff_wire::{put_varint, zigzag};

use super::elf::{self, Machine};
use super::reference::Kinds;
use crate::PatchError;

/// Files from this length on are not predicted: places in them take 31 bits, so that a table entry takes twelve bytes.
pub(super) const FILE_LIMIT: u64 = 1 << 31;
/// What the sections of two files take at most, with the tables that are made of them.
pub(super) const MEMORY: u64 = 512 * 512;
/// Added to the file offset of what has no address, to make it one that nothing else has.
pub(super) const DETACHED: u64 = 1 << 62;

/// What a section holds, which decides how its references are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Code,
    /// Data that is written to, and what the loader relocates.
    Pointers,
    /// The table of addresses that code finds places by.
    Table,
    ReadOnly,
    /// Memory without bytes in the file.
    Unset,
    Relocations,
    RelocationsWithAddend,
    /// Places of words that the load address is added to, each followed by bits for the words after it.
    PackedRelocations,
    Symbols,
    Strings,
    Dynamic,
    Unwind,
    UnwindIndex,
    /// ARM's table of functions and how to unwind them.
    ArmUnwindIndex,
    /// The file's own header and the program headers.
    Header,
    /// The section headers.
    SectionHeaders,
    Other,
}

/// A stretch of addresses or of the file, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Place {
    pub(super) const fn end(&self) -> u64 {
        self.address.wrapping_add(self.size)
    }
}

/// A section of the old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) place: Place,
    pub(super) content: Content,
    /// A power of two.
    pub(super) alignment: u64,
    /// The section that a table of symbols takes its names from, and one of relocations its symbols.
    pub(super) link: usize,
}

impl Section {
    pub(super) const fn is_detached(&self) -> bool {
        self.place.address & DETACHED != 0
    }

    /// How much of the file it takes.
    pub(super) const fn file_size(&self) -> u64 {
        if matches!(self.content, Content::Unset) { 0 } else { self.place.size }
    }
}

/// The sections of the old executable, and where each is in the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(super) machine: Machine,
    pub(super) is_wide: bool,
    /// Whether addresses in the file are those in memory.
    pub(super) is_fixed: bool,
    /// In the order of the section headers, the file's own header before and the section headers themselves after them.
    pub(super) old: Vec<Section>,
    /// For each, where it went.
    pub(super) new: Vec<Option<Place>>,
    /// Of references of these kinds nothing is said. That is not told: a decoder predicts all.
    pub(super) silent: Kinds,
}

impl Layout {
    /// The layout of two executables of one kind, or none if they are not, or if nothing is known of their machine.
    #[cfg(feature = "encode")]
    pub(crate) fn of(old: &[u8], new: &[u8]) -> Option<Self> {
        let read = |bytes: &'_ [u8], offset: u64, into: &mut [u8]| {
            let from = usize::try_from(offset).ok().and_then(|from| bytes.get(from..)?.get(..into.len()));
            let from = from.ok_or_else(|| PatchError::corrupt(0, "the executable ends too early"))?;
            into.copy_from_slice(from);
            Ok(())
        };
        let of = |bytes: &[u8]| {
            elf::parse(bytes.len() as u64, &mut |offset, into| read(bytes, offset, into)).ok().flatten()
        };
        let (old, new) = (of(old)?, of(new)?);
        if (old.machine, old.is_wide, old.is_fixed) != (new.machine, new.is_wide, new.is_fixed) {
            return None;
        }
        let places = elf::pair(&old, &new);
        Some(Self {
            machine: old.machine,
            is_wide: old.is_wide,
            is_fixed: old.is_fixed,
            old: old.sections,
            new: places,
            silent: Kinds::NONE,
        })
    }

    /// With nothing said of references of some kinds: to see what that costs. No decoder knows of it.
    #[cfg(feature = "encode")]
    pub(crate) fn silent_on(self, silent: Kinds) -> Self {
        Self { silent, ..self }
    }

    /// The section that has most of the old file's code.
    #[cfg(feature = "encode")]
    pub(super) fn body(&self) -> Option<usize> {
        let code = self.old.iter().enumerate().filter(|(_, section)| section.content == Content::Code);
        code.max_by_key(|(_, section)| section.place.size).map(|(index, _)| index)
    }

    /// Appends what [`read`](Self::read) needs beside the old file.
    #[cfg(feature = "encode")]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut expected = Expected::default();
        let mut as_expected = 0;
        for (old, new) in self.old.iter().zip(&self.new) {
            let guess = expected.place(old);
            if *new == Some(guess) {
                as_expected += 1;
            } else {
                put_varint(out, as_expected);
                as_expected = 0;
                write_place(out, guess, *new, old.is_detached());
            }
            expected.advance(old, *new);
        }
        put_varint(out, as_expected);
    }

    /// Reads a layout; `read_old` reads bytes of the old file, `old_length` bytes long.
    ///
    /// # Errors
    /// Where the old file is no executable of a known kind, or the bytes do not describe a layout.
    pub(crate) fn read(
        input: &mut Input<&[u8]>,
        old_length: u64,
        read_old: &mut elf::Read<'_>,
    ) -> Result<Self, PatchError> {
        let offset = input.offset();
        let old = elf::parse(old_length, read_old)?
            .ok_or_else(|| PatchError::corrupt(offset, "the source is no executable"))?;
        let mut expected = Expected::default();
        let mut new = Vec::with_capacity(old.sections.len());
        let mut as_expected = read_run(input, old.sections.len())?;
        for (index, section) in old.sections.iter().enumerate() {
            let guess = expected.place(section);
            let place = if as_expected > 0 {
                as_expected -= 1;
                Some(guess)
            } else {
                let place = read_place(input, guess, section.is_detached())?;
                as_expected = read_run(input, old.sections.len() - index - 1)?;
                place
            };
            expected.advance(section, place);
            new.push(place);
        }
        Ok(Self {
            machine: old.machine,
            is_wide: old.is_wide,
            is_fixed: old.is_fixed,
            old: old.sections,
            new,
            silent: Kinds::NONE,
        })
    }
}

/// Bits of what is told of a section that is not where it was expected.
const ADDRESS: u64 = 1;
const OFFSET: u64 = 2;
const SIZE: u64 = 4;

#[cfg(feature = "encode")]
fn write_place(out: &mut Vec<u8>, guess: Place, new: Option<Place>, is_detached: bool) {
    let Some(new) = new else { return put_varint(out, 0) };
    let address = if is_detached { 0 } else { new.address.wrapping_sub(guess.address) };
    let offset = new.offset.wrapping_sub(guess.offset);
    let size = new.size.wrapping_sub(guess.size);
    let bits = [(ADDRESS, address), (OFFSET, offset), (SIZE, size)];
    put_varint(out, bits.iter().filter(|(_, value)| *value != 0).map(|(bit, _)| bit).sum());
    for (_, value) in bits.into_iter().filter(|(_, value)| *value != 0) {
        put_varint(out, zigzag(value.cast_signed()));
    }
}

fn read_place(
    input: &mut Input<&[u8]>,
    guess: Place,
    is_detached: bool,
) -> Result<Option<Place>, PatchError> {
    let at = input.offset();
    let bits = input.varint()?;
    if bits > (ADDRESS | OFFSET | SIZE) || is_detached && bits & ADDRESS != 0 {
        return Err(PatchError::corrupt(at, "a section has unknown fields"));
    }
    if bits == 0 {
        return Ok(None);
    }
    let mut field = |bit: u64, guess: u64| {
        if bits & bit == 0 {
            return Ok(guess);
        }
        let at = input.offset();
        let difference = unzigzag(input.varint()?);
        if difference == 0 {
            return Err(PatchError::corrupt(at, "a field of a section that is as expected is told"));
        }
        Ok(guess.wrapping_add_signed(difference))
    };
    let address = field(ADDRESS, guess.address)?;
    let offset = field(OFFSET, guess.offset)?;
    let size = field(SIZE, guess.size)?;
    let address = if is_detached { DETACHED.wrapping_add(offset) } else { address };
    let place = Place { address, offset, size };
    if !is_sound(&place, is_detached) {
        return Err(PatchError::corrupt(at, "a section lies outside what can be addressed"));
    }
    Ok(Some(place))
}

/// Whether nothing that is computed of a place overflows.
pub(super) fn is_sound(place: &Place, is_detached: bool) -> bool {
    place.offset < FILE_LIMIT
        && place.size < FILE_LIMIT
        && (is_detached || place.address.checked_add(place.size).is_some_and(|end| end < DETACHED))
}

fn read_run(input: &mut Input<&[u8]>, most: usize) -> Result<usize, PatchError> {
    let at = input.offset();
    let count = usize::try_from(input.varint()?).ok().filter(|count| *count <= most);
    count.ok_or_else(|| PatchError::corrupt(at, "more sections than the old file has"))
}

/// Where a section of the new file is expected, from those before it.
#[derive(Default)]
struct Expected {
    /// The last section with an address: old and new.
    last: Option<(Place, Place)>,
    /// Where the bytes of the last one end in the file: old and new.
    end: (u64, u64),
}

/// Segments begin on pages.
const PAGE: u64 = 4096;

impl Expected {
    fn place(&self, old: &Section) -> Place {
        let Place { address, offset, size } = old.place;
        if old.is_detached() {
            let offset = align(self.end.1.wrapping_add(offset.wrapping_sub(self.end.0)), old.alignment);
            let offset = if offset < FILE_LIMIT { offset } else { 0 };
            return Place { address: DETACHED.wrapping_add(offset), offset, size };
        }
        let Some((last_old, last_new)) = self.last else { return old.place };
        let gap = address.wrapping_sub(last_old.end());
        let expected = if gap < old.alignment {
            align(last_new.end(), old.alignment)
        } else if address == align(last_old.end(), PAGE) {
            align(last_new.end(), PAGE)
        } else {
            align(last_new.end().wrapping_add(gap), old.alignment)
        };
        let shift = last_new.offset.wrapping_sub(last_new.address);
        let same = last_old.offset.wrapping_sub(last_old.address) == offset.wrapping_sub(address);
        let offset = if same {
            expected.wrapping_add(shift)
        } else {
            offset.wrapping_add(expected.wrapping_sub(address))
        };
        let place = Place { address: expected, offset, size };
        if is_sound(&place, false) { place } else { old.place }
    }

    fn advance(&mut self, old: &Section, new: Option<Place>) {
        let Some(new) = new else { return };
        if !old.is_detached() {
            self.last = Some((old.place, new));
        }
        let file_size = if old.content == Content::Unset { 0 } else { new.size };
        self.end = (old.place.offset.wrapping_add(old.file_size()), new.offset.wrapping_add(file_size));
    }
}

/// The first multiple of `alignment`, a power of two, from `value` on.
const fn align(value: u64, alignment: u64) -> u64 {
    let mask = alignment.wrapping_sub(1);
    value.wrapping_add(mask) & !mask
}
