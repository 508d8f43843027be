//! What a delta is made of, in librsync's encoding.

use std::io::{self, Read, Write};

use crate::{BlockError, Stream};

/// What a delta begins with.
pub(crate) const DELTA_MAGIC: u32 = 0x7273_0236;

const END: u8 = 0;
/// Literals of 1 to 64 bytes have their length in the command itself.
const SHORT_LITERAL_MAX: u64 = 64;
/// The first of four commands for literals with lengths of 1, 2, 4 and 8 bytes.
const LITERAL: u8 = 0x41;
/// The first of sixteen commands for copies: four widths of the offset, and for each four of the length.
const COPY: u8 = 0x45;
const COPY_LAST: u8 = COPY + 15;

/// A step on the way from the old file to the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// New bytes, which follow in the delta.
    Literal {
        /// How many; at least 1.
        length: u64,
    },
    /// Bytes of the old file.
    Copy {
        /// Where they begin there.
        offset: u64,
        /// How many; at least 1.
        length: u64,
    },
}

impl Command {
    /// How many bytes it takes in a delta, those of a literal left out.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        match *self {
            Self::Literal { length } if length <= SHORT_LITERAL_MAX => 1,
            Self::Literal { length } => 1 + Width::of(length).bytes(),
            Self::Copy { offset, length } => 1 + Width::of(offset).bytes() + Width::of(length).bytes(),
        }
    }

    /// How many bytes of the new file it makes.
    #[must_use]
    pub const fn output_len(&self) -> u64 {
        match *self {
            Self::Literal { length } | Self::Copy { length, .. } => length,
        }
    }

    /// Appends it as librsync has it, in the shortest form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Literal { length } => match u8::try_from(length) {
                Ok(short) if length <= SHORT_LITERAL_MAX => out.push(short),
                _ => {
                    let width = Width::of(length);
                    out.push(LITERAL + width as u8);
                    width.put(length, out);
                }
            },
            Self::Copy { offset, length } => {
                let (first, second) = (Width::of(offset), Width::of(length));
                out.push(COPY + 4 * first as u8 + second as u8);
                first.put(offset, out);
                second.put(length, out);
            }
        }
    }
}

/// How many bytes a number takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    One,
    Two,
    Four,
    Eight,
}

impl Width {
    fn of(number: u64) -> Self {
        match number {
            0..=0xff => Self::One,
            0x100..=0xffff => Self::Two,
            0x1_0000..=0xffff_ffff => Self::Four,
            _ => Self::Eight,
        }
    }

    fn from_index(index: u8) -> Self {
        [Self::One, Self::Two, Self::Four, Self::Eight][usize::from(index % 4)]
    }

    const fn bytes(self) -> u64 {
        1 << self as u8
    }

    fn put(self, number: u64, out: &mut Vec<u8>) {
        let bytes = number.to_be_bytes();
        out.extend_from_slice(&bytes[bytes.len() - self.bytes() as usize..]);
    }
}

/// Reads the commands of a delta, one after the other. A literal's bytes have to be read, with
/// [`read_literal`](Self::read_literal), before the next command.
#[derive(Debug)]
pub struct Commands<R> {
    input: R,
    position: u64,
    /// Where the command begins that was read last.
    command_at: u64,
    literal_left: u64,
    is_at_end: bool,
}

impl<R: Read> Commands<R> {
    /// Reads what a delta begins with.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] where it is none, [`BlockError::Io`].
    pub fn new(input: R) -> Result<Self, BlockError> {
        let mut commands = Self { input, position: 0, command_at: 0, literal_left: 0, is_at_end: false };
        let magic = u32::from_be_bytes(commands.take("what it begins with")?);
        if magic == DELTA_MAGIC {
            Ok(commands)
        } else {
            let what = match magic >> 8 {
                0x72_7301 => "it is a signature, and a delta is wanted".to_owned(),
                _ => format!("it begins with {magic:#010x}, as no delta does"),
            };
            Err(BlockError::corrupt(Stream::Delta, 0, what))
        }
    }

    /// The next command; none after the one that ends the delta. What follows that is not read.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] where there is no command, one that does nothing, or an end without the command for it;
    /// [`BlockError::Io`].
    ///
    /// # Panics
    /// Where a literal's bytes were not read.
    pub fn next_command(&mut self) -> Result<Option<Command>, BlockError> {
        assert!(self.literal_left == 0, "the bytes of a literal were not read");
        if self.is_at_end {
            return Ok(None);
        }
        self.command_at = self.position;
        let [code] = self.take("a command")?;
        let command = match code {
            END => {
                self.is_at_end = true;
                return Ok(None);
            }
            1..LITERAL => Command::Literal { length: u64::from(code) },
            LITERAL..COPY => Command::Literal { length: self.number(code - LITERAL)? },
            COPY..=COPY_LAST => {
                let offset = self.number((code - COPY) / 4)?;
                Command::Copy { offset, length: self.number(code - COPY)? }
            }
            _ => return Err(self.corrupt(format!("there is no command {code:#04x}"))),
        };
        match command {
            Command::Literal { length: 0 } | Command::Copy { length: 0, .. } => {
                Err(self.corrupt("a command that makes no bytes"))
            }
            Command::Literal { length } => {
                self.literal_left = length;
                Ok(Some(command))
            }
            Command::Copy { .. } => Ok(Some(command)),
        }
    }

