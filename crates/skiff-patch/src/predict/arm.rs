//! References in the code of 32-bit ARM: branches of both instruction sets, addresses put together from two halves, and
//! words that the code loads from beside itself.
//!
//! The encodings are those of the *Arm Architecture Reference Manual* for ARMv7-A, chapters A5 and A6.

use super::Map;
use super::elf::number;
use super::reference::{Base, Form, Kind, Reference, Word};

/// How many bytes are taken to be of one instruction set.
const WINDOW: usize = 256;
/// How many loaded words are remembered until they are reached: as many as there are in 1 KiB, as far as Thumb's short load
/// reaches.
const LITERALS: usize = 256;
/// How many bytes after the one half of an address the other is looked for.
const AHEAD: usize = 32;

/// What the sweep knows of where it is.
pub(super) struct Context<'a> {
    pub(super) map: &'a Map,
    /// The table of addresses that code names places by, if there is one.
    pub(super) table: Option<usize>,
    /// Of the first byte, in the old file.
    pub(super) position: u64,
    pub(super) address: u64,
}

/// A word that an instruction loads from beside the code.
#[derive(Debug, Clone, Copy, Default)]
struct Literal {
    address: u64,
    register: u8,
    /// What the code adds to it: the address of an instruction.
    anchor: Option<u64>,
}

/// Goes from instruction to instruction.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Where the last sweep ended in the file.
    end: u64,
    /// The words loaded, by their addresses.
    literals: [Literal; LITERALS],
    /// Which of them were loaded last.
    recent: [usize; 16],
    /// For each register, its lower half and the position of the instruction that put it there.
    halves: [Option<(u64, u64)>; 16],
}

impl Default for Sweep {
    fn default() -> Self {
        Self { end: 0, literals: [Literal::default(); LITERALS], recent: [0; 16], halves: [None; 16] }
    }
}

impl Sweep {
    /// Appends the references in `bytes`.
    pub(super) fn find(&mut self, context: &Context<'_>, bytes: &[u8], found: &mut Vec<Reference>) {
        if self.end != context.position {
            *self = Self::default();
        }
        self.end = context.position + bytes.len() as u64;
        let mut at = context.address.wrapping_neg() as usize % 4;
        let (mut is_arm, mut window) = (false, 0);
        while at + 4 <= bytes.len() {
            if at >= window {
                is_arm = is_arm_code(&bytes[at..(at + WINDOW).min(bytes.len())]);
                window = at + WINDOW;
                if is_arm && !context.address.wrapping_add(at as u64).is_multiple_of(4) {
                    at += 2;
                }
            }
            let address = context.address.wrapping_add(at as u64);
            if address.is_multiple_of(4)
                && let Some(literal) = self.literal(address)
            {
                found.extend(literal_reference(context, bytes, at, literal));
                at += 4;
                continue;
            }
            at += if is_arm {
                self.arm(context, bytes, at, found);
                4
            } else {
                self.thumb(context, bytes, at, found)
            };
        }
    }

    /// The word at an address, if it was loaded.
    fn literal(&self, address: u64) -> Option<Literal> {
        let index = (address >> 2) as usize % LITERALS;
        Some(self.literals[index]).filter(|literal| literal.address == address)
    }

    fn load(&mut self, address: u64, register: u32) {
        let index = (address >> 2) as usize % LITERALS;
        let anchor = None;
        self.literals[index] = Literal { address, register: register as u8, anchor };
        self.recent.rotate_right(1);
        self.recent[0] = index;
    }

    /// Takes note that the code adds its own address to what a register was loaded with.
    fn anchor(&mut self, register: u32, anchor: u64) {
        let literals = &self.literals;
        let is_it = |index: &&usize| {
            let literal = literals[**index];
            u32::from(literal.register) == register && literal.anchor.is_none() && literal.address != 0
        };
        if let Some(index) = self.recent.iter().find(is_it) {
            self.literals[*index].anchor = Some(anchor);
        }
    }
}

