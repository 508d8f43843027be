//! Takes a fuzzer's bytes apart.

/// The bytes not yet used. Whatever is missing at the end reads as zero or empty, so that every input means something.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A part that says its own length, in two bytes.
    pub(crate) fn part(&mut self) -> &'a [u8] {
        let length = usize::from(self.short());
        let (part, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        part
    }

    /// A part of up to 63 bytes that says its own length, in one byte.
    pub(crate) fn few(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte() % 64);
        let (part, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        part
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Puts together what a body takes apart: for writing seeds. The last part stands without its length; the others are
/// cut at 65535 bytes.
pub(crate) fn join(head: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    for (index, part) in parts.iter().enumerate() {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        if index + 1 == parts.len() {
            bytes.extend_from_slice(part);
        } else {
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&part[..usize::from(length)]);
        }
    }
    bytes
}
