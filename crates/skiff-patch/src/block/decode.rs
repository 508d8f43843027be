//! The decoder: one pass over the commands to check them, one to follow them.

use std::io::{Read, Seek, Write};

use skiff_block::{BlockError, Command, Commands};

use crate::{Job, PatchError, Source, source};

/// How much is passed on at once.
const PIECE_BYTES: u64 = 64 << 10;

/// The piece that is passed on, the source's blocks, and the list of those.
pub(crate) const DECODER_MEMORY: u64 = PIECE_BYTES + source::BUFFER_BYTES + (2 << 10);

pub(crate) fn decode<S: Read + Seek, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
) -> Result<(), PatchError> {
    check(job, source.length())?;
    let mut commands = Commands::new(job.payload).map_err(corrupt)?;
    let mut piece = vec![0; PIECE_BYTES.min(job.output_len) as usize];
    while let Some(command) = commands.next_command().map_err(corrupt)? {
        match command {
            Command::Literal { .. } => loop {
                let count = commands.read_literal(&mut piece).map_err(corrupt)?;
                if count == 0 {
                    break;
                }
                output.write_all(&piece[..count]).map_err(PatchError::output)?;
            },
            Command::Copy { mut offset, mut length } => {
                while length > 0 {
                    let count = length.min(piece.len() as u64);
                    let now = &mut piece[..count as usize];
                    source.read_to(offset, now)?;
                    output.write_all(now).map_err(PatchError::output)?;
                    offset += count;
                    length -= count;
                }
            }
        }
    }
    Ok(())
}

/// Sees that the commands stay within the source, make the output's length, and end with the payload.
fn check(job: &Job<'_>, source_length: u64) -> Result<(), PatchError> {
    let mut commands = Commands::new(job.payload).map_err(corrupt)?;
    let mut total = 0_u64;
    while let Some(command) = commands.next_command().map_err(corrupt)? {
        let wrong = |what| PatchError::corrupt(commands.command_offset(), what);
        total = total
            .checked_add(command.output_len())
            .filter(|&total| total <= job.output_len)
            .ok_or_else(|| wrong("the commands make more than the output"))?;
        match command {
            Command::Literal { .. } => commands.skip_literal().map_err(corrupt)?,
            Command::Copy { offset, length } => {
                let end = offset.checked_add(length).filter(|&end| end <= source_length);
                end.ok_or_else(|| wrong("a copy of what the source does not have"))?;
            }
        }
    }
    let end = commands.position();
    if total < job.output_len {
        return Err(PatchError::corrupt(end, "the commands make less than the output"));
    }
    if end != job.payload.len() as u64 {
        return Err(PatchError::corrupt(end, "bytes follow the last command"));
    }
    Ok(())
}

fn corrupt(error: BlockError) -> PatchError {
    match error {
        BlockError::Corrupt { offset, what, .. } => PatchError::corrupt(offset, what),
        // The payload is in memory: nothing else can be wrong with it.
        other => PatchError::corrupt(0, other.to_string()),
    }
}
