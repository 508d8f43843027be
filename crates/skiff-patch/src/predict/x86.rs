//! References in x86-64 code, found by a sweep that knows how long instructions are.
//!
//! The lengths are those of the *Intel 64 and IA-32 Architectures Software Developer's Manual*, volume 2, chapter 2 and
//! appendix A. A sweep that begins within an instruction falls into step after a few.

use super::Map;
use super::reference::{Base, Form, Kind, Reference};

/// What the sweep knows of where it is.
pub(super) struct Context<'a> {
    pub(super) map: &'a Map,
    /// Whether code may name addresses as they are.
    pub(super) is_fixed: bool,
    /// The address of the first byte.
    pub(super) address: u64,
}

/// Goes from instruction to instruction.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Where the last sweep ended in the file, and where the next instruction begins.
    end: u64,
    next: u64,
}

impl Sweep {
    /// Appends the references in `bytes`, which are at `position` of the old file.
    pub(super) fn find(
        &mut self,
        context: &Context<'_>,
        position: u64,
        bytes: &[u8],
        found: &mut Vec<Reference>,
    ) {
        let end = position + bytes.len() as u64;
        let resumed = if self.end == position { self.next.saturating_sub(position) } else { 0 };
        let mut at = usize::try_from(resumed).unwrap_or(usize::MAX).min(bytes.len());
        while at < bytes.len() {
            let Some(instruction) = Instruction::decode(&bytes[at..]) else {
                at += 1;
                continue;
            };
            let length = instruction.length;
            if at + length <= bytes.len() {
                instruction.references(context, position, at, bytes, found);
            }
            at += length;
        }
        (self.end, self.next) = (end, position + at as u64);
    }
}

/// Where the fields of an instruction are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    length: usize,
    /// Where its displacement begins, if it has four bytes; whether it counts from the next instruction.
    displacement: Option<(usize, bool)>,
    /// Where its immediate operand begins, and how long it is.
    immediate: Option<(usize, usize)>,
    branch: Option<Kind>,
}

/// What follows an opcode: how many bytes of immediate operand, and whether ModRM comes before.
#[derive(Debug, Clone, Copy)]
struct Operands {
    modrm: bool,
    immediate: usize,
    branch: Option<Kind>,
}

const fn operands(modrm: bool, immediate: usize) -> Option<Operands> {
    Some(Operands { modrm, immediate, branch: None })
}

const fn branch(kind: Kind, immediate: usize) -> Option<Operands> {
    Some(Operands { modrm: false, immediate, branch: Some(kind) })
}

/// Prefixes before an opcode.
#[derive(Debug, Clone, Copy, Default)]
struct Prefixes {
    is_short: bool,
    is_wide: bool,
    has_short_address: bool,
}

impl Prefixes {
    const fn word(self) -> usize {
        if self.is_short && !self.is_wide { 2 } else { 4 }
    }
}

/// The most bytes of an instruction.
const LONGEST: usize = 15;

