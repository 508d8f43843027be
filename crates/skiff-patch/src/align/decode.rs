//! The decoder.

use std::io::{Read, Seek, Write};

use skiff_coder::Decoder;
use skiff_wire::Input;

use super::controls;
use super::models::Models;
use super::walk::{CHUNK, Output, Walk, in_file};
use crate::predict::{Copy, Layout, Predictor};
use crate::{Job, PatchError, Source, State, source};

/// Both files' chunks and the source's blocks.
const BUFFERS: u64 = 2 * CHUNK as u64 + source::BUFFER_BYTES + (4 << 10);

/// What stands before the layout and the coded bits.
struct Head<'a> {
    /// Where the output begins in its file, for executables.
    begin: Option<u64>,
    copies: u64,
    rest: Input<&'a [u8]>,
}

impl<'a> Head<'a> {
    fn read(job: &Job<'a>) -> Result<Self, PatchError> {
        let mut input = Input::new(job.payload);
        let is_predicted = match input.byte()? {
            0 => false,
            1 => true,
            _ => return Err(PatchError::corrupt(0, "there is no prediction of this number")),
        };
        let offset = input.offset();
        let copies = input.varint()?;
        if copies > job.output_len {
            return Err(PatchError::corrupt(offset, "there are more copies than bytes"));
        }
        let begin = if is_predicted { Some(input.varint()?) } else { None };
        Ok(Self { begin, copies, rest: input })
    }
}

pub(crate) fn decoder_memory(job: &Job<'_>) -> Result<u64, PatchError> {
    let head = Head::read(job)?;
    Ok(memory(head.copies, head.begin.map(|_| job.output_len)))
}

/// What decoding holds for so many copies, where references are predicted of an output of so many bytes.
pub(super) fn memory(copies: u64, predicted: Option<u64>) -> u64 {
    let predictor = predicted.map_or(0, |length| Predictor::memory(copies, length));
    let copies = copies.saturating_mul(2 * size_of::<Copy>() as u64);
    copies.saturating_add(predictor).saturating_add(Models::MEMORY + BUFFERS)
}

/// Decodes; the caller has compared [`decoder_memory`] with its limits.
pub(crate) fn decode<S: Read + Seek, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
    state: &mut State,
) -> Result<(), PatchError> {
    let mut head = Head::read(job)?;
    let layout = match head.begin {
        None => None,
        Some(begin) => Some((read_layout(&mut head.rest, source)?, begin)),
    };
    let models = state.models();
    let (coded, offset) = (head.rest.rest(), head.rest.offset());
    let mut coder = Decoder::new(coded);
    let count = usize::try_from(head.copies).unwrap_or(usize::MAX);
    let mut copies = vec![Copy { start: 0, position: 0, length: 0 }; count];
    let length = job.output_len;
    controls::code(&mut coder, &mut models.controls, &mut copies, source.length(), length)?;
    let mut written = Written { output };
    let mut walk = Walk::new(&mut coder, models, source, &mut written);
    if let Some((layout, begin)) = layout {
        walk = walk.predicting(Predictor::new(layout, &in_file(&copies, begin)), begin);
    }
    walk.run(&copies, length)?;
    let offset = offset + coder.offset() as u64;
    coder.finish().map_err(|damaged| PatchError::corrupt(offset, damaged.to_string()))
}

fn read_layout<S: Read + Seek>(
    input: &mut Input<&[u8]>,
    source: &mut Source<S>,
) -> Result<Layout, PatchError> {
    let length = source.length();
    Layout::read(
        input,
        length,
        &mut |offset, bytes: &mut [u8]| match offset.checked_add(bytes.len() as u64) {
            Some(end) if end <= length => source.read_to(offset, bytes),
            _ => Err(PatchError::corrupt(0, "the source's headers lead beyond it")),
        },
    )
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
