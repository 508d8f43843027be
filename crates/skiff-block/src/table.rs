//! A signature, indexed: which blocks hash like this one.

use std::ops::Range;
use std::sync::Arc;

use crate::strong::Strong;
use crate::{BlockError, Signature, SignatureParams};

/// A signature that is ready to be searched.
///
/// Blocks are sorted by weak hash, then strong hash, then place. So however many of them have one weak hash, be it because a
/// file is full of zeros or because somebody made them so, finding one takes the logarithm of their number. In memory
/// it takes, for each block, 14 to 20 bytes beside what the signature itself takes.
#[derive(Debug)]
pub struct Table {
    signature: Arc<Signature>,
    /// Block numbers, sorted by what their weak hashes are scattered to, strong hash and number.
    order: Vec<u32>,
    /// For each block, where in `order` the blocks with its hashes begin: the same number where the hashes are the same.
    classes: Vec<u32>,
    /// Where in `order` each run of scattered weak hashes with the same upper bits begins, and the end.
    directory: Vec<u32>,
    directory_shift: u32,
    /// Two bits for each hash (Bloom, 1970), both in one word: most hashes that are not there are found out by them.
    filter: Vec<u64>,
    /// How many bits of a hash choose the word.
    filter_bits: u32,
}

/// How many bits of the filter there are for each block: one hash in fifty that is not there passes.
const FILTER_BITS: usize = 16;
/// 2³² divided by the golden ratio (Knuth, 6.4): multiplying by it scatters hashes whose lower bits vary over the upper ones.
const SCATTER: u32 = 0x9e37_79b1;

impl Table {
    /// Indexes a signature.
    ///
    /// # Errors
    /// [`BlockError::LimitExceeded`] where it has 2³² blocks or more.
    pub fn new(signature: impl Into<Arc<Signature>>) -> Result<Self, BlockError> {
        Self::index(signature.into(), false)
    }

    /// Indexes the signature of a file of `old_bytes` bytes. No copy leads beyond its end then, even if the signature says of its
    /// last block what only a longer one can hash to.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_file(signature: impl Into<Arc<Signature>>, old_bytes: u64) -> Result<Self, BlockError> {
        let signature = signature.into();
        let is_last_short = !old_bytes.is_multiple_of(u64::from(signature.params().block_len()));
        Self::index(signature, is_last_short)
    }

    fn index(signature: Arc<Signature>, is_last_short: bool) -> Result<Self, BlockError> {
        let blocks = signature.blocks();
        let count = u32::try_from(blocks).map_err(|_| BlockError::LimitExceeded {
            what: "blocks in a signature",
            wanted: blocks as u64,
            limit: u64::from(u32::MAX),
        })?;
        // A last block that is known to be short is looked for at the end of the new file only, and has a class of its own.
        let last = count.checked_sub(1).filter(|_| is_last_short);
        let searched = last.unwrap_or(count);
        let mut order = sorted(&signature, searched);
        let mut classes = classes(&signature, &order);
        order.extend(last);
        classes.extend(last);
        let directory_bits = blocks.next_power_of_two().trailing_zeros().clamp(1, 28);
        let directory_shift = u32::BITS - directory_bits;
        let filter_words = (blocks * FILTER_BITS).div_ceil(u64::BITS as usize);
        let filter_bits = filter_words.next_power_of_two().trailing_zeros().clamp(1, 26);
        let mut filter = vec![0_u64; 1 << filter_bits];
        let mut directory = Vec::with_capacity((1 << directory_bits) + 1);
        for (place, &block) in (0..).zip(&order[..searched as usize]) {
            let scattered = scatter(signature.weak(block as usize));
            let (word, bits) = filter_place(scattered, filter_bits);
            filter[word] |= bits;
            let bucket = (scattered >> directory_shift) as usize;
            directory.resize(directory.len().max(bucket + 1), place);
        }
        directory.resize((1 << directory_bits) + 1, searched);
        Ok(Self { signature, order, classes, directory, directory_shift, filter, filter_bits })
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(crate) fn params(&self) -> &SignatureParams {
        self.signature.params()
    }

    /// Whether a block may have this weak hash: false only where none has.
    #[inline]
    pub(crate) fn may_have(&self, weak: u32) -> bool {
        let (word, bits) = filter_place(scatter(weak), self.filter_bits);
        self.filter[word] & bits == bits
    }

    /// Where in the order the blocks with this weak hash are.
    pub(crate) fn with_weak(&self, weak: u32) -> Range<u32> {
        let scattered = scatter(weak);
        let bucket = (scattered >> self.directory_shift) as usize;
        let (start, end) = (self.directory[bucket], self.directory[bucket + 1]);
        let bucket = &self.order[start as usize..end as usize];
        let key = |&block: &u32| scatter(self.signature.weak(block as usize));
        let first = bucket.partition_point(|block| key(block) < scattered);
        let count = bucket[first..].partition_point(|block| key(block) == scattered);
        let first = start + first as u32;
        first..first + count as u32
    }

    /// The class of the blocks that have this strong hash, among those with the same weak hash.
    pub(crate) fn with_strong(&self, same_weak: Range<u32>, strong: &Strong) -> Option<u32> {
        let strong = &strong[..self.params().strong_len() as usize];
        let among = &self.order[same_weak.start as usize..same_weak.end as usize];
        let place = among.partition_point(|&block| self.signature.strong(block as usize) < strong);
        let found = among.get(place).filter(|&&block| self.signature.strong(block as usize) == strong);
        found.map(|_| same_weak.start + place as u32)
    }

    /// Whether the last block, which may be shorter than the others, has this weak hash.
    pub(crate) fn last_has(&self, weak: u32) -> bool {
        self.last().is_some_and(|last| self.signature.weak(last) == weak)
    }

    /// The class of the last block, if it has this strong hash.
    pub(crate) fn last_class(&self, strong: &Strong) -> Option<u32> {
        let last = self.last()?;
        let is_equal = self.signature.strong(last) == &strong[..self.params().strong_len() as usize];
        is_equal.then(|| self.classes[last])
    }

    fn last(&self) -> Option<usize> {
        self.order.len().checked_sub(1)
    }

    /// The class of a block; none where there is no such block.
    #[inline]
    pub(crate) fn class(&self, block: u32) -> Option<u32> {
        self.classes.get(block as usize).copied()
    }

    /// The blocks of a class, in the order of their places.
    pub(crate) fn members(&self, class: u32) -> impl Iterator<Item = u32> {
        self.order[class as usize..]
            .iter()
            .copied()
            .take_while(move |&block| self.class(block) == Some(class))
    }
}

