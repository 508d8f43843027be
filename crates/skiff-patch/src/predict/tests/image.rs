//! Executables for tests.

/// A section: its name, kind, flags, address, bytes, and the one it links to.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) link: u32,
}

pub(super) const PROGBITS: u32 = 1;
pub(super) const SYMTAB: u32 = 2;
pub(super) const STRTAB: u32 = 3;
pub(super) const RELA: u32 = 4;
pub(super) const NOBITS: u32 = 8;
pub(super) const REL: u32 = 9;
pub(super) const RELR: u32 = 19;
pub(super) const EXIDX: u32 = 0x7000_0001;

pub(super) const WRITE: u64 = 1;
pub(super) const ALLOC: u64 = 2;
pub(super) const EXEC: u64 = 4;

pub(super) const X86_64: u16 = 62;
pub(super) const AARCH64: u16 = 183;
pub(super) const ARM: u16 = 40;

/// A file with these sections, each at the offset that is its address; those without an address behind the others.
pub(super) fn elf(machine: u16, is_fixed: bool, sections: &[Section]) -> Vec<u8> {
    let is_wide = machine != ARM;
    let word = if is_wide { 8 } else { 4 };
    let mut names = vec![0];
    let mut file = vec![0; if is_wide { 64 } else { 52 }];
    let mut headers = vec![0; if is_wide { 64 } else { 40 }];
    let mut header = |name: u32, kind: u32, fields: [u64; 4], link: u32| {
        let mut put = |value: u64, length: usize| headers.extend_from_slice(&value.to_le_bytes()[..length]);
        put(u64::from(name), 4);
        put(u64::from(kind), 4);
        fields.iter().for_each(|field| put(*field, word));
        put(u64::from(link), 4);
        put(0, 4);
        put(4, word);
        put(0, word);
    };
    for section in sections {
        let name = names.len() as u32;
        names.extend_from_slice(section.name.as_bytes());
        names.push(0);
        let offset = if section.flags & ALLOC != 0 { section.address as usize } else { file.len() };
        if section.kind != NOBITS {
            assert!(offset >= file.len(), "{} lies within another section", section.name);
            file.resize(offset, 0);
            file.extend_from_slice(&section.bytes);
        }
        let fields = [section.flags, section.address, offset as u64, section.bytes.len() as u64];
        header(name, section.kind, fields, section.link);
    }
    let name = names.len() as u32;
    names.extend_from_slice(b".shstrtab\0");
    header(name, STRTAB, [0, 0, file.len() as u64, names.len() as u64], 0);
    file.extend_from_slice(&names);
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len() as u64;
    file.extend_from_slice(&headers);

    file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', if is_wide { 2 } else { 1 }, 1, 1]);
    file[16] = if is_fixed { 2 } else { 3 };
    file[18..20].copy_from_slice(&machine.to_le_bytes());
    let (at, last) = if is_wide { (40, 58) } else { (32, 46) };
    file[at..at + word].copy_from_slice(&table.to_le_bytes()[..word]);
    let counts = [if is_wide { 64 } else { 40 }, sections.len() as u16 + 2, sections.len() as u16 + 1];
    for (index, count) in counts.into_iter().enumerate() {
        file[last + 2 * index..last + 2 * index + 2].copy_from_slice(&count.to_le_bytes());
    }
    file
}

/// A program header: its kind, flags, and from where to where, at the offsets that are the addresses, it has bytes; how much
/// memory follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) unset: u64,
}

pub(super) const LOAD: u32 = 1;
pub(super) const DYNAMIC: u32 = 2;
pub(super) const UNWIND_INDEX: u32 = 0x6474_e550;
pub(super) const ARM_UNWIND_INDEX: u32 = 0x7000_0001;

/// The same file with program headers behind its header, in place of section headers.
pub(super) fn headerless(mut file: Vec<u8>, segments: &[Segment]) -> Vec<u8> {
    let is_wide = file[4] == 2;
    let (word, first, size) = if is_wide { (8, 64, 56) } else { (4, 52, 32) };
    let (programs, table, counts) = if is_wide { (32, 40, 54) } else { (28, 32, 42) };
    let end = super::super::elf::number(&file, table, word) as usize;
    file.resize(end.max(first + segments.len() * size), 0);
    put(&mut file, programs, first as u64, word);
    put(&mut file, table, 0, word);
    for (index, count) in [size as u64, segments.len() as u64, 0, 0, 0].into_iter().enumerate() {
        put(&mut file, counts + 2 * index, count, 2);
    }
    for (index, segment) in segments.iter().enumerate() {
        let at = first + index * size;
        let Segment { kind, flags, from, to, unset } = *segment;
        put(&mut file, at, u64::from(kind), 4);
        let in_file = to - from;
        for (field, value) in [from, from, from, in_file, in_file + unset].into_iter().enumerate() {
            put(&mut file, at + word * (field + 1), value, word);
        }
        put(&mut file, at + if is_wide { 4 } else { 24 }, u64::from(flags), 4);
    }
    file
}

/// Writes an integer of `length` bytes at `at`.
pub(super) fn put(bytes: &mut [u8], at: usize, value: u64, length: usize) {
    bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
}
