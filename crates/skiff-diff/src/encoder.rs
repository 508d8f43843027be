use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use rayon::prelude::*;
use skiff_format::{CompressedFrame, Compression, Encoder, Limits, Section, replace_signatures};
use skiff_fs::Control;
use skiff_patch::State;
use skiff_replay::record::{self, Known, Origin, Record};
use skiff_signature::TreeSignature;
use skiff_tree::section::{self, EncodedSection};
use skiff_tree::{ContentDigest, ContentSource};

use crate::assumed::Assumed;
use crate::budget::Budget;
use crate::candidate::{self, Job, Made, Old};
use crate::explanation::{Shares, Weighed, weigh};
use crate::facts::{Tally, fixed_memory, header_fields};
use crate::lists::List;
use crate::modelled::{Groups, Part};
use crate::options::{Level, Options};
use crate::plan::{Paired, Planned, PlannedSource, plan};
use crate::proof::prove;
use crate::release::{Base, BaseContents, Release};
use crate::together::Chosen;
use crate::{DiffError, FileKind, Idea, Ideas, Report};

/// The most bytes of records in one frame, below the decoder's default limit of 8 MiB.
pub(crate) const FRAME_BYTES: usize = (8 << 20) - (64 << 10);

/// So many new bytes are also made without any idea, and the smaller delta is kept: choices rest on estimates, which are wrong by a
/// few bytes a file.
const TRIED_PLAIN: u64 = 256 << 10;

/// Makes the delta that leads from `base` to `target`, and proves it before a byte of it is written to `out`.
///
/// # Errors
/// Any of [`DiffError`].
pub fn diff(
    base: &Release<'_>,
    target: &Release<'_>,
    options: &Options<'_>,
    out: impl Write,
) -> Result<Report, DiffError> {
    let contents = BaseContents::Known(base.contents);
    run(&Base { tree: base.tree, release: base.id(), contents }, target, options, out)
}

/// Makes the delta that leads to `target` from a release that is not here, but whose tree was signed. Files that changed are made
/// of blocks of their base and new bytes, which takes more of them than [`diff`] does.
///
/// The proof takes for granted that equal hashes stand for equal blocks. Where the signature lies about its release, the
/// delta is refused by whoever has that.
///
/// # Errors
/// Any of [`DiffError`].
pub fn diff_against(
    base: &TreeSignature,
    target: &Release<'_>,
    options: &Options<'_>,
    out: impl Write,
) -> Result<Report, DiffError> {
    let contents = BaseContents::Signed(base);
    run(&Base { tree: base.tree(), release: base.release_id(), contents }, target, options, out)
}

fn run(
    base: &Base<'_>,
    target: &Release<'_>,
    options: &Options<'_>,
    mut out: impl Write,
) -> Result<Report, DiffError> {
    let threads = options.threads.map_or(0, NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| DiffError::Threads(error.to_string()))?;
    let mut assumed = Assumed::new(base.tree, target.contents);
    let work = Work::new(base, target, options)?;
    let (mut delta, mut report) = pool.install(|| work.run(&mut assumed))?;
    if report.new_bytes <= TRIED_PLAIN
        && let BaseContents::Known(_) = base.contents
    {
        let ideas = options.ideas.only(Idea::Mixed);
        let options = Options { ideas, control: Control::default(), ..*options };
        let plain = Work::new(base, target, &options)?;
        let mut none = Assumed::new(base.tree, target.contents);
        let (plain_delta, plain_report) = pool.install(|| plain.run(&mut none))?;
        if plain_report.delta_bytes < report.delta_bytes {
            (delta, report) = (plain_delta, plain_report);
        }
    }
    assumed.settle();
    prove(base, &assumed, target, options.control, &mut delta)?;
    let failed = |source| DiffError::Io { op: "writing the delta", source };
    delta.rewind().map_err(failed)?;
    if let Some(sign) = options.sign {
        let delta = io::BufReader::new(delta);
        let header = replace_signatures(delta, Limits::default(), out, sign)?;
        report.grow_header(header.delta_size());
    } else {
        io::copy(&mut delta, &mut out).and_then(|_| out.flush()).map_err(failed)?;
    }
    Ok(report)
}

