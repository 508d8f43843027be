//! The code of golden executables: functions that name each other, tables and data in every way that is known of.

use super::executables::Function;

/// Where things are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) text: u64,
    /// By number.
    pub(crate) functions: Vec<u64>,
    pub(crate) read_only: u64,
    /// The table that code finds places by.
    pub(crate) table: u64,
    pub(crate) data: u64,
    /// Memory without bytes in the file.
    pub(crate) unset: u64,
}

impl Places {
    /// The function that comes so many behind another one by their numbers, be it there or not.
    fn function(&self, number: usize, behind: usize) -> u64 {
        self.functions[(number + behind) % self.functions.len()]
    }
}

/// What tells the functions apart.
fn noise(number: usize, index: usize) -> u32 {
    ((number * 31 + index + 1) as u32).wrapping_mul(0x9e37_79b1)
}

/// A function for x86-64 that begins at `begin`.
pub(crate) fn x86(places: &Places, (number, length): Function, begin: u64) -> Vec<u8> {
    let mut code = vec![0xf3, 0x0f, 0x1e, 0xfa];
    // The operand counts from behind it and so many bytes more.
    let name = |code: &mut Vec<u8>, opcode: &[u8], target: u64, behind: u64| {
        code.extend_from_slice(opcode);
        let from = begin + code.len() as u64 + 4 + behind;
        code.extend_from_slice(&target.wrapping_sub(from).to_le_bytes()[..4]);
    };
    // lea data(%rip), %rax; mov table(%rip), %rax
    name(&mut code, &[0x48, 0x8d, 0x05], places.data + 8 * (number as u64 % 4), 0);
    name(&mut code, &[0x48, 0x8b, 0x05], places.table + 8 * (number as u64 % 4), 0);
    for index in 0..length {
        code.push(0xb8);
        code.extend_from_slice(&noise(number, index).to_le_bytes());
    }
    name(&mut code, &[0xe8], places.function(number, 3), 0);
    name(&mut code, &[0xe8], places.function(number, 7), 0);
    // je; vmovdqa unset(%rip), %ymm0; movl $1, unset(%rip); lea table of jumps(%rip), %rdx
    name(&mut code, &[0x0f, 0x84], places.function(number, 1), 0);
    name(&mut code, &[0xc5, 0xfd, 0x6f, 0x05], places.unset + 0x20, 0);
    name(&mut code, &[0xc7, 0x05], places.unset + 4 * number as u64, 4);
    code.extend_from_slice(&[1, 0, 0, 0]);
    name(&mut code, &[0x48, 0x8d, 0x15], places.read_only, 0);
    // mov $data, %edi: a place only where addresses are fixed; je over two nops.
    code.push(0xbf);
    code.extend_from_slice(&places.data.to_le_bytes()[..4]);
    code.extend_from_slice(&[0x74, 2, 0x90, 0x90]);
    name(&mut code, &[0xe9], places.function(number, 5), 0);
    code.push(0xc3);
    code
}

/// The lowest bits of a distance, counted in units of two to this power, moved to where they stand.
const fn distance(target: u64, place: u64, unit: u32, bits: u32, at: u32) -> u32 {
    let number = target.wrapping_sub(place) >> unit;
    (number as u32 & ((1 << bits) - 1)) << at
}

