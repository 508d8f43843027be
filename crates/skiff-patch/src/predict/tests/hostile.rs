//! Whatever the files hold, prediction ends, and says the same on both sides.

use proptest::prelude::*;

use super::image::*;
use super::*;
use crate::predict::Reference;

const KINDS: [(&str, u32, u64); 15] = [
    (".text", PROGBITS, ALLOC | EXEC),
    (".data", PROGBITS, ALLOC | WRITE),
    (".got", PROGBITS, ALLOC | WRITE),
    (".rodata", PROGBITS, ALLOC),
    (".bss", NOBITS, ALLOC | WRITE),
    (".rela.dyn", RELA, ALLOC),
    (".rel.dyn", REL, ALLOC),
    (".relr.dyn", RELR, ALLOC),
    (".symtab", SYMTAB, 0),
    (".strtab", STRTAB, 0),
    (".dynamic", 6, ALLOC | WRITE),
    (".eh_frame", PROGBITS, ALLOC),
    (".eh_frame_hdr", PROGBITS, ALLOC),
    (".ARM.exidx", EXIDX, ALLOC),
    (".note", 7, ALLOC),
];

/// Bytes among which fields are often small, so that they name something.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let small = (0..0x2000_u32).prop_map(|value| value.to_le_bytes().to_vec());
    let near = (-0x2000..0_i32).prop_map(|value| value.to_le_bytes().to_vec());
    let code = prop::sample::select(vec![
        vec![0xe8],
        vec![0x0f, 0x84],
        vec![0x8b, 0x05],
        vec![0, 0, 0, 0x94],
        vec![0, 0, 0, 0x90],
        vec![0, 0, 0, 0x91],
        vec![0, 0xf0, 0, 0xf8],
        vec![0x40, 0xf2, 0, 0],
        vec![0xc0, 0xf2, 0, 0],
        vec![0, 0x48],
        vec![0x78, 0x44],
        vec![0, 0, 0x9f, 0xe5],
        vec![0, 0, 0x8f, 0xe0],
    ]);
    // Entries of a dynamic section.
    let tags = vec![0, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 17, 18, 20, 23, 25, 27, 35, 36, 0x6fff_fef5];
    let tag = (prop::sample::select(tags), 0..0x2000_u64)
        .prop_map(|(tag, value): (u64, u64)| [tag.to_le_bytes(), value.to_le_bytes()].concat());
    let any = prop::collection::vec(any::<u8>(), 1..9);
    prop::collection::vec(prop_oneof![small, near, code, tag, any], 0..80).prop_map(|parts| parts.concat())
}

/// Program headers that lie anywhere, mostly within the file.
fn segments() -> impl Strategy<Value = Vec<Segment>> {
    let kind = prop::sample::select(vec![LOAD, LOAD, DYNAMIC, UNWIND_INDEX, ARM_UNWIND_INDEX]);
    let unset = prop_oneof![Just(0), 0..0x100_u64, any::<u64>().prop_map(|size| size >> 2)];
    let segment = (kind, 0..8_u32, 0..0x800_u64, 0..0x800_u64, unset);
    let segment = segment.prop_map(|(kind, flags, from, length, unset)| {
        let from = from & !7;
        Segment { kind, flags, from, to: from + length, unset }
    });
    prop::collection::vec(segment, 0..8)
}

fn program() -> impl Strategy<Value = Vec<u8>> {
    (program_with_sections(), prop::option::of(segments())).prop_map(|(program, segments)| match segments {
        Some(segments) => headerless(program, &segments),
        None => program,
    })
}

fn program_with_sections() -> impl Strategy<Value = Vec<u8>> {
    let section = (0..KINDS.len(), contents(), 0..3_u64, 0..16_u32);
    let sections = prop::collection::vec(section, 1..10);
    let machine = prop::sample::select(vec![X86_64, AARCH64, ARM]);
    (machine, any::<bool>(), sections).prop_map(|(machine, is_fixed, sections)| {
        let mut address = 0x200;
        let sections = sections.into_iter().map(|(kind, bytes, gap, link)| {
            let (name, kind, flags) = KINDS[kind];
            let at = address;
            address += (bytes.len() as u64).next_multiple_of(8) + gap * 8;
            Section { name, kind, flags, address: at, bytes, link }
        });
        let mut sections: Vec<_> = sections.collect();
        sections.sort_by_key(|section| section.flags & ALLOC == 0);
        elf(machine, is_fixed, &sections)
    })
}

