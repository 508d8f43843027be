use sha2::{Digest as _, Sha256};

use crate::compression::{Compressor, decompress};
use crate::header::{PREAMBLE_LEN, Preamble};
use crate::{Digest, FormatError, FrameInfo, Header, Section};

/// What decoding a delta may cost. The defaults suit a device with 128 MiB of memory.
///
/// Whatever the bytes are, a [`Decoder`] never holds more than four times `header_bytes`, and beside it twice `frame_bytes`,
/// once `dictionary_bytes` and 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Stops a header that would be read for ever: its size in bytes. 4 MiB unless set, enough for 500 GB of payload.
    pub header_bytes: u64,
    /// Stops signatures that nobody needs: all of a delta together, in bytes, which count as bytes of the header too. 64 KiB unless set.
    pub signature_bytes: u64,
    /// Stops bombs: the payload of one frame that is not left out, in bytes, and so its size in the delta too. 8 MiB unless set.
    pub frame_bytes: u64,
    /// Stops deltas that never end: the size of the whole delta, in bytes. 64 GiB unless set.
    pub delta_bytes: u64,
    /// Stops many bombs in a row: the payloads of all frames that are not left out, in bytes. 256 GiB unless set.
    pub payload_bytes: u64,
    /// Stops compressors that want to look back too far: bytes. 8 MiB unless set.
    pub dictionary_bytes: u64,
    /// Stops deltas that say themselves that they take more memory: bytes. 256 MiB unless set.
    pub decoder_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 4 << 20,
            signature_bytes: 64 << 10,
            frame_bytes: 8 << 20,
            delta_bytes: 64 << 30,
            payload_bytes: 256 << 30,
            dictionary_bytes: 8 << 20,
            decoder_memory: 256 << 20,
        }
    }
}

impl Limits {
    pub(crate) fn check(&self, what: &'static str, wanted: u64, limit: u64) -> Result<(), FormatError> {
        if wanted > limit { Err(FormatError::LimitExceeded { what, wanted, limit }) } else { Ok(()) }
    }
}

/// What comes out of a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The header, with its signatures; always the first.
    Header(Box<Header>),
    /// A frame, whole.
    Frame(Frame),
    /// A frame of a section that is not known here and may be left out. Its digest held.
    Skipped {
        /// Its place in the header's table.
        index: usize,
    },
}

/// A frame, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its place in the header's table.
    pub index: usize,
    /// Where it begins in the delta, in bytes.
    pub offset: u64,
    /// What it is a part of.
    pub section: Section,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Takes a delta's bytes in pieces of any size, and gives what they mean.
///
/// A frame comes out when all of its bytes are in, have the digest that the header names, and decode to exactly the size
/// that the header names. Nothing of a frame comes out before. After an error the decoder is of no more use.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    /// The part that is being collected.
    buffer: Vec<u8>,
    /// Of a frame that is left out nothing is collected.
    left_out: LeftOut,
}

/// How much of a frame has passed.
#[derive(Debug, Default)]
struct LeftOut {
    hasher: Sha256,
    bytes: u64,
}

#[derive(Debug)]
enum State {
    Preamble,
    /// The header, of this length with its signatures.
    Body(usize),
    /// The frame at this place, or the end.
    Frame(Box<Header>, usize),
    Failed,
}

