//! Executables for tests: the golden ones of `skiff-replay` are made of the same parts.

/// A section: its name, kind, flags, address, bytes, and the one it links to.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) link: u32,
}

pub(crate) const PROGBITS: u32 = 1;
pub(crate) const SYMTAB: u32 = 2;
pub(crate) const STRTAB: u32 = 3;
pub(crate) const RELA: u32 = 4;
pub(crate) const NOBITS: u32 = 8;
pub(crate) const REL: u32 = 9;
pub(crate) const RELR: u32 = 19;
pub(crate) const EXIDX: u32 = 0x7000_0001;

pub(crate) const WRITE: u64 = 1;
pub(crate) const ALLOC: u64 = 2;
pub(crate) const EXEC: u64 = 4;

pub(crate) const X86_64: u16 = 62;
pub(crate) const AARCH64: u16 = 183;
pub(crate) const ARM: u16 = 40;

/// A file with these sections, each at the offset that is its address; those without an address behind the others.
pub(crate) fn elf(machine: u16, is_fixed: bool, sections: &[Section]) -> Vec<u8> {
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
pub(crate) struct Segment {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) unset: u64,
}

pub(crate) const LOAD: u32 = 1;
pub(crate) const DYNAMIC: u32 = 2;
pub(crate) const UNWIND_INDEX: u32 = 0x6474_e550;
pub(crate) const ARM_UNWIND_INDEX: u32 = 0x7000_0001;

/// The same file with program headers behind its header, in place of section headers.
pub(crate) fn headerless(mut file: Vec<u8>, segments: &[Segment]) -> Vec<u8> {
    let is_wide = file[4] == 2;
    let (word, end, table, counts) = if is_wide { (8, 64, 40, 58) } else { (4, 52, 32, 46) };
    let mut from = [0; 8];
    from[..word].copy_from_slice(&file[table..table + word]);
    let end = end + segments.len() * if is_wide { 56 } else { 32 };
    file.resize(end.max(u64::from_le_bytes(from) as usize), 0);
    put(&mut file, table, 0, word);
    file[counts..counts + 6].fill(0);
    with_segments(file, segments)
}

/// The same file with program headers behind its header, where no section may begin.
pub(crate) fn with_segments(mut file: Vec<u8>, segments: &[Segment]) -> Vec<u8> {
    let is_wide = file[4] == 2;
    let (word, first, size) = if is_wide { (8, 64, 56) } else { (4, 52, 32) };
    let (programs, counts) = if is_wide { (32, 54) } else { (28, 42) };
    put(&mut file, programs, first as u64, word);
    put(&mut file, counts, size as u64, 2);
    put(&mut file, counts + 2, segments.len() as u64, 2);
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
pub(crate) fn put(bytes: &mut [u8], at: usize, value: u64, length: usize) {
    bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
}
