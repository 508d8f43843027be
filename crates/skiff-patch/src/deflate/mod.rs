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

use std::io::{self, Write};

use block::BlockWriter;
#[cfg(all(feature = "encode", any(feature = "zip", feature = "png")))]
pub(crate) use find::Expected;
#[cfg(feature = "encode")]
pub(crate) use find::find;
#[cfg(all(feature = "encode", any(feature = "gzip", feature = "zip")))]
pub(crate) use find::inflate;
pub(crate) use matcher::PADDING;

#[cfg(any(feature = "gzip", feature = "png"))]
use skiff_wire::Input;

use crate::PatchError;

/// A program and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compressor {
    program: Program,
    level: u8,
    /// Whether zlib was told that the text was filtered, as scanlines are: it then takes no match of five bytes or less at
    /// the levels that look ahead.
    is_filtered: bool,
    /// The binary logarithm of the window, 9 to 15.
    window_bits: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// GNU gzip 1.3 and later.
    Gzip,
    /// zlib, at this memory level (8 unless the caller wished otherwise).
    Zlib { memory_level: u8 },
}

/// The largest window is the format's own, the smallest is zlib's.
const WINDOW_BITS: u8 = 15;
const LEAST_WINDOW_BITS: u8 = 9;

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
    /// The compressor of this number: the level; 0, 16 or 32 more for gzip, zlib, and zlib at memory level 9; for zlib alone,
    /// 64 more for filtered texts, and 128 times the bits by which the window is smaller than 32 KiB.
    pub(crate) fn from_id(id: u64) -> Option<Self> {
        let program = match id >> 4 & 3 {
            0 => Program::Gzip,
            1 => Program::Zlib { memory_level: 8 },
            2 => Program::Zlib { memory_level: 9 },
            _ => return None,
        };
        if program == Program::Gzip && id >> 4 != 0 {
            return None;
        }
        let level = u8::try_from(id & 15).ok().filter(|level| (1..=9).contains(level))?;
        let smaller =
            u8::try_from(id >> 7).ok().filter(|smaller| *smaller <= WINDOW_BITS - LEAST_WINDOW_BITS)?;
        Some(Self { program, level, is_filtered: id >> 6 & 1 == 1, window_bits: WINDOW_BITS - smaller })
    }

    /// The compressor whose number comes next.
    #[cfg(any(feature = "gzip", feature = "png"))]
    pub(crate) fn read(input: &mut Input<&[u8]>) -> Result<Self, PatchError> {
        let offset = input.offset();
        let unknown = PatchError::corrupt(offset, "there is no compressor of this number");
        Self::from_id(input.varint()?).ok_or(unknown)
    }

    /// The inverse of [`Self::from_id`].
    #[cfg(feature = "encode")]
    pub(crate) fn id(self) -> u64 {
        let program = match self.program {
            Program::Gzip => 0,
            Program::Zlib { memory_level: 8 } => 16,
            Program::Zlib { .. } => 32,
        };
        let smaller = u64::from(WINDOW_BITS - self.window_bits);
        smaller << 7 | u64::from(self.is_filtered) << 6 | program | u64::from(self.level)
    }

    /// Those that make gzip files and archives: `likely`, and the others, the commonest first.
    #[cfg(all(feature = "encode", any(feature = "gzip", feature = "zip")))]
    pub(crate) fn all(likely: Option<Self>) -> impl Iterator<Item = Self> {
        const LEVELS: [u64; 9] = [9, 6, 1, 5, 8, 7, 4, 3, 2];
        let others = LEVELS.into_iter().flat_map(|level| [0, 16, 32].map(|program| program + level));
        let others = others.filter_map(Self::from_id).filter(move |&other| Some(other) != likely);
        likely.into_iter().chain(others)
    }

    /// Those that make the zlib streams of images that begin so (RFC 1950, 2.2): what zlib says there of its level is so, but
    /// libpng often says that the window is smaller than it was.
    #[cfg(all(feature = "encode", feature = "png"))]
    pub(crate) fn of_images([method, flags]: [u8; 2]) -> impl Iterator<Item = Self> {
        /// Filtered texts first, which the fast levels make the same of.
        const PROGRAMS: [u64; 4] = [64 + 16, 64 + 32, 16, 32];
        let levels: &[u64] = match flags >> 6 {
            0 => &[1],
            1 => &[5, 4, 3, 2],
            2 => &[6],
            _ => &[9, 7, 8],
        };
        let told = ((method >> 4) + 8).clamp(LEAST_WINDOW_BITS, WINDOW_BITS);
        let windows = [Some(told), Some(WINDOW_BITS).filter(|&most| most != told)];
        let numbers = windows.into_iter().flatten().flat_map(move |bits| {
            let smaller = u64::from(WINDOW_BITS - bits) << 7;
            PROGRAMS
                .into_iter()
                .flat_map(move |program| levels.iter().map(move |level| smaller + program + level))
        });
        numbers
            .filter_map(Self::from_id)
            .filter(|compressor| !(compressor.is_filtered && compressor.is_fast()))
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

/// Appends the deflate stream that `compressor` makes of `plain` to `file`, which has room for `most` bytes more.
///
/// # Errors
/// [`PatchError::Corrupt`] where the stream is longer than that, and for a plain text that is not the compressor's.
pub(crate) fn append(
    plain: Vec<u8>,
    compressor: Compressor,
    file: &mut Vec<u8>,
    most: u64,
) -> Result<(), PatchError> {
    match compress(plain, compressor, Capped { file, left: most }) {
        Err(PatchError::Io { .. }) => {
            Err(PatchError::corrupt(0, "what is compressed is longer than the output"))
        }
        result => result,
    }
}

/// How long the deflate stream of a plain text can be: a literal takes 9 bits at most, and a match of three bytes 31.
pub(crate) fn longest(plain: u64) -> u64 {
    plain.saturating_add(plain / 2).saturating_add(1 << 10)
}

/// Takes no more than was promised.
struct Capped<'a> {
    file: &'a mut Vec<u8>,
    left: u64,
}

