//! Executables of a few functions for each machine, in two versions: references of every kind, which move.

#[path = "../../../skiff-patch/src/predict/tests/image.rs"]
#[allow(dead_code, reason = "its other items are for the tests beside it")]
mod image;

use super::instructions::{self, Places};
use image::*;

/// What an executable is for, and what its loader goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Position-independent, as the others but for the next.
    X86,
    /// The same code, of fixed addresses, and without section headers.
    Headerless,
    AArch64,
    /// Of both instruction sets.
    Arm,
}

/// A function: its number, and how many instructions without references it has.
pub(crate) type Function = (usize, usize);

/// Those of a version, in their order: the second has one more, and one that grew.
fn functions(is_second: bool) -> Vec<Function> {
    let mut functions: Vec<Function> = (0..12).map(|number| (number, 3 + number % 4)).collect();
    if is_second {
        functions[2].1 += 3;
        functions.insert(5, (functions.len(), 9));
    }
    functions
}

impl Program {
    /// One of the two versions.
    pub(crate) fn version(self, is_second: bool) -> Vec<u8> {
        let functions = functions(is_second);
        let (sections, entry) = match self {
            Self::X86 | Self::Headerless => wide(&functions, instructions::x86),
            Self::AArch64 => wide(&functions, instructions::aarch64),
            Self::Arm => narrow(&functions),
        };
        let machine = match self {
            Self::X86 | Self::Headerless => X86_64,
            Self::AArch64 => AARCH64,
            Self::Arm => ARM,
        };
        let segments = segments(&sections);
        let mut file = elf(machine, self == Self::Headerless, &sections);
        file = if self == Self::Headerless {
            headerless(file, &segments)
        } else {
            with_segments(file, &segments)
        };
        let word = if machine == ARM { 4 } else { 8 };
        put(&mut file, 24, entry, word);
        file
    }
}

/// Puts sections one behind the other.
struct Layout {
    sections: Vec<Section>,
    end: u64,
}

impl Layout {
    /// Behind the program headers.
    const fn new() -> Self {
        Self { sections: Vec::new(), end: 0x200 }
    }

    /// Where the next section begins.
    const fn next(&self) -> u64 {
        self.end.next_multiple_of(16)
    }

    fn add(&mut self, name: &'static str, kind: u32, flags: u64, bytes: Vec<u8>) -> &mut Section {
        let address = self.next();
        self.end = address + bytes.len() as u64;
        self.sections.push(Section { name, kind, flags: flags | ALLOC, address, bytes, link: 0 });
        self.sections.last_mut().unwrap()
    }

    fn find(&self, name: &str) -> &Section {
        self.sections.iter().find(|section| section.name == name).unwrap()
    }
}

/// The place of the memory without bytes, which code names by pages: it crosses from one into the next.
fn unset(functions: &[Function]) -> u64 {
    if functions.len() > 12 { 0x3010 } else { 0x2fd0 }
}

/// What goes into one segment, and the headers of tables.
fn segments(sections: &[Section]) -> Vec<Segment> {
    let place = |name: &str| sections.iter().find(|section| section.name == name);
    let begin = |name: &str| place(name).unwrap().address;
    let end = |name: &str| place(name).map(|section| section.address + section.bytes.len() as u64).unwrap();
    let segment = |kind, flags, from, to, unset| Segment { kind, flags, from, to, unset };
    let mut segments = vec![
        segment(LOAD, 4, 0, begin(".text"), 0),
        segment(LOAD, 5, begin(".text"), end(".text"), 0),
        segment(LOAD, 4, end(".text"), begin(".dynamic"), 0),
        segment(LOAD, 6, begin(".dynamic"), end(".data"), end(".bss") - end(".data")),
        segment(DYNAMIC, 6, begin(".dynamic"), end(".dynamic"), 0),
    ];
    for (name, kind) in [(".eh_frame_hdr", UNWIND_INDEX), (".ARM.exidx", ARM_UNWIND_INDEX)] {
        if place(name).is_some() {
            segments.push(segment(kind, 4, begin(name), end(name), 0));
        }
    }
    segments
}

/// Names of functions, one behind the other, and where one of them stands.
fn names(count: usize) -> Vec<u8> {
    (0..count)
        .map(|number| format!("\0function_{number}"))
        .collect::<String>()
        .into_bytes()
        .into_iter()
        .chain([0])
        .collect()
}

fn name_of(names: &[u8], number: usize) -> u64 {
    let name = format!("function_{number}\0");
    names.windows(name.len()).position(|at| at == name.as_bytes()).unwrap() as u64
}

