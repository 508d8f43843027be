//! MD4 (RFC 1320) of several blocks at once. Its steps wait for each other, so one block leaves most of a processor idle;
//! those of several blocks do not, and one instruction takes a step for four of them.

use std::array::from_fn;

/// How many blocks are hashed at once: four times as many as the narrowest vectors of x86-64 and AArch64 hold, so that a call
/// for each step costs little.
pub(crate) const LANES: usize = 16;
const PIECE: usize = 64;

type Words = [u32; LANES];

/// Which word each step of a round takes.
const FIRST: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const SECOND: [usize; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
const THIRD: [usize; 16] = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];

/// The digests of as many blocks, all of the same length.
pub(crate) fn md4_lanes(blocks: &[&[u8]; LANES]) -> [[u8; 16]; LANES] {
    let length = blocks[0].len();
    debug_assert!(blocks.iter().all(|block| block.len() == length), "lanes go on together");
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476].map(|word: u32| [word; LANES]);
    let pieces = blocks.map(|block| block.as_chunks::<PIECE>().0);
    for index in 0..length / PIECE {
        compress(&mut state, &pieces.map(|lane| &lane[index]));
    }
    // What is left, a bit, and the length in bits at the end of the one or two last pieces.
    let left = length % PIECE;
    let is_two = left + 1 + 8 > PIECE;
    let ends: [[u8; 2 * PIECE]; LANES] = from_fn(|lane| {
        let mut end = [0; 2 * PIECE];
        end[..left].copy_from_slice(&blocks[lane][length - left..]);
        end[left] = 0x80;
        let bits = (length as u64).wrapping_mul(8).to_le_bytes();
        end[if is_two { 2 * PIECE - 8 } else { PIECE - 8 }..][..8].copy_from_slice(&bits);
        end
    });
    let ends: [&[[u8; PIECE]]; LANES] = from_fn(|lane| ends[lane].as_chunks::<PIECE>().0);
    for index in 0..1 + usize::from(is_two) {
        compress(&mut state, &ends.map(|lane| &lane[index]));
    }
    from_fn(|lane| {
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(&state) {
            bytes.copy_from_slice(&word[lane].to_le_bytes());
        }
        digest
    })
}

fn compress(state: &mut [Words; 4], pieces: &[&[u8; PIECE]; LANES]) {
    let mut words = [[0; LANES]; 16];
    for (lane, piece) in pieces.iter().enumerate() {
        for (word, bytes) in words.iter_mut().zip(piece.as_chunks::<4>().0) {
            word[lane] = u32::from_le_bytes(*bytes);
        }
    }
    let mut sums = *state;
    round::<0, 3, 7, 11, 19>(&mut sums, &words, &FIRST, |x, y, z| z ^ (x & (y ^ z)));
    round::<0x5a82_7999, 3, 5, 9, 13>(&mut sums, &words, &SECOND, |x, y, z| (x & y) | (z & (x | y)));
    round::<0x6ed9_eba1, 3, 9, 11, 15>(&mut sums, &words, &THIRD, |x, y, z| x ^ y ^ z);
    for (word, sum) in state.iter_mut().zip(&sums) {
        for (word, sum) in word.iter_mut().zip(sum) {
            *word = word.wrapping_add(*sum);
        }
    }
}

/// Sixteen steps, turning by each of four numbers of bits in turn. It is inlined, so that the words' places are constants.
#[inline(always)]
fn round<const CONSTANT: u32, const A: u32, const B: u32, const C: u32, const D: u32>(
    sums: &mut [Words; 4],
    words: &[Words; 16],
    order: &[usize; 16],
    mix: impl Fn(u32, u32, u32) -> u32 + Copy,
) {
    let [mut a, mut b, mut c, mut d] = *sums;
    for order in order.as_chunks::<4>().0 {
        a = step::<CONSTANT, A>(&a, [&b, &c, &d], &words[order[0]], mix);
        d = step::<CONSTANT, B>(&d, [&a, &b, &c], &words[order[1]], mix);
        c = step::<CONSTANT, C>(&c, [&d, &a, &b], &words[order[2]], mix);
        b = step::<CONSTANT, D>(&b, [&c, &d, &a], &words[order[3]], mix);
    }
    *sums = [a, b, c, d];
}

/// One step in all lanes. Not inlined: beside others, compilers take it apart lane by lane, which takes half as long again.
#[inline(never)]
fn step<const CONSTANT: u32, const TURN: u32>(
    to: &Words,
    [x, y, z]: [&Words; 3],
    word: &Words,
    mix: impl Fn(u32, u32, u32) -> u32,
) -> Words {
    let mut out = [0; LANES];
    for lane in 0..LANES {
        let sum = to[lane].wrapping_add(mix(x[lane], y[lane], z[lane]));
        out[lane] = sum.wrapping_add(word[lane]).wrapping_add(CONSTANT).rotate_left(TURN);
    }
    out
}

#[cfg(test)]
mod tests {
    use md4::{Digest as _, Md4};

    use super::*;

    #[test]
    fn each_lane_is_md4() {
        let bytes: Vec<u8> = (0..17_000_u32).map(|index| (index * index / 7) as u8).collect();
        for length in (0..200).chain([1000, 1024]) {
            let blocks = from_fn(|lane| &bytes[lane * 1000..][..length]);
            let expected = blocks.map(|block| <[u8; 16]>::from(Md4::digest(block)));
            assert_eq!(md4_lanes(&blocks), expected, "{length}");
        }
    }
}
