//! The hashes that confirm.

use blake2b_simd::many::{HashManyJob, hash_many};
use blake2b_simd::{Params, State};
use md4::{Digest as _, Md4};

use crate::StrongHash;
use crate::md4_lanes::{LANES, md4_lanes};

/// The most bytes of a strong hash.
pub(crate) const STRONG_MAX: usize = 32;

/// A strong hash with none of its bytes cut off; those of MD4 are followed by zeros.
pub(crate) type Strong = [u8; STRONG_MAX];

/// The strong hash of a block.
pub(crate) fn strong_digest(hash: StrongHash, bytes: &[u8]) -> Strong {
    let mut hasher = Hasher::new(hash);
    hasher.update(bytes);
    hasher.finish()
}

/// The strong hashes of several blocks, which takes less time than one after the other: one instruction works for several.
pub(crate) fn strong_digests<'a>(
    hash: StrongHash,
    blocks: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<Strong>,
) {
    match hash {
        StrongHash::Md4 => {
            let blocks: Vec<&[u8]> = blocks.collect();
            for lanes in blocks.chunks(LANES) {
                match <&[&[u8]; LANES]>::try_from(lanes) {
                    Ok(lanes) if lanes.iter().all(|lane| lane.len() == lanes[0].len()) => {
                        out.extend(md4_lanes(lanes).iter().map(padded));
                    }
                    _ => out.extend(lanes.iter().map(|block| strong_digest(hash, block))),
                }
            }
        }
        StrongHash::Blake2 => {
            let params = blake2b();
            let mut jobs: Vec<HashManyJob<'_>> =
                blocks.map(|block| HashManyJob::new(&params, block)).collect();
            hash_many(jobs.iter_mut());
            out.extend(jobs.iter().map(|job| *job.to_hash().as_array_of_32()));
        }
    }
}

/// Hashes a block that comes in pieces.
pub(crate) enum Hasher {
    Md4(Md4),
    Blake2(Box<State>),
}

impl Hasher {
    pub(crate) fn new(hash: StrongHash) -> Self {
        match hash {
            StrongHash::Md4 => Self::Md4(Md4::new()),
            StrongHash::Blake2 => Self::Blake2(Box::new(blake2b().to_state())),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md4(hasher) => hasher.update(bytes),
            Self::Blake2(hasher) => drop(hasher.update(bytes)),
        }
    }

    pub(crate) fn finish(self) -> Strong {
        match self {
            Self::Md4(hasher) => {
                let digest: [u8; 16] = hasher.finalize().into();
                padded(&digest)
            }
            Self::Blake2(hasher) => *hasher.finalize().as_array_of_32(),
        }
    }
}

fn padded(digest: &[u8; 16]) -> Strong {
    let mut strong = [0; STRONG_MAX];
    strong[..digest.len()].copy_from_slice(digest);
    strong
}

/// BLAKE2b with a digest of 32 bytes, which is another function than the one with 64 cut short (RFC 7693).
fn blake2b() -> Params {
    let mut params = Params::new();
    params.hash_length(STRONG_MAX);
    params
}

/// The 32 bytes of a digest that has as many.
trait AsArrayOf32 {
    fn as_array_of_32(&self) -> &Strong;
}

impl AsArrayOf32 for blake2b_simd::Hash {
    fn as_array_of_32(&self) -> &Strong {
        self.as_bytes().try_into().expect("because the parameters ask for 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_at_once_are_each() {
        let bytes: Vec<u8> = (0..9000_u32).map(|index| (index * 31 / 5) as u8).collect();
        for hash in [StrongHash::Md4, StrongHash::Blake2] {
            let blocks: Vec<&[u8]> = bytes.chunks(1000).chain([&bytes[..0], &bytes[..7]]).collect();
            let mut out = Vec::new();
            strong_digests(hash, blocks.iter().copied(), &mut out);
            assert_eq!(out, blocks.iter().map(|block| strong_digest(hash, block)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn as_published() {
        // RFC 1320, A.5.
        let md4 =
            [0xa4, 0x48, 0x01, 0x7a, 0xaf, 0x21, 0xd8, 0x52, 0x5f, 0xc1, 0x0a, 0xe8, 0x7a, 0xa6, 0x72, 0x9d];
        assert_eq!(strong_digest(StrongHash::Md4, b"abc")[..16], md4);
        // `printf abc | b2sum -l 256`
        let blake2 = [0xbd, 0xdd, 0x81, 0x3c, 0x63, 0x42, 0x39, 0x72];
        assert_eq!(strong_digest(StrongHash::Blake2, b"abc")[..8], blake2);
    }
}
