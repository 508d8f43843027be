//! The hashes that roll.

use crate::WeakHash;

/// A weak hash of a run of bytes.
pub(crate) trait Weak: Sized {
    /// The hash of these bytes.
    fn of(bytes: &[u8]) -> Self;
    /// Adds bytes at the end.
    fn extend(&mut self, bytes: &[u8]);
    /// Takes the first byte away and adds one at the end.
    fn roll(&mut self, first: u8, added: u8);
    /// Takes the first byte away.
    fn shrink(&mut self, first: u8);
    /// The hash as signatures have it.
    fn digest(&self) -> u32;
}

/// rsync's checksum: the sum of all bytes, and the sum of all such sums. librsync adds 31 to every byte, so that zeros count.
pub(crate) struct Rollsum {
    length: u32,
    sum: u32,
    sums: u32,
}

const CHARACTER_OFFSET: u32 = 31;

impl Weak for Rollsum {
    fn of(bytes: &[u8]) -> Self {
        let mut sum = Self { length: 0, sum: 0, sums: 0 };
        sum.extend(bytes);
        sum
    }

    fn extend(&mut self, bytes: &[u8]) {
        /// As many bytes as are weighed at once: the weights of so few fit in one register of any machine.
        const LANES: usize = 16;
        let (groups, rest) = bytes.as_chunks::<LANES>();
        for group in groups {
            let (mut sum, mut weighed) = (0_u32, 0_u32);
            for (index, &byte) in group.iter().enumerate() {
                let byte = u32::from(byte);
                sum += byte;
                weighed += byte * (LANES - index) as u32;
            }
            let offsets = CHARACTER_OFFSET * (LANES * (LANES + 1) / 2) as u32;
            self.sums =
                self.sums.wrapping_add(self.sum.wrapping_mul(LANES as u32)).wrapping_add(weighed + offsets);
            self.sum = self.sum.wrapping_add(sum + CHARACTER_OFFSET * LANES as u32);
        }
        for &byte in rest {
            self.sum = self.sum.wrapping_add(u32::from(byte) + CHARACTER_OFFSET);
            self.sums = self.sums.wrapping_add(self.sum);
        }
        // Modulo 2^32, as all of it is.
        self.length = self.length.wrapping_add(bytes.len() as u32);
    }

    #[inline]
    fn roll(&mut self, first: u8, added: u8) {
        self.sum = self.sum.wrapping_add(u32::from(added)).wrapping_sub(u32::from(first));
        let leaves = self.length.wrapping_mul(u32::from(first) + CHARACTER_OFFSET);
        self.sums = self.sums.wrapping_add(self.sum).wrapping_sub(leaves);
    }

    fn shrink(&mut self, first: u8) {
        let byte = u32::from(first) + CHARACTER_OFFSET;
        self.sum = self.sum.wrapping_sub(byte);
        self.sums = self.sums.wrapping_sub(self.length.wrapping_mul(byte));
        self.length = self.length.wrapping_sub(1);
    }

    #[inline]
    fn digest(&self) -> u32 {
        self.sums << 16 | self.sum & 0xffff
    }
}

/// A polynomial in librsync's multiplier `M`, modulo 2³², over a leading 1 and the bytes: for bytes a, b, c it is
/// `M³ + aM² + bM + c`. The leading 1 tells zeros of different number apart.
pub(crate) struct RabinKarp {
    hash: u32,
    /// The multiplier to the power of the number of bytes.
    power: u32,
}

const MULTIPLIER: u32 = 0x0810_4225;
/// The multiplier's inverse modulo 2³²: taking a byte away divides the power.
const INVERSE: u32 = 0x98f0_09ad;
/// What a first byte counts beside itself: when it goes, the leading 1 moves down by one power.
const LEADING: u32 = MULTIPLIER - 1;

/// The powers of the multiplier from 0 on.
const POWERS: [u32; RABIN_KARP_LANES + 1] = {
    let mut powers = [1_u32; RABIN_KARP_LANES + 1];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1].wrapping_mul(MULTIPLIER);
        index += 1;
    }
    powers
};
/// As many bytes as are multiplied at once, so that the processor need not wait for each product.
const RABIN_KARP_LANES: usize = 16;

