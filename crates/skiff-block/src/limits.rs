/// What reading signatures and deltas may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Stops signatures without end: the bytes of one. In memory it takes up to four times as many where only one byte of
    /// each strong hash is kept, and up to twice as many with 16, and some 200 bytes beside that. Default 1 GiB, which signs a file of 100 GiB in blocks of 2 KiB.
    pub signature_bytes: u64,
    /// Stops small deltas of large files: the bytes of a file that is made. Default 64 GiB.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { signature_bytes: 1 << 30, output_bytes: 64 << 30 }
    }
}

impl Limits {
    /// These limits, with another one for signatures, in bytes.
    #[must_use]
    pub const fn with_signature_bytes(self, signature_bytes: u64) -> Self {
        Self { signature_bytes, ..self }
    }

    /// These limits, with another one for files that are made, in bytes.
    #[must_use]
    pub const fn with_output_bytes(self, output_bytes: u64) -> Self {
        Self { output_bytes, ..self }
    }
}
