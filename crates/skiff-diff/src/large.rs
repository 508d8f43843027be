//! Contents that are too long to be held beside their base: what both have in common is found in one pass over each, and what
//! lies between is searched, written and put into frames stretch by stretch, so that no file is ever held.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::Range;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use skiff_patch::align::{Outline, Plan, RefineOptions, Refiner, refine_memory, refined_decoder_memory};
use skiff_patch::{Codec, Source, State};
use skiff_replay::record::{self, Record};
use skiff_tree::{ContentReader, ReadAt};

use crate::candidate::{Watched, block_len, table_of, told};
use crate::encoder::{Contents, Output, RECORD_OVERHEAD, Work};
use crate::modelled::{GROUP_BYTES, Part};
use crate::plan::Planned;
use crate::release::BaseContents;
use crate::{DiffError, Idea};

/// What is searched of a file at once, at most.
const PIECE_BYTES: u64 = 4 << 20;
const LEAST_PIECE: u64 = 64 << 10;
/// What the frames of a stretch take beside what searching it does: its new bytes, as records and compressed.
const FRAMES_MEMORY: u64 = 96 << 20;

/// A frame, and the records in it for whoever counts them.
type Written = (Vec<Record>, Contents);

impl Work<'_> {
    /// Whether a content is made without being held.
    pub(crate) fn is_large(&self, planned: &Planned<'_>) -> bool {
        let is_known = matches!(self.base.contents, BaseContents::Known(_));
        is_known
            && !planned.is_held
            && self.options.ideas.has(Idea::Align)
            && self.budget.codec_memory >= refined_decoder_memory()
    }

    /// Makes a content, and puts its frames out as they become ready.
    pub(crate) fn make_large(&self, planned: &Planned<'_>, output: &mut Output) -> Result<(), DiffError> {
        let outline = self.outline(planned)?;
        let options = self.refine_options();
        let each = refine_memory(options.piece_bytes.get()).saturating_add(FRAMES_MEMORY);
        let threads = rayon::current_num_threads() as u64;
        let abreast = (self.options.memory / each).clamp(1, threads.max(1));
        for stretches in outline.stretches().chunks(usize::try_from(abreast).unwrap_or(1)) {
            let written = stretches.par_iter().with_max_len(1).map(|stretch| {
                let written = Stretch::new(self, planned).write(&outline, stretch.clone(), options);
                self.options.control.advance(stretch.end - stretch.start);
                written
            });
            let written: Result<Vec<Vec<Written>>, DiffError> = written.collect();
            for (records, contents) in written?.into_iter().flatten() {
                output.put(&records, contents)?;
            }
        }
        Ok(())
    }

    /// What the content and its base have in common; both are read whole, and seen to be what their trees say.
    fn outline(&self, planned: &Planned<'_>) -> Result<Outline, DiffError> {
        let control = self.options.control;
        let failed = |source| DiffError::Read { side: "target", path: planned.path.clone(), source };
        let content = self.target.contents.open(planned.path).map_err(failed)?;
        let mut new = Watched { reader: ContentReader::new(content), hasher: Some(Sha256::new()), control };
        let outline = match (&planned.base, self.base.contents) {
            (Some(base), BaseContents::Known(contents)) => {
                let failed = |source| DiffError::Read { side: "base", path: base.path.clone(), source };
                let content = contents.open(base.path).map_err(failed)?;
                let threads = NonZeroUsize::new(rayon::current_num_threads()).unwrap_or(NonZeroUsize::MIN);
                let block_len = block_len(base.size, planned.size);
                let table = table_of(&content, (base.path, base.digest), block_len, control, threads)?;
                let found = Outline::find(&table, ContentReader::new(&content), &mut new, threads);
                found.map_err(|error| told(error, control, None))?
            }
            _ => {
                io::copy(&mut new, &mut io::sink()).map_err(failed)?;
                Outline::of_nothing(planned.size)
            }
        };
        if new.digest() == Some(planned.digest) {
            Ok(outline)
        } else {
            Err(DiffError::Changed { side: "target", path: planned.path.clone() })
        }
    }

    fn refine_options(&self) -> RefineOptions {
        // Of the budget, the windows of a few threads take a part. They must not depend on how many there are.
        let frame = self.budget.frame_bytes as u64;
        let piece = (self.options.memory / 256).clamp(LEAST_PIECE, PIECE_BYTES).min(frame / 2);
        let at_least_one = |bytes| NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN);
        RefineOptions {
            piece_bytes: at_least_one(piece),
            payload_bytes: at_least_one(GROUP_BYTES.min(frame / 4)),
            effort: self.options.level.effort(),
        }
    }
}