pub(crate) struct Work<'a> {
    pub(crate) base: &'a Base<'a>,
    pub(crate) target: &'a Release<'a>,
    pub(crate) options: &'a Options<'a>,
    pub(crate) told: EncodedSection,
    /// What records need not tell.
    pub(crate) known: Known,
    /// What a device holds whatever the frames hold.
    fixed: u64,
    pub(crate) budget: Budget,
    /// What the level leaves of those that may be tried.
    pub(crate) ideas: Ideas,
}

impl<'a> Work<'a> {
    fn new(base: &'a Base<'a>, target: &'a Release<'a>, options: &'a Options<'a>) -> Result<Self, DiffError> {
        let told = section::encode(base.tree, target.tree);
        let known = Known::new(base.tree, target.tree.entries(), &told.new_contents);
        let fixed = fixed_memory(base, target, &told);
        let budget = Budget::new(options.max_decoder_memory, fixed)?;
        let ideas = match options.level {
            Level::Fast => options.ideas.without(Idea::Align).without(Idea::Mixed),
            Level::Default | Level::Best => options.ideas,
        };
        Ok(Self { base, target, options, told, known, fixed, budget, ideas })
    }

    fn run(&self, assumed: &mut Assumed<'a>) -> Result<(File, Report), DiffError> {
        let mut planned = plan(self.base, self.target, &self.told, self.options)?;
        let lists = self.lists(&planned)?;
        let is_list = |number: u32| lists.contains_key(&number);
        let place = |planned: &Planned<'_>| (is_list(planned.number), self.is_large(planned));
        planned.sort_by_key(place);
        let reads_list =
            |source: &PlannedSource<'_>| matches!(source.origin, Origin::Target(number) if is_list(number));
        planned.iter_mut().for_each(|planned| planned.similar.retain(|source| !reads_list(source)));
        let (others, listed) = planned.split_at(planned.len() - lists.len());
        let (held, large) = others.split_at(others.partition_point(|planned| !self.is_large(planned)));
        let mut output = Output::new(self.spool("a temporary file for frames")?);
        self.prelude(&mut output)?;
        self.make_held(held, assumed, &mut output)?;
        for planned in large {
            self.make_large(planned, &mut output)?;
        }
        self.make_lists(listed, lists, &mut output)?;
        self.finish(output, &planned)
    }