/// All that is predicted of the copies where every fifth reference turns out to be something else.
fn predictions(layout: &Layout, copies: &[Copy], old: &[u8]) -> Vec<(Reference, super::super::Prediction)> {
    let mut predictor = Predictor::new(layout.clone(), copies);
    let mut all = Vec::new();
    for copy in copies {
        let bytes = &old[copy.position as usize..(copy.position + copy.length) as usize];
        let mut found = Vec::new();
        predictor.find(copy.position, bytes, &mut found);
        let mut end = copy.position;
        for reference in found {
            assert!(reference.position >= end && (1..=8).contains(&reference.length));
            end = reference.position + u64::from(reference.length);
            assert!(end <= copy.position + copy.length);
            let start = copy.start + (reference.position - copy.position);
            let prediction = predictor.predict(&reference, start);
            let candidates = &prediction.candidates[..prediction.count];
            let length = u32::from(reference.length);
            assert!(!candidates.is_empty() && prediction.context < super::super::CONTEXTS);
            assert!(candidates.iter().all(|value| length == 8 || value >> (8 * length) == 0));
            let value = if all.len() % 5 == 4 { start } else { candidates[candidates.len() - 1] };
            predictor.learn(&reference, start, &value.to_le_bytes()[..length as usize]);
            all.push((reference, prediction));
        }
    }
    all
}

/// Copies of a file of `length` bytes, to anywhere.
fn copies(length: u64) -> impl Strategy<Value = Vec<Copy>> {
    let copy = (0..length, 1..length + 1, 0..32_u64).prop_map(move |(position, long, gap)| Copy {
        position,
        length: long.min(length - position),
        start: gap,
    });
    prop::collection::vec(copy, 0..12).prop_map(|mut copies| {
        let mut end = 0;
        for copy in &mut copies {
            copy.start += end;
            end = copy.start + copy.length;
        }
        copies
    })
}

proptest! {
    #[test]
    fn both_sides_predict_the_same(
        (old, new, copies) in (program(), program()).prop_flat_map(|(old, new)| {
            let length = old.len() as u64;
            (Just(old), Just(new), copies(length))
        }),
    ) {
        for new in [&new, &old] {
            let Some(layout) = Layout::of(&old, new) else { continue };
            let mut told = Vec::new();
            layout.write(&mut told);
            let mut input = skiff_wire::Input::new(&told[..]);
            let read = &mut |offset: u64, bytes: &mut [u8]| {
                bytes.copy_from_slice(&old[offset as usize..][..bytes.len()]);
                Ok(())
            };
            let again = Layout::read(&mut input, old.len() as u64, read).unwrap();
            prop_assert!(input.rest().is_empty() && again == layout);
            prop_assert_eq!(predictions(&layout, &copies, &old), predictions(&again, &copies, &old));
            let neutral = crate::predict::neutral::neutralise(new, Kinds::NONE).map(|neutral| neutral.len());
            prop_assert_eq!(neutral, Some(new.len()));
        }
    }

    #[test]
    fn a_layout_that_is_read_is_written_the_same(
        (old, changes) in (program(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)),
        told in prop::collection::vec(prop_oneof![0..9_u8, any::<u8>()], 0..60),
    ) {
        let mut old = old;
        // The headers, mostly.
        for (at, byte) in changes {
            let back = at.index(old.len().min(1200));
            let at = if back < 0x200 { back } else { old.len() - (back - 0x1ff) };
            old[at] = byte;
        }
        let read = &mut |offset: u64, bytes: &mut [u8]| {
            bytes.copy_from_slice(&old[offset as usize..][..bytes.len()]);
            Ok(())
        };
        let mut input = skiff_wire::Input::new(&told[..]);
        if let Ok(layout) = Layout::read(&mut input, old.len() as u64, read) {
            let read = told.len() - input.rest().len();
            let mut again = Vec::new();
            layout.write(&mut again);
            prop_assert_eq!(&again[..], &told[..read]);
            let copies = [Copy { position: 0, start: 3, length: old.len() as u64 }];
            predictions(&layout, &copies, &old);
        }
        Layout::of(&old, &old);
    }
}
