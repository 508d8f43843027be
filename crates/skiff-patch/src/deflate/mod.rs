//! Doing again what GNU gzip and zlib did: their deflate, bit for bit.
//!
//! Deflate leaves the compressor free to choose; these two always choose alike, and nearly every gzip file in an image is
//! the work of one of them. So a compressed file is its plain text and the compressor's settings, and not a bit more. The
//! models are written after the published algorithm (RFC 1951; Deutsch and Gailly's hash chains with lazy evaluation;
//! Huffman codes of limited length) and agree with the programs in every tie, every limit and every lapse.
//!
//! The crate preflate-rs rebuilds more compressors' streams, from corrections that it keeps. It is not used here, for two
//! reasons. On the 349 gzip files that differ between two Debian images it keeps 55 KB of corrections; this keeps one byte
//! a file. And it trusts its corrections: those of a hostile delta make it allocate gigabytes, or write empty blocks
//! without end, which no caller can stop. A model has no corrections, and its work is bounded by the plain text's length.

mod block;
#[cfg(feature = "encode")]
mod find;
mod huffman;
mod matcher;

use std::io::Write;

use block::BlockWriter;
#[cfg(feature = "encode")]
pub(crate) use find::{Expected, find, inflate};
pub(crate) use matcher::PADDING;

use crate::PatchError;

/// A program and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compressor {
    program: Program,
    level: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// GNU gzip 1.3 and later.
    Gzip,
    /// zlib with a window of 32 KiB and its default strategy, at this memory level (8 unless the caller wished otherwise).
    Zlib { memory_level: u8 },
}

/// What the programs' levels stand for, 1 to 9: Gailly's table, the same in both.
const EFFORTS: [Effort; 9] = [
    Effort::new(4, 4, 8, 4),
    Effort::new(4, 5, 16, 8),
    Effort::new(4, 6, 32, 32),
    Effort::new(4, 4, 16, 16),
    Effort::new(8, 16, 32, 32),
    Effort::new(8, 16, 128, 128),
    Effort::new(8, 32, 128, 256),
    Effort::new(32, 128, 258, 1024),
    Effort::new(32, 258, 258, 4096),
];

#[derive(Debug, Clone, Copy)]
struct Effort {
    /// From this match length on, a quarter of the chain is searched for a better one.
    good: usize,
    /// From this match length on, no better one is searched for; in the fast levels, no longer match is entered into the
    /// hash table.
    lazy: usize,
    /// A match of this length ends the search.
    nice: usize,
    /// How many candidates are looked at.
    chain: usize,
}

impl Effort {
    const fn new(good: usize, lazy: usize, nice: usize, chain: usize) -> Self {
        Self { good, lazy, nice, chain }
    }
}

impl Compressor {
    /// The compressor of this number: the level, and 0, 16 or 32 more for gzip, zlib, and zlib at memory level 9.
    pub(crate) fn from_id(id: u64) -> Option<Self> {
        let program = match id >> 4 {
            0 => Program::Gzip,
            1 => Program::Zlib { memory_level: 8 },
            2 => Program::Zlib { memory_level: 9 },
            _ => return None,
        };
        let level = u8::try_from(id & 15).ok().filter(|level| (1..=9).contains(level))?;
        Some(Self { program, level })
    }

    /// The inverse of [`Self::from_id`].
    #[cfg(feature = "encode")]
    pub(crate) fn id(self) -> u64 {
        let program = match self.program {
            Program::Gzip => 0,
            Program::Zlib { memory_level: 8 } => 16,
            Program::Zlib { .. } => 32,
        };
        program + u64::from(self.level)
    }

    /// All of them, the commonest first.
    #[cfg(feature = "encode")]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let levels = [9, 6, 1, 5, 8, 7, 4, 3, 2];
        levels
            .into_iter()
            .flat_map(|level| [0, 16, 32].map(|program| program + level))
            .filter_map(Self::from_id)
    }

    fn effort(self) -> Effort {
        EFFORTS[usize::from(self.level - 1)]
    }

    /// Levels 1 to 3 take the first match they find.
    fn is_fast(self) -> bool {
        self.level <= 3
    }
}

/// How much memory [`compress`] holds beside the plain text, in bytes, from above.
pub(crate) const COMPRESSOR_MEMORY: u64 = 1 << 20;

