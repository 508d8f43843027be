//! Programs whose functions moved.

use super::image::*;
use super::*;

/// A program for x86-64: two functions with `gap` bytes between them, data, and the tables that name them.
fn x86(gap: u64, is_fixed: bool) -> Vec<u8> {
    elf(X86_64, is_fixed, &x86_sections(gap))
}

fn x86_sections(gap: u64) -> Vec<Section> {
    let (text, data) = (0x1000, 0x3000 + gap);
    let second = text + 0x40 + gap;
    let mut code = vec![0x90; (0x60 + gap) as usize];
    let relative = |at: u64, length: u64, target: u64| target.wrapping_sub(text + at + length);
    code[..2].copy_from_slice(&[0xe8, 0]);
    put(&mut code, 1, relative(1, 4, second), 4);
    code[5] = 0xe9;
    put(&mut code, 6, relative(6, 4, second), 4);
    code[10..12].copy_from_slice(&[0x0f, 0x84]);
    put(&mut code, 12, relative(12, 4, second + 4), 4);
    code[16..19].copy_from_slice(&[0x48, 0x8d, 0x05]);
    put(&mut code, 19, relative(19, 4, data + 8), 4);
    // movl $0x7fffffff, data(%rip): what counts is where the instruction ends.
    code[23..25].copy_from_slice(&[0xc7, 0x05]);
    put(&mut code, 25, relative(25, 8, data), 4);
    put(&mut code, 29, 0x7fff_ffff, 4);
    code[33] = 0xbf;
    put(&mut code, 34, data + 8, 4);
    code[38] = 0xeb;
    put(&mut code, 39, relative(39, 1, second), 1);

    let mut table = Vec::new();
    let words = |out: &mut Vec<u8>, values: &[u64], length: usize| {
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()[..length]));
    };
    let read_only = 0x2000 + gap;
    let jumps = [text + 4, second, second + 4, text];
    words(&mut table, &jumps.map(|jump| jump.wrapping_sub(read_only)), 4);

    let frames = 0x2100 + gap;
    let mut unwind = Vec::new();
    words(&mut unwind, &[12, 0, 0, 0], 4);
    for (function, length) in [(text, 0x40 + gap / 2), (second, 0x20)] {
        let at = frames + unwind.len() as u64;
        words(&mut unwind, &[20, at + 4 - frames, function.wrapping_sub(at + 8), length], 4);
        unwind.extend([0; 8]);
    }
    let index = 0x2200 + gap;
    let mut sorted = vec![1, 0x1b, 3, 0x3b];
    words(&mut sorted, &[frames.wrapping_sub(index + 4), 2], 4);
    for (function, frame) in [(text, frames + 16), (second, frames + 40)] {
        words(&mut sorted, &[function.wrapping_sub(index), frame.wrapping_sub(index)], 4);
    }

    let mut pointers = Vec::new();
    words(&mut pointers, &[second, data + 8, 7 << 40], 8);
    let mut relocations = Vec::new();
    words(&mut relocations, &[data, 8, second, data + 8, 1 << 32 | 1, 7 << 40], 8);
    let mut symbols = vec![0; 24];
    words(&mut symbols, &[1 | 2 << 32 | 1 << 48, second, 0x20], 8);

    let section =
        |name, kind, flags, address, bytes, link| Section { name, kind, flags, address, bytes, link };
    vec![
        section(".dynsym", SYMTAB, ALLOC, 0x200, symbols, 2),
        section(".dynstr", STRTAB, ALLOC, 0x300, b"\0second\0".to_vec(), 0),
        section(".rela.dyn", RELA, ALLOC, 0x400, relocations, 1),
        section(".text", PROGBITS, ALLOC | EXEC, text, code, 0),
        section(".rodata", PROGBITS, ALLOC, read_only, table, 0),
        section(".eh_frame", PROGBITS, ALLOC, frames, unwind, 0),
        section(".eh_frame_hdr", PROGBITS, ALLOC, index, sorted, 0),
        section(".data", PROGBITS, ALLOC | WRITE, data, pointers, 0),
        section(".bss", NOBITS, ALLOC | WRITE, data + 0x20, vec![0; 64], 0),
    ]
}

