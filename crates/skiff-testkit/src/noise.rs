/// Numbers that look random and are the same ones each time for a seed: Marsaglia's xorshift.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Small seeds begin unlike one another.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number but 0.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.word().to_be_bytes()[0]
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.word() >> 33) as usize % end.max(1)
    }

    /// One of these, of which there is one at least.
    pub fn choose<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// Bytes that neither repeat nor compress, the same ones each time for a seed.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    std::iter::repeat_with(|| (random.word() >> 32) as u8).take(length).collect()
}

/// The same, with the text's bytes for a seed.
#[must_use]
pub fn noise_of(name: &str, length: usize) -> Vec<u8> {
    noise(name.bytes().fold(0, |seed, byte| seed * 257 % (1 << 40) + u64::from(byte) + 1), length)
}