/// Steps through each instruction set.
impl Sweep {
    fn arm(&mut self, context: &Context<'_>, bytes: &[u8], at: usize, found: &mut Vec<Reference>) {
        let word = number(bytes, at, 4) as u32;
        let address = context.address.wrapping_add(at as u64);
        let register = word >> 12 & 15;
        let is_conditional = word >> 28 != 15;
        if word & 0x0e00_0000 == 0x0a00_0000 && is_conditional {
            let kind = if word & 1 << 24 != 0 { Kind::Call } else { Kind::Jump };
            found.extend(relative(context, bytes, at, 4, kind, Word::ArmBranch));
        } else if word & 0x0f7f_0000 == 0x051f_0000 && is_conditional {
            let offset = u64::from(word & 0xfff);
            let base = address.wrapping_add(8);
            let is_after = word & 1 << 23 != 0;
            self.load(if is_after { base.wrapping_add(offset) } else { base.wrapping_sub(offset) }, register);
        } else if word & 0x0fff_0ff0 == 0x008f_0000 && is_conditional {
            self.anchor(word & 15, address.wrapping_add(8));
        } else if word & 0x0ff0_0000 == 0x0300_0000 && is_conditional {
            self.low(context, bytes, at, (register, Word::ArmLow), found);
        } else if word & 0x0ff0_0000 == 0x0340_0000 && is_conditional {
            self.high(context, bytes, at, (register, Word::ArmHigh), found);
        }
    }

    /// Tells how long the instruction is.
    fn thumb(&mut self, context: &Context<'_>, bytes: &[u8], at: usize, found: &mut Vec<Reference>) -> usize {
        let address = context.address.wrapping_add(at as u64);
        let next = address.wrapping_add(4);
        let first = number(bytes, at, 2) as u32;
        if first >> 11 < 0b11101 {
            match first >> 8 {
                0xd0..=0xdd => {
                    found.extend(relative(context, bytes, at, 2, Kind::Short, Word::ThumbShort(8)))
                }
                0xe0..=0xe7 => {
                    found.extend(relative(context, bytes, at, 2, Kind::Short, Word::ThumbShort(11)))
                }
                0x48..=0x4f => {
                    self.load((next & !3).wrapping_add(u64::from(first & 0xff) << 2), first >> 8 & 7);
                }
                0x44 if first & 0x78 == 0x78 => self.anchor(first & 7 | first >> 4 & 8, next),
                _ => {}
            }
            return 2;
        }
        let word = number(bytes, at, 4) as u32;
        let register = word >> 24 & 15;
        match (word & 0xf800, word & 0xfbf0, word >> 30, word >> 28 & 1, word >> 16) {
            (0xf000, _, 3, 1, _) => {
                found.extend(relative(context, bytes, at, 4, Kind::Call, Word::ThumbCall))
            }
            (0xf000, _, 3, 0, _) => {
                found.extend(relative(context, bytes, at, 4, Kind::Call, Word::ThumbCallArm))
            }
            (0xf000, _, 2, 1, _) => {
                found.extend(relative(context, bytes, at, 4, Kind::Jump, Word::ThumbCall))
            }
            (0xf000, _, 2, 0, _) if word >> 7 & 7 != 7 => {
                found.extend(relative(context, bytes, at, 4, Kind::Branch, Word::ThumbBranch));
            }
            (_, 0xf240, 0 | 1, ..) if word >> 31 == 0 => {
                self.low(context, bytes, at, (register, Word::ThumbLow), found);
            }
            (_, 0xf2c0, 0 | 1, ..) if word >> 31 == 0 => {
                self.high(context, bytes, at, (register, Word::ThumbHigh), found);
            }
            (.., second) if word & 0xff7f == 0xf85f => {
                let (base, offset) = (next & !3, u64::from(second & 0xfff));
                let is_after = word & 0x80 != 0;
                self.load(
                    if is_after { base.wrapping_add(offset) } else { base.wrapping_sub(offset) },
                    second >> 12,
                );
            }
            _ => {}
        }
        4
    }