fn words(values: &[u64], length: usize) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()[..length].to_vec()).collect()
}

/// Where each function begins and ends, by number, and the code itself, for code that is as long wherever things are.
fn place_code(
    functions: &[Function],
    places: &mut Places,
    emit: fn(&Places, Function, u64) -> Vec<u8>,
) -> (Vec<u8>, Vec<(u64, u64)>) {
    let mut ranges = Vec::new();
    let mut text = Vec::new();
    for _ in 0..2 {
        text.clear();
        ranges = vec![(0, 0); functions.len()];
        for &function in functions {
            let begin = places.text + text.len() as u64;
            text.extend(emit(places, function, begin));
            ranges[function.0] = (begin, places.text + text.len() as u64);
            text.resize(text.len().next_multiple_of(16), 0);
        }
        places.functions = ranges.iter().map(|(begin, _)| *begin).collect();
    }
    (text, ranges)
}

/// For machines with words of eight bytes. Gives the address to begin at, too.
fn wide(functions: &[Function], emit: fn(&Places, Function, u64) -> Vec<u8>) -> (Vec<Section>, u64) {
    let count = functions.len();
    let mut layout = Layout::new();
    let names = names(count);
    // What these hold is told by what comes behind them.
    layout.add(".dynsym", SYMTAB, 0, vec![0; 24 * (count + 1)]).link = 2;
    layout.add(".dynstr", STRTAB, 0, names.clone());
    layout.add(".rela.dyn", RELA, 0, vec![0; 24 * count]).link = 1;
    layout.add(".relr.dyn", RELR, 0, vec![0; 16]);
    let text = layout.next();
    let mut places = Places { text, functions: vec![text; count], ..Places::default() };
    let (length, _) = place_code(functions, &mut places, emit);
    let behind = (text + length.len() as u64).next_multiple_of(16);
    let data = behind + 0x110 + 64 * count as u64;
    places = Places { read_only: behind, table: data - 32, data, unset: unset(functions), ..places };
    let (code, ranges) = place_code(functions, &mut places, emit);
    layout.add(".text", PROGBITS, EXEC, code);
    let jumps: Vec<u64> = ranges.iter().map(|(begin, _)| begin.wrapping_sub(behind)).collect();
    layout.add(".rodata", PROGBITS, 0, words(&jumps, 4));
    let index = layout.next();
    let frames = (index + 12 + 8 * count as u64).next_multiple_of(16);
    let (frame_bytes, sorted) = unwind(&ranges, (index, frames, behind));
    layout.add(".eh_frame_hdr", PROGBITS, 0, sorted);
    layout.add(".eh_frame", PROGBITS, 0, frame_bytes);
    assert!(layout.next() + 0x90 <= data - 32);
    let symbols: Vec<u64> = (0..count)
        .flat_map(|number| {
            let (begin, end) = ranges[number];
            [name_of(&names, number) | 2 << 32 | 1 << 48, begin, end - begin]
        })
        .collect();
    let pointers: Vec<u64> = (0..count).map(|number| ranges[number * 5 % count].0).collect();
    let relocations: Vec<u64> = (0..count as u64)
        .flat_map(|number| [data + 8 * number, (number + 1) << 32 | 8, pointers[number as usize]])
        .collect();
    let tags = tags(&layout, (data - 32, data), 8);
    layout.add(".dynamic", 6, WRITE, words(&tags, 8));
    layout.end = data - 32;
    layout.add(".got", PROGBITS, WRITE, words(&[data, ranges[3].0, data + 8, ranges[1].0], 8));
    layout.add(".data", PROGBITS, WRITE, words(&pointers, 8));
    let fill = |layout: &mut Layout, name: &str, bytes: Vec<u8>| {
        let section = layout.sections.iter_mut().find(|section| section.name == name).unwrap();
        section.bytes[..bytes.len()].copy_from_slice(&bytes);
    };
    fill(&mut layout, ".dynsym", words(&[&[0, 0, 0], &symbols[..]].concat(), 8));
    fill(&mut layout, ".rela.dyn", words(&relocations, 8));
    fill(&mut layout, ".relr.dyn", words(&[data, 0xaaab], 8));
    layout.end = places.unset;
    layout.add(".bss", NOBITS, WRITE, vec![0; 0x200]);
    (layout.sections, ranges[0].0)
}