/// A function for AArch64.
pub(crate) fn aarch64(places: &Places, (number, length): Function, begin: u64) -> Vec<u8> {
    let mut code: Vec<u32> = Vec::new();
    let here = |code: &[u32]| begin + 4 * code.len() as u64;
    let adrp = |register: u32, target: u64, place: u64| {
        let pages = ((target >> 12).wrapping_sub(place >> 12)) as u32;
        0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5 | register
    };
    let low = |target: u64, scale: u32| (target as u32 & 0xfff) >> scale << 10;
    let data = places.data + 8 * (number as u64 % 4);
    let unset = places.unset + 16 * number as u64;
    // adrp x0; add x0, x0, #
    code.push(adrp(0, data, here(&code)));
    code.push(0x9100_0000 | low(data, 0));
    // adrp x1; mov w4, #; ldr x2, [x1, #]; ldr q0, [x1, #]
    code.push(adrp(1, unset, here(&code)));
    code.push(0x5280_0004);
    code.push(0xf940_0022 | low(unset, 3));
    code.push(0x3dc0_0020 | low(unset, 4));
    // adrp x5, which nothing is added to before mov x5, x0 writes it.
    code.push(adrp(5, places.read_only, here(&code)));
    code.push(0xaa00_03e5);
    for index in 0..length {
        code.push(0x5280_0003 | (noise(number, index) >> 16) << 5);
    }
    // bl; b.eq; cbz x0; tbz w0, #3; adr x6; ldr x7
    code.push(0x9400_0000 | distance(places.function(number, 3), here(&code), 2, 26, 0));
    code.push(0x5400_0000 | distance(places.function(number, 1), here(&code), 2, 19, 5));
    code.push(0xb400_0000 | distance(places.function(number, 7), here(&code), 2, 19, 5));
    code.push(0x3618_0000 | distance(places.function(number, 2), here(&code), 2, 14, 5));
    let near = places.read_only.wrapping_sub(here(&code)) as u32;
    code.push(0x1000_0006 | (near & 3) << 29 | (near >> 2 & 0x7_ffff) << 5);
    code.push(0x5800_0007 | distance(places.table, here(&code), 2, 19, 5));
    code.push(0x1400_0000 | distance(places.function(number, 5), here(&code), 2, 26, 0));
    code.push(0xd65f_03c0);
    code.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A function for ARM: the first ones of Thumb's instructions, the others of ARM's own.
pub(crate) fn arm(places: &Places, function: Function, begin: u64) -> Vec<u8> {
    if function.0 < 6 { thumb(places, function, begin) } else { long(places, function, begin) }
}

fn long(places: &Places, (number, length): Function, begin: u64) -> Vec<u8> {
    let mut code: Vec<u32> = Vec::new();
    let here = |code: &[u32]| begin + 4 * code.len() as u64;
    let unset = (places.unset + 4 * number as u64) as u32;
    let half = |half: u32| (half >> 12 & 15) << 16 | half & 0xfff;
    // movw r0, #; movt r0, #; mov r4, #
    code.push(0xe300_0000 | half(unset));
    code.push(0xe340_0000 | half(unset >> 16));
    for index in 0..length {
        code.push(0xe3a0_4000 | noise(number, index) >> 20);
    }
    // bl; beq
    code.push(0xeb00_0000 | distance(places.function(number, 2), here(&code) + 8, 2, 24, 0));
    code.push(0x0a00_0000 | distance(places.function(number, 1), here(&code) + 8, 2, 24, 0));
    // ldr r3, [pc, #16]; add r3, pc, r3; ldr r2, [pc, #12]; ldr r1, [pc, #12]; b; bx lr; and the words.
    code.push(0xe59f_3010);
    let anchor = here(&code) + 8;
    code.push(0xe08f_3003);
    code.push(0xe59f_200c);
    code.push(0xe59f_100c);
    code.push(0xea00_0000 | distance(places.function(number, 5), here(&code) + 8, 2, 24, 0));
    code.push(0xe12f_ff1e);
    code.push((places.data.wrapping_sub(anchor)) as u32);
    code.push((places.data + 4) as u32);
    code.push(4 * (number as u32 % 4));
    code.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn thumb(places: &Places, (number, length): Function, begin: u64) -> Vec<u8> {
    let mut code: Vec<u32> = Vec::new();
    let here = |code: &[u32]| begin + 2 * code.len() as u64;
    let unset = (places.unset + 4 * number as u64) as u32;
    let half = |register: u32, half: u32| {
        [half >> 1 & 0x400 | half >> 12 & 15, (half >> 8 & 7) << 12 | register << 8 | half & 0xff]
    };
    // movw r0, #; movt r0, #; movs r4, #
    let [first, second] = half(0, unset & 0xffff);
    code.extend([0xf240 | first, second]);
    let [first, second] = half(0, unset >> 16);
    code.extend([0xf2c0 | first, second]);
    code.extend((0..2 * length).map(|index| 0x2400 | noise(number, index) >> 24));
    // bl; blx; b.w; beq.w
    let to = |code: &[u32], behind: usize| places.function(number, behind).wrapping_sub(here(code) + 4);
    code.extend(far(0xd000, to(&code, 1)));
    if number >= 2 {
        code.extend(far(0xc000, places.functions[number + 4].wrapping_sub((here(&code) + 4) & !3)));
    }
    code.extend(far(0x9000, to(&code, 2)));
    let by = distance(to(&code, 3), 0, 1, 20, 0);
    let branch =
        [by >> 19 << 10 | by >> 11 & 0x3f, (by >> 17 & 1) << 13 | (by >> 18) << 11 & 0x800 | by & 0x7ff];
    code.extend([0xf000 | branch[0], 0x8000 | branch[1]]);
    // beq; b
    code.push(0xd000 | distance(places.functions[number], here(&code) + 4, 1, 8, 0));
    code.push(0xe000 | distance(places.functions[number], here(&code) + 4, 1, 11, 0));
    // ldr r2, [pc, #4]; add r2, pc; bx lr; and the word, from a multiple of four bytes on.
    if here(&code) % 4 != 0 {
        code.push(0xbf00);
    }
    code.push(0x4a01);
    let anchor = here(&code) + 4;
    code.extend([0x447a, 0x4770, 0xbf00]);
    let word = places.data.wrapping_sub(anchor) as u32;
    code.extend([word & 0xffff, word >> 16]);
    code.iter().flat_map(|half| (*half as u16).to_le_bytes()).collect()
}

/// Thumb's bl, blx and b.w.
fn far(second: u32, by: u64) -> [u32; 2] {
    let number = distance(by, 0, 1, 24, 0);
    let sign = number >> 23;
    let bit = |at: u32| !(number >> at ^ sign) & 1;
    [0xf000 | sign << 10 | number >> 11 & 0x3ff, second | bit(22) << 13 | bit(21) << 11 | number & 0x7ff]
}
