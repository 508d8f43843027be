//! The decoder.

use std::io::{BufWriter, Read, Seek, Write};
use std::sync::mpsc::sync_channel;
use std::thread;

use skiff_coder::{Decoder, Kind, Text};
use skiff_wire::Input;

use super::controls;
use super::literals::{AHEAD, AHEAD_BYTES, Literals, Origin, Received, SharedSource, decode_ahead, finish};
use super::models::{Copies, Models};
use super::walk::{CHUNK, Output, Walk, in_file};
use crate::predict::{Copy, Layout, Predictor};
use crate::{Job, PatchError, Source, State, source};

/// Both files' chunks, what is to be written, and the source's blocks.
const BUFFERS: u64 = 3 * CHUNK as u64 + source::BUFFER_BYTES + (4 << 10);

/// What the first byte tells: references are predicted, and literals have a stream of their own.
pub(super) const PREDICTED: u8 = 1;
pub(super) const APART: u8 = 2;

/// What stands before the layout and the coded bits.
struct Head<'a> {
    /// Where the output begins in its file, for executables.
    begin: Option<u64>,
    /// Whether literals have a stream of their own.
    is_apart: bool,
    copies: u64,
    rest: Input<&'a [u8]>,
}

impl<'a> Head<'a> {
    fn read(job: &Job<'a>) -> Result<Self, PatchError> {
        let mut input = Input::new(job.payload);
        let flags = input.byte()?;
        if flags & !(PREDICTED | APART) != 0 {
            return Err(PatchError::corrupt(0, "it has a flag that is not known"));
        }
        let offset = input.offset();
        let copies = input.varint()?;
        if copies > job.output_len {
            return Err(PatchError::corrupt(offset, "there are more copies than bytes"));
        }
        let begin = if flags & PREDICTED == 0 { None } else { Some(input.varint()?) };
        if begin.is_some_and(|begin| begin.checked_add(job.output_len).is_none()) {
            return Err(PatchError::corrupt(0, "its output goes on beyond all files"));
        }
        Ok(Self { begin, is_apart: flags & APART != 0, copies, rest: input })
    }
}

pub(crate) fn decoder_memory(job: &Job<'_>) -> Result<u64, PatchError> {
    let head = Head::read(job)?;
    Ok(memory(head.copies, head.begin.map(|_| job.output_len), head.is_apart))
}

/// What decoding holds for so many copies, where references are predicted of an output of so many bytes, and where literals
/// are apart.
pub(super) fn memory(copies: u64, predicted: Option<u64>, is_apart: bool) -> u64 {
    let predictor = predicted.map_or(0, |length| Predictor::memory(copies, length));
    let copies = copies.saturating_mul(2 * size_of::<Copy>() as u64);
    let ahead = if is_apart { AHEAD_BYTES } else { 0 };
    copies.saturating_add(predictor).saturating_add(Models::MEMORY + BUFFERS + ahead)
}

/// Decodes; the caller has compared [`decoder_memory`] with its limits.
pub(crate) fn decode<S: Read + Seek + Send, W: Write>(
    job: &Job<'_>,
    source: &mut Source<S>,
    output: &mut W,
    state: &mut State,
) -> Result<(), PatchError> {
    let mut head = Head::read(job)?;
    let layout = match head.begin {
        None => None,
        Some(begin) => Some((read_layout(&mut head.rest, source)?, begin)),
    };
    let literals = if head.is_apart { Some(head.rest.varint()?) } else { None };
    let (coded, offset) = (head.rest.rest(), head.rest.offset());
    let apart = match literals {
        None => None,
        Some(length) => {
            let middle = usize::try_from(length).ok().and_then(|length| coded.len().checked_sub(length));
            Some(middle.ok_or_else(|| PatchError::corrupt(offset, "its literals would begin before it"))?)
        }
    };
    let Models { controls, copies: models, literals } = state.models();
    let mut coder = Decoder::new(&coded[..apart.unwrap_or(coded.len())]);
    let count = usize::try_from(head.copies).unwrap_or(usize::MAX);
    let mut copies = vec![Copy { start: 0, position: 0, length: 0 }; count];
    let length = job.output_len;
    controls::code(&mut coder, controls, &mut copies, source.length(), length)?;
    let kind = if layout.is_some() { Kind::Code } else { Kind::Text };
    let predictor = layout.map(|(layout, begin)| (Predictor::new(layout, &in_file(&copies, begin)), begin));
    let source = SharedSource::new(source);
    let mut decoding = Decoding { coder, source: &source, models, predictor, copies: &copies, length };
    match apart {
        None => decoding.walk(Origin::Among(Literals::new(literals, kind)), output)?,
        Some(at) => decoding.with_literals((&coded[at..], offset + at as u64), (literals, kind), output)?,
    }
    finish(decoding.coder, offset)
}