impl Instruction {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let byte = |at: usize| if at < LONGEST { bytes.get(at).copied() } else { None };
        let mut prefixes = Prefixes::default();
        let mut at = 0;
        loop {
            match byte(at)? {
                0x66 => prefixes.is_short = true,
                0x67 => prefixes.has_short_address = true,
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3 => {}
                _ => break,
            }
            at += 1;
        }
        if let rex @ 0x40..=0x4f = byte(at)? {
            prefixes.is_wide = rex & 8 != 0;
            at += 1;
        }
        let opcode = byte(at)?;
        at += 1;
        let operands = match opcode {
            0x0f => {
                let opcode = byte(at)?;
                at += 1;
                match opcode {
                    0x38 | 0x3a => {
                        at += 1;
                        operands(true, usize::from(opcode == 0x3a))
                    }
                    _ => two_byte(opcode),
                }
            }
            0xc5 => {
                let opcode = byte(at + 1)?;
                at += 2;
                vector(1, opcode)
            }
            0xc4 => {
                let (map, opcode) = (byte(at)? & 0x1f, byte(at + 2)?);
                at += 3;
                vector(map, opcode)
            }
            0x62 => {
                let (map, opcode) = (byte(at)? & 7, byte(at + 3)?);
                at += 4;
                vector(map, opcode)
            }
            _ => one_byte(opcode, byte(at).unwrap_or(0), prefixes),
        }?;
        Self::finish(bytes, at, operands)
    }

    /// With the operands, which begin at `at`.
    fn finish(bytes: &[u8], mut at: usize, operands: Operands) -> Option<Self> {
        let mut displacement = None;
        if operands.modrm {
            let modrm = *bytes.get(at)?;
            at += 1;
            let (mode, register) = (modrm >> 6, modrm & 7);
            let mut has_base = true;
            if mode != 3 && register == 4 {
                has_base = *bytes.get(at)? & 7 != 5;
                at += 1;
            }
            let length = match mode {
                0 if register == 5 || !has_base => 4,
                1 => 1,
                2 => 4,
                _ => 0,
            };
            displacement = (length == 4).then_some((at, mode == 0 && register == 5));
            at += length;
        }
        let immediate = (operands.immediate > 0).then_some((at, operands.immediate));
        let length = at + operands.immediate;
        (length <= LONGEST).then_some(Self { length, displacement, immediate, branch: operands.branch })
    }

    /// Appends the references of the instruction at `at` of `bytes`, which are at `position` of the old file.
    fn references(
        &self,
        context: &Context<'_>,
        position: u64,
        at: usize,
        bytes: &[u8],
        found: &mut Vec<Reference>,
    ) {
        let reference = |offset: usize, length: usize, kind: Kind, form: Form| {
            let field = at + offset;
            let old = super::elf::number(bytes, field, length);
            let mut reference = Reference {
                position: position + field as u64,
                length: length as u8,
                kind,
                form,
                base: Base::None,
                old,
                address: context.address.wrapping_add(field as u64),
                target: 0,
            };
            reference.target = reference.target_of(old, reference.address, 0)?;
            context.map.is_old(reference.target).then_some(reference)
        };
        if let Some((offset, is_relative)) = self.displacement {
            if is_relative {
                let form = Form::Relative((self.length - offset) as u8);
                found.extend(reference(offset, 4, Kind::Memory, form));
            } else if context.is_fixed {
                found.extend(reference(offset, 4, Kind::Immediate, Form::Absolute));
            }
        }
        let Some((offset, length)) = self.immediate else { return };
        match self.branch {
            Some(kind) => {
                found.extend(reference(offset, length, kind, Form::Relative(length as u8)));
            }
            None if length >= 4 && context.is_fixed => {
                found.extend(reference(offset, length, Kind::Immediate, Form::Absolute));
            }
            None => {}
        }
    }
}

/// The opcodes of one byte, by the one that follows.
fn one_byte(opcode: u8, next: u8, prefixes: Prefixes) -> Option<Operands> {
    let word = prefixes.word();
    match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => operands(true, 0),
            4 => operands(false, 1),
            5 => operands(false, word),
            _ => None,
        },
        0x50..=0x5f | 0x6c..=0x6f | 0x90..=0x99 | 0x9b..=0x9f | 0xa4..=0xa7 | 0xaa..=0xaf => {
            operands(false, 0)
        }
        0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe | 0xff => operands(true, 0),
        0x68 => operands(false, word),
        0x69 | 0x81 | 0xc7 => operands(true, word),
        0x6a | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xe4..=0xe7 => operands(false, 1),
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => operands(true, 1),
        0x70..=0x7f | 0xe0..=0xe3 | 0xeb => branch(Kind::Short, 1),
        0xa0..=0xa3 => operands(false, if prefixes.has_short_address { 4 } else { 8 }),
        0xa9 => operands(false, word),
        0xb8..=0xbf => operands(false, if prefixes.is_wide { 8 } else { word }),
        0xc2 | 0xca => operands(false, 2),
        0xc8 => operands(false, 3),
        0xc3 | 0xc9 | 0xcb | 0xcc | 0xcf | 0xd7 | 0xec..=0xef | 0xf1 | 0xf4 | 0xf5 | 0xf8..=0xfd => {
            operands(false, 0)
        }
        0xe8 => branch(Kind::Call, 4),
        0xe9 => branch(Kind::Jump, 4),
        0xf6 => operands(true, usize::from(next >> 3 & 7 < 2)),
        0xf7 => operands(true, if next >> 3 & 7 < 2 { word } else { 0 }),
        _ => None,
    }
}

/// The opcodes after 0F.
fn two_byte(opcode: u8) -> Option<Operands> {
    match opcode {
        0x04 | 0x0a | 0x0c | 0x24..=0x27 | 0x36 | 0x39 | 0x3b..=0x3f | 0xa6 | 0xa7 => None,
        0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => {
            operands(false, 0)
        }
        0x80..=0x8f => branch(Kind::Branch, 4),
        0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => operands(true, 1),
        _ => operands(true, 0),
    }
}

