//! The encoder: opens an image, and finds out with which settings zlib made it.

use std::io::{Read, Seek};

use skiff_wire::{put_bytes, put_varint};

use super::chunks::{
    self, CHECKSUM_BYTES, Frame, HEAD_BYTES, IMAGE_DATA, Lengths, Opened, SIGNATURE, ZLIB_HEADER_BYTES,
    ZLIB_TRAILER_BYTES,
};
use crate::deflate::{self, Compressor, Expected};
use crate::opened;
use crate::{Codec, Forecast, PatchError, Source, State, align};

/// The longest scanlines the encoder opens an image to, and the most that its other chunks may have, in bytes: such a payload
/// fits a frame.
pub const PLAIN_BYTES: u64 = 4 << 20;

/// A device takes as long over a picture as over a text that is several times the file's length. That many bytes of it must
/// save one, or the file is better sent as it is: at the megabyte a second that a small device decodes, a link of 16 KB/s has
/// sent the byte by then.
const TEXT_BYTES_PER_BYTE: u64 = 64;

/// How an image is to be made from another file, before it is written: see [`align::Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What stands before the opening.
    head: Vec<u8>,
    lengths: Lengths,
    /// The lengths of the old image's text, if it is to be opened.
    opened: Option<Lengths>,
    inner: align::Plan,
    output_len: u64,
    estimate: u64,
}

impl Plan {
    /// Opens and compares two files; there need not be an old one, nor need it be an image.
    ///
    /// None where `new` is not one whole PNG file, where its text is longer than [`PLAIN_BYTES`], or where zlib at no setting
    /// that images are made with makes it of its scanlines: that the file can be rebuilt is proved. Depends on the arguments
    /// alone.
    #[must_use]
    pub fn new(old: Option<&[u8]>, new: &[u8], options: &align::Options) -> Option<Self> {
        // Both have to be no more than the decoder opens for such an output.
        let may_open = |file: &[u8], opened: &Opened| {
            opened::allow(new.len() as u64, &[file.len() as u64, opened.lengths.sum()]).is_ok()
        };
        let image = open(new).filter(|image| may_open(new, image))?;
        let head = head(&image, new)?;
        let opened = old.and_then(|old| open(old).filter(|image| may_open(old, image)));
        let source = opened.as_ref().map(|opened| &opened.text[..]).or(old).unwrap_or_default();
        let inner = align::Plan::new(source, &image.text, options);
        let estimate = match inner.forecast().estimate {
            estimate if estimate < new.len() as u64 / 2 => estimate,
            // Much of a picture is as regular as it is new, which no count of bytes tells: it takes a code that learns.
            _ => inner.write_held(source, &image.text, &mut State::new()).ok()?.len() as u64,
        };
        let estimate = head.len() as u64 + estimate + image.lengths.sum() / TEXT_BYTES_PER_BYTE;
        let opened = opened.map(|opened| opened.lengths).filter(|_| inner.forecast().reads_source);
        Some(Self { head, lengths: image.lengths, opened, inner, output_len: new.len() as u64, estimate })
    }

    /// What comes of the plan; what a device's time is worth counts as bytes of the payload.
    #[must_use]
    pub fn forecast(&self) -> Forecast {
        let inner = self.inner.forecast();
        let opened = self.opened.map_or(0, |lengths| lengths.sum() + lengths.outline);
        let data = deflate::longest(self.lengths.scanlines);
        let parts = [self.lengths.sum(), self.lengths.outline, data, opened, 2 << 20];
        let decoder_memory = parts.into_iter().fold(inner.decoder_memory, u64::saturating_add);
        Forecast { output_len: self.output_len, estimate: self.estimate, decoder_memory, ..inner }
    }

    /// Writes the payload. Both files must be those that the plan was made from.
    ///
    /// # Errors
    /// [`PatchError::Io`] where one of the files cannot be read, [`PatchError::Corrupt`] where it is another one.
    pub fn write<S: Read + Seek>(
        &self,
        source: &mut Source<S>,
        mut new: impl Read,
        state: &mut State,
    ) -> Result<Vec<u8>, PatchError> {
        let mut file = Vec::new();
        new.read_to_end(&mut file).map_err(PatchError::output)?;
        let image = open(&file).filter(|image| image.lengths == self.lengths);
        let text = image.ok_or(PatchError::corrupt(0, "the file changed while it was read"))?.text;
        let mut payload = self.head.clone();
        put_varint(&mut payload, self.opened.map_or(0, |lengths| lengths.scanlines + 1));
        if let Some(lengths) = self.opened {
            put_varint(&mut payload, lengths.outline);
        }
        put_varint(&mut payload, Codec::Align.id().into());
        payload.extend(match self.opened {
            None => self.inner.write(source, &text[..], state)?,
            Some(lengths) => self.inner.write_held(&super::decode::open(source, lengths)?, &text, state)?,
        });
        Ok(payload)
    }
}

/// What the decoder would see in `file` if told to open it.
fn open(file: &[u8]) -> Option<Opened> {
    let most = Lengths { scanlines: PLAIN_BYTES, outline: PLAIN_BYTES };
    chunks::open(file, most, Vec::new()).ok()
}

/// What a payload begins with that rebuilds `file` of the image's text, if there is such a thing.
fn head(image: &Opened, file: &[u8]) -> Option<Vec<u8>> {
    let (data, lengths) = image_data(file)?;
    let (header, deflated) = data.split_first_chunk::<ZLIB_HEADER_BYTES>()?;
    let (deflated, _) = deflated.split_last_chunk::<ZLIB_TRAILER_BYTES>()?;
    let scanlines = &image.text[..image.lengths.scanlines as usize];
    let compressor = deflate::find(scanlines, deflated, Compressor::of_images(*header))?;
    let cuts = cuts(&lengths);
    let frame =
        Frame { header: *header, compressor, cuts: &cuts, lengths: image.lengths, before: image.before };
    let mut rest = Expected::new(file);
    let is_rebuilt = frame.write(image.text.clone(), file.len() as u64, &mut rest).is_ok() && rest.is_met();

    let mut head = header.to_vec();
    put_varint(&mut head, compressor.id());
    put_bytes(&mut head, &cuts);
    for length in [image.lengths.scanlines, image.before, image.lengths.outline - image.before] {
        put_varint(&mut head, length);
    }
    is_rebuilt.then_some(head)
}

/// The zlib stream of an image, and how long its chunks are.
fn image_data(file: &[u8]) -> Option<(Vec<u8>, Vec<u64>)> {
    let (mut data, mut lengths) = (Vec::new(), Vec::new());
    let mut rest = file.strip_prefix(&SIGNATURE)?;
    while let Some((head, behind)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let (length, kind) = chunks::parts(*head);
        let (chunk, behind) = behind.split_at_checked(usize::try_from(length).ok()?)?;
        if kind == IMAGE_DATA {
            data.extend_from_slice(chunk);
            lengths.push(length);
        }
        rest = behind.get(CHECKSUM_BYTES..)?;
    }
    Some((data, lengths))
}

/// The lengths as they are told: the last one stands for all that follow.
fn cuts(lengths: &[u64]) -> Vec<u8> {
    let mut told = lengths;
    // The last chunk has what is left, as long as that is not too much for it.
    if let [before @ .., last] = lengths
        && before.last().is_none_or(|length| last <= length)
    {
        told = before;
    }
    while let [before @ .., last] = told
        && before.last() == Some(last)
    {
        told = before;
    }
    let mut cuts = Vec::new();
    told.iter().for_each(|&length| put_varint(&mut cuts, length));
    cuts
}