    /// Makes contents of which as many are held as there is room for, wave after wave, while what the wave before came to is compressed.
    fn make_held(
        &self,
        held: &[Planned<'a>],
        assumed: &mut Assumed<'a>,
        output: &mut Output,
    ) -> Result<(), DiffError> {
        let mut frames = FrameBuilder::new(self.budget.frame_bytes, &self.known);
        let mut full: Vec<Vec<u8>> = Vec::new();
        let mut groups = Groups::default();
        let mut grouped: Vec<Vec<Part<'_, '_>>> = Vec::new();
        let mut late = Vec::new();
        for wave in waves(held, self.options.memory) {
            let ((compressed, written), made) = rayon::join(
                || {
                    rayon::join(
                        || self.compress_all(std::mem::take(&mut full)),
                        || self.write_all(std::mem::take(&mut grouped)),
                    )
                },
                || wave.par_iter().with_max_len(1).map(|planned| self.make(planned)).collect(),
            );
            output.add_all(compressed)?;
            late.extend(written?);
            let made: Result<Vec<_>, DiffError> = made;
            let mut made = made?;
            self.reconsider(wave, &mut made)?;
            for (planned, Chosen { made, sources, .. }) in wave.iter().zip(made) {
                let records = match made {
                    Made::Records(records) => records,
                    Made::Planned(plan) => {
                        grouped.extend(groups.push(planned, sources, plan));
                        continue;
                    }
                };
                if let BaseContents::Signed(_) = self.base.contents {
                    assumed.learn(planned.path, &records)?;
                }
                for record in records {
                    output.tally.count(&record)?;
                    full.extend(frames.push(record));
                }
            }
        }
        full.extend(frames.flush());
        grouped.extend(groups.flush());
        let (compressed, written) = rayon::join(|| self.compress_all(full), || self.write_all(grouped));
        output.add_all(compressed)?;
        late.extend(written?);
        // A content that spans frames is not to be interrupted, so these come behind all others.
        late.into_iter().try_for_each(|(records, contents)| output.put(&records, contents))
    }

    /// Makes the lists of what other contents hash to, which come behind those.
    fn make_lists(
        &self,
        listed: &[Planned<'a>],
        mut lists: BTreeMap<u32, List>,
        output: &mut Output,
    ) -> Result<(), DiffError> {
        let mut groups = Groups::default();
        let mut grouped: Vec<Vec<Part<'_, '_>>> = Vec::new();
        for planned in listed {
            let list = lists.remove(&planned.number).expect("because those with a list stand last");
            grouped.extend(groups.add(Part::of_list(planned, list)));
            self.options.control.advance(planned.size);
        }
        grouped.extend(groups.flush());
        let written = self.write_all(grouped)?;
        written.into_iter().try_for_each(|(records, contents)| output.put(&records, contents))
    }

    /// Puts the header before the frames.
    fn finish(&self, output: Output, planned: &[Planned<'a>]) -> Result<(File, Report), DiffError> {
        let mut delta = self.spool("a temporary file for the delta")?;
        let Output { encoder, tally, shares } = output;
        let mut fields = header_fields(self.base, self.target, &self.told, &tally, self.fixed);
        fields.facts.pull_bytes = self.options.pull_bytes;
        let (granted, least) = (self.options.max_decoder_memory, fields.facts.decoder_memory);
        if let Some(granted) = granted.filter(|&granted| least > granted) {
            return Err(DiffError::DecoderMemory { granted, least });
        }
        let summary = encoder.finish(&fields, &mut delta)?;
        let mut report = tally.report(&fields, &summary, &self.told);
        report.explanation = self.options.explain.then(|| shares.explain(planned, self.base.tree, &summary));
        Ok((delta, report))
    }

    fn spool(&self, op: &'static str) -> Result<File, DiffError> {
        let file = match self.options.spool {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile(),
        };
        file.map_err(|source| DiffError::Io { op, source })
    }

    /// Everything that stands before the contents.
    fn prelude(&self, output: &mut Output) -> Result<(), DiffError> {
        let sections = [
            (Section::Config, self.target.config),
            (Section::Manifest, self.target.manifest),
            (Section::Tree, Some(&self.told.bytes[..])),
        ];
        for (section, payload) in sections {
            for part in payload.unwrap_or_default().chunks(self.budget.frame_bytes) {
                output.add(self.compress(section, part)?, Vec::new())?;
            }
        }
        Ok(())
    }

    fn compress_all(&self, payloads: Vec<Vec<u8>>) -> Vec<Result<Contents, DiffError>> {
        payloads.into_par_iter().with_max_len(1).map(|payload| self.compressed(&payload)).collect()
    }

    /// A frame of records that a compressor makes smaller.
    pub(crate) fn compressed(&self, payload: &[u8]) -> Result<Contents, DiffError> {
        Ok((self.compress(Section::Contents, payload)?, self.weighed(payload)))
    }

    /// A frame of records whose payloads nothing makes smaller.
    pub(crate) fn stored(&self, payload: &[u8]) -> Result<Contents, DiffError> {
        let frame = skiff_format::compress(Section::Contents, payload, &Compression::Stored)?;
        Ok((frame, self.weighed(payload)))
    }

    fn weighed(&self, payload: &[u8]) -> Vec<Weighed> {
        if self.options.explain { weigh(payload, &self.known) } else { Vec::new() }
    }

    fn compress(&self, section: Section, payload: &[u8]) -> Result<CompressedFrame, DiffError> {
        let candidates = self.options.level.compressions(payload.len());
        let mut best: Option<CompressedFrame> = None;
        for compression in candidates {
            self.options.control.check()?;
            if *compression == Compression::Mixed && !self.ideas.has(Idea::Mixed) {
                continue;
            }
            let frame = skiff_format::compress(section, payload, compression)?;
            if frame.decoder_memory() > skiff_format::frame_memory(self.budget.frame_bytes) {
                continue;
            }
            if best.as_ref().is_none_or(|best| frame.encoded_size() < best.encoded_size()) {
                best = Some(frame);
            }
        }
        Ok(best.expect("because every level has a compression"))
    }

    /// Writes the payloads of each group, one after the other, and the groups side by side.
    fn write_all(&self, groups: Vec<Vec<Part<'_, '_>>>) -> Result<Vec<(Vec<Record>, Contents)>, DiffError> {
        groups.into_par_iter().with_max_len(1).map(|group| self.write(&group)).collect()
    }

    fn write(&self, group: &[Part<'_, '_>]) -> Result<(Vec<Record>, Contents), DiffError> {
        let BaseContents::Known(base) = self.base.contents else {
            unreachable!("because nothing is planned for a base that is not here")
        };
        let mut state = State::new();
        let mut records = Vec::with_capacity(group.len());
        for part in group {
            self.options.control.check()?;
            records.push(part.write(base, self.target.contents, &mut state)?);
        }
        let contents = self.stored(&record::encode(&records, &self.known))?;
        Ok((records, contents))
    }

    /// Makes a content from what serves best.
    fn make<'p>(&self, planned: &'p Planned<'a>) -> Result<Chosen<'p, 'a>, DiffError> {
        let new = load(self.target.contents, planned.path, planned.digest, "target")?;
        let mut best: Option<(Chosen<'p, 'a>, u64)> = None;
        for (pairing, sources) in planned.alternatives() {
            self.options.control.check()?;
            let (made, size) = candidate::make(&Job {
                number: planned.number,
                new: &new,
                pairing,
                has_rivals: planned.alternatives().nth(1).is_some(),
                sources,
                old: self.old(planned, sources)?,
                control: self.options.control,
                ideas: self.ideas,
                effort: self.options.level.effort(),
                budget: self.budget,
            })?;
            // Estimates are not exact, and more than one source costs a device more.
            if best.as_ref().is_none_or(|best| size + size / 64 + 16 < best.1) {
                let was_sent = best.is_none_or(|best| matches!(best.0.made, Made::Records(_)));
                let is_doubted = pairing == Paired::Alike && was_sent && matches!(made, Made::Planned(_));
                let is_doubted = is_doubted
                    && matches!(planned.kind, FileKind::Text | FileKind::Other | FileKind::PythonBytecode);
                best = Some((Chosen { made, sources, doubt: is_doubted.then_some(size) }, size));
            }
        }
        self.options.control.advance(new.len() as u64);
        Ok(best.expect("because every content can be made from nothing").0)
    }

    /// What there is to make a content from.
    fn old(&self, planned: &Planned<'_>, sources: &[PlannedSource<'_>]) -> Result<Old<'a>, DiffError> {
        let Some(first) = sources.first() else { return Ok(Old::Nothing) };
        match (self.base.contents, first.origin) {
            (BaseContents::Signed(signature), Origin::Base(index)) => {
                let signature = signature.of_file(index as usize);
                Ok(signature.map_or(Old::Nothing, |signature| Old::Signed(Arc::clone(signature), first.size)))
            }
            (BaseContents::Signed(_), Origin::Target(_)) => Ok(Old::Nothing),
            (BaseContents::Known(base), _) if planned.is_held => {
                let mut bytes = Vec::new();
                for source in sources {
                    let (side, contents) = source.side(base, self.target.contents);
                    let part = load(contents, source.path, source.digest, side)?;
                    if bytes.is_empty() { bytes = part } else { bytes.extend(part) }
                }
                Ok(Old::Held(bytes))
            }
            (BaseContents::Known(base), _) => {
                let failed = |source| DiffError::Read { side: "base", path: first.path.clone(), source };
                let content = base.open(first.path).map_err(failed)?;
                Ok(Old::Open { content, path: first.path.clone(), digest: first.digest })
            }
        }
    }
}

