//! A file's blocks, hashed while it is read.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::thread;

use crate::buffer::Buffer;
use crate::strong::{Hasher, Strong, strong_digests};
use crate::weak::{RabinKarp, Rollsum, Weak, weak_digest};
use crate::{BlockError, SignatureKind, SignatureParams, Stream, WeakHash};

/// About how many bytes are read before they are handed to the threads that hash: enough that starting those costs nothing.
const BATCH: usize = 8 << 20;
/// The least that is worth a thread of its own.
const PART_MIN: usize = 256 << 10;
/// Blocks that are longer are hashed as they arrive, so that none of them is ever held.
const HELD_MAX: usize = 1 << 20;
/// How many blocks are hashed at once: as many as MD4 has lanes, and BLAKE2 a multiple of its own.
const ABREAST: usize = 16;

/// The hashes of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockSum {
    pub(crate) weak: u32,
    pub(crate) strong: Strong,
}

/// Reads `old` to its end and hands the hashes of its blocks to `take`, in order. Returns how many bytes there were.
pub(crate) fn hash_blocks(
    mut old: impl Read,
    params: &SignatureParams,
    threads: NonZeroUsize,
    mut take: impl FnMut(&BlockSum) -> Result<(), BlockError>,
) -> Result<u64, BlockError> {
    let block_len = usize::try_from(params.block_len()).unwrap_or(usize::MAX);
    if block_len > HELD_MAX {
        return hash_long_blocks(old, params, take);
    }
    let batch_len = BATCH.next_multiple_of(block_len);
    let (mut batch, mut next) = (Buffer::default(), Buffer::default());
    batch.fill(&mut old, batch_len, Stream::Old)?;
    let mut size = 0;
    while !batch.bytes().is_empty() {
        let bytes = batch.bytes();
        size += bytes.len() as u64;
        let is_end = bytes.len() < batch_len;
        let part_len = bytes.len().div_ceil(block_len).div_ceil(threads.get()) * block_len;
        let part_len = part_len.max(PART_MIN.next_multiple_of(block_len));
        if is_end && bytes.len() <= part_len {
            // Small files are many, and each is hashed before a thread for it would have begun.
            return sums(bytes, block_len, params.kind()).iter().try_for_each(take).map(|()| size);
        }
        let sums = thread::scope(|scope| {
            let parts = bytes.chunks(part_len).map(|part| {
                thread::Builder::new().spawn_scoped(scope, move || sums(part, block_len, params.kind()))
            });
            let parts = parts.collect::<io::Result<Vec<_>>>();
            let parts = parts.map_err(BlockError::io(Stream::Old))?;
            // Reading goes on beside hashing.
            next.clear(0);
            let read = next.fill(&mut old, if is_end { 0 } else { batch_len }, Stream::Old);
            let joined = parts
                .into_iter()
                .map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            let sums = joined.collect::<Vec<_>>();
            read.map(|()| sums)
        })?;
        sums.iter().flatten().try_for_each(&mut take)?;
        std::mem::swap(&mut batch, &mut next);
    }
    Ok(size)
}

fn sums(bytes: &[u8], block_len: usize, kind: SignatureKind) -> Vec<BlockSum> {
    let mut sums = Vec::with_capacity(bytes.len().div_ceil(block_len));
    let mut strong = Vec::with_capacity(ABREAST);
    for group in bytes.chunks(block_len * ABREAST) {
        strong.clear();
        strong_digests(kind.strong, group.chunks(block_len), &mut strong);
        let weak = group.chunks(block_len).map(|block| weak_digest(kind.weak, block));
        sums.extend(weak.zip(&strong).map(|(weak, strong)| BlockSum { weak, strong: *strong }));
    }
    sums
}

fn hash_long_blocks(
    old: impl Read,
    params: &SignatureParams,
    take: impl FnMut(&BlockSum) -> Result<(), BlockError>,
) -> Result<u64, BlockError> {
    match params.kind().weak {
        WeakHash::Rollsum => hash_as_read::<Rollsum>(old, params, take),
        WeakHash::RabinKarp => hash_as_read::<RabinKarp>(old, params, take),
    }
}

fn hash_as_read<W: Weak>(
    mut old: impl Read,
    params: &SignatureParams,
    mut take: impl FnMut(&BlockSum) -> Result<(), BlockError>,
) -> Result<u64, BlockError> {
    let (mut piece, mut size) = (vec![0; HELD_MAX], 0);
    loop {
        let (mut weak, mut strong) = (W::of(&[]), Hasher::new(params.kind().strong));
        let mut left = u64::from(params.block_len());
        while left > 0 {
            let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match old.read(&mut piece[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(BlockError::io(Stream::Old))?,
            };
            if count == 0 {
                break;
            }
            weak.extend(&piece[..count]);
            strong.update(&piece[..count]);
            left -= count as u64;
        }
        let length = u64::from(params.block_len()) - left;
        if length > 0 {
            take(&BlockSum { weak: weak.digest(), strong: strong.finish() })?;
            size += length;
        }
        if left > 0 {
            return Ok(size);
        }
    }
}