/// The same without section headers, with a dynamic section and packed relocations.
fn x86_headerless(gap: u64) -> Vec<u8> {
    let mut sections = x86_sections(gap);
    let (data, index) = (0x3000 + gap, 0x2200 + gap);
    let words = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    // Where the data begins, and bits for two words behind it.
    let packed = words(&[data, 7]);
    let tags = words(&[6, 0x200, 5, 0x300, 10, 8, 7, 0x400, 8, 48, 36, 0x480, 35, 16, 3, data, 0, 0]);
    let section = |name, kind, flags, address, bytes| Section { name, kind, flags, address, bytes, link: 0 };
    sections.insert(3, section(".relr.dyn", RELR, ALLOC, 0x480, packed));
    let dynamic = 0x2f00 + gap;
    let end = dynamic + tags.len() as u64;
    let place = sections.len() - 2;
    sections.insert(place, section(".dynamic", 6, ALLOC | WRITE, dynamic, tags));
    let segment = |kind, flags, from, to, unset| Segment { kind, flags, from, to, unset };
    headerless(
        elf(X86_64, true, &sections),
        &[
            segment(LOAD, 4, 0, 0x490, 0),
            segment(LOAD, 5, 0x1000, 0x1060 + gap, 0),
            segment(LOAD, 4, 0x2000 + gap, index + 28, 0),
            segment(LOAD, 6, dynamic, data + 0x18, 64),
            segment(DYNAMIC, 6, dynamic, end, 0),
            segment(UNWIND_INDEX, 4, index, index + 28, 0),
        ],
    )
}

/// The gap grew from 16 bytes to 48; nothing else did.
fn moved(old: &[u8], new: &[u8]) -> [Copy; 2] {
    let end = old.len() as u64;
    assert_eq!(new.len() as u64, end + 32);
    [copy(0, 0x1050, 0), copy(0x1050, end, 0x1050 + 32)]
}

#[test]
fn everything_that_names_what_moved_is_predicted() {
    let (old, new) = (x86(16, true), x86(48, true));
    let copies = moved(&old, &new);
    for (kind, count, changed) in [
        (Kind::Call, 1, 1),
        (Kind::Jump, 1, 1),
        (Kind::Branch, 1, 1),
        (Kind::Short, 1, 1),
        (Kind::Memory, 2, 2),
        (Kind::Immediate, 1, 1),
        (Kind::Pointer, 3, 2), // one is where the program begins
        (Kind::RelocationPlace, 2, 2),
        (Kind::RelocationSymbol, 1, 0),
        (Kind::Addend, 1, 1),
        (Kind::SymbolName, 1, 0),
        (Kind::SymbolValue, 2, 1), // one is of no symbol, at 0
        (Kind::SymbolSize, 1, 0),
        (Kind::UnwindBegin, 2, 1),
        (Kind::UnwindParent, 2, 0),
        (Kind::IndexBegin, 2, 1),
        (Kind::IndexEntry, 2, 0),
        (Kind::TableEntry, 4, 2),
    ] {
        assert_eq!(outcome(&old, &new, &copies, kind), (count, changed, 0), "{kind:?}");
    }
    // That one function grew by half the gap cannot be known.
    assert_eq!(outcome(&old, &new, &copies, Kind::UnwindSize), (2, 1, 1));
    let (_, changed, wrong) = outcome(&old, &new, &copies, Kind::Header);
    assert!(changed > 10 && wrong == 0, "{wrong} of {changed}");
}

#[test]
fn it_is_predicted_by_program_headers_where_there_are_no_others() {
    let (old, new) = (x86_headerless(16), x86_headerless(48));
    let copies = moved(&old, &new);
    for (kind, changed) in [
        (Kind::Call, 1),
        (Kind::Jump, 1),
        (Kind::Branch, 1),
        (Kind::Short, 1),
        (Kind::Memory, 2),
        (Kind::Immediate, 1),
        (Kind::Pointer, 3),         // one is in the dynamic section
        (Kind::RelocationPlace, 3), // one is packed
        (Kind::RelocationSymbol, 0),
        (Kind::Addend, 1),
        (Kind::SymbolName, 0),
        (Kind::SymbolValue, 1),
        (Kind::UnwindBegin, 1),
        (Kind::UnwindParent, 0),
        (Kind::IndexBegin, 1),
        (Kind::IndexEntry, 0),
        (Kind::TableEntry, 2),
        (Kind::Header, 14), // of segments
    ] {
        let (count, now, wrong) = outcome(&old, &new, &copies, kind);
        assert!(count > 0 && (now, wrong) == (changed, 0), "{kind:?}: {now} of {count}, {wrong} wrong");
    }
}

