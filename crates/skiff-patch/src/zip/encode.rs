//! The encoder: from two archives to payloads.

use std::io::{Cursor, Read, Seek};
use std::num::NonZeroU32;

use super::archive::Archive;
use super::bases::Bases;
use super::chunks::{Chunk, Compared, changed};
use super::old::{OldArchive, Units};
use super::planner::Planner;
use super::segments::assemble;
use crate::deflate::Expected;
use crate::{Codec, Forecast, Job, Limits, PatchError, Source, State, align, inner};

/// What opening an archive may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most bytes of payload in a segment, about. The default is 7 MiB.
    pub segment_bytes: NonZeroU32,
    /// The most bytes of plain text that the decoder is to compress again. The default is 64 MiB: some seconds on a small device.
    pub plain_bytes: u64,
    /// How the texts of members are compared, in a plan.
    pub comparison: align::Options,
}

impl Default for Options {
    fn default() -> Self {
        const SEGMENT: NonZeroU32 = NonZeroU32::new(7 << 20).expect("because it is not zero");
        Self { segment_bytes: SEGMENT, plain_bytes: 64 << 20, comparison: align::Options::default() }
    }
}

/// A part of an archive, decoded by itself. The segments' outputs, one after the other, are the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// How many bytes it stands for.
    pub output_len: u64,
    /// The encoded bytes.
    pub payload: Vec<u8>,
    /// Whether decoding reads the source.
    pub reads_source: bool,
}

/// Says how to make the archive `new`, from the archive `old` if there is one.
///
/// None where `new` is not an archive, or where none of its members is found in `old` or opened: then it is no more than bytes.
/// What is returned was decoded, and was the same. Depends on the arguments alone.
#[must_use]
pub fn encode(old: Option<&[u8]>, new: &[u8], options: &Options) -> Option<Vec<Segment>> {
    let mut taken = Taken::apart(old, new, options)?;
    let effort = options.comparison.effort;
    taken.chunks.iter_mut().for_each(|chunk| chunk.encode(effort));
    let most = usize::try_from(options.segment_bytes.get()).unwrap_or(usize::MAX);
    let old = old.unwrap_or_default();
    let mut source = over(old);
    let mut units = Units::read(&taken.archives, &mut source).ok()?;
    let mut coder = |chunk: &Chunk| match &chunk.compared {
        Some(Compared::Encoded(codec, payload)) => Ok((*codec, payload.clone())),
        _ => Ok(inner::encode(&chunk.old_text(&mut units, &mut source)?, &chunk.text(new)?, effort)),
    };
    let segments = assemble(&taken.archives, &taken.chunks, (new.len(), most), &mut coder).ok()?;
    decodes(&segments, old, new).then_some(segments)
}

/// How an archive is to be made from another one, before it is written: see [`align::Plan`](crate::align::Plan).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    taken: Taken,
    forecast: Forecast,
}

impl Plan {
    /// Takes two archives apart and compares their members; there need not be an old one. None as with [`encode`].
    #[must_use]
    pub fn new(old: Option<&[u8]>, new: &[u8], options: &Options) -> Option<Self> {
        Self::new_with(old, new, options, |chunks| chunks.iter_mut().for_each(Comparison::run))
    }

    /// The same, but that `each` runs the comparisons, be it side by side.
    #[must_use]
    pub fn new_with(
        old: Option<&[u8]>,
        new: &[u8],
        options: &Options,
        each: impl FnOnce(&mut [Comparison]),
    ) -> Option<Self> {
        let mut taken = Taken::apart(old, new, options)?;
        // That the pieces make the archive is seen with their texts as they are.
        let mut coder = |chunk: &Chunk| Ok((Codec::Data, chunk.text(new)?));
        let segments = assemble(&taken.archives, &taken.chunks, (new.len(), usize::MAX), &mut coder).ok()?;
        let reads_source = segments.iter().any(|segment| segment.reads_source);
        if !decodes(&segments, old.unwrap_or_default(), new) {
            return None;
        }
        let memory = |segment: &Segment| {
            super::decoder_memory(&Job::new(Codec::Zip, &segment.payload, segment.output_len)).ok()
        };
        let beside = segments.iter().filter_map(memory).max()?;
        drop(segments);
        let comparison = |chunk| Comparison { chunk, options: options.comparison };
        let mut comparisons: Vec<_> = taken.chunks.into_iter().map(comparison).collect();
        each(&mut comparisons);
        taken.chunks = comparisons.into_iter().map(Comparison::ended).collect();
        let estimate =
            taken.chunks.iter().map(|chunk| chunk.estimate() + 2 * chunk.pieces.len()).sum::<usize>();
        let decoder_memory = beside + taken.chunks.iter().map(Chunk::decoder_memory).max().unwrap_or(0);
        let (output_len, estimate) = (new.len() as u64, estimate as u64);
        Some(Self { taken, forecast: Forecast { reads_source, output_len, estimate, decoder_memory } })
    }

    /// What comes of the plan.
    #[must_use]
    pub fn forecast(&self) -> Forecast {
        self.forecast
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
        if file.len() as u64 != self.forecast.output_len {
            return Err(changed());
        }
        let archives = if self.forecast.reads_source { &self.taken.archives[..] } else { &[] };
        let mut units = Units::read(archives, source)?;
        let mut coder = |chunk: &Chunk| {
            let Some(Compared::Planned(plan)) = &chunk.compared else { return Err(changed()) };
            let old_text = chunk.old_text(&mut units, source)?;
            Ok((Codec::Align, plan.write_held(&old_text, &chunk.text(&file)?, state)?))
        };
        let mut segments = assemble(archives, &self.taken.chunks, (file.len(), usize::MAX), &mut coder)?;
        segments.pop().map(|segment| segment.payload).ok_or_else(changed)
    }
}

/// The comparison of some members with theirs, which needs nothing else.
#[derive(Debug)]
pub struct Comparison {
    chunk: Chunk,
    options: align::Options,
}

impl Comparison {
    /// Does it.
    pub fn run(&mut self) {
        self.chunk.plan(&self.options);
    }

    fn ended(mut self) -> Chunk {
        self.run();
        self.chunk
    }
}

/// A new archive in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    archives: Vec<OldArchive>,
    chunks: Vec<Chunk>,
}

impl Taken {
    fn apart(old: Option<&[u8]>, new: &[u8], options: &Options) -> Option<Self> {
        let archive = Archive::read(new)?;
        let (bases, chunks) = Planner::new(old.and_then(Bases::new), new, options).plan(&archive)?;
        Some(Self { archives: bases.map_or_else(Vec::new, |bases| bases.archives), chunks })
    }
}

fn decodes(segments: &[Segment], old: &[u8], new: &[u8]) -> bool {
    let mut rest = Expected::new(new);
    let mut source = over(old);
    let limits = Limits { memory_bytes: u64::MAX, ..Limits::default() };
    let decoded = segments.iter().all(|segment| {
        let job = Job::new(Codec::Zip, &segment.payload, segment.output_len);
        super::decode(&job, &mut source, &mut rest, &limits, &mut State::new()).is_ok()
    });
    decoded && rest.is_met()
}

fn over(bytes: &[u8]) -> Source<Cursor<&[u8]>> {
    Source::new(Cursor::new(bytes), bytes.len() as u64)
}
