//! Taking images apart into chunks, and putting them together (PNG, third edition, 5.3).

use std::io::{self, BufReader, Read, Write};

use flate2::read::DeflateDecoder;
use simd_adler32::adler32;
use skiff_wire::Input;

use crate::PatchError;
use crate::deflate::{self, Compressor};

pub(super) const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// The chunks that hold, one after the other, the zlib stream of the scanlines.
pub(super) const IMAGE_DATA: [u8; 4] = *b"IDAT";
/// Length and type of a chunk, before its data.
pub(super) const HEAD_BYTES: usize = 8;
/// The checksum behind the data.
pub(super) const CHECKSUM_BYTES: usize = 4;
/// What a chunk takes beside its data.
const CHUNK_BYTES: u64 = (HEAD_BYTES + CHECKSUM_BYTES) as u64;
/// What a zlib stream has before and behind the deflate stream.
pub(super) const ZLIB_HEADER_BYTES: usize = 2;
pub(super) const ZLIB_TRAILER_BYTES: usize = 4;

/// How long the parts of an image's text are, or may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    /// The scanlines.
    pub(super) scanlines: u64,
    /// The other chunks, without their checksums.
    pub(super) outline: u64,
}

impl Lengths {
    pub(super) fn sum(self) -> u64 {
        self.scanlines.saturating_add(self.outline)
    }
}

/// An image, opened.
pub(super) struct Opened {
    /// The scanlines, and the other chunks behind them.
    pub(super) text: Vec<u8>,
    pub(super) lengths: Lengths,
    /// How much of the other chunks stands before the scanlines.
    #[cfg_attr(not(feature = "encode"), expect(dead_code))]
    pub(super) before: u64,
}

/// Opens an image whose parts have at most these lengths; `text` is empty, and has room. Checksums are not looked at: what
/// counts is that everyone finds the same.
pub(super) fn open(file: impl Read, most: Lengths, mut text: Vec<u8>) -> io::Result<Opened> {
    let mut file = BufReader::new(file);
    let mut signature = SIGNATURE;
    file.read_exact(&mut signature)?;
    if signature != SIGNATURE {
        return Err(wrong());
    }
    let outline = Vec::with_capacity(usize::try_from(most.outline).unwrap_or(usize::MAX));
    let mut data = ImageData { file, left: 0, length: 0, outline, most: most.outline, before: None };
    data.read_exact(&mut [0; ZLIB_HEADER_BYTES])?;
    let mut inflater = DeflateDecoder::new(&mut data);
    inflater.by_ref().take(most.scanlines).read_to_end(&mut text)?;
    if inflater.read(&mut [0])? != 0 {
        return Err(wrong());
    }
    let deflated = inflater.total_in();
    io::copy(&mut data, &mut io::sink())?;
    // That shows, too, that the stream has an end.
    if deflated + (ZLIB_HEADER_BYTES + ZLIB_TRAILER_BYTES) as u64 != data.length {
        return Err(wrong());
    }
    let lengths = Lengths { scanlines: text.len() as u64, outline: data.outline.len() as u64 };
    text.append(&mut data.outline);
    Ok(Opened { text, lengths, before: data.before.unwrap_or_default() })
}

fn wrong() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The data of an image's chunks of pixels; notes the others on the way.
struct ImageData<R> {
    file: R,
    /// What is left of the chunk.
    left: u64,
    /// What all chunks of pixels had so far.
    length: u64,
    /// The others, as they are but for their checksums.
    outline: Vec<u8>,
    most: u64,
    before: Option<u64>,
}

impl<R: Read> ImageData<R> {
    /// Goes on to the next chunk of pixels; false at the end of the file.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            let mut head = [0; HEAD_BYTES];
            match self.file.read_exact(&mut head[..1]) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                result => result?,
            }
            self.file.read_exact(&mut head[1..])?;
            let (length, kind) = parts(head);
            if kind == IMAGE_DATA {
                self.before.get_or_insert(self.outline.len() as u64);
                self.left = length;
                self.length += length;
                if length > 0 {
                    return Ok(true);
                }
            } else {
                if self.outline.len() as u64 + HEAD_BYTES as u64 + length > self.most {
                    return Err(wrong());
                }
                self.outline.extend(head);
                if self.file.by_ref().take(length).read_to_end(&mut self.outline)? as u64 != length {
                    return Err(wrong());
                }
            }
            self.file.read_exact(&mut [0; CHECKSUM_BYTES])?;
        }
    }
}

