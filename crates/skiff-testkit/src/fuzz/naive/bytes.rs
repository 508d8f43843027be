//! Integers, lengths and digests.

use sha2::{Digest as _, Sha256};

use super::{Refusal, Result, must};

pub(crate) type Digest = [u8; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let ends = Refusal::Wrong("the data ends too early");
        let (taken, rest) = self.0.split_at_checked(count).ok_or(ends)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn digest(&mut self) -> Result<Digest> {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.take(32)?);
        Ok(digest)
    }

    pub(crate) fn integer(&mut self) -> Result<u64> {
        let mut bytes = Vec::new();
        loop {
            bytes.push(self.byte()?);
            let last = bytes[bytes.len() - 1];
            if last < 0x80 {
                must(last != 0 || bytes.len() == 1, "an integer is padded")?;
                must(bytes.len() < 10 || last == 1, "an integer of more than 64 bits")?;
                return Ok(bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)));
            }
            must(bytes.len() < 10, "an integer of more than ten bytes")?;
        }
    }

    pub(crate) fn below(&mut self, limit: u64, what: &'static str) -> Result<u64> {
        let value = self.integer()?;
        must(value < limit, what)?;
        Ok(value)
    }

    pub(crate) fn signed(&mut self) -> Result<i64> {
        Ok(signed(self.integer()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.integer()?;
        self.take(length)
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        let flag = self.byte()?;
        must(flag < 2, "a flag that is neither 0 nor 1")?;
        Ok(flag == 1)
    }

    pub(crate) fn at_end(&self) -> Result<()> {
        must(self.0.is_empty(), "bytes follow")
    }
}

/// The signed number that an integer stands for.
pub(crate) fn signed(integer: u64) -> i64 {
    let half = (integer / 2).cast_signed();
    if integer.is_multiple_of(2) { half } else { -half - 1 }
}