/// The dynamic section: where tables begin, and how long they are.
fn tags(layout: &Layout, (table, data): (u64, u64), word: u64) -> Vec<u64> {
    let mut tags = Vec::new();
    let relocations = if word == 8 { (".rela.dyn", 7) } else { (".rel.dyn", 17) };
    let sized =
        [(".dynstr", 5, 10), (relocations.0, relocations.1, relocations.1 + 1), (".relr.dyn", 36, 35)];
    for (name, begin, size) in sized {
        if layout.sections.iter().any(|section| section.name == name) {
            let section = layout.find(name);
            tags.extend([begin, section.address, size, section.bytes.len() as u64]);
        }
    }
    tags.extend([6, layout.find(".dynsym").address, 3, table, 25, data, 27, 3 * word, 0, 0]);
    tags
}

/// `.eh_frame` and its index, which lie at these addresses; what is thrown is told in the third.
fn unwind(ranges: &[(u64, u64)], (index, frames, thrown): (u64, u64, u64)) -> (Vec<u8>, Vec<u8>) {
    let mut sorted: Vec<_> = ranges.to_vec();
    sorted.sort_unstable();
    let mut unwind = words(&[12, 0, 0x0000_5a01, 0x0001_1b78], 4);
    let mut entries = vec![frames.wrapping_sub(index + 4), ranges.len() as u64];
    for (begin, end) in sorted {
        let at = frames + unwind.len() as u64;
        entries.extend([begin.wrapping_sub(index), at.wrapping_sub(index)]);
        unwind.extend(words(&[20, at + 4 - frames, begin.wrapping_sub(at + 8), end - begin], 4));
        unwind.push(4);
        unwind.extend(words(&[thrown.wrapping_sub(at + 17)], 4));
        unwind.extend([0; 3]);
    }
    (unwind, [vec![1, 0x1b, 3, 0x3b], words(&entries, 4)].concat())
}

/// For ARM.
fn narrow(functions: &[Function]) -> (Vec<Section>, u64) {
    let count = functions.len();
    let mut layout = Layout::new();
    let names = names(count);
    layout.add(".dynsym", SYMTAB, 0, vec![0; 16 * (count + 1)]).link = 2;
    layout.add(".dynstr", STRTAB, 0, names.clone());
    layout.add(".rel.dyn", REL, 0, vec![0; 8 * count]).link = 1;
    let text = layout.next();
    let mut places = Places { text, functions: vec![text; count], ..Places::default() };
    let (length, _) = place_code(functions, &mut places, instructions::arm);
    let behind = (text + length.len() as u64).next_multiple_of(16);
    let data = behind + 0x90 + 8 * count as u64;
    places = Places { read_only: behind, table: data - 16, data, unset: unset(functions), ..places };
    let (code, ranges) = place_code(functions, &mut places, instructions::arm);
    layout.add(".text", PROGBITS, EXEC, code);
    let mut sorted = ranges.clone();
    sorted.sort_unstable();
    let index = layout.next();
    let entries = (0_u64..).step_by(8).zip(&sorted).flat_map(|(at, (begin, _))| {
        let thrown = if at % 16 == 0 { 1 } else { (text + at).wrapping_sub(index + at + 4) & 0x7fff_ffff };
        [begin.wrapping_sub(index + at) & 0x7fff_ffff, thrown]
    });
    layout.add(".ARM.exidx", EXIDX, 0, words(&entries.collect::<Vec<_>>(), 4));
    let tags = tags(&layout, (data - 16, data), 4);
    layout.add(".dynamic", 6, WRITE, words(&tags, 4));
    assert!(layout.next() <= data - 16);
    layout.end = data - 16;
    layout.add(".got", PROGBITS, WRITE, words(&[data, ranges[3].0, data + 8, ranges[1].0], 4));
    let pointers: Vec<u64> = (0..count).map(|number| ranges[number * 5 % count].0).collect();
    layout.add(".data", PROGBITS, WRITE, words(&pointers, 4));
    layout.end = places.unset;
    layout.add(".bss", NOBITS, WRITE, vec![0; 0x200]);
    for (number, (begin, end)) in ranges.iter().enumerate() {
        let symbol = words(&[name_of(&names, number), *begin, end - begin, 2 | 1 << 16], 4);
        layout.sections[0].bytes[16 * (number + 1)..16 * (number + 2)].copy_from_slice(&symbol);
        let relocation = words(&[data + 4 * number as u64, (number as u64 + 1) << 8 | 2], 4);
        layout.sections[2].bytes[8 * number..8 * (number + 1)].copy_from_slice(&relocation);
    }
    (layout.sections, ranges[0].0)
}