impl Write for Capped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
        self.file.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, feature = "encode", any(feature = "gzip", feature = "zip")))]
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

    /// The same of zlib told that the text is filtered, and with smaller windows, by the compressor's number.
    const MADE_FOR_IMAGES: [(u64, (usize, u32)); 40] = [
        (81, (81_479, 0xcda4_44fd)),
        (97, (86_982, 0x13db_ebc8)),
        (83, (77_182, 0x9b76_521b)),
        (99, (80_896, 0x107f_89d5)),
        (84, (77_351, 0xf428_b5ec)),
        (100, (79_317, 0xf653_ff39)),
        (85, (76_869, 0x9f86_5a9f)),
        (101, (79_317, 0x3a28_990d)),
        (86, (76_062, 0x70ec_76dc)),
        (102, (79_033, 0x091b_a7ff)),
        (87, (75_873, 0xe856_4ec9)),
        (103, (78_969, 0x8149_62b8)),
        (88, (75_815, 0x352e_8c9e)),
        (104, (78_963, 0x366f_d813)),
        (89, (75_815, 0x352e_8c9e)),
        (105, (78_963, 0x366f_d813)),
        (785, (86_340, 0xb44d_c489)),
        (854, (91_611, 0xfe3a_0df7)),
        (873, (93_997, 0xdc16_cade)),
        (793, (85_693, 0x5fdb_b57b)),
        (657, (87_877, 0xea29_1647)),
        (726, (89_764, 0x3c43_7922)),
        (745, (90_605, 0xccf7_273a)),
        (665, (85_881, 0x40ee_8703)),
        (529, (86_431, 0xb712_7b24)),
        (598, (87_200, 0x4a2f_d648)),
        (617, (87_952, 0x0e8f_2af0)),
        (537, (84_161, 0x8759_083b)),
        (401, (87_235, 0x460a_c575)),
        (470, (82_380, 0xb0c6_ea3c)),
        (489, (87_686, 0x16a6_92b9)),
        (409, (82_348, 0xe77f_56a4)),
        (273, (85_075, 0xd84b_4e3e)),
        (342, (79_905, 0xe497_96af)),
        (361, (80_570, 0xed36_d81f)),
        (281, (76_851, 0x8d26_ae97)),
        (145, (81_990, 0xfcee_b394)),
        (214, (76_658, 0x82c7_c1f9)),
        (233, (78_050, 0x4fee_6298)),
        (153, (73_753, 0x3d2f_3836)),
    ];

    #[test]
    fn the_programs_are_followed_bit_for_bit() {
        let sample = sample();
        let plain = Compressor::all(None).map(|compressor| {
            (compressor.id(), MADE[usize::from(compressor.level) - 1][(compressor.id() >> 4) as usize])
        });
        for (id, expected) in plain.chain(MADE_FOR_IMAGES) {
            let compressor = Compressor::from_id(id).unwrap();
            let mut made = Vec::new();
            compress(sample.clone(), compressor, &mut made).unwrap();
            assert_eq!((made.len(), crc32fast::hash(&made)), expected, "{compressor:?}");
        }
    }

    /// Levels, filtered or not, in windows.
    const COMPRESSORS: usize = 9 + 18 * 2 * 7;

    #[test]
    fn numbers_are_found_again_and_others_are_none() {
        let known = (0..10_000).filter_map(|id| Some((id, Compressor::from_id(id)?)));
        let known: Vec<_> = known.collect();
        assert_eq!(known.len(), COMPRESSORS);
        assert!(known.iter().all(|&(id, compressor)| compressor.id() == id));
        assert!(known.iter().all(|&(id, compressor)| id < 64 || compressor.program != Program::Gzip));
        assert_eq!(Compressor::all(None).filter(|compressor| compressor.id() < 64).count(), 27);
        assert!(Compressor::from_id(u64::MAX).is_none());
    }

    /// zlib tells the level roughly, and libpng the window perhaps.
    #[test]
    #[cfg(feature = "png")]
    fn images_are_tried_by_what_their_headers_tell() {
        let numbers = |header| Compressor::of_images(header).map(Compressor::id).collect::<Vec<_>>();
        assert_eq!(numbers([0x78, 0x9c]), [64 + 22, 64 + 38, 22, 38]);
        assert_eq!(numbers([0x78, 0x01]), [17, 33]);
        assert_eq!(numbers([0x08, 0x99])[..2], [6 * 128 + 64 + 22, 6 * 128 + 64 + 38]);
        assert_eq!(numbers([0xff, 0xff]).len(), 3 * 4);
    }

    proptest! {
        /// Any plain text, from any payload: flate2 reads what is made of it.
        #[test]
        fn what_is_made_is_a_deflate_stream(
            pieces in vec((vec(any::<u8>(), 0..300), 1..200_usize), 0..6),
            index in 0..COMPRESSORS,
        ) {
            let plain: Vec<u8> = pieces.into_iter().flat_map(|(piece, times)| piece.repeat(times)).collect();
            let compressor = (0..).filter_map(Compressor::from_id).nth(index).unwrap();
            let mut made = Vec::new();
            compress(plain.clone(), compressor, &mut made).unwrap();
            let mut inflated = Vec::new();
            flate2::read::DeflateDecoder::new(&made[..]).read_to_end(&mut inflated).unwrap();
            prop_assert!(inflated == plain);
        }
    }
}
