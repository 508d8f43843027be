//! The `data` codec: the payload is the output.

use std::io::Write;

use crate::{Patch, PatchError};

pub(crate) fn decode<W: Write>(patch: &Patch<'_>, output: &mut W) -> Result<(), PatchError> {
    let length = patch.payload.len() as u64;
    if length != patch.output_length {
        return Err(PatchError::corrupt(
            length.min(patch.output_length),
            "the data is not as long as the output",
        ));
    }
    output.write_all(patch.payload).map_err(PatchError::output)
}