#[test]
fn only_fixed_code_names_addresses() {
    let (old, new) = (x86(16, false), x86(48, false));
    let copies = moved(&old, &new);
    assert_eq!(outcome(&old, &new, &copies, Kind::Immediate).0, 0);
    assert_eq!(outcome(&old, &new, &copies, Kind::Memory), (2, 2, 0));
}

/// Where nothing tells where a function went, the second reference to it is predicted from the first.
#[test]
fn what_a_reference_became_is_learned() {
    let code = |target: u64| {
        let mut code = vec![0x90; 0x100];
        for at in [0, 0x20, 0x40] {
            code[at] = 0xe8;
            put(&mut code, at + 1, target.wrapping_sub(0x1000 + at as u64 + 5), 4);
        }
        code
    };
    let program = |target| {
        elf(
            X86_64,
            false,
            &[Section {
                name: ".text",
                kind: PROGBITS,
                flags: ALLOC | EXEC,
                address: 0x1000,
                bytes: code(target),
                link: 0,
            }],
        )
    };
    let (old, new) = (program(0x1080), program(0x10b3));
    let copies = [copy(0, 0x1070, 0)];
    assert_eq!(outcome(&old, &new, &copies, Kind::Call), (3, 3, 1));
}

fn arm_like(machine: u16, text: Vec<u8>, data: u64) -> Vec<u8> {
    let section =
        |name, flags, address, bytes| Section { name, kind: PROGBITS, flags, address, bytes, link: 0 };
    elf(
        machine,
        true,
        &[
            section(".text", ALLOC | EXEC, 0x1000, text),
            section(".data", ALLOC | WRITE, data, vec![0; 0x100]),
        ],
    )
}

/// Branches and pages, encoded as GNU as does.
#[test]
fn aarch64_is_predicted() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let nop = 0xd503_201f;
    let tail = [nop; 8];
    // bl 1030; b 1030; b.eq 1030; tbz w0, #3, 1030; adrp x0, 2000; add x0, x0, #0x10; ldr x1, [x0, #16]
    let head = [0x9400_000c, 0x1400_000b, 0x5400_0140, 0x3618_0120, 0xb000_0000, 0x9100_4000, 0xf940_0801];
    let old = words(&[&head[..], &[nop; 4], &tail].concat());
    // The same to 1040 and 3020.
    let head = [0x9400_0010, 0x1400_000f, 0x5400_01c0, 0x3618_01a0, 0xd000_0000, 0x9100_8000, 0xf940_0801];
    let new = words(&[&head[..], &[nop; 8], &tail].concat());
    let (old, new) = (arm_like(AARCH64, old, 0x2000), arm_like(AARCH64, new, 0x3010));
    let copies = [copy(0, 0x101c, 0), copy(0x102c, 0x104c, 0x103c), copy(0x2000, 0x2100, 0x3010)];
    for (kind, count) in
        [(Kind::Call, 1), (Kind::Jump, 1), (Kind::Branch, 1), (Kind::Short, 1), (Kind::Page, 1)]
    {
        assert_eq!(outcome(&old, &new, &copies, kind), (count, 1, 0), "{kind:?}");
    }
    // What is added before x0 changes is a place; x0 is no page after that.
    assert_eq!(outcome(&old, &new, &copies, Kind::Low), (1, 1, 0));
}

/// bl, b.w, beq.w, b, movw and movt, encoded as GNU as does.
#[test]
fn thumb_is_predicted() {
    let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<_>>();
    let nop = 0xbf00;
    // To 1030: bl at 1000, b.w at 1004, beq.w at 1008, b at 100c; movw and movt r0 of 2010 at 1010.
    let head = [0xf000, 0xf816, 0xf000, 0xb814, 0xf000, 0x8012, 0xe010, nop, 0xf242, 0x0010, 0xf2c0, 0];
    let old = halves(&[&head[..], &[nop; 12], &[nop; 16]].concat());
    // To 1040, and 13010.
    let head = [0xf000, 0xf81e, 0xf000, 0xb81c, 0xf000, 0x801a, 0xe018, nop, 0xf243, 0x0010, 0xf2c0, 1];
    let new = halves(&[&head[..], &[nop; 20], &[nop; 16]].concat());
    let (old, new) = (arm_like(ARM, old, 0x2000), arm_like(ARM, new, 0x1_3000));
    let copies = [copy(0, 0x1018, 0), copy(0x1030, 0x1050, 0x1040), copy(0x2000, 0x2100, 0x1_3000)];
    for kind in [Kind::Call, Kind::Jump, Kind::Branch, Kind::Short, Kind::Page, Kind::Low] {
        assert_eq!(outcome(&old, &new, &copies, kind), (1, 1, 0), "{kind:?}");
    }
}