impl<R: Read> Read for ImageData<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.left == 0 && !self.next()? {
            return Ok(0);
        }
        let count = self.file.by_ref().take(self.left).read(buffer)?;
        if count == 0 {
            return Err(wrong());
        }
        self.left -= count as u64;
        if self.left == 0 {
            self.file.read_exact(&mut [0; CHECKSUM_BYTES])?;
        }
        Ok(count)
    }
}

/// Length and type of the chunk with this head.
pub(super) fn parts(head: [u8; HEAD_BYTES]) -> (u64, [u8; 4]) {
    let [a, b, c, d, kind @ ..] = head;
    (u32::from_be_bytes([a, b, c, d]).into(), kind)
}

/// What makes the file of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// The zlib stream's.
    pub(super) header: [u8; ZLIB_HEADER_BYTES],
    pub(super) compressor: Compressor,
    /// Integers, which are above zero: how long the chunks of pixels are, the last one again and again. Without any, one chunk
    /// has them all.
    pub(super) cuts: &'a [u8],
    pub(super) lengths: Lengths,
    /// How much of the outline stands before the pixels.
    pub(super) before: u64,
}

impl Frame<'_> {
    /// Writes the file, if it comes out `output_len` bytes long, and else nothing. `text` has these lengths.
    pub(super) fn write(
        &self,
        mut text: Vec<u8>,
        output_len: u64,
        output: &mut impl Write,
    ) -> Result<(), PatchError> {
        let scanlines = usize::try_from(self.lengths.scanlines).unwrap_or(usize::MAX);
        let outline = text.split_off(scanlines.min(text.len()));
        let checksum = adler32(&&text[..]);
        let most = self.longest_data(output_len);
        let mut data = Vec::with_capacity(usize::try_from(most).unwrap_or(usize::MAX));
        data.extend(self.header);
        let most = most.saturating_sub((ZLIB_HEADER_BYTES + ZLIB_TRAILER_BYTES) as u64);
        deflate::append(text, self.compressor, &mut data, most)?;
        data.extend(checksum.to_be_bytes());

        let (before, behind) = outline.split_at(usize::try_from(self.before).unwrap_or(usize::MAX));
        let mut length = SIGNATURE.len() as u64 + data.len() as u64 + outline.len() as u64;
        for chunk in Chunks(before).chain(Chunks(behind)) {
            chunk?;
            length += CHECKSUM_BYTES as u64;
        }
        length += self.cut(&data).count() as u64 * CHUNK_BYTES;
        if length != output_len {
            return Err(PatchError::corrupt(0, "the image has not the length of the output"));
        }
        let write = |output: &mut dyn Write| {
            output.write_all(&SIGNATURE)?;
            chunks(output, before)?;
            for piece in self.cut(&data) {
                let length = u32::try_from(piece.len()).map_err(io::Error::other)?;
                chunk(output, &[&length.to_be_bytes()[..], &IMAGE_DATA].concat(), piece)?;
            }
            chunks(output, behind)
        };
        write(output).map_err(PatchError::output)
    }

    /// What the zlib stream's length cannot exceed.
    pub(super) fn longest_data(&self, output_len: u64) -> u64 {
        deflate::longest(self.lengths.scanlines).min(output_len)
    }

    /// The chunks that the data of all is cut to.
    fn cut<'d>(&self, mut data: &'d [u8]) -> impl Iterator<Item = &'d [u8]> {
        let mut cuts = Input::new(self.cuts);
        let mut next = data.len() as u64;
        std::iter::from_fn(move || {
            next = cuts.varint().unwrap_or(next);
            let length = usize::try_from(next).unwrap_or(usize::MAX).min(data.len());
            let (piece, rest) = data.split_at(length);
            data = rest;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// The chunks of an outline: head and data.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), PatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let chunk = self.0.split_first_chunk::<HEAD_BYTES>().and_then(|(head, rest)| {
            let (data, rest) = rest.split_at_checked(usize::try_from(parts(*head).0).ok()?)?;
            self.0 = rest;
            Some((&head[..], data))
        });
        if chunk.is_none() {
            self.0 = &[];
        }
        Some(chunk.ok_or(PatchError::corrupt(0, "a chunk is longer than the outline")))
    }
}

/// Writes the chunks of an outline, which are whole.
fn chunks(output: &mut dyn Write, outline: &[u8]) -> io::Result<()> {
    Chunks(outline).flatten().try_for_each(|(head, data)| chunk(output, head, data))
}

fn chunk(output: &mut dyn Write, head: &[u8], data: &[u8]) -> io::Result<()> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&head[HEAD_BYTES - IMAGE_DATA.len()..]);
    checksum.update(data);
    output.write_all(head)?;
    output.write_all(data)?;
    output.write_all(&checksum.finalize().to_be_bytes())
}
