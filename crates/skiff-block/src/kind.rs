//! What a signature consists of: which hashes, how long they are, and how long the blocks.

use std::fmt;

use crate::BlockError;

/// The length of blocks where nothing is known of the file: librsync's default.
const UNKNOWN_SIZE_BLOCK: u32 = 2048;

/// Which hashes a signature has. librsync knows four kinds, each with a magic number of its own.
///
/// The default is librsync's too: RabinKarp and BLAKE2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SignatureKind {
    /// The hash that rolls over the new file.
    pub weak: WeakHash,
    /// The hash that confirms what the weak one found.
    pub strong: StrongHash,
}

/// A hash of a block that is cheaply moved on by one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WeakHash {
    /// rsync's checksum, after Adler-32: many inputs collide, and collisions are easily made.
    Rollsum,
    /// A polynomial modulo 2³² (Karp and Rabin, 1987), with librsync's multiplier.
    #[default]
    RabinKarp,
}

/// A hash that tells blocks apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StrongHash {
    /// MD4, 16 bytes: for the oldest readers. Collisions are made at will; check the result by another digest.
    Md4,
    /// BLAKE2b with 32 bytes.
    #[default]
    Blake2,
}

impl SignatureKind {
    /// The four kinds.
    pub const ALL: [Self; 4] = [
        Self { weak: WeakHash::Rollsum, strong: StrongHash::Md4 },
        Self { weak: WeakHash::Rollsum, strong: StrongHash::Blake2 },
        Self { weak: WeakHash::RabinKarp, strong: StrongHash::Md4 },
        Self { weak: WeakHash::RabinKarp, strong: StrongHash::Blake2 },
    ];

    /// The number that a signature of this kind begins with.
    #[must_use]
    pub const fn magic(self) -> u32 {
        match (self.weak, self.strong) {
            (WeakHash::Rollsum, StrongHash::Md4) => 0x7273_0136,
            (WeakHash::Rollsum, StrongHash::Blake2) => 0x7273_0137,
            (WeakHash::RabinKarp, StrongHash::Md4) => 0x7273_0146,
            (WeakHash::RabinKarp, StrongHash::Blake2) => 0x7273_0147,
        }
    }

    /// The kind of the signatures that begin with this number.
    #[must_use]
    pub fn from_magic(magic: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.magic() == magic)
    }
}

impl StrongHash {
    /// How many bytes it has when none are cut off.
    #[must_use]
    pub const fn max_len(self) -> u32 {
        match self {
            Self::Md4 => 16,
            Self::Blake2 => 32,
        }
    }
}

impl fmt::Display for SignatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.weak, self.strong)
    }
}

impl fmt::Display for WeakHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rollsum => "rollsum",
            Self::RabinKarp => "rabinkarp",
        })
    }
}

impl fmt::Display for StrongHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md4 => "md4",
            Self::Blake2 => "blake2",
        })
    }
}

/// How a signature is made: its kind, the length of its blocks, and how much of each strong hash it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignatureParams {
    kind: SignatureKind,
    block_len: u32,
    strong_len: u32,
}

/// How many bytes of a strong hash are kept at least, unless asked for less. With 2⁴⁰ blocks and as many positions to
/// compare with each, chance finds a wrong match in 2⁴⁸ files; an attacker needs 2⁶⁴ attempts for one (BLAKE2).
pub const SAFE_STRONG_LEN: u32 = 16;

impl SignatureParams {
    /// Blocks of `block_len` bytes, of whose strong hash `strong_len` bytes are kept.
    ///
    /// # Errors
    /// [`BlockError::Parameter`] where a length is 0, or the hash has fewer bytes than wanted.
    pub fn new(kind: SignatureKind, block_len: u32, strong_len: u32) -> Result<Self, BlockError> {
        let max = kind.strong.max_len();
        if block_len == 0 {
            return Err(BlockError::Parameter("blocks of 0 bytes sign nothing".into()));
        }
        if strong_len == 0 || strong_len > max {
            let what = format!("of {} 1 to {max} bytes can be kept, not {strong_len}", kind.strong);
            return Err(BlockError::Parameter(what));
        }
        Ok(Self { kind, block_len, strong_len })
    }

    /// What suits an old file of `size` bytes, as far as that is known: see [`recommended_block_len`], and
    /// [`SAFE_STRONG_LEN`] bytes of each strong hash.
    #[must_use]
    pub fn recommended(kind: SignatureKind, size: Option<u64>) -> Self {
        let block_len = size.map_or(UNKNOWN_SIZE_BLOCK, recommended_block_len);
        Self { kind, block_len, strong_len: SAFE_STRONG_LEN }
    }

    /// Which hashes.
    #[must_use]
    pub const fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// How many bytes a block has; the last one of a file may have fewer. At least 1.
    #[must_use]
    pub const fn block_len(&self) -> u32 {
        self.block_len
    }

    /// How many bytes of each strong hash are kept: 1 to [`StrongHash::max_len`].
    #[must_use]
    pub const fn strong_len(&self) -> u32 {
        self.strong_len
    }

    /// How many bytes the signature of a file of `size` bytes has.
    #[must_use]
    pub const fn signature_bytes(&self, size: u64) -> u64 {
        let blocks = size.div_ceil(self.block_len as u64);
        HEADER_BYTES.saturating_add(blocks.saturating_mul(self.sum_bytes()))
    }

    /// What a signature has for each block.
    pub(crate) const fn sum_bytes(&self) -> u64 {
        WEAK_BYTES + self.strong_len as u64
    }
}

/// What a signature begins with: magic number, length of blocks, length of strong hashes.
pub(crate) const HEADER_BYTES: u64 = 12;
pub(crate) const WEAK_BYTES: u64 = 4;

/// The length of blocks that suits a file of `size` bytes: twice its square root, rounded down to a multiple of 64, from 512
/// bytes up.
///
/// Shorter blocks find more and make a longer signature. With the square root both grow alike when a file changes in a
/// number of places that goes with its length's square root; by how much to multiply it, and where to begin, was measured
/// on real files, of which `doc/block.md` has the numbers. librsync takes the square root itself, from 256 bytes up: up to 39 % more bytes.
#[must_use]
pub fn recommended_block_len(size: u64) -> u32 {
    const GRAIN: u64 = 64;
    const LEAST: u32 = 512;
    let length = 2 * size.isqrt() / GRAIN * GRAIN;
    u32::try_from(length).unwrap_or(u32::MAX).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers_are_found_again() {
        for kind in SignatureKind::ALL {
            assert_eq!(SignatureKind::from_magic(kind.magic()), Some(kind));
        }
        assert_eq!(SignatureKind::from_magic(0x7273_0236), None);
    }

    #[test]
    fn lengths_are_checked() {
        let kind = SignatureKind::default();
        assert!(SignatureParams::new(kind, 0, 16).is_err());
        assert!(SignatureParams::new(kind, 1, 0).is_err());
        assert!(SignatureParams::new(kind, u32::MAX, 33).is_err());
        let md4 = SignatureKind { strong: StrongHash::Md4, ..kind };
        assert!(SignatureParams::new(md4, 1, 17).is_err());
        let params = SignatureParams::new(kind, u32::MAX, 32).unwrap();
        assert_eq!(params.signature_bytes(u64::MAX), 12 + 36 * ((1 << 32) + 1));
    }

    #[test]
    fn blocks_grow_with_the_file() {
        for (size, length) in
            [(0, 512), (65_536, 512), (1 << 20, 2048), (1 << 40, 1 << 21), (u64::MAX, u32::MAX)]
        {
            assert_eq!(recommended_block_len(size), length, "{size}");
        }
    }
}