/// bl, and a word loaded from beside the code to which the code adds its own place, encoded as GNU as does.
#[test]
fn arm_is_predicted() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let nop = 0xe320_f000;
    // bl 1030; ldr r3, [pc, #8]; add r3, pc, r3; two nops; the word, 2010 - (1008 + 8).
    let head = [0xeb00_000a, 0xe59f_3008, 0xe08f_3003, nop, nop, 0x1000];
    let old = words(&[&head[..], &[nop; 6], &[nop; 8]].concat());
    let head = [0xeb00_000e, 0xe59f_3008, 0xe08f_3003, nop, nop, 0x2000];
    let new = words(&[&head[..], &[nop; 10], &[nop; 8]].concat());
    let (old, new) = (arm_like(ARM, old, 0x2000), arm_like(ARM, new, 0x3000));
    let copies = [copy(0, 0x1018, 0), copy(0x1030, 0x1050, 0x1040), copy(0x2000, 0x2100, 0x3000)];
    for kind in [Kind::Call, Kind::Literal] {
        assert_eq!(outcome(&old, &new, &copies, kind), (1, 1, 0), "{kind:?}");
    }
}

#[test]
fn tables_of_arm_functions_are_predicted() {
    let program = |gap: u64| {
        let table = 0x2000_u64;
        let mut index = Vec::new();
        for (at, function) in [(0, 0x1000_u64), (8, 0x1040 + gap)] {
            let value = function.wrapping_sub(table + at) & 0x7fff_ffff;
            index.extend_from_slice(&(value as u32).to_le_bytes());
            index.extend_from_slice(&1_u32.to_le_bytes());
        }
        let section =
            |name, kind, flags, address, bytes| Section { name, kind, flags, address, bytes, link: 0 };
        let mut relocations = Vec::new();
        for value in [0x3000_u32 + gap as u32, 23] {
            relocations.extend_from_slice(&value.to_le_bytes());
        }
        elf(
            ARM,
            false,
            &[
                section(".rel.dyn", REL, ALLOC, 0x400, relocations),
                section(".text", PROGBITS, ALLOC | EXEC, 0x1000, vec![0; 0x80 + gap as usize]),
                section(".ARM.exidx", EXIDX, ALLOC, table, index),
                section(".data", PROGBITS, ALLOC | WRITE, 0x3000 + gap, vec![0; 8]),
            ],
        )
    };
    let (old, new) = (program(0), program(0x20));
    let copies = [
        copy(0, 0x1040, 0),
        copy(0x1040, 0x1080, 0x1060),
        copy(0x2000, 0x2010, 0x2000),
        copy(0x3000, 0x3008, 0x3020),
    ];
    assert_eq!(outcome(&old, &new, &copies, Kind::IndexBegin), (2, 1, 0));
    assert_eq!(outcome(&old, &new, &copies, Kind::RelocationPlace), (1, 1, 0));
}

#[test]
fn programs_whose_parts_moved_are_alike_when_neutral() {
    use crate::predict::neutral::neutralise;
    let (old, new) = (x86(16, true), x86(48, true));
    let neutral = [neutralise(&old, Kinds::NONE).unwrap(), neutralise(&new, Kinds::NONE).unwrap()];
    let differences: u64 =
        moved(&old, &new).iter().map(|copy| copy.differences(&neutral[0], &neutral[1])).sum();
    let before: u64 = moved(&old, &new).iter().map(|copy| copy.differences(&old, &new)).sum();
    assert!(differences <= 4 && before > 25, "{differences} of {before}");
    assert_eq!(neutralise(b"no program", Kinds::NONE), None);
}

#[test]
fn nothing_is_said_of_kinds_that_are_left_alone() {
    let (old, new) = (x86(16, true), x86(48, true));
    let found = |silent: &[Kind]| {
        let layout = Layout::of(&old, &new).unwrap().silent_on(Kinds::of(silent));
        let mut found = Vec::new();
        Predictor::new(layout, &moved(&old, &new)).find(0, &old, &mut found);
        found.into_iter().map(|reference| reference.kind).collect::<Vec<_>>()
    };
    let mut left = found(&[]);
    assert!(left.contains(&Kind::Call) && left.contains(&Kind::Memory));
    left.retain(|kind| ![Kind::Call, Kind::Memory].contains(kind));
    assert_eq!(found(&[Kind::Memory, Kind::Call]), left);
    assert_eq!(found(&Kind::ALL), []);
}