impl Decoder {
    /// A decoder at the start of a delta.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Preamble, buffer: Vec::new(), left_out: LeftOut::default() }
    }

    /// A decoder that goes on with a frame of a delta whose header is known: feed it the delta from that frame's
    /// [`offset`](FrameInfo::offset) on.
    ///
    /// # Errors
    /// [`FormatError::LimitExceeded`] where the header asks for more than the limits, [`FormatError::Corrupt`] where
    /// there is no such frame. The number of frames stands for the end.
    pub fn resume(header: Header, next_frame: usize, limits: Limits) -> Result<Self, FormatError> {
        check(&header, &limits)?;
        if next_frame > header.frames().len() {
            return Err(FormatError::corrupt(0, format!("it has no frame {next_frame} to go on with")));
        }
        let state = State::Frame(Box::new(header), next_frame);
        Ok(Self { limits, state, buffer: Vec::new(), left_out: LeftOut::default() })
    }

    /// Takes bytes off the front of `input` until an event is complete; none when the input is used up first, or when
    /// the delta has ended.
    ///
    /// # Errors
    /// Any of [`FormatError`]; bytes after the delta's end among them.
    pub fn push(&mut self, input: &mut &[u8]) -> Result<Option<Event>, FormatError> {
        loop {
            if let Some((frame, index)) = self.passing() {
                return self.leave_out(&frame, index, input);
            }
            let wanted = self.wanted();
            let Some(missing) = wanted.checked_sub(self.buffer.len()).filter(|_| wanted > 0) else {
                return self.at_end(input);
            };
            let (taken, rest) = input.split_at(missing.min(input.len()));
            self.reserve(taken.len(), missing);
            self.buffer.extend_from_slice(taken);
            *input = rest;
            if self.buffer.len() < wanted {
                return Ok(None);
            }
            if let Some(event) = self.complete()? {
                return Ok(Some(event));
            }
        }
    }

    /// How many more bytes the next event takes at least: a reader that reads no more reads nothing in vain.
    #[must_use]
    pub fn missing(&self) -> usize {
        match self.passing() {
            Some((frame, _)) => {
                usize::try_from(frame.encoded_size - self.left_out.bytes).unwrap_or(usize::MAX)
            }
            None => self.wanted().saturating_sub(self.buffer.len()),
        }
    }

    /// Says that the input has ended.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] where the delta has not.
    pub fn finish(&self) -> Result<(), FormatError> {
        match &self.state {
            State::Frame(header, next) => match header.frames().get(*next) {
                None => Ok(()),
                Some(frame) => Err(FormatError::corrupt(frame.offset, "it is cut off within this frame")),
            },
            State::Preamble | State::Body(_) => {
                Err(FormatError::corrupt(0, "it is cut off within its header"))
            }
            State::Failed => Err(FormatError::corrupt(0, "it failed before")),
        }
    }

    /// Makes room for bytes that are here: doubles as they come, but never beyond what is missing, so that a false size
    /// costs no memory and a true one no more than itself.
    fn reserve(&mut self, arrived: usize, missing: usize) {
        if self.buffer.capacity() - self.buffer.len() < arrived {
            self.buffer.reserve_exact(missing.min(arrived.max(self.buffer.len())));
        }
    }

    /// The frame that is left out, where the decoder is at one, and its place.
    fn passing(&self) -> Option<(FrameInfo, usize)> {
        let State::Frame(header, index) = &self.state else { return None };
        header.frames().get(*index).filter(|frame| is_left_out(frame)).map(|frame| (*frame, *index))
    }

    /// The size of the part that is being collected; 0 at the end.
    fn wanted(&self) -> usize {
        match &self.state {
            State::Preamble => PREAMBLE_LEN,
            State::Body(length) => *length,
            State::Frame(header, next) => header.frames().get(*next).map_or(0, size_in_memory),
            State::Failed => 0,
        }
    }

    fn at_end(&mut self, input: &[u8]) -> Result<Option<Event>, FormatError> {
        let State::Frame(header, _) = &self.state else { return self.finish().map(|()| None) };
        if input.is_empty() {
            return Ok(None);
        }
        let error = FormatError::corrupt(header.delta_size(), "bytes follow its end");
        self.state = State::Failed;
        Err(error)
    }

    /// Makes an event of the part that was collected.
    fn complete(&mut self) -> Result<Option<Event>, FormatError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Preamble => {
                let bytes = self.buffer.first_chunk().expect("because as much as a preamble was collected");
                let preamble = Preamble::parse(bytes)?;
                self.limits.check(
                    "bytes of signatures",
                    preamble.signatures_len,
                    self.limits.signature_bytes,
                )?;
                let length = preamble.header_len();
                self.limits.check("bytes of header", length, self.limits.header_bytes)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                self.state = State::Body(length);
                // A header without a body is complete with its preamble.
                if length == self.buffer.len() { self.complete() } else { Ok(None) }
            }
            State::Body(_) => {
                let header = Header::parse_vec(std::mem::take(&mut self.buffer))?;
                check(&header, &self.limits)?;
                self.state = State::Frame(Box::new(header.clone()), 0);
                Ok(Some(Event::Header(Box::new(header))))
            }
            State::Frame(header, index) => {
                let event = self.frame(&header.frames()[index], index)?;
                self.state = State::Frame(header, index + 1);
                Ok(Some(event))
            }
            State::Failed => self.finish().map(|()| None),
        }
    }

    /// Passes what is here of a frame that nobody wants, however large it is.
    fn leave_out(
        &mut self,
        frame: &FrameInfo,
        index: usize,
        input: &mut &[u8],
    ) -> Result<Option<Event>, FormatError> {
        let missing = frame.encoded_size - self.left_out.bytes;
        let (taken, rest) = input.split_at(usize::try_from(missing).unwrap_or(usize::MAX).min(input.len()));
        self.left_out.hasher.update(taken);
        self.left_out.bytes += taken.len() as u64;
        *input = rest;
        if self.left_out.bytes < frame.encoded_size {
            return Ok(None);
        }
        let LeftOut { hasher, .. } = std::mem::take(&mut self.left_out);
        let State::Frame(header, _) = std::mem::replace(&mut self.state, State::Failed) else {
            return self.finish().map(|()| None);
        };
        if Digest::from_bytes(hasher.finalize().into()) != frame.digest {
            return Err(FormatError::corrupt(frame.offset, "a frame does not have its digest"));
        }
        self.state = State::Frame(header, index + 1);
        Ok(Some(Event::Skipped { index }))
    }

    fn frame(&mut self, frame: &FrameInfo, index: usize) -> Result<Event, FormatError> {
        if Digest::of(&self.buffer) != frame.digest {
            return Err(FormatError::corrupt(frame.offset, "a frame does not have its digest"));
        }
        let payload = if frame.compressor == Compressor::Stored {
            std::mem::take(&mut self.buffer)
        } else {
            decompress(frame, &self.buffer)?
        };
        // Its room is the next frame's.
        self.buffer.clear();
        Ok(Event::Frame(Frame { index, offset: frame.offset, section: frame.section, payload }))
    }
}

fn is_left_out(frame: &FrameInfo) -> bool {
    matches!(frame.section, Section::Unknown(_))
}

fn size_in_memory(frame: &FrameInfo) -> usize {
    usize::try_from(frame.encoded_size).unwrap_or(usize::MAX)
}

/// Everything a header declares, before anything of it is allocated, and what this build lacks, before anything is written.
fn check(header: &Header, limits: &Limits) -> Result<(), FormatError> {
    limits.check("bytes of memory", header.facts().decoder_memory, limits.decoder_memory)?;
    limits.check("bytes of delta", header.delta_size(), limits.delta_bytes)?;
    let mut payload = 0_u64;
    for frame in header.frames().iter().filter(|frame| !is_left_out(frame)) {
        payload = payload.saturating_add(frame.decoded_size);
        limits.check("bytes of payload", payload, limits.payload_bytes)?;
        limits.check("bytes in one frame", frame.decoded_size, limits.frame_bytes)?;
        limits.check("bytes of dictionary", frame.compressor.dictionary_bytes(), limits.dictionary_bytes)?;
        frame.compressor.check_built_in()?;
    }
    Ok(())
}