/// Writes the frames of a stretch.
struct Stretch<'w, 'p> {
    work: &'w Work<'w>,
    planned: &'p Planned<'p>,
    frames: Vec<Written>,
    /// What the frame under way holds: either payloads that learn from each other, or new bytes that are compressed.
    records: Vec<Record>,
    is_data: bool,
    state: State,
    bytes: usize,
}

impl<'w, 'p> Stretch<'w, 'p> {
    fn new(work: &'w Work<'w>, planned: &'p Planned<'p>) -> Self {
        let (frames, records) = (Vec::new(), Vec::new());
        Self { work, planned, frames, records, is_data: false, state: State::new(), bytes: 0 }
    }

    fn write(
        mut self,
        outline: &Outline,
        stretch: Range<u64>,
        options: RefineOptions,
    ) -> Result<Vec<Written>, DiffError> {
        let new = self.open_target()?;
        match (&self.planned.base, self.work.base.contents) {
            (Some(base), BaseContents::Known(contents)) => {
                let failed = |source| DiffError::Read { side: "base", path: base.path.clone(), source };
                let old = contents.open(base.path).map_err(failed)?;
                let source = Source::new(ContentReader::new(&old), base.size);
                let mut refiner = Refiner::new(outline, source, ContentReader::new(&new), options);
                refiner.refine(stretch, |start, plan| self.take(start, plan, options))?;
            }
            _ => self.data(stretch)?,
        }
        self.end_frame()?;
        Ok(self.frames)
    }

    fn open_target(&self) -> Result<Box<dyn ReadAt + 'w>, DiffError> {
        let failed = |source| DiffError::Read { side: "target", path: self.planned.path.clone(), source };
        self.work.target.contents.open(self.planned.path).map_err(failed)
    }

    fn take(&mut self, start: u64, plan: Plan, options: RefineOptions) -> Result<(), DiffError> {
        self.work.options.control.check()?;
        let range = start..start + plan.forecast().output_len;
        if !plan.forecast().reads_source || plan.forecast().decoder_memory > self.work.budget.codec_memory {
            return self.data(range);
        }
        let estimate = usize::try_from(plan.forecast().estimate).unwrap_or(usize::MAX);
        let most = usize::try_from(options.payload_bytes.get()).unwrap_or(usize::MAX);
        if self.is_data || self.bytes.saturating_add(estimate) > most {
            self.end_frame()?;
        }
        let BaseContents::Known(base) = self.work.base.contents else {
            unreachable!("because nothing is planned for a base that is not here")
        };
        let part = Part::new(self.planned, skiff_patch::Plan::Align(plan), start);
        let record = part.write(base, self.work.target.contents, &mut self.state)?;
        if self.bytes + record.payload.len() + RECORD_OVERHEAD > self.work.budget.frame_bytes {
            // Far more than was expected: that is worse than new bytes.
            self.end_frame()?;
            return self.data(range);
        }
        self.push(record);
        Ok(())
    }

    fn push(&mut self, record: Record) {
        self.bytes += record.payload.len() + RECORD_OVERHEAD;
        self.records.push(record);
    }

    /// A range as it is.
    fn data(&mut self, range: Range<u64>) -> Result<(), DiffError> {
        let failed = |source| DiffError::Read { side: "target", path: self.planned.path.clone(), source };
        let mut new = ContentReader::new(self.open_target()?);
        new.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        let mut left = range.end - range.start;
        while left > 0 {
            let length = left.min(u64::from(self.work.budget.segment_bytes()));
            let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
            new.read_exact(&mut payload).map_err(failed)?;
            if !self.is_data || self.bytes + payload.len() + RECORD_OVERHEAD > self.work.budget.frame_bytes {
                self.end_frame()?;
                self.is_data = true;
            }
            let (codec, content) = (Codec::Data.id(), self.planned.number);
            self.push(Record { codec, content, output_len: length, source: Vec::new(), payload });
            left -= length;
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Result<(), DiffError> {
        (self.bytes, self.state) = (0, State::new());
        let is_data = std::mem::take(&mut self.is_data);
        let records = std::mem::take(&mut self.records);
        if records.is_empty() {
            return Ok(());
        }
        let contents = if is_data {
            self.work.compressed(&record::encode(&records, &self.work.known))?
        } else {
            self.work.stored(&record::encode(&records, &self.work.known))?
        };
        self.frames.push((records, contents));
        Ok(())
    }
}
