//! What a content has in it, in few numbers, so that contents can be compared without reading them again.
//!
//! A *feature* is the hash of some bytes that follow each other, and a sketch keeps the smallest of all features of a content: the
//! same ones of equal bytes, wherever they stand (Manber, "Finding Similar Files in a Large File System", 1994; Broder, "On the
//! Resemblance and Containment of Documents", 1997). A longer content keeps more, so that a short one is found within it: of
//! each content those features are known that lie below its limit, and two are compared below the lower one of theirs.

use std::io::{self, Read};

/// How many bytes make a feature. Machine code has a reference every dozen bytes, and what lies between has to tell; shorter ones
/// occur everywhere.
const WINDOW: usize = 12;
/// What is read at once, in bytes.
const BUFFER: usize = 64 << 10;

/// How many features contents keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Density {
    /// One for so many bytes,
    scale: u64,
    /// and no fewer than this, if there are as many.
    fewest: u64,
}

impl Density {
    /// Of so many contents with so many bytes together, so that all take 16 MiB at most.
    pub(crate) fn new(contents: usize, bytes: u64) -> Self {
        const TOGETHER: u64 = 4 << 20;
        const FINEST: u64 = 256;
        const FEWEST: u64 = 64;
        let fewest = (TOGETHER / (contents as u64).max(1)).clamp(1, FEWEST);
        Self { scale: (bytes / TOGETHER).max(FINEST), fewest }
    }

    /// How many features a content of so many bytes keeps.
    fn most(self, bytes: u64) -> usize {
        usize::try_from((bytes / self.scale).max(self.fewest)).unwrap_or(usize::MAX)
    }

    /// Features above it are not looked at, because about twice as many lie below it as are kept, unless bytes repeat.
    fn limit(self, bytes: u64) -> u64 {
        let kept = u128::from(self.most(bytes) as u64) << 33;
        u64::try_from(kept / u128::from(bytes.max(1))).unwrap_or(u64::MAX).min(1 << 32)
    }
}

/// The smallest features of a content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sketch {
    /// In order, each once.
    features: Vec<u32>,
    /// All features below it are known.
    limit: u64,
}

impl Sketch {
    /// Reads a content of about `length` bytes.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn of(mut content: impl Read, length: u64, density: Density) -> io::Result<Self> {
        let most = density.most(length);
        let mut sketch = Self { features: Vec::new(), limit: density.limit(length) };
        let mut buffer = vec![0; BUFFER];
        let mut held = 0;
        loop {
            let count = match content.read(&mut buffer[held..]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            held += count;
            let mut bytes = &buffer[..held];
            while let Some(feature) = feature(bytes) {
                sketch.add(feature, most);
                bytes = &bytes[1..];
            }
            let left = bytes.len();
            buffer.copy_within(held - left..held, 0);
            held = left;
        }
        sketch.keep(most);
        Ok(sketch)
    }

    /// All features, in order.
    pub(crate) fn features(&self) -> &[u32] {
        &self.features
    }

    /// Which of the features that both could know are in `other`, by their place here: those that are, and how many could be.
    pub(crate) fn shared<'s>(&'s self, other: &'s Self) -> (impl Iterator<Item = usize> + 's, usize) {
        let comparable = self.below(other.limit);
        let mut theirs = other.features.iter().copied().peekable();
        let shared = self.features[..comparable].iter().enumerate().filter_map(move |(place, &feature)| {
            while theirs.next_if(|&their| their < feature).is_some() {}
            (theirs.peek() == Some(&feature)).then_some(place)
        });
        (shared, comparable)
    }

    /// How many features lie below a limit.
    fn below(&self, limit: u64) -> usize {
        self.features.partition_point(|&feature| u64::from(feature) < limit)
    }

    fn add(&mut self, feature: Option<u32>, most: usize) {
        let Some(feature) = feature.filter(|&feature| u64::from(feature) < self.limit) else { return };
        self.features.push(feature);
        if self.features.len() >= most.saturating_mul(4) {
            self.keep(most);
        }
    }

    fn keep(&mut self, most: usize) {
        self.features.sort_unstable();
        self.features.dedup();
        if let Some(&over) = self.features.get(most) {
            self.limit = u64::from(over);
            self.features.truncate(most);
        }
        self.features.shrink_to(most);
    }
}

/// The feature at the beginning of some bytes, unless they are too few; none of a run of one byte, which tells nothing.
fn feature(bytes: &[u8]) -> Option<Option<u32>> {
    /// Odd, and of no pattern: the golden ratio, and what `SplitMix64` multiplies with.
    const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];
    let window: &[u8; WINDOW] = bytes.first_chunk()?;
    let [first, last] =
        [window.first_chunk(), window.last_chunk()].map(|chunk| chunk.copied().unwrap_or([0; 8]));
    let (first, last) = (u64::from_le_bytes(first), u64::from_le_bytes(last));
    if first == last && first == first.rotate_left(8) {
        return Some(None);
    }
    let mixed = (first.wrapping_mul(FACTORS[0]) ^ last.rotate_left(32)).wrapping_mul(FACTORS[1]);
    Some(Some((mixed >> 32) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const DENSITY: Density = Density { scale: 8, fewest: 4 };

    fn sketch(bytes: &[u8]) -> Sketch {
        Sketch::of(bytes, bytes.len() as u64, DENSITY).unwrap()
    }

    fn part(one: &Sketch, other: &Sketch) -> (usize, usize) {
        let (shared, comparable) = one.shared(other);
        (shared.count(), comparable)
    }

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.1);
            self.0.read(&mut buffer[..count])
        }
    }

    fn contents() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..900),
            vec(0..2_u8, 0..900),
            (any::<u8>(), 0..900_usize).prop_map(|(byte, count)| vec![byte; count])
        ]
    }

    proptest! {
        #[test]
        fn every_feature_below_the_limit_is_kept(bytes in contents(), step in 1..40_usize) {
            let found = sketch(&bytes);
            let all = bytes.windows(WINDOW).filter_map(|window| feature(window).flatten());
            let mut all: Vec<u32> = all.filter(|&feature| u64::from(feature) < found.limit).collect();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(&found.features, &all);
            prop_assert!(all.len() <= DENSITY.most(bytes.len() as u64));
            let slow = Sketch::of(Slow(&bytes, step), bytes.len() as u64, DENSITY).unwrap();
            prop_assert_eq!(slow, found, "however it is read");
        }

        #[test]
        fn what_is_within_another_content_is_shared(before in contents(), bytes in contents(), after in contents()) {
            let (inner, outer) = (sketch(&bytes), sketch(&[&before[..], &bytes, &after].concat()));
            let (shared, comparable) = part(&inner, &outer);
            prop_assert_eq!(shared, comparable);
            prop_assert_eq!(part(&inner, &inner).0, inner.features().len());
        }
    }

    #[test]
    fn runs_and_short_contents_have_no_features() {
        for bytes in [&[0; 5000][..], &[255; 12], b"", b"eleven byte"] {
            assert_eq!(sketch(bytes).features(), []);
        }
        assert_eq!(sketch(b"twelve bytes").features().len(), 1);
    }
}
