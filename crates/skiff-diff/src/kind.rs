//! What a file is, by its first bytes.

use std::fmt;
use std::io;

use skiff_tree::ReadAt;

/// What a file is, as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// An executable, a library or an object file.
    Elf(Machine),
    /// What gzip compressed.
    Gzip,
    /// A zip archive: a jar or a wheel, for example.
    Zip,
    /// A PNG image.
    Png,
    /// What Python compiles modules to.
    PythonBytecode,
    /// Without a zero byte in what was looked at.
    Text,
    /// Anything else.
    Other,
}

/// What an ELF file runs on: its class and `e_machine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit ARM.
    AArch64,
    /// 32-bit ARM, Thumb included.
    Arm,
    /// RISC-V of either width.
    RiscV,
    /// Any other.
    Other,
}

/// How much of a file is looked at, in bytes.
const HEAD_BYTES: usize = 512;

impl FileKind {
    /// What a content is.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of(content: &(impl ReadAt + ?Sized)) -> io::Result<Self> {
        let mut head = [0; HEAD_BYTES];
        let mut length = 0;
        while length < head.len() {
            match content.read_at(&mut head[length..], length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        Ok(Self::of_head(&head[..length]))
    }

    /// The name that reports spell.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Elf(Machine::X86_64) => "elf x86-64",
            Self::Elf(Machine::X86) => "elf x86",
            Self::Elf(Machine::AArch64) => "elf aarch64",
            Self::Elf(Machine::Arm) => "elf arm",
            Self::Elf(Machine::RiscV) => "elf risc-v",
            Self::Elf(Machine::Other) => "elf other",
            Self::Gzip => "gzip",
            Self::Zip => "zip",
            Self::Png => "png",
            Self::PythonBytecode => "python bytecode",
            Self::Text => "text",
            Self::Other => "other",
        }
    }

    fn of_head(head: &[u8]) -> Self {
        match head {
            [0x7f, b'E', b'L', b'F', ..] => Self::Elf(machine(head)),
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Self::Png,
            // PEP 552: a number of the version that ends in a line break, and four bytes of flags.
            [_, _, b'\r', b'\n', 0..=3, 0, 0, 0, ..] => Self::PythonBytecode,
            _ if head.contains(&0) => Self::Other,
            _ => Self::Text,
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `e_machine` is at the same place in files of either width, in the byte order that `EI_DATA` names.
fn machine(head: &[u8]) -> Machine {
    const BIG_ENDIAN: u8 = 2;
    let (Some(&order), Some(&[low, high])) = (head.get(5), head.get(18..20)) else { return Machine::Other };
    let number =
        if order == BIG_ENDIAN { u16::from_be_bytes([low, high]) } else { u16::from_le_bytes([low, high]) };
    match number {
        3 => Machine::X86,
        40 => Machine::Arm,
        62 => Machine::X86_64,
        183 => Machine::AArch64,
        243 => Machine::RiscV,
        _ => Machine::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut head = b"\x7fELF\x02".to_vec();
        head.push(order);
        head.resize(18, 0);
        head.extend(machine);
        head
    }

    #[test]
    fn first_bytes_tell() {
        for (head, kind) in [
            (elf(1, [62, 0]), FileKind::Elf(Machine::X86_64)),
            (elf(1, [183, 0]), FileKind::Elf(Machine::AArch64)),
            (elf(2, [0, 40]), FileKind::Elf(Machine::Arm)),
            (elf(1, [1, 1]), FileKind::Elf(Machine::Other)),
            (b"\x7fELF".to_vec(), FileKind::Elf(Machine::Other)),
            (b"\x1f\x8b\x08".to_vec(), FileKind::Gzip),
            (b"PK\x03\x04\0".to_vec(), FileKind::Zip),
            (b"\x89PNG\r\n\x1a\n\0".to_vec(), FileKind::Png),
            (b"\xa7\x0d\r\n\0\0\0\0".to_vec(), FileKind::PythonBytecode),
            (b"#!/bin/sh\n".to_vec(), FileKind::Text),
            (b"a\0".to_vec(), FileKind::Other),
        ] {
            assert_eq!(FileKind::of(&head[..]).unwrap(), kind, "{head:?}");
        }
    }
}