fn scatter(weak: u32) -> u32 {
    weak.wrapping_mul(SCATTER)
}

/// The word of the filter where a scattered hash has its bits, and those bits: the first bits of the hash, and those after.
#[inline]
fn filter_place(scattered: u32, filter_bits: u32) -> (usize, u64) {
    let rest = scattered.rotate_left(filter_bits);
    ((scattered >> (u32::BITS - filter_bits)) as usize, 1 << (rest >> 26) | 1 << (rest >> 20 & 63))
}

fn sorted(signature: &Signature, count: u32) -> Vec<u32> {
    let mut keys: Vec<u64> = (0..count)
        .map(|block| u64::from(scatter(signature.weak(block as usize))) << 32 | u64::from(block))
        .collect();
    keys.sort_unstable();
    let mut order: Vec<u32> = keys.iter().map(|&key| key as u32).collect();
    drop(keys);
    // Within a weak hash the numbers ascend already: only where there are several does the strong hash matter.
    for same_weak in
        order.chunk_by_mut(|&left, &right| signature.weak(left as usize) == signature.weak(right as usize))
    {
        if same_weak.len() > 1 {
            same_weak.sort_unstable_by(|&left, &right| {
                signature.strong(left as usize).cmp(signature.strong(right as usize)).then(left.cmp(&right))
            });
        }
    }
    order
}

fn classes(signature: &Signature, order: &[u32]) -> Vec<u32> {
    let sums = |block: u32| (signature.weak(block as usize), signature.strong(block as usize));
    let mut classes = vec![0; order.len()];
    let mut first = 0;
    for (place, &block) in (0..).zip(order) {
        if place > 0 && sums(order[place as usize - 1]) != sums(block) {
            first = place;
        }
        classes[block as usize] = first;
    }
    classes
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::SignatureKind;
    use crate::strong::strong_digest;
    use crate::weak::weak_digest;

    #[test]
    fn every_block_is_found_with_all_its_equals() {
        let mut old: Vec<u8> = (0..4000_u32).map(|index| (index * index / 11) as u8).collect();
        old.extend(vec![0; 1000]);
        old.extend_from_within(500..1500);
        for kind in SignatureKind::ALL {
            let params = SignatureParams::new(kind, 100, 8).unwrap();
            let table = Table::new(Signature::of(&old[..], &params, NonZeroUsize::MIN).unwrap()).unwrap();
            assert_eq!(table.signature().blocks(), 60);
            for (number, block) in (0..).zip(old.chunks(100)) {
                let weak = weak_digest(kind.weak, block);
                assert!(table.may_have(weak));
                let class = table.with_strong(table.with_weak(weak), &strong_digest(kind.strong, block));
                assert_eq!(class, table.class(number));
                let equal = old.chunks(100).enumerate().filter(|(_, other)| *other == block);
                let expected: Vec<u32> = equal.map(|(index, _)| index as u32).collect();
                assert_eq!(table.members(class.unwrap()).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        let params = SignatureParams::recommended(SignatureKind::default(), Some(0));
        let table = Table::new(Signature::of(&[][..], &params, NonZeroUsize::MIN).unwrap()).unwrap();
        assert!(!table.may_have(1));
        assert!(table.with_weak(1).is_empty());
        assert_eq!(table.class(0), None);
    }
}
