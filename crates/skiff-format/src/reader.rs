use std::io::{self, Read};

use crate::{Decoder, Event, FormatError, Header, Limits};

/// Pulls a delta's events out of a [`Read`]. Up to the delta's end it reads no byte beyond the event it returns.
#[derive(Debug)]
pub struct Reader<R> {
    reader: R,
    decoder: Decoder,
    buffer: Vec<u8>,
}

/// How much is read at once.
const BUFFER_BYTES: usize = 64 << 10;

impl<R: Read> Reader<R> {
    /// Reads a delta from its start.
    pub fn new(reader: R, limits: Limits) -> Self {
        Self { reader, decoder: Decoder::new(limits), buffer: Vec::new() }
    }

    /// Reads a delta on from a frame: see [`Decoder::resume`].
    ///
    /// # Errors
    /// Those of [`Decoder::resume`].
    pub fn resume(reader: R, header: Header, next_frame: usize, limits: Limits) -> Result<Self, FormatError> {
        Ok(Self { reader, decoder: Decoder::resume(header, next_frame, limits)?, buffer: Vec::new() })
    }

    /// The next event; none at the delta's end, which must be the reader's end too.
    ///
    /// # Errors
    /// Any of [`FormatError`].
    pub fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        loop {
            // At the end one byte more is asked for, to see that there is none.
            let wanted = self.decoder.missing().clamp(1, BUFFER_BYTES);
            self.buffer.resize(wanted, 0);
            let count = match self.reader.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(FormatError::Io { op: "reading the delta", source }),
            };
            if count == 0 {
                return self.decoder.finish().map(|()| None);
            }
            let mut input = &self.buffer[..count];
            if let Some(event) = self.decoder.push(&mut input)? {
                return Ok(Some(event));
            }
        }
    }
}
