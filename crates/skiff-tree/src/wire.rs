//! Reading with this crate's errors.

use std::io::BufRead;

use skiff_wire::{Fault, Input, WireError};

use crate::TreeError;

impl From<WireError> for TreeError {
    fn from(error: WireError) -> Self {
        match error.fault {
            Fault::Io(source) => Self::Io { op: "reading", source },
            fault => Self::Corrupt { offset: error.offset, what: fault.to_string() },
        }
    }
}

/// An integer that must fit 32 bits.
pub(crate) fn varint32<R: BufRead>(input: &mut Input<R>, what: &str) -> Result<u32, TreeError> {
    let offset = input.offset();
    u32::try_from(input.varint()?)
        .map_err(|_| TreeError::Corrupt { offset, what: format!("{what} does not fit 32 bits") })
}

/// A length and as many bytes, `limit` at most.
pub(crate) fn bytes<R: BufRead>(input: &mut Input<R>, limit: u64, what: &str) -> Result<Vec<u8>, TreeError> {
    let offset = input.offset();
    let length = input.varint()?;
    if length > limit {
        return Err(TreeError::Corrupt {
            offset,
            what: format!("{what} of {length} bytes, {limit} at most"),
        });
    }
    Ok(input.bytes(length)?)
}
