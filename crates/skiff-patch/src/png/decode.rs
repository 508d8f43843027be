//! The decoder: scanlines and other chunks by the inner codec, then the image as it was.

use std::io::{Cursor, Read, Seek, Write};

use skiff_wire::Input;

use super::chunks::{self, Frame, Lengths};
use crate::deflate::{COMPRESSOR_MEMORY, Compressor};
use crate::inner::Inner;
use crate::opened::{self, INFLATE_MEMORY};
use crate::{Job, Limits, PatchError, Source, State};

pub(crate) fn decode<S: Read + Seek + Send, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
    limits: &Limits,
    state: &mut State,
) -> Result<(), PatchError> {
    let head = Head::read(job)?;
    let wanted = head.frame.lengths.sum().max(head.opened.map_or(0, Lengths::sum));
    limits.allow_plain(wanted)?;
    let source_length = head.opened.map_or(0, |_| source.length());
    opened::allow(job.output_len, &[wanted, source_length])?;
    let text = match head.opened {
        None => head.inner.decode(source, state)?,
        Some(lengths) => {
            let opened = open(source, lengths)?;
            let length = opened.len() as u64;
            head.inner.decode(&mut Source::new(Cursor::new(opened), length), state)?
        }
    };
    head.frame.write(text, job.output_len, output)
}

pub(crate) fn decoder_memory(job: &Job<'_>) -> Result<u64, PatchError> {
    let Head { frame, opened, inner } = Head::read(job)?;
    // The other chunks are held beside the scanlines until these are complete.
    let opened = opened
        .map_or(0, |lengths| lengths.sum().saturating_add(lengths.outline).saturating_add(INFLATE_MEMORY));
    let outline = frame.lengths.outline;
    let parts = [frame.lengths.sum(), outline, opened, frame.longest_data(job.output_len)];
    Ok(parts.into_iter().fold(COMPRESSOR_MEMORY.saturating_add(inner.memory()?), u64::saturating_add))
}

/// A payload, taken apart.
struct Head<'a> {
    frame: Frame<'a>,
    /// The lengths of the opened source, if it is to be opened.
    opened: Option<Lengths>,
    inner: Inner<'a>,
}

impl<'a> Head<'a> {
    fn read(job: &Job<'a>) -> Result<Self, PatchError> {
        let mut input = Input::new(job.payload);
        let header = input.array()?;
        let compressor = Compressor::read(&mut input)?;
        let cuts_length = input.varint()?;
        let offset = input.offset();
        let cuts = input.slice(cuts_length)?;
        check_cuts(cuts, offset)?;
        let scanlines = input.varint()?;
        let (before, behind) = (input.varint()?, input.varint()?);
        let outline = before.saturating_add(behind);
        if outline > job.output_len {
            return Err(PatchError::corrupt(offset, "the other chunks are longer than the output"));
        }
        let lengths = Lengths { scanlines, outline };
        let opened = match input.varint()?.checked_sub(1) {
            None => None,
            Some(scanlines) => Some(Lengths { scanlines, outline: input.varint()? }),
        };
        let inner = Inner::read(input, lengths.sum(), opened.is_some())?;
        Ok(Self { frame: Frame { header, compressor, cuts, lengths, before }, opened, inner })
    }
}

fn check_cuts(cuts: &[u8], offset: u64) -> Result<(), PatchError> {
    let mut input = Input::new(cuts);
    while !input.rest().is_empty() {
        if input.varint()? == 0 {
            return Err(PatchError::corrupt(offset, "a chunk of pixels is empty"));
        }
    }
    Ok(())
}

/// The text of a source that is an image, which must have these lengths.
pub(super) fn open<S: Read + Seek>(source: &mut Source<S>, lengths: Lengths) -> Result<Vec<u8>, PatchError> {
    let wrong = "the source is not the image it was said to be";
    let text = Vec::with_capacity(usize::try_from(lengths.sum()).unwrap_or(usize::MAX));
    let opened = opened::open(source, wrong, |file| chunks::open(file, lengths, text))?;
    if opened.lengths == lengths { Ok(opened.text) } else { Err(PatchError::corrupt(0, wrong)) }
}
