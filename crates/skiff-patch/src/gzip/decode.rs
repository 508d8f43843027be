//! The decoder: the plain text by the inner codec, then compressed as it was.

use std::io::{self, Cursor, Read, Seek, Write};

use flate2::read::GzDecoder;
use skiff_wire::Input;

use crate::deflate::{self, COMPRESSOR_MEMORY, Compressor};
use crate::inner::Inner;
use crate::opened::{self, INFLATE_MEMORY};
use crate::{Job, Limits, PatchError, Source, State};

/// CRC-32 and length of the plain text, four bytes each.
pub(super) const TRAILER_BYTES: u64 = 8;

/// Decodes the plain text, and leaves it to be compressed.
pub(crate) fn decode<S: Read + Seek + Send>(
    job: &Job<'_>,
    source: &mut Source<S>,
    limits: &Limits,
    state: &mut State,
) -> Result<Rest, PatchError> {
    let head = Head::read(job)?;
    let wanted = head.inner.job.output_len.max(head.opened.unwrap_or(0));
    limits.allow_plain(wanted)?;
    // Reading the source costs as well, as a gzip file can be longer than what it holds.
    let source_length = head.opened.map_or(0, |_| source.length());
    opened::allow(job.output_len, &[wanted, source_length])?;
    let plain = head.plain(source, state)?;
    let longest_file = head.longest_file(job.output_len);
    let Head { header, compressor, .. } = head;
    Ok(Rest { header: header.to_vec(), compressor, plain, output_len: job.output_len, longest_file })
}

/// A plain text that is to be compressed.
#[derive(Debug)]
pub(crate) struct Rest {
    header: Vec<u8>,
    compressor: Compressor,
    plain: Vec<u8>,
    output_len: u64,
    longest_file: u64,
}

impl Rest {
    /// What it holds, with the file that is to be, in bytes.
    pub(crate) fn held(&self) -> u64 {
        let held = (self.header.capacity() + self.plain.capacity()) as u64;
        held.saturating_add(self.longest_file)
    }

    pub(crate) fn finish<W: Write>(self, output: &mut W) -> Result<(), PatchError> {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&self.plain);
        // The format keeps the length modulo 2^32.
        let trailer = [checksum.finalize().to_le_bytes(), (self.plain.len() as u32).to_le_bytes()].concat();
        // Held until it is known to have the promised length: of a bad payload nothing is written.
        let mut file = Vec::with_capacity(usize::try_from(self.longest_file).unwrap_or(usize::MAX));
        file.extend(self.header);
        let most = self.output_len - TRAILER_BYTES - file.len() as u64;
        deflate::append(self.plain, self.compressor, &mut file, most)?;
        file.extend(trailer);
        if file.len() as u64 != self.output_len {
            return Err(PatchError::corrupt(0, "the compressed file is shorter than the output"));
        }
        output.write_all(&file).map_err(PatchError::output)
    }
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
        let compressor = Compressor::read(&mut input)?;
        let plain_length = input.varint()?;
        let opened = input.varint()?.checked_sub(1);
        let inner = Inner::read(input, plain_length, opened.is_some())?;
        Ok(Self { header, compressor, opened, inner })
    }

    /// What the compressed file's length cannot exceed.
    fn longest_file(&self, output_len: u64) -> u64 {
        let deflated = deflate::longest(self.inner.job.output_len);
        deflated.saturating_add(self.header.len() as u64 + TRAILER_BYTES).min(output_len)
    }

    fn plain<S: Read + Seek + Send>(
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
    opened::open(source, "the source is not the gzip file it was said to be", |file| {
        let mut decoder = GzDecoder::new(file);
        let mut plain = Vec::with_capacity(usize::try_from(length).unwrap_or(usize::MAX));
        decoder.by_ref().take(length).read_to_end(&mut plain)?;
        // Reading on shows whether it ends here, and makes the decoder check the trailer.
        let is_right = decoder.read(&mut [0])? == 0 && plain.len() as u64 == length;
        is_right.then_some(plain).ok_or_else(|| io::ErrorKind::InvalidData.into())
    })
}
