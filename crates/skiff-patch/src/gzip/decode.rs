//! The decoder: the plain text by the inner codec, then compressed as it was.

use std::io::{self, Cursor, Read, Seek, Write};

use flate2::read::GzDecoder;
use skiff_wire::Input;

use crate::deflate::{self, COMPRESSOR_MEMORY, Compressor};
use crate::inner::Inner;
use crate::{Codec, Job, Limits, PatchError, Source, State};

/// CRC-32 and length of the plain text, four bytes each.
pub(super) const TRAILER_BYTES: u64 = 8;

/// What opening a source takes beside the plain text: the decompressor's window and state, and a buffer of the file.
const INFLATE_MEMORY: u64 = 256 << 10;

pub(crate) fn decode<S: Read + Seek, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
    limits: &Limits,
    state: &mut State,
) -> Result<(), PatchError> {
    let head = Head::read(job)?;
    let wanted = head.inner.job.output_len.max(head.opened.unwrap_or(0));
    if wanted > limits.plain_bytes {
        return Err(PatchError::LimitExceeded { what: "plain text", wanted, limit: limits.plain_bytes });
    }
    let plain = head.plain(source, state)?;

    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&plain);
    // The format keeps the length modulo 2^32.
    let trailer = [checksum.finalize().to_le_bytes(), (plain.len() as u32).to_le_bytes()].concat();
    // Held until it is known to have the promised length: of a bad payload nothing is written.
    let longest = usize::try_from(head.longest_file(job.output_len)).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(longest);
    bytes.extend(head.header);
    let mut file = Capped { left: job.output_len.saturating_sub(bytes.len() as u64), bytes, is_over: false };
    let result = deflate::compress(plain, head.compressor, &mut file);
    if file.is_over || file.left < TRAILER_BYTES {
        return Err(PatchError::corrupt(0, "the compressed file is longer than the output"));
    }
    result?;
    if file.left > TRAILER_BYTES {
        return Err(PatchError::corrupt(0, "the compressed file is shorter than the output"));
    }
    file.bytes.extend(trailer);
    output.write_all(&file.bytes).map_err(PatchError::output)
}

pub(crate) fn decoder_memory(job: &Job<'_>) -> Result<u64, PatchError> {
    let head = Head::read(job)?;
    let opened = head.opened.map_or(0, |length| length.saturating_add(INFLATE_MEMORY));
    let files = [head.inner.job.output_len, opened, head.longest_file(job.output_len)];
    Ok(files.into_iter().fold(COMPRESSOR_MEMORY.saturating_add(head.inner.memory()?), u64::saturating_add))
}

/// A payload, taken apart.
struct Head<'a> {
    header: &'a [u8],
    compressor: Compressor,
    /// The length of the opened source, if it is to be opened.
    opened: Option<u64>,
    inner: Inner<'a>,
}

impl<'a> Head<'a> {
    fn read(job: &Job<'a>) -> Result<Self, PatchError> {
        let mut input = Input::new(job.payload);
        let header_length = input.varint()?;
        let header = input.slice(header_length)?;
        if header_length.checked_add(TRAILER_BYTES).is_none_or(|least| least > job.output_len) {
            return Err(PatchError::corrupt(0, "the gzip header and trailer are longer than the output"));
        }
        let offset = input.offset();
        let compressor = Compressor::from_id(input.varint()?);
        let compressor =
            compressor.ok_or(PatchError::corrupt(offset, "there is no compressor of this number"))?;
        let plain_length = input.varint()?;
        let opened = input.varint()?.checked_sub(1);
        let offset = input.offset();
        let codec = Inner::codec(input.varint()?);
        let codec = codec.ok_or(PatchError::corrupt(offset, "this codec cannot be the inner one"))?;
        if codec == Codec::Data && opened.is_some() {
            return Err(PatchError::corrupt(offset, "the source is opened and not read"));
        }
        let job = Job { codec, payload: input.rest(), output_len: plain_length };
        Ok(Self { header, compressor, opened, inner: Inner { job, offset: input.offset() } })
    }

    /// What the compressed file's length cannot exceed: a literal takes 9 bits at most, and a match of three bytes 31.
    fn longest_file(&self, output_len: u64) -> u64 {
        let plain = self.inner.job.output_len;
        let deflated = plain.saturating_add(plain / 2).saturating_add(1 << 10);
        deflated.saturating_add(self.header.len() as u64).min(output_len)
    }

    fn plain<S: Read + Seek>(
        &self,
        source: &mut Source<S>,
        state: &mut State,
    ) -> Result<Vec<u8>, PatchError> {
        match self.opened {
            None => self.inner.decode(source, state),
            Some(length) => {
                let opened = open(source, length)?;
                self.inner.decode(&mut Source::new(Cursor::new(opened), length), state)
            }
        }
    }
}

/// The plain text of a source that is a gzip file (of its first member), which must be of this length.
pub(super) fn open<S: Read + Seek>(source: &mut Source<S>, length: u64) -> Result<Vec<u8>, PatchError> {
    let mut failed = None;
    let file = Watched { reader: source.whole().map_err(PatchError::source)?, failed: &mut failed };
    let mut decoder = GzDecoder::new(file);
    let mut plain = Vec::with_capacity(usize::try_from(length).unwrap_or(usize::MAX));
    let result = decoder.by_ref().take(length).read_to_end(&mut plain);
    // Reading on shows whether it ends here, and makes the decoder check the trailer.
    let result = result.and_then(|_| decoder.read(&mut [0]));
    drop(decoder);
    if let Some(error) = failed {
        return Err(PatchError::source(error));
    }
    match result {
        Ok(0) if plain.len() as u64 == length => Ok(plain),
        _ => Err(PatchError::corrupt(0, "the source is not the gzip file it was said to be")),
    }
}

/// Tells errors of the source from those of the decompressor.
struct Watched<'a, R> {
    reader: R,
    failed: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                *self.failed = Some(error);
            }
            kind.into()
        })
    }
}

/// Takes no more than was promised.
struct Capped {
    bytes: Vec<u8>,
    left: u64,
    is_over: bool,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.is_over = true;
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.left = left;
        self.bytes.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