impl Weak for RabinKarp {
    fn of(bytes: &[u8]) -> Self {
        let mut sum = Self { hash: 1, power: 1 };
        sum.extend(bytes);
        sum
    }

    fn extend(&mut self, bytes: &[u8]) {
        let (groups, rest) = bytes.as_chunks::<RABIN_KARP_LANES>();
        for group in groups {
            let mut sum = 0_u32;
            for (index, &byte) in group.iter().enumerate() {
                sum = sum.wrapping_add(u32::from(byte).wrapping_mul(POWERS[RABIN_KARP_LANES - 1 - index]));
            }
            self.hash = self.hash.wrapping_mul(POWERS[RABIN_KARP_LANES]).wrapping_add(sum);
        }
        for &byte in rest {
            self.hash = self.hash.wrapping_mul(MULTIPLIER).wrapping_add(u32::from(byte));
        }
        // The exponent counts modulo 2^30, the order of the multiplier's group; fewer bits than a length never harm.
        self.power = self.power.wrapping_mul(MULTIPLIER.wrapping_pow(bytes.len() as u32));
    }

    #[inline]
    fn roll(&mut self, first: u8, added: u8) {
        let leaves = self.power.wrapping_mul(u32::from(first).wrapping_add(LEADING));
        // What does not depend on the last hash first: the next roll waits for nothing else.
        let change = u32::from(added).wrapping_sub(leaves);
        self.hash = self.hash.wrapping_mul(MULTIPLIER).wrapping_add(change);
    }

    fn shrink(&mut self, first: u8) {
        self.power = self.power.wrapping_mul(INVERSE);
        let leaves = self.power.wrapping_mul(u32::from(first).wrapping_add(LEADING));
        self.hash = self.hash.wrapping_sub(leaves);
    }

    #[inline]
    fn digest(&self) -> u32 {
        self.hash
    }
}

/// The weak hash of a block as signatures have it.
pub(crate) fn weak_digest(hash: WeakHash, bytes: &[u8]) -> u32 {
    match hash {
        WeakHash::Rollsum => Rollsum::of(bytes).digest(),
        WeakHash::RabinKarp => RabinKarp::of(bytes).digest(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rolls_as_it_hashes<W: Weak>() {
        let bytes: Vec<u8> = (0..2000_u32).map(|index| (index * index / 7) as u8).collect();
        for window in [1, 2, 15, 16, 17, 100, 1000] {
            let mut rolling = W::of(&bytes[..window]);
            for start in 1..bytes.len() - window {
                rolling.roll(bytes[start - 1], bytes[start + window - 1]);
                assert_eq!(rolling.digest(), W::of(&bytes[start..start + window]).digest());
            }
            let last = bytes.len() - window - 1;
            for start in last + 1..last + window {
                rolling.shrink(bytes[start - 1]);
                assert_eq!(
                    rolling.digest(),
                    W::of(&bytes[start..last + window]).digest(),
                    "{window} {start}"
                );
            }
        }
        let mut whole = W::of(&bytes[..3]);
        whole.extend(&bytes[3..777]);
        assert_eq!(whole.digest(), W::of(&bytes[..777]).digest());
    }

    #[test]
    fn rolling_is_hashing() {
        rolls_as_it_hashes::<Rollsum>();
        rolls_as_it_hashes::<RabinKarp>();
    }

    #[test]
    fn as_defined() {
        assert_eq!(MULTIPLIER.wrapping_mul(INVERSE), 1);
        let polynomial =
            [1_u32, 2, 3].iter().fold(1_u32, |sum, byte| sum.wrapping_mul(MULTIPLIER).wrapping_add(*byte));
        assert_eq!(RabinKarp::of(&[1, 2, 3]).digest(), polynomial);
        // Sums 32, 33, 34, in all 99; sums of sums 32, 65, 99, in all 196.
        assert_eq!(Rollsum::of(&[1, 2, 3]).digest(), 196 << 16 | 99);
    }
}
