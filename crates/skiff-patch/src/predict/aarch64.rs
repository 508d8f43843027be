//! References in AArch64 code: branches, and addresses put together from a page and what is within it.
//!
//! The encodings are those of the *Arm Architecture Reference Manual* for A-profile, chapter C4.

use super::Map;
use super::elf::number;
use super::reference::{Base, Form, Kind, Reference, Word};

/// How many instructions after ADRP are searched for the one that names what is within the page.
const AHEAD: usize = 16;

/// Goes from instruction to instruction.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Where the last sweep ended in the file.
    end: u64,
    /// For each register, the page it holds, and the position of the instruction that put it there.
    pages: [Option<(u64, u64)>; 32],
}

impl Sweep {
    /// Appends the references in `bytes`; `at` is their position in the old file and their address.
    pub(super) fn find(&mut self, map: &Map, at: (u64, u64), bytes: &[u8], found: &mut Vec<Reference>) {
        let (position, address) = at;
        if self.end != position {
            self.pages = [None; 32];
        }
        self.end = position + bytes.len() as u64;
        let skip = address.wrapping_neg() as usize % 4;
        for at in (skip..bytes.len().saturating_sub(3)).step_by(4) {
            let word = number(bytes, at, 4) as u32;
            let mut reference = Reference {
                position: position + at as u64,
                length: 4,
                kind: Kind::Low,
                form: Form::Absolute,
                base: Base::None,
                old: u64::from(word),
                address: address.wrapping_add(at as u64),
                target: 0,
            };
            if let Some((kind, form)) = relative(word) {
                (reference.kind, reference.form) = (kind, Form::Word(form));
                let target = reference.target_of(reference.old, reference.address, 0);
                reference.target = target.unwrap_or_default();
                if form == Word::Page {
                    self.pages[register(word, 0)] = Some((reference.target, reference.position));
                    reference.target |= u64::from(ahead(bytes, at, word));
                } else {
                    self.forget(word);
                }
            } else if let Some(scale) = within_page(word)
                && let from = register(word, 5)
                && let Some((page, position)) = self.pages[from]
            {
                reference.form = Form::Word(Word::Low(scale));
                reference.base = Base::Page { register: from as u8, position };
                reference.target = reference.target_of(reference.old, 0, page).unwrap_or_default();
                self.forget(word);
            } else {
                self.forget(word);
                continue;
            }
            if map.is_old(reference.target) {
                found.push(reference);
            }
        }
    }

    /// Forgets the page in the register that an instruction writes, if it writes one.
    fn forget(&mut self, word: u32) {
        if let Some(register) = written(word) {
            self.pages[register] = None;
        }
    }
}

/// The number of the register in the five bits from this one on.
const fn register(word: u32, from: u32) -> usize {
    (word >> from & 31) as usize
}

/// What an instruction that names a place by its distance is.
fn relative(word: u32) -> Option<(Kind, Word)> {
    Some(match word {
        _ if word & 0xfc00_0000 == 0x1400_0000 => (Kind::Jump, Word::Branch(26, 0)),
        _ if word & 0xfc00_0000 == 0x9400_0000 => (Kind::Call, Word::Branch(26, 0)),
        _ if word & 0xff00_0000 == 0x5400_0000 => (Kind::Branch, Word::Branch(19, 5)),
        _ if word & 0x7e00_0000 == 0x3400_0000 => (Kind::Branch, Word::Branch(19, 5)),
        _ if word & 0x7e00_0000 == 0x3600_0000 => (Kind::Short, Word::Branch(14, 5)),
        _ if word & 0x3b00_0000 == 0x1800_0000 => (Kind::Memory, Word::Branch(19, 5)),
        _ if word & 0x9f00_0000 == 0x1000_0000 => (Kind::Memory, Word::Near),
        _ if word & 0x9f00_0000 == 0x9000_0000 => (Kind::Page, Word::Page),
        _ => return None,
    })
}

/// The scale of an instruction that adds an offset within a page to a register.
fn within_page(word: u32) -> Option<u8> {
    if word & 0xffc0_0000 == 0x9100_0000 {
        return Some(0);
    }
    if word & 0x3b00_0000 != 0x3900_0000 {
        return None;
    }
    let (size, is_vector, is_long) = (word >> 30, word & 1 << 26 != 0, word & 1 << 23 != 0);
    Some(if is_vector && is_long { 4 } else { size as u8 })
}

/// The register that an instruction writes, as far as that matters here.
fn written(word: u32) -> Option<usize> {
    let is_load = word & 0x0a00_0000 == 0x0800_0000;
    let is_arithmetic = word & 0x1c00_0000 == 0x1000_0000 || word & 0x0e00_0000 == 0x0a00_0000;
    let reads = word & 1 << 22 != 0 || word & 0x3b00_0000 == 0x3900_0000 && word & 0x00c0_0000 != 0;
    let is_vector = word & 1 << 26 != 0;
    (is_arithmetic || is_load && reads && !is_vector).then(|| register(word, 0))
}

/// What the instruction that uses the page of the ADRP at `at` adds to it; nothing if none is near.
fn ahead(bytes: &[u8], at: usize, adrp: u32) -> u16 {
    let page = register(adrp, 0);
    let words = bytes[at..].chunks_exact(4).skip(1).take(AHEAD).map(|word| number(word, 0, 4) as u32);
    for word in words {
        if let Some(scale) = within_page(word)
            && register(word, 5) == page
        {
            return ((word >> 10 & 0xfff) << scale) as u16 & 0xfff;
        }
        if written(word) == Some(page) {
            return 0;
        }
    }
    0
}