    /// Reads bytes of the literal that was the last command: none where all are read.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] where the delta ends within the literal, [`BlockError::Io`].
    pub fn read_literal(&mut self, buffer: &mut [u8]) -> Result<usize, BlockError> {
        let wanted = buffer.len().min(usize::try_from(self.literal_left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = loop {
            match self.input.read(&mut buffer[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(BlockError::io(Stream::Delta))?,
            }
        };
        if count == 0 {
            let what = format!("it ends {} bytes before the end of new bytes", self.literal_left);
            return Err(BlockError::corrupt(Stream::Delta, self.position, what));
        }
        self.position += count as u64;
        self.literal_left -= count as u64;
        Ok(count)
    }

    /// Reads the rest of a literal and drops it.
    ///
    /// # Errors
    /// As [`read_literal`](Self::read_literal).
    pub fn skip_literal(&mut self) -> Result<(), BlockError> {
        let mut dropped = [0; 4096];
        while self.read_literal(&mut dropped)? > 0 {}
        Ok(())
    }

    /// How many bytes of the delta were read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Where in the delta the last command begins.
    pub fn command_offset(&self) -> u64 {
        self.command_at
    }

    fn number(&mut self, width: u8) -> Result<u64, BlockError> {
        const WHAT: &str = "a command's number";
        Ok(match Width::from_index(width) {
            Width::One => u64::from(u8::from_be_bytes(self.take(WHAT)?)),
            Width::Two => u64::from(u16::from_be_bytes(self.take(WHAT)?)),
            Width::Four => u64::from(u32::from_be_bytes(self.take(WHAT)?)),
            Width::Eight => u64::from_be_bytes(self.take(WHAT)?),
        })
    }

    fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], BlockError> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                let what = format!("it ends where {what} should stand; it was cut off");
                BlockError::corrupt(Stream::Delta, self.position, what)
            }
            _ => BlockError::Io { stream: Stream::Delta, source },
        })?;
        self.position += N as u64;
        Ok(bytes)
    }

    fn corrupt(&self, what: impl Into<String>) -> BlockError {
        BlockError::corrupt(Stream::Delta, self.command_at, what)
    }
}

/// Takes the steps from an old file to a new one, in order.
pub trait Sink {
    /// Why a step was not taken.
    type Error;

    /// New bytes; at least one.
    ///
    /// # Errors
    /// Whatever the sink may end in.
    fn literal(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Bytes of the old file; at least one.
    ///
    /// # Errors
    /// Whatever the sink may end in.
    fn copy(&mut self, offset: u64, length: u64) -> Result<(), Self::Error>;
}

/// Writes a delta as librsync has it.
#[derive(Debug)]
pub struct DeltaWriter<W> {
    out: W,
    command: Vec<u8>,
    written: u64,
}

impl<W: Write> DeltaWriter<W> {
    /// Writes what a delta begins with.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn new(out: W) -> Result<Self, BlockError> {
        let mut writer = Self { out, command: Vec::new(), written: 0 };
        writer.put(&DELTA_MAGIC.to_be_bytes())?;
        Ok(writer)
    }

    /// How many bytes were written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends the delta. Returns the writer, and how many bytes the delta has.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn finish(mut self) -> Result<(W, u64), BlockError> {
        self.put(&[END])?;
        self.out.flush().map_err(BlockError::io(Stream::Output))?;
        Ok((self.out, self.written))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.out.write_all(bytes).map_err(BlockError::io(Stream::Output))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn put_command(&mut self, command: Command) -> Result<(), BlockError> {
        let mut bytes = std::mem::take(&mut self.command);
        bytes.clear();
        command.encode(&mut bytes);
        let result = self.put(&bytes);
        self.command = bytes;
        result
    }
}

impl<W: Write> Sink for DeltaWriter<W> {
    type Error = BlockError;

    fn literal(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.put_command(Command::Literal { length: bytes.len() as u64 })?;
        self.put(bytes)
    }

    fn copy(&mut self, offset: u64, length: u64) -> Result<(), BlockError> {
        self.put_command(Command::Copy { offset, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [u64; 12] =
        [1, 63, 64, 65, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX - 1, u64::MAX];

    #[test]
    fn commands_of_every_width_come_back() {
        for length in NUMBERS {
            for command in NUMBERS.map(|offset| Command::Copy { offset, length }) {
                let mut bytes = DELTA_MAGIC.to_be_bytes().to_vec();
                command.encode(&mut bytes);
                assert_eq!(bytes.len() as u64 - 4, command.encoded_len());
                let mut commands = Commands::new(&bytes[..]).unwrap();
                assert_eq!(commands.next_command().unwrap(), Some(command));
            }
            let command = Command::Literal { length };
            let mut bytes = DELTA_MAGIC.to_be_bytes().to_vec();
            command.encode(&mut bytes);
            assert_eq!(bytes.len() as u64 - 4, command.encoded_len());
            assert_eq!(Commands::new(&bytes[..]).unwrap().next_command().unwrap(), Some(command));
        }
    }

    #[test]
    fn wider_numbers_than_need_be_are_read() {
        for (code, numbers) in [
            (0x48_u8, &[0_u8, 0, 0, 0, 0, 0, 0, 0, 9][..]),
            (0x54, &[0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9]),
        ] {
            let bytes = [&DELTA_MAGIC.to_be_bytes()[..], &[code], numbers].concat();
            // COPY with an offset of 1 and a length of 8 bytes, and one with 8 and 8.
            let command = Commands::new(&bytes[..]).unwrap().next_command().unwrap().unwrap();
            assert_eq!(command.output_len(), 9);
        }
    }
}