/// The opcodes of vector instructions, by the map they are in.
fn vector(map: u8, opcode: u8) -> Option<Operands> {
    match map {
        1 => two_byte(opcode).map(|known| Operands { modrm: opcode != 0x77, branch: None, ..known }),
        2 | 5 | 6 => operands(true, 0),
        3 => operands(true, 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    /// Instructions as GNU objdump 2.40 shows them.
    #[test]
    fn lengths_are_those_of_a_disassembler() {
        for instruction in [
            "90",
            "c3",
            "f3 0f 1e fa",                   // endbr64
            "66 2e 0f 1f 84 00 00 00 00 00", // cs nopw 0x0(%rax,%rax,1)
            "48 8d 05 11 22 33 00",          // lea 0x332211(%rip),%rax
            "48 8b 04 25 28 00 00 00",       // mov 0x28,%rax
            "64 48 8b 04 25 28 00 00 00",    // mov %fs:0x28,%rax
            "48 b8 01 02 03 04 05 06 07 08", // movabs $0x807060504030201,%rax
            "66 b8 01 02",                   // mov $0x201,%ax
            "66 81 38 4d 5a",                // cmpw $0x5a4d,(%rax)
            "80 3d 11 22 33 00 00",          // cmpb $0x0,0x332211(%rip)
            "c7 05 11 22 33 00 01 00 00 00", // movl $0x1,0x332211(%rip)
            "f6 05 11 22 33 00 01",          // testb $0x1,0x332211(%rip)
            "f7 d8",                         // neg %eax
            "f7 c7 00 01 00 00",             // test $0x100,%edi
            "0f 84 11 22 33 00",             // je
            "eb fe",                         // jmp
            "e8 00 00 00 00",                // call
            "ff 25 11 22 33 00",             // jmp *0x332211(%rip)
            "c8 10 00 00",                   // enter $0x10,$0x0
            "a0 01 02 03 04 05 06 07 08",    // movabs 0x807060504030201,%al
            "0f ba e0 05",                   // bt $0x5,%eax
            "66 0f 3a 0f c1 08",             // palignr $0x8,%xmm1,%xmm0
            "f3 0f 38 f6 c8",                // adox %eax,%ecx
            "c5 f8 77",                      // vzeroupper
            "c5 fd 70 c0 1b",                // vpshufd $0x1b,%ymm0,%ymm0
            "c4 e2 7d 18 05 11 22 33 00",    // vbroadcastss 0x332211(%rip),%ymm0
            "c4 e3 7d 39 c1 01",             // vextracti128 $0x1,%ymm0,%xmm1
            "62 f1 7c 48 28 05 11 22 33 00", // vmovaps 0x332211(%rip),%zmm0
            "62 f3 fd 48 25 c0 ff",          // vpternlogq $0xff,%zmm0,%zmm0,%zmm0
            "0f c8",                         // bswap %eax
            "d9 3c 24",                      // fnstcw (%rsp)
        ] {
            let bytes = bytes(instruction);
            let decoded = Instruction::decode(&bytes).map(|instruction| instruction.length);
            assert_eq!(decoded, Some(bytes.len()), "{instruction}");
        }
        for invalid in ["06", "ea 00 00", "d6", "0f 04", "82 c0 01", "66", "48", "48 b8 01"] {
            let decoded = Instruction::decode(&bytes(invalid));
            assert!(decoded.is_none_or(|instruction| instruction.length > bytes(invalid).len()), "{invalid}");
        }
    }

    #[test]
    #[ignore = "needs objdump"]
    fn lengths_are_those_of_objdump_in_all_of_a_program() {
        let program = std::env::current_exe().unwrap();
        let objdump = std::process::Command::new("objdump");
        let mut objdump = objdump;
        let output = objdump.args(["-d", "-j", ".text", "--insn-width=16"]).arg(program).output().unwrap();
        let (mut count, mut wrong) = (0, 0);
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let mut columns = line.split('\t');
            let (Some(_), Some(code), Some(text)) = (columns.next(), columns.next(), columns.next()) else {
                continue;
            };
            if text.contains("(bad)") || text.is_empty() {
                continue;
            }
            let code = bytes(code);
            count += 1;
            if Instruction::decode(&code).map(|instruction| instruction.length) != Some(code.len()) {
                wrong += 1;
                eprintln!("{line}");
            }
        }
        assert!(count > 100_000 && wrong == 0, "{wrong} of {count}");
    }
}
