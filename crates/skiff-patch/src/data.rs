//! The `data` codec: the payload is the output.

use std::io::Write;

use crate::{Job, PatchError};

pub(crate) fn decode<W: Write>(job: &Job<'_>, output: &mut W) -> Result<(), PatchError> {
    let length = job.payload.len() as u64;
    if length != job.output_len {
        return Err(PatchError::corrupt(length.min(job.output_len), "the data is not as long as the output"));
    }
    output.write_all(job.payload).map_err(PatchError::output)
}