    /// An instruction that sets the lower half of a register.
    fn low(
        &mut self,
        context: &Context<'_>,
        bytes: &[u8],
        at: usize,
        (register, word): (u32, Word),
        found: &mut Vec<Reference>,
    ) {
        let Some(mut reference) = field(context, bytes, at, 4, Kind::Page, Form::Word(word)) else { return };
        let low = word.bits(reference.old as u32) as u64;
        self.halves[register as usize & 15] = Some((low, reference.position));
        let other = if word == Word::ArmLow { Word::ArmHigh } else { Word::ThumbHigh };
        let ahead = &bytes[at + 4..bytes.len().min(at + AHEAD)];
        let high = (0..ahead.len().saturating_sub(3)).step_by(2).find_map(|at| {
            let (mask, is) = if word == Word::ArmLow {
                (0x0ff0_f000, 0x0340_0000 | register << 12)
            } else {
                (0x8f00_fbf0, 0xf2c0 | register << 24)
            };
            let ahead = number(ahead, at, 4) as u32;
            (ahead & mask == is).then(|| other.bits(ahead) as u64)
        });
        let Some(high) = high else { return };
        reference.target = high << 16 | low;
        reference.base = Base::Half { register: register as u8 };
        found.extend(Some(reference).filter(|found| context.map.is_old(found.target)));
    }

    /// An instruction that sets the upper half of a register.
    fn high(
        &mut self,
        context: &Context<'_>,
        bytes: &[u8],
        at: usize,
        (register, word): (u32, Word),
        found: &mut Vec<Reference>,
    ) {
        let Some((low, position)) = self.halves[register as usize & 15].take() else { return };
        let Some(mut reference) = field(context, bytes, at, 4, Kind::Low, Form::Word(word)) else { return };
        reference.base = Base::Page { register: register as u8, position };
        reference.target = (word.bits(reference.old as u32) as u64) << 16 | low;
        found.extend(Some(reference).filter(|found| context.map.is_old(found.target)));
    }
}

/// The bytes at `at`, as a reference to nothing yet.
fn field(
    context: &Context<'_>,
    bytes: &[u8],
    at: usize,
    length: usize,
    kind: Kind,
    form: Form,
) -> Option<Reference> {
    (at + length <= bytes.len()).then(|| Reference {
        position: context.position + at as u64,
        length: length as u8,
        kind,
        form,
        base: Base::None,
        old: number(bytes, at, length),
        address: context.address.wrapping_add(at as u64),
        target: 0,
    })
}

fn relative(
    context: &Context<'_>,
    bytes: &[u8],
    at: usize,
    length: usize,
    kind: Kind,
    word: Word,
) -> Option<Reference> {
    let mut reference = field(context, bytes, at, length, kind, Form::Word(word))?;
    reference.target = reference.target_of(reference.old, reference.address, 0)?;
    context.map.is_old(reference.target).then_some(reference)
}

/// What a word that code loads names.
fn literal_reference(context: &Context<'_>, bytes: &[u8], at: usize, literal: Literal) -> Option<Reference> {
    let mut reference = field(context, bytes, at, 4, Kind::Literal, Form::Absolute)?;
    if let Some(anchor) = literal.anchor {
        (reference.form, reference.base) = (Form::Based(1), Base::Near(anchor));
        reference.target = reference.target_of(reference.old, reference.address, anchor)? & 0xffff_ffff;
    } else if context.map.is_old(reference.old) {
        reference.target = reference.old;
    } else {
        let table = context.table?;
        (reference.form, reference.base) = (Form::Based(1), Base::Section(table));
        reference.target = reference.target_of(reference.old, 0, context.map.sections[table].0.address)?;
        return (context.map.section(reference.target) == Some(table)).then_some(reference);
    }
    context.map.is_old(reference.target).then_some(reference)
}

/// Whether most words look like ARM instructions that are always executed.
fn is_arm_code(bytes: &[u8]) -> bool {
    let always = bytes.chunks_exact(4).filter(|word| word[3] >> 4 == 14).count();
    2 * always > bytes.len() / 4
}