/// Writes the deflate stream that `compressor` makes of `plain`, which it pads.
///
/// # Errors
/// Those of `output`; and [`PatchError::Corrupt`] for a plain text that the compressor would put into a stored block longer
/// than deflate's longest, so that it cannot be its work.
pub(crate) fn compress<W: Write>(
    plain: Vec<u8>,
    compressor: Compressor,
    output: W,
) -> Result<(), PatchError> {
    let mut blocks = BlockWriter::new(output);
    matcher::run(plain, compressor, &mut blocks)?;
    blocks.finish()
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::io::Read as _;

    /// Words, noise, runs and repeats, 140 KiB of them: enough for several blocks of every type, and for the window to move.
    fn sample() -> Vec<u8> {
        let mut state = 2_u32;
        let mut next = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let mut sample = Vec::new();
        while sample.len() < 140 << 10 {
            match next(40) {
                0 => sample.extend((0..next(30_000)).map(|_| next(256) as u8).collect::<Vec<_>>()),
                1 => sample.extend(vec![next(256) as u8; next(9_000) as usize]),
                2 => sample.extend_from_within(sample.len() / 3..sample.len() / 2),
                _ => {
                    for _ in 0..400 {
                        let word = next(800);
                        sample.extend(
                            format!("{:x}{}", word * word, [" ", ", ", ".\n"][next(3) as usize]).bytes(),
                        );
                    }
                }
            }
        }
        sample.truncate(140 << 10);
        sample
    }

    /// Length and CRC-32 of what GNU gzip 1.12 and zlib 1.2.13 at memory levels 8 and 9 make of the sample, by level.
    const MADE: [[(usize, u32); 3]; 9] = [
        [(86_281, 0x4d6a_5dc2), (81_479, 0xcda4_44fd), (86_982, 0x13db_ebc8)],
        [(83_452, 0x10bb_f02f), (78_761, 0x6940_a9c7), (83_955, 0x6988_ec5a)],
        [(80_877, 0xe617_fb46), (77_182, 0x9b76_521b), (80_896, 0x107f_89d5)],
        [(79_395, 0xc8bd_00ce), (75_610, 0x5216_9375), (79_593, 0xbd12_893d)],
        [(78_277, 0xb9da_fc0a), (74_576, 0xc109_8436), (78_298, 0x1412_9227)],
        [(77_764, 0xd2db_f3d7), (74_344, 0x3499_5cb3), (77_764, 0xd2db_f3d7)],
        [(77_636, 0x9406_c6cc), (74_284, 0x7f8a_e33f), (77_636, 0x9406_c6cc)],
        [(77_601, 0xf8ce_e7db), (74_266, 0x2a2a_fd48), (77_601, 0xf8ce_e7db)],
        [(77_601, 0xf8ce_e7db), (74_266, 0x2a2a_fd48), (77_601, 0xf8ce_e7db)],
    ];

    #[test]
    fn the_programs_are_followed_bit_for_bit() {
        let sample = sample();
        for compressor in Compressor::all() {
            let mut made = Vec::new();
            compress(sample.clone(), compressor, &mut made).unwrap();
            let expected = MADE[usize::from(compressor.level) - 1][(compressor.id() >> 4) as usize];
            assert_eq!((made.len(), crc32fast::hash(&made)), expected, "{compressor:?}");
        }
    }

    #[test]
    fn numbers_are_found_again_and_others_are_none() {
        let mut ids: Vec<_> = Compressor::all().map(Compressor::id).collect();
        ids.sort_unstable();
        assert_eq!(ids.len(), 27);
        assert_eq!(ids, (0..1000).filter(|&id| Compressor::from_id(id).is_some()).collect::<Vec<_>>());
        assert!(Compressor::from_id(u64::MAX).is_none());
    }

    proptest! {
        /// Any plain text, from any payload: flate2 reads what is made of it.
        #[test]
        fn what_is_made_is_a_deflate_stream(
            pieces in vec((vec(any::<u8>(), 0..300), 1..200_usize), 0..6),
            index in 0..27_usize,
        ) {
            let plain: Vec<u8> = pieces.into_iter().flat_map(|(piece, times)| piece.repeat(times)).collect();
            let compressor = Compressor::all().nth(index).unwrap();
            let mut made = Vec::new();
            compress(plain.clone(), compressor, &mut made).unwrap();
            let mut inflated = Vec::new();
            flate2::read::DeflateDecoder::new(&made[..]).read_to_end(&mut inflated).unwrap();
            prop_assert!(inflated == plain);
        }
    }
}
