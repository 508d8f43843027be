//! What references turned out to be.

/// A value that was seen for a key, and how surely it comes again.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Zero where there is none.
    key: u32,
    value: u32,
    confidence: u8,
}

/// Places that are looked at for a key.
const PROBES: usize = 4;
/// The highest confidence.
pub(super) const SURE: u8 = 3;

/// A table from old to new values, of a fixed size: what is seldom right makes room.
pub(super) struct Learned {
    entries: Vec<Entry>,
    shift: u32,
}

impl Learned {
    /// The least and most entries a table has, as powers of two.
    const BITS: std::ops::RangeInclusive<u32> = 8..=19;

    /// How many bits number the entries for so many copied bytes: about one for each 64.
    pub(super) fn bits(copied: u64) -> u32 {
        (u64::BITS - (copied / 64).leading_zeros()).clamp(*Self::BITS.start(), *Self::BITS.end())
    }

    /// How much memory that takes.
    pub(super) fn memory(copied: u64) -> u64 {
        (size_of::<Entry>() as u64) << Self::bits(copied)
    }

    pub(super) fn new(copied: u64) -> Self {
        let bits = Self::bits(copied);
        Self { entries: vec![Entry::default(); 1 << bits], shift: u32::BITS - bits }
    }

    /// What was seen for a key, and how surely it comes again: 1 to 3.
    pub(super) fn get(&self, key: u32) -> Option<(u32, u8)> {
        let slots = self.slots(key).map(|slot| self.entries[slot]);
        let entry = slots.into_iter().find(|entry| key != 0 && entry.key == key)?;
        Some((entry.value, entry.confidence))
    }

    pub(super) fn put(&mut self, key: u32, value: u32) {
        if key == 0 {
            return;
        }
        let slots = self.slots(key);
        if let Some(slot) = slots.into_iter().find(|slot| self.entries[*slot].key == key) {
            let entry = &mut self.entries[slot];
            if entry.value == value {
                entry.confidence = (entry.confidence + 1).min(SURE);
            } else if entry.confidence > 1 {
                entry.confidence -= 1;
            } else {
                entry.value = value;
            }
            return;
        }
        let weakest = slots.into_iter().min_by_key(|slot| self.entries[*slot].confidence);
        let slot = weakest.expect("because there are four");
        self.entries[slot] = Entry { key, value, confidence: 1 };
    }

    /// Neighbours of the place that the key's hash names. The factor is Knuth's, 2³² by the golden ratio.
    fn slots(&self, key: u32) -> [usize; PROBES] {
        let first = (key.wrapping_mul(0x9e37_79b1) >> self.shift) as usize & !(PROBES - 1);
        std::array::from_fn(|probe| first + probe)
    }
}