/// Everything but the literals.
struct Decoding<'d, 's, S> {
    coder: Decoder<'d>,
    source: &'d SharedSource<'s, S>,
    models: &'d mut Copies,
    predictor: Option<(Predictor, u64)>,
    copies: &'d [Copy],
    length: u64,
}

impl<'d, S: Read + Seek + Send> Decoding<'d, '_, S> {
    fn walk(&mut self, literals: Origin<'_, Decoder<'d>>, output: &mut impl Write) -> Result<(), PatchError> {
        let mut written = Written { output: BufWriter::with_capacity(CHUNK, output) };
        let mut walk = Walk::new(&mut self.coder, self.models, literals, self.source, &mut written);
        if let Some((predictor, begin)) = self.predictor.take() {
            walk = walk.predicting(predictor, begin);
        }
        let walked = walk.run(self.copies, self.length);
        // Taken apart, it does not write after an error.
        let (output, rest) = written.output.into_parts();
        walked.and_then(|()| output.write_all(&rest.unwrap_or_default()).map_err(PatchError::output))
    }

    /// Has a thread decode the literals, which stand at `offset` in the payload, unless there is none to be had.
    fn with_literals(
        &mut self,
        (coded, offset): (&'d [u8], u64),
        (model, kind): (&mut Text, Kind),
        output: &mut impl Write,
    ) -> Result<(), PatchError> {
        let (source, copies) = (self.source, (self.copies, self.length));
        let walked = thread::scope(|scope| {
            let (sender, chunks) = sync_channel(AHEAD);
            let literals = Literals::new(model, kind);
            let ahead = move || decode_ahead((coded, offset), literals, source, copies, sender);
            let thread =
                thread::Builder::new().name("skiff-literals".into()).spawn_scoped(scope, ahead).ok()?;
            let walked = self.walk(Origin::Ahead(Received::new(chunks)), output);
            // Where the thread has failed, the walk has failed for want of literals.
            Some(match thread.join() {
                Ok(ended) => ended.and(walked),
                Err(panic) => std::panic::resume_unwind(panic),
            })
        });
        walked.unwrap_or_else(|| {
            let mut coder = Decoder::new(coded);
            self.walk(Origin::Apart(Literals::new(model, kind), &mut coder), output)?;
            finish(coder, offset)
        })
    }
}

fn read_layout<S: Read + Seek>(
    input: &mut Input<&[u8]>,
    source: &mut Source<S>,
) -> Result<Layout, PatchError> {
    let length = source.length();
    Layout::read(
        input,
        length,
        &mut |offset, bytes: &mut [u8]| match offset.checked_add(bytes.len() as u64) {
            Some(end) if end <= length => source.read_to(offset, bytes),
            _ => Err(PatchError::corrupt(0, "the source's headers lead beyond it")),
        },
    )
}

/// Where decoded bytes go: most copies are short, and an output may make a system call of each.
struct Written<W: Write> {
    output: BufWriter<W>,
}

impl<W: Write> Output for Written<W> {
    fn next(&mut self, _: &mut [u8]) -> Result<(), PatchError> {
        Ok(())
    }

    fn settled(&mut self, bytes: &[u8]) -> Result<(), PatchError> {
        self.output.write_all(bytes).map_err(PatchError::output)
    }
}
