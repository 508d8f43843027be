//! What a frame's records learn together.

use skiff_coder::{Bit, Bytes, Flags, Number, Sets, Signed, Text};

use crate::predict::{CANDIDATES, KINDS};

/// Lines of the model of corrections, as a power of two: twice as many take 0.15 % less, and 2 MiB.
const CORRECTION_BITS: u32 = 16;
const CORRECTION_SETS: Sets = Sets { fine: CLASSES, coarse: 8 };
/// Contexts of a correction.
pub(super) const CORRECTION: usize = 7;
/// Places of the models of words and bytes, as a power of two: a quarter as many take 0.4 % more.
const WORD_BITS: u32 = 16;
const BYTE_BITS: u32 = 16;
/// Contexts of a byte of a reference.
pub(super) const FIELD: usize = 5;
/// Places of the models of references, as a power of two, and lines of those of their bytes.
const CANDIDATE_BITS: u32 = 15;
const FIELD_BITS: u32 = 14;
/// Their sets of weights: by place in the field.
const FIELD_SETS: Sets = Sets { fine: 1, coarse: 8 };
/// The most classes of what a range holds.
pub(super) const CLASSES: usize = 8;

/// The models of everything that a payload holds.
#[derive(Debug)]
pub(crate) struct Models {
    pub(super) controls: Controls,
    pub(super) copies: Copies,
    /// Bytes that nothing in the source is like.
    pub(super) literals: Text,
}

/// The models of what a copy is corrected by.
#[derive(Debug)]
pub(super) struct Copies {
    /// Whether 64 bytes are as in the source, by class and for how long that held.
    pub(super) blocks: [[Bit; 24]; CLASSES],
    /// Whether eight bytes are.
    pub(super) words: Flags<3>,
    /// Whether one is.
    pub(super) bytes: Flags<5>,
    /// What one is instead.
    pub(super) corrections: Bytes<CORRECTION>,
    /// Which of a reference's candidates it is.
    pub(super) candidates: Flags<3>,
    /// What a reference is that is none of them.
    pub(super) fields: Bytes<FIELD>,
}

/// The models of the controls.
#[derive(Debug, Default)]
pub(super) struct Controls {
    pub(super) literals: Number,
    pub(super) lengths: Number,
    pub(super) recent: [[Bit; 4]; 3],
    pub(super) shifts: Signed,
}

impl Models {
    /// What they hold, in bytes.
    pub(crate) const MEMORY: u64 = Text::MEMORY
        + Bytes::<CORRECTION>::memory(CORRECTION_BITS, CORRECTION_SETS)
        + Bytes::<FIELD>::memory(FIELD_BITS, FIELD_SETS)
        + 2 * Number::MEMORY
        + Signed::MEMORY
        + Flags::<3>::memory(CANDIDATE_BITS, CANDIDATES + KINDS)
        + Flags::<3>::memory(WORD_BITS, CLASSES)
        + Flags::<5>::memory(BYTE_BITS, CLASSES)
        + (64 << 10);

    pub(crate) fn new() -> Self {
        Self { controls: Controls::default(), copies: Copies::new(), literals: Text::new() }
    }
}

impl Copies {
    fn new() -> Self {
        Self {
            blocks: [[Bit::new(); 24]; CLASSES],
            words: Flags::new(WORD_BITS, CLASSES),
            bytes: Flags::new(BYTE_BITS, CLASSES),
            corrections: Bytes::new(CORRECTION_BITS, CORRECTION_SETS),
            candidates: Flags::new(CANDIDATE_BITS, CANDIDATES + KINDS),
            fields: Bytes::new(FIELD_BITS, FIELD_SETS),
        }
    }
}