/// A frame of the contents section, with its records where they are to be explained.
pub(crate) type Contents = (CompressedFrame, Vec<Weighed>);

/// Where frames go, and what is counted of them on the way.
pub(crate) struct Output {
    encoder: Encoder<File>,
    tally: Tally,
    shares: Shares,
}

impl Output {
    fn new(spool: File) -> Self {
        Self { encoder: Encoder::new(spool), tally: Tally::default(), shares: Shares::default() }
    }

    fn add(&mut self, frame: CompressedFrame, records: Vec<Weighed>) -> Result<(), DiffError> {
        self.tally.count_frame(&frame);
        self.shares.count(&frame, records);
        Ok(self.encoder.add(frame)?)
    }

    /// Adds a frame whose records are not counted yet.
    pub(crate) fn put(&mut self, records: &[Record], (frame, weighed): Contents) -> Result<(), DiffError> {
        records.iter().try_for_each(|record| self.tally.count(record))?;
        self.add(frame, weighed)
    }

    fn add_all(&mut self, frames: Vec<Result<Contents, DiffError>>) -> Result<(), DiffError> {
        for frame in frames {
            let (frame, records) = frame?;
            self.add(frame, records)?;
        }
        Ok(())
    }
}

/// Cuts the plan where the memory its pairs take together would pass the budget: within a wave they may all be in memory
/// at once. A pair that passes it alone has a wave for itself.
fn waves<'p, 'a>(planned: &'p [Planned<'a>], budget: u64) -> Vec<&'p [Planned<'a>]> {
    let mut waves = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (index, pair) in planned.iter().enumerate() {
        if index > start && pair.memory.saturating_add(held) > budget {
            waves.push(&planned[start..index]);
            (start, held) = (index, 0);
        }
        held = pair.memory.saturating_add(held);
    }
    waves.push(&planned[start..]);
    waves
}

