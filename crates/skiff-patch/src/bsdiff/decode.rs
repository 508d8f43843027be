//! The decoder: one pass over the controls to check them, one to follow them.

use std::io::{Read, Seek, Write};

use skiff_wire::{Input, unzigzag};

use crate::{Job, PatchError, Source, source};

/// How much output is gathered before it is written.
const OUTPUT_BYTES: usize = 64 << 10;

/// The gathered output, the source's blocks, and the list of those.
pub(crate) const DECODER_MEMORY: u64 = OUTPUT_BYTES as u64 + source::BUFFER_BYTES + (2 << 10);

pub(crate) fn decode<S: Read + Seek, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
) -> Result<(), PatchError> {
    let (controls, data) = check(job, source.length())?;
    let mut writer =
        Writer { data, source, gathered: Vec::with_capacity(OUTPUT_BYTES.min(data.len())), output };
    for control in controls {
        let Control { position, add, copy } = control?;
        writer.add(position, add)?;
        writer.copy(copy)?;
    }
    writer.flush()
}

/// Finds the controls and the data, having seen that the controls stay within the source, and that they, the data and
/// the output are of one length. Nothing is kept: reading the controls twice costs less than holding them.
fn check<'a>(job: &Job<'a>, source_length: u64) -> Result<(Controls<'a>, &'a [u8]), PatchError> {
    let controls = Controls::begin(job.payload, source_length)?;
    let mut reader = Controls::begin(job.payload, source_length)?;
    let mut total = 0_u64;
    while let Some(control) = reader.next() {
        let Control { add, copy, .. } = control?;
        total = add
            .checked_add(copy)
            .and_then(|both| total.checked_add(both))
            .filter(|&total| total <= job.output_len)
            .ok_or(PatchError::corrupt(reader.input.offset(), "the controls make more than the output"))?;
    }
    let offset = reader.input.offset();
    if total < job.output_len {
        return Err(PatchError::corrupt(offset, "the controls make less than the output"));
    }
    let data = reader.input.rest();
    if data.len() as u64 != total {
        return Err(PatchError::corrupt(offset, "the data is not as long as the output"));
    }
    Ok((controls, data))
}

/// Add `add` bytes of the source from `position` on to the data's, then take `copy` bytes of the data.
struct Control {
    position: u64,
    add: u64,
    copy: u64,
}

/// Reads controls, and checks each by itself.
struct Controls<'a> {
    input: Input<&'a [u8]>,
    count: u64,
    read: u64,
    position: u64,
    source_length: u64,
}

impl<'a> Controls<'a> {
    fn begin(payload: &'a [u8], source_length: u64) -> Result<Self, PatchError> {
        let mut input = Input::new(payload);
        let position = input.varint()?;
        if position > source_length {
            return Err(PatchError::corrupt(0, "the payload begins beyond the source"));
        }
        let count = input.varint()?;
        Ok(Self { input, count, read: 0, position, source_length })
    }

    fn read(&mut self) -> Result<Control, PatchError> {
        let offset = self.input.offset();
        let (add, copy) = (self.input.varint()?, self.input.varint()?);
        // An encoder joins what makes no difference apart; only a segment may begin with new bytes.
        if add == 0 && (copy == 0 || self.read > 0) {
            return Err(PatchError::corrupt(offset, "a control adds nothing"));
        }
        let position = self.position;
        let end = position.checked_add(add).filter(|&end| end <= self.source_length);
        let end = end.ok_or(PatchError::corrupt(offset, "a control reads beyond the source"))?;
        self.read += 1;
        self.position = if self.read == self.count {
            end
        } else {
            let seek = unzigzag(self.input.varint()?);
            let next = end.checked_add_signed(seek).filter(|&next| next <= self.source_length);
            next.ok_or(PatchError::corrupt(offset, "a control leaves the source"))?
        };
        Ok(Control { position, add, copy })
    }
}

impl Iterator for Controls<'_> {
    type Item = Result<Control, PatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.read < self.count).then(|| self.read())
    }
}

/// Gathers output, so that small controls do not become small writes.
struct Writer<'a, S, W> {
    data: &'a [u8],
    source: &'a mut Source<S>,
    gathered: Vec<u8>,
    output: &'a mut W,
}

impl<S: Read + Seek, W: Write> Writer<'_, S, W> {
    fn add(&mut self, mut position: u64, mut count: u64) -> Result<(), PatchError> {
        while count > 0 {
            let start = self.gathered.len();
            let gathered = self.gather(count)?;
            self.source.add_to(position, &mut self.gathered[start..])?;
            position += gathered;
            count -= gathered;
            self.flush_if_full()?;
        }
        Ok(())
    }

    fn copy(&mut self, mut count: u64) -> Result<(), PatchError> {
        while count > 0 {
            count -= self.gather(count)?;
            self.flush_if_full()?;
        }
        Ok(())
    }

    /// Moves at most `count` bytes of the data over, as many as there is room for.
    fn gather(&mut self, count: u64) -> Result<u64, PatchError> {
        let room = OUTPUT_BYTES - self.gathered.len();
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(room);
        let taken = self.data.split_off(..count);
        let taken = taken.ok_or(PatchError::corrupt(0, "the data is not as long as the output"))?;
        self.gathered.extend_from_slice(taken);
        Ok(count as u64)
    }

    fn flush_if_full(&mut self) -> Result<(), PatchError> {
        if self.gathered.len() == OUTPUT_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), PatchError> {
        self.output.write_all(&self.gathered).map_err(PatchError::output)?;
        self.gathered.clear();
        Ok(())
    }
}
