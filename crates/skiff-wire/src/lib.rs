//! Canonical integers, digests and bounded reading, shared by everything skiff encodes.
//!
//! An integer is a LEB128 varint: seven bits a byte, the lowest first, the top bit set on all bytes but the last. Only the
//! shortest form is read, and only values that fit 64 bits, so that equal values have equal bytes. (The published varint
//! crates take a tenth byte whose bits fall off the end, hence our own.)
//!
//! ```
//! use skiff_wire::{Input, put_varint, unzigzag, zigzag};
//!
//! let mut bytes = Vec::new();
//! put_varint(&mut bytes, 300);
//! put_varint(&mut bytes, zigzag(-2));
//! assert_eq!(bytes, [0xac, 0x02, 0x03]);
//!
//! let mut input = Input::new(&bytes[..]);
//! assert_eq!(input.varint()?, 300);
//! assert_eq!(unzigzag(input.varint()?), -2);
//! assert!(input.is_at_end()?);
//! # Ok::<(), skiff_wire::WireError>(())
//! ```

pub mod digest;

use std::io::{self, BufRead, Read as _};

pub use digest::DigestParseError;

/// The most bytes a varint takes.
pub const MAX_VARINT_BYTES: usize = 10;

/// Why bytes could not be read as what was expected.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}: {fault}")]
pub struct WireError {
    /// Where the item that could not be read begins, counted from the start of the input.
    pub offset: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with bytes that could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The input ends within the item.
    #[error("the data ends too early")]
    Ends,
    /// An integer is not in its shortest form, or does not fit.
    #[error("an integer is not in its shortest form or too large")]
    NotCanonical,
    /// The source of the bytes failed.
    #[error(transparent)]
    Io(io::Error),
}

/// Appends an integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Maps small magnitudes of either sign to small integers: 0, -1, 1, -2 to 0, 1, 2, 3.
#[must_use]
pub const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// The inverse of [`zigzag`].
#[must_use]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Reads items off a stream or a slice, and knows where it is.
#[derive(Debug)]
pub struct Input<R> {
    reader: R,
    offset: u64,
}

impl<R: BufRead> Input<R> {
    /// Reads from the start of `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, offset: 0 }
    }

    /// How many bytes were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether all was read.
    ///
    /// # Errors
    /// [`Fault::Io`] where the source fails.
    pub fn is_at_end(&mut self) -> Result<bool, WireError> {
        loop {
            match self.reader.fill_buf() {
                Ok(buffer) => return Ok(buffer.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WireError { offset: self.offset, fault: Fault::Io(error) }),
            }
        }
    }

    /// The next byte.
    ///
    /// # Errors
    /// Where there is none.
    pub fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// Where there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => self.offset += N as u64,
            Err(error) => return Err(self.fault(error)),
        }
        Ok(bytes)
    }

    /// The next integer.
    ///
    /// # Errors
    /// Where the input ends within it, it is not in its shortest form, or it takes more than 64 bits.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let start = self.offset;
        let wrong = WireError { offset: start, fault: Fault::NotCanonical };
        let mut value = 0;
        for index in 0..MAX_VARINT_BYTES {
            let byte = self.byte().map_err(|error| WireError { offset: start, ..error })?;
            let bits = u64::from(byte & 0x7f);
            let padded = byte == 0 && index > 0;
            let too_large = index == MAX_VARINT_BYTES - 1 && byte > 1;
            if padded || too_large {
                return Err(wrong);
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(wrong)
    }

    /// The next `count` bytes; memory is taken as they arrive, so that a false count costs none. The caller checks the
    /// count against its limit.
    ///
    /// # Errors
    /// Where there are fewer.
    pub fn bytes(&mut self, count: u64) -> Result<Vec<u8>, WireError> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(count).read_to_end(&mut bytes);
        match read {
            Err(error) => Err(self.fault(error)),
            Ok(_) if (bytes.len() as u64) < count => {
                Err(WireError { offset: self.offset, fault: Fault::Ends })
            }
            Ok(_) => {
                self.offset += count;
                Ok(bytes)
            }
        }
    }

    fn fault(&self, error: io::Error) -> WireError {
        let fault = if error.kind() == io::ErrorKind::UnexpectedEof { Fault::Ends } else { Fault::Io(error) };
        WireError { offset: self.offset, fault }
    }
}

impl<'a> Input<&'a [u8]> {
    /// The next `count` bytes, borrowed.
    ///
    /// # Errors
    /// Where there are fewer.
    pub fn slice(&mut self, count: u64) -> Result<&'a [u8], WireError> {
        let ends = WireError { offset: self.offset, fault: Fault::Ends };
        let Ok(length) = usize::try_from(count) else { return Err(ends) };
        let Some((taken, rest)) = self.reader.split_at_checked(length) else { return Err(ends) };
        self.reader = rest;
        self.offset += count;
        Ok(taken)
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.reader
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<u64, WireError> {
        Input::new(bytes).varint()
    }

    #[test]
    fn only_the_shortest_form_is_read() {
        assert_eq!(read(&[0]).unwrap(), 0);
        for bad in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0x80; 10], &[0xff; 11]] {
            assert!(matches!(read(bad).unwrap_err().fault, Fault::NotCanonical), "{bad:?}");
        }
        let mut largest = [0xff; 10];
        largest[9] = 1;
        assert_eq!(read(&largest).unwrap(), u64::MAX);
        largest[9] = 2;
        assert!(matches!(read(&largest).unwrap_err().fault, Fault::NotCanonical));
        assert!(matches!(read(&[0x80]).unwrap_err().fault, Fault::Ends));
        assert!(matches!(read(&[]).unwrap_err().fault, Fault::Ends));
    }

    #[test]
    fn a_false_count_is_an_error_and_costs_no_memory() {
        let mut input = Input::new(&b"abc"[..]);
        assert!(input.bytes(u64::MAX).is_err());
        let mut input = Input::new(&b"abc"[..]);
        assert!(input.slice(u64::MAX).is_err());
        assert_eq!(input.slice(3).unwrap(), b"abc");
        assert!(input.is_at_end().unwrap());
    }

    proptest! {
        #[test]
        fn integers_come_back(value: u64, signed: i64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            put_varint(&mut bytes, zigzag(signed));
            let mut input = Input::new(&bytes[..]);
            prop_assert_eq!(input.varint().unwrap(), value);
            prop_assert_eq!(unzigzag(input.varint().unwrap()), signed);
        }

        #[test]
        fn what_is_read_has_one_form(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut input = Input::new(&bytes[..]);
            if let Ok(value) = input.varint() {
                let mut again = Vec::new();
                put_varint(&mut again, value);
                prop_assert_eq!(&bytes[..again.len()], &again[..]);
            }
        }
    }
}