/// Reads a content and checks that it is the one the tree names.
pub(crate) fn load(
    contents: &dyn ContentSource,
    path: &skiff_tree::EntryPath,
    digest: ContentDigest,
    side: &'static str,
) -> Result<Vec<u8>, DiffError> {
    let failed = |source| DiffError::Read { side, path: path.clone(), source };
    let content = contents.open(path).map_err(failed)?;
    let bytes = skiff_tree::read_all(&content).map_err(failed)?;
    if ContentDigest::of(&bytes) == digest {
        Ok(bytes)
    } else {
        Err(DiffError::Changed { side, path: path.clone() })
    }
}

/// Fills frames with records, in order.
struct FrameBuilder<'k> {
    known: &'k Known,
    /// The most bytes of a frame.
    most: usize,
    records: Vec<Record>,
    bytes: usize,
}

/// The most bytes a record takes beside its payload.
pub(crate) const RECORD_OVERHEAD: usize = 96;
/// What most take.
pub(crate) const HEAD_BYTES: u64 = 4;

impl<'k> FrameBuilder<'k> {
    fn new(most: usize, known: &'k Known) -> Self {
        Self { known, most, records: Vec::new(), bytes: 0 }
    }

    /// Takes a record; gives back a frame's payload where the record began a new frame.
    fn push(&mut self, record: Record) -> Option<Vec<u8>> {
        let size = record.payload.len() + RECORD_OVERHEAD;
        let full = if self.bytes + size > self.most { self.flush() } else { None };
        self.bytes += size;
        self.records.push(record);
        full
    }

    /// Ends the frame under way.
    fn flush(&mut self) -> Option<Vec<u8>> {
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        (!records.is_empty()).then(|| record::encode(&records, self.known))
    }
}
