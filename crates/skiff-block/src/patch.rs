//! From an old file and a delta to the new file.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::{BlockError, Command, Commands, Limits, Stream};

/// How many bytes are passed on at once.
const PIECE: usize = 64 << 10;

/// What a delta did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PatchReport {
    /// Bytes of the new file.
    pub new_bytes: u64,
    /// Bytes of it that came out of the delta.
    pub literal_bytes: u64,
    /// Bytes of it that came out of the old file.
    pub copied_bytes: u64,
    /// Commands of either kind.
    pub commands: u64,
    /// Bytes of the delta.
    pub delta_bytes: u64,
}

/// Writes the file that `delta` makes of `old`. It takes some kilobytes of memory.
///
/// A delta in this format says neither which old file it is for nor what should come out: compare a digest.
///
/// # Errors
/// [`BlockError::Corrupt`] where the delta is none or damaged, [`BlockError::WrongBase`] where it copies what the old file does
/// not have, [`BlockError::LimitExceeded`] before more is written than `limits` allow, [`BlockError::Io`].
pub fn patch(
    mut old: impl Read + Seek,
    delta: impl Read,
    mut out: impl Write,
    limits: &Limits,
) -> Result<PatchReport, BlockError> {
    let size = old.seek(SeekFrom::End(0)).map_err(BlockError::io(Stream::Old))?;
    let mut commands = Commands::new(delta)?;
    let mut report = PatchReport::default();
    let mut piece = vec![0; PIECE];
    while let Some(command) = commands.next_command()? {
        report.commands += 1;
        let wanted = report.new_bytes.saturating_add(command.output_len());
        if wanted > limits.output_bytes {
            let (what, limit) = ("bytes of the file that the delta makes", limits.output_bytes);
            return Err(BlockError::LimitExceeded { what, wanted, limit });
        }
        report.new_bytes = wanted;
        match command {
            Command::Literal { length } => {
                report.literal_bytes += length;
                loop {
                    let count = commands.read_literal(&mut piece)?;
                    if count == 0 {
                        break;
                    }
                    out.write_all(&piece[..count]).map_err(BlockError::io(Stream::Output))?;
                }
            }
            Command::Copy { offset, length } => {
                let end = offset.saturating_add(length);
                if end > size {
                    let at = commands.command_offset();
                    return Err(BlockError::WrongBase { offset: at, start: offset, end, size });
                }
                report.copied_bytes += length;
                copy(&mut old, offset, length, &mut piece, &mut out)?;
            }
        }
    }
    out.flush().map_err(BlockError::io(Stream::Output))?;
    report.delta_bytes = commands.position();
    Ok(report)
}

fn copy(
    old: &mut (impl Read + Seek),
    offset: u64,
    length: u64,
    piece: &mut [u8],
    out: &mut impl Write,
) -> Result<(), BlockError> {
    old.seek(SeekFrom::Start(offset)).map_err(BlockError::io(Stream::Old))?;
    let mut left = length;
    while left > 0 {
        let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = match old.read(&mut piece[..wanted]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // It was cut since it was measured.
            Ok(0) => return Err(BlockError::io(Stream::Old)(io::ErrorKind::UnexpectedEof.into())),
            result => result.map_err(BlockError::io(Stream::Old))?,
        };
        out.write_all(&piece[..count]).map_err(BlockError::io(Stream::Output))?;
        left -= count as u64;
    }
    Ok(())
}
