//! The decoder.

use std::io::{Read, Seek, Write};

use skiff_coder::Decoder;
use skiff_wire::Input;

use super::controls::{self, Copy};
use super::models::Models;
use super::walk::{CHUNK, Output, Walk};
use crate::{Job, PatchError, Source, State, source};

/// Both files' chunks and the source's blocks.
const BUFFERS: u64 = 2 * CHUNK as u64 + source::BUFFER_BYTES + (4 << 10);

/// What stands before the coded bits.
struct Head<'a> {
    copies: u64,
    coded: &'a [u8],
    offset: u64,
}

impl<'a> Head<'a> {
    fn read(job: &Job<'a>) -> Result<Self, PatchError> {
        let mut input = Input::new(job.payload);
        if input.byte()? != 0 {
            return Err(PatchError::corrupt(0, "there is no machine of this number"));
        }
        let offset = input.offset();
        let copies = input.varint()?;
        if copies > job.output_len {
            return Err(PatchError::corrupt(offset, "there are more copies than bytes"));
        }
        Ok(Self { copies, coded: input.rest(), offset: input.offset() })
    }
}

pub(crate) fn decoder_memory(job: &Job<'_>) -> Result<u64, PatchError> {
    Ok(memory_of(Head::read(job)?.copies))
}

pub(super) fn memory_of(copies: u64) -> u64 {
    copies.saturating_mul(size_of::<Copy>() as u64).saturating_add(Models::MEMORY + BUFFERS)
}

/// Decodes; the caller has compared [`decoder_memory`] with its limits.
pub(crate) fn decode<S: Read + Seek, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
    state: &mut State,
) -> Result<(), PatchError> {
    let head = Head::read(job)?;
    let models = state.models();
    let mut coder = Decoder::new(head.coded);
    let count = usize::try_from(head.copies).unwrap_or(usize::MAX);
    let mut copies = vec![Copy { start: 0, position: 0, length: 0 }; count];
    let length = job.output_len;
    controls::code(&mut coder, &mut models.controls, &mut copies, source.length(), length)?;
    let mut written = Written { output };
    Walk::new(&mut coder, models, source, &mut written).run(&copies, length)?;
    let offset = head.offset + coder.offset() as u64;
    coder.finish().map_err(|damaged| PatchError::corrupt(offset, damaged.to_string()))
}

/// Where decoded bytes go.
struct Written<'w, W> {
    output: &'w mut W,
}

impl<W: Write> Output for Written<'_, W> {
    fn next(&mut self, _: &mut [u8]) -> Result<(), PatchError> {
        Ok(())
    }

    fn settled(&mut self, bytes: &[u8]) -> Result<(), PatchError> {
        self.output.write_all(bytes).map_err(PatchError::output)
    }
}
