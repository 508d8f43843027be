//! Small executables for x86-64 whose parts name each other.

/// Where the code begins, and where the data would if there were no gap.
const CODE: u64 = 0x200;
const DATA: u64 = 0x400;

/// An executable without section headers: code, with a gap of so many bytes before its last function, and data with a dynamic
/// section that tells of symbols.
pub(super) fn executable(gap: u16) -> Vec<u8> {
    let gap = u64::from(gap);
    let data = DATA + gap;
    let words = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // A shared object for machine 62 of version 1, which starts at its code.
    file.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    file.extend(words(&[CODE, 64, 0]));
    // Flags, the header's size, and three program headers of 56 bytes.
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    let dynamic = 14 * 8;
    for (kind, flags, from, to, unset) in [
        (1_u32, 5_u32, 0, CODE + 0x80 + gap, 0),
        (1, 6, data, data + dynamic + 32, 64),
        (2, 6, data, data + dynamic, 0),
    ] {
        file.extend([kind.to_le_bytes(), flags.to_le_bytes()].concat());
        file.extend(words(&[from, from, from, to - from, to - from + unset, 8]));
    }
    let (symbols, strings, relocations) = (0x108, 0x140, 0x150);
    file.resize(0x108 + 24, 0);
    file.extend([1, 0, 0, 0, 2, 0, 1, 0]);
    file.extend(words(&[CODE + 0x40 + gap, 0x40]));
    file.resize(0x140, 0);
    file.extend(b"\0last\0");
    file.resize(0x150, 0);
    file.extend(words(&[data + dynamic, 8, CODE + 0x40 + gap]));
    file.resize(0x200, 0x90);
    for at in (0..0x40).step_by(8) {
        let distance = (0x40 + gap).wrapping_sub(at + 5) as u32;
        file.extend([0xe8].into_iter().chain(distance.to_le_bytes()).chain([0x90; 3]));
    }
    file.resize(file.len() + usize::try_from(gap).unwrap_or(0) + 0x40, 0x90);
    file.resize(usize::try_from(data).unwrap_or(0), 0);
    file.extend(words(&[6, symbols, 5, strings, 10, 6, 7, relocations, 8, 24, 12, CODE, 0, 0]));
    file.extend(words(&[CODE + 0x40 + gap, data, 0, CODE]));
    file
}
