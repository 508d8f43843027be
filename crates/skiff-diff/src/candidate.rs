//! The records that make one new content, by whatever codec comes out smallest.

use std::io::{self, Read};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use skiff_block::{BlockError, SAFE_STRONG_LEN, Signature, SignatureKind, SignatureParams, Table};
use skiff_format::{Compression, Section, compress};
use skiff_fs::Control;
use skiff_patch::{Codec, Effort, Plan, align, block, bsdiff, gzip, png};
use skiff_replay::record::{Extent, Origin, Part, Record};
use skiff_tree::{ContentDigest, ContentReader, EntryPath, ReadAt};

use crate::archive::{self, Archive};
use crate::budget::Budget;
use crate::encoder::RECORD_OVERHEAD;
use crate::plan::{Paired, PlannedSource};
use crate::{DiffError, Idea, Ideas};

/// Fast, and ranks as the real compressors do.
const ESTIMATE: Compression = Compression::Zstd { level: 3 };

/// A new content with everything its records are made from.
pub(crate) struct Job<'a> {
    /// Its number.
    pub(crate) number: u32,
    /// Its bytes.
    pub(crate) new: &'a [u8],
    /// What it is to be made from, and how that was found.
    pub(crate) pairing: Paired,
    /// Whether it may be made from something else, too, so that what each takes is compared.
    pub(crate) has_rivals: bool,
    pub(crate) sources: &'a [PlannedSource<'a>],
    /// What there is of that.
    pub(crate) old: Old<'a>,
    /// Stops it.
    pub(crate) control: Control<'a>,
    /// What may be tried.
    pub(crate) ideas: Ideas,
    /// How much time finding what files have in common may take.
    pub(crate) effort: Effort,
    /// What the records may take.
    pub(crate) budget: Budget,
}

/// What there is of a file to make another one from.
pub(crate) enum Old<'a> {
    Nothing,
    /// Its bytes.
    Held(Vec<u8>),
    /// A way to read them: they are too many to be held.
    Open {
        content: Box<dyn ReadAt + 'a>,
        path: EntryPath,
        digest: ContentDigest,
    },
    /// What its blocks hash to, and how many bytes it has.
    Signed(Arc<Signature>, u64),
}

/// How a content is made.
pub(crate) enum Made {
    /// By these records, which a compressor makes smaller.
    Records(Vec<Record>),
    /// As planned: what the payloads are depends on those before them.
    Planned(Plan),
}

/// Finds out how to make a content, trying every codec that may serve and keeping the smallest.
///
/// What counts is the size after compression. It is estimated with a fast compressor, record by record: that ranks the
/// candidates as the real one does, at a fraction of its time.
///
/// Tells with it about how many bytes that takes.
pub(crate) fn make(job: &Job<'_>) -> Result<(Made, u64), DiffError> {
    let old = if let Old::Held(bytes) = &job.old { Some(&bytes[..]) } else { None };
    let mut best = plain(job.number, job.new, &job.budget);
    let mut best_size = estimate(&best);
    let plain_size = best_size;
    let mut offer = |candidate: Vec<Record>, worth: fn(u64) -> u64| {
        let size = worth(estimate(&candidate));
        if job.pairing == Paired::Alike && size > among_its_like(plain_size) {
            return;
        }
        // What learns is written last: records would read contents that are not finished.
        let is_late = |record: &Record| job.ideas.has(Idea::Align) && record.source.iter().any(is_of_target);
        if size < best_size
            && !candidate.iter().any(is_late)
            && candidate.iter().all(|record| fits(record, &job.budget))
        {
            (best, best_size) = (candidate, size);
        }
    };
    match archive::open(job, old) {
        Some(Archive::Planned(plan)) if plan.forecast().estimate < plain_size => {
            let size = plan.forecast().estimate;
            return Ok((Made::Planned(plan), size));
        }
        Some(Archive::InSegments(segments)) => {
            let is_alone = segments.iter().all(|segment| !segment.reads_source);
            let records = segments.into_iter().map(|segment| {
                record(job, Codec::Zip, segment.output_len, segment.payload, segment.reads_source)
            });
            offer(records.collect(), if is_alone { among_its_like } else { as_estimated });
            return Ok((Made::Records(best), best_size));
        }
        _ => {}
    }
    if job.ideas.has(Idea::Align) && !matches!(job.old, Old::Open { .. } | Old::Signed(..)) {
        let plan = planned(job, old);
        let fits = |plan: &Plan| plan.forecast().decoder_memory <= job.budget.codec_memory;
        // Where a device has no memory for a code that learns, others take far less than sending the file.
        if plan.as_ref().is_none_or(fits) {
            return Ok(learned(job, plan, plain_size).unwrap_or((Made::Records(best), plain_size)));
        }
    }
    let opened = if job.ideas.has(Idea::Gzip) { gzip::encode(old, job.new, job.effort) } else { None };
    let is_opened = opened.is_some();
    if let Some(opened) = opened {
        let worth = if opened.reads_source { as_estimated } else { among_its_like };
        let record = record(job, Codec::Gzip, job.new.len() as u64, opened.payload, opened.reads_source);
        offer(vec![record], worth);
    }
    // What was opened is not compared as it is.
    let is_done = is_opened && matches!(job.old, Old::Held(_));
    if !is_done && let Some(records) = differences(job)? {
        offer(records, as_estimated);
    }
    Ok((Made::Records(best), best_size))
}

/// What differs from what there is: by bytes where that is held, else by blocks; none where there is nothing.
fn differences(job: &Job<'_>) -> Result<Option<Vec<Record>>, DiffError> {
    let made = |codec| move |length, payload| record(job, codec, length, payload, true);
    match &job.old {
        Old::Held(old) if job.ideas.has(Idea::Bsdiff) => {
            let made = made(Codec::Bsdiff);
            let segment_bytes = NonZeroU32::new(job.budget.segment_bytes()).unwrap_or(NonZeroU32::MIN);
            let options = bsdiff::Options { segment_bytes, effort: job.effort, ..bsdiff::Options::default() };
            let segments = bsdiff::encode(old, job.new, &options).into_iter();
            Ok(Some(segments.map(|part| made(part.output_len, part.payload)).collect()))
        }
        Old::Nothing | Old::Held(_) => Ok(None),
        Old::Open { .. } | Old::Signed(..) => {
            let made = made(Codec::Block);
            Ok(Some(blocks(job)?.into_iter().map(|part| made(part.output_len, part.payload)).collect()))
        }
    }
}

/// How a content may be made by a codec that learns.
fn planned(job: &Job<'_>, old: Option<&[u8]>) -> Option<Plan> {
    let is_predicted = job.ideas.has(Idea::References);
    let options = align::Options { is_predicted, effort: job.effort, ..align::Options::default() };
    let opened = if job.ideas.has(Idea::Gzip) { gzip::Plan::new(old, job.new, &options) } else { None };
    if let Some(opened) = opened {
        return Some(Plan::Gzip(opened));
    }
    let image = if job.ideas.has(Idea::Png) { png::Plan::new(old, job.new, &options) } else { None };
    let as_it_is = || old.map(|old| Plan::Align(align::Plan::new(old, job.new, &options)));
    // An image that was compressed better than a code that learns does is told as it is.
    image.map(Plan::Png).into_iter().chain(as_it_is()).min_by_key(|plan| plan.forecast().estimate)
}

/// The plan, if it is worth it, and about how many bytes it takes, where compressing what is `plain` takes so many.
///
/// What is literally in the file was estimated as frequencies of bytes, of which the compressor knows better what is in them. That
/// matters little where there is a file by this name, and most of the new one is in it; where there is more to choose from, the
/// estimate is put right.
fn learned(job: &Job<'_>, plan: Option<Plan>, plain: u64) -> Option<(Made, u64)> {
    let plan = plan?;
    let estimate = plan.forecast().estimate;
    let Plan::Align(_) = plan else { return (estimate < plain).then_some((Made::Planned(plan), estimate)) };
    if job.pairing == Paired::Named && !job.has_rivals {
        return (estimate < plain).then_some((Made::Planned(plan), estimate));
    }
    let literally = align::Plan::new(&[], job.new, &align::Options::default()).forecast().estimate.max(1);
    let right = plain.clamp(literally / 2, literally * 2);
    let size =
        u64::try_from(u128::from(estimate) * u128::from(right) / u128::from(literally)).unwrap_or(u64::MAX);
    let is_worth_it = match job.pairing {
        Paired::Named => estimate < plain,
        // Both take about three quarters of what the fast compressor takes.
        Paired::Alike if job.new.starts_with(b"\x7fELF") => size < plain,
        // Texts are compressed among their like, and take still less.
        Paired::Alike => size < plain / 4 * 3,
    };
    is_worth_it.then_some((Made::Planned(plan), size))
}

fn as_estimated(size: u64) -> u64 {
    size
}

/// What a text is worth that is compressed together with others, by the real compressor: of the 352 changed texts of a rebuilt
/// Debian image, which are mostly changelogs, that makes 0.95 MB, where each alone takes 2.33 MB as gzip has it.
fn among_its_like(size: u64) -> u64 {
    size / 4 * 3
}

/// As blocks of the base, of which less is there than all bytes in memory.
fn blocks(job: &Job<'_>) -> Result<Vec<block::Segment>, DiffError> {
    let new = Watched { reader: job.new, hasher: None, control: job.control };
    match &job.old {
        Old::Signed(signature, size) => {
            let table = Table::of_file(Arc::clone(signature), *size)?;
            block::encode(&table, new).map_err(|error| told(error, job.control, None))
        }
        Old::Open { content, path, digest } => {
            let new_bytes = job.new.len() as u64;
            let table = table_of(
                content,
                (path, *digest),
                block_len(content.size(), new_bytes),
                job.control,
                NonZeroUsize::MIN,
            )?;
            let told = |error| told(error, job.control, Some(path));
            block::encode_with_old(&table, ContentReader::new(content), new).map_err(told)
        }
        Old::Nothing | Old::Held(_) => Ok(Vec::new()),
    }
}

/// What the blocks of a file of the base hash to. The file is read once, and seen to be the one that the tree names.
pub(crate) fn table_of(
    content: &dyn ReadAt,
    (path, digest): (&EntryPath, ContentDigest),
    block_len: u32,
    control: Control<'_>,
    threads: NonZeroUsize,
) -> Result<Table, DiffError> {
    let told = |error| told(error, control, Some(path));
    let reader = ContentReader::new(content);
    let mut old = Watched { reader, hasher: Some(Sha256::new()), control };
    let params = SignatureParams::new(SignatureKind::default(), block_len, SAFE_STRONG_LEN)?;
    let signature = Signature::of(&mut old, &params, threads).map_err(told)?;
    if old.digest() != Some(digest) {
        return Err(DiffError::Changed { side: "base", path: path.clone() });
    }
    Ok(Table::of_file(signature, content.size())?)
}

/// What went wrong with which file; that the caller ended it comes first.
pub(crate) fn told(error: BlockError, control: Control<'_>, base: Option<&EntryPath>) -> DiffError {
    if let Err(interrupted) = control.check() {
        return interrupted.into();
    }
    match (error, base) {
        (BlockError::Io { source, .. }, Some(path)) => {
            DiffError::Read { side: "base", path: path.clone(), source }
        }
        (other, _) => other.into(),
    }
}

/// How many blocks a file that is not held is cut into at most.
const BLOCKS_MAX: u64 = 1 << 20;
/// What signature and table take for each.
const BLOCK_MEMORY: u64 = 48;

/// Short blocks find more, and what is beside them is found in the base itself. Of the new file, too, there are no more.
pub(crate) fn block_len(size: u64, new: u64) -> u32 {
    const SHORTEST: u64 = 512;
    u32::try_from(size.max(new).div_ceil(BLOCKS_MAX).max(SHORTEST)).unwrap_or(u32::MAX)
}

/// What making a file of blocks of another of `size` bytes takes, beside the new one, in bytes.
pub(crate) fn block_memory(size: u64, new: u64) -> u64 {
    size.div_ceil(u64::from(block_len(size, new)))
        .saturating_mul(BLOCK_MEMORY)
        .saturating_add(search_memory(new))
}

/// What making a file of blocks of a signed one takes, beside the new one and the signature, in bytes.
pub(crate) fn signed_memory(signature: &Signature, new: u64) -> u64 {
    (signature.blocks() as u64).saturating_mul(BLOCK_MEMORY).saturating_add(search_memory(new))
}

/// The search holds pieces of the new file, and new bytes that wait.
fn search_memory(new: u64) -> u64 {
    const PIECES: u64 = 32 << 20;
    new.saturating_mul(4).clamp(64 << 10, PIECES)
}

/// Bytes that are hashed where that is wanted, and that end when the caller says so.
pub(crate) struct Watched<'a, R> {
    pub(crate) reader: R,
    pub(crate) hasher: Option<Sha256>,
    pub(crate) control: Control<'a>,
}

impl<R> Watched<'_, R> {
    /// What the bytes that were read hash to.
    pub(crate) fn digest(&mut self) -> Option<ContentDigest> {
        self.hasher.take().map(|hasher| ContentDigest::from_bytes(hasher.finalize().into()))
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.control.check().map_err(io::Error::other)?;
        let count = self.reader.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

/// A content's bytes as they are.
pub(crate) fn plain(number: u32, new: &[u8], budget: &Budget) -> Vec<Record> {
    let make = |part: &[u8]| {
        let (codec, output_len) = (Codec::Data.id(), part.len() as u64);
        Record { codec, content: number, output_len, source: Vec::new(), payload: part.to_vec() }
    };
    new.chunks(budget.segment_bytes() as usize).map(make).collect()
}

fn is_of_target(part: &Part) -> bool {
    matches!(part.origin, Origin::Target(_))
}

/// Contents, one after the other.
pub(crate) fn source_parts(sources: &[PlannedSource<'_>], extent: Extent) -> Vec<Part> {
    sources.iter().map(|source| Part { origin: source.origin, extent }).collect()
}

fn record(job: &Job<'_>, codec: Codec, output_len: u64, payload: Vec<u8>, reads_source: bool) -> Record {
    let source = if reads_source { source_parts(job.sources, Extent::Whole) } else { Vec::new() };
    Record { codec: codec.id(), content: job.number, output_len, source, payload }
}

/// Whether a frame has room for a record, and a device for what decoding it takes.
fn fits(record: &Record, budget: &Budget) -> bool {
    let memory = || {
        let codec = Codec::ALL.iter().copied().find(|codec| codec.id() == record.codec)?;
        skiff_patch::decoder_memory(&skiff_patch::Job::new(codec, &record.payload, record.output_len)).ok()
    };
    record.payload.len() + RECORD_OVERHEAD <= budget.frame_bytes
        && memory().is_some_and(|memory| memory <= budget.codec_memory)
}

fn estimate(records: &[Record]) -> u64 {
    records.iter().map(|record| compressed_size(&record.payload) + 8).sum()
}

/// About how many bytes compressing takes; the fast compressor takes a third more than the one that will be used.
pub(crate) fn compressed_size(payload: &[u8]) -> u64 {
    compress(Section::Contents, payload, &ESTIMATE).map_or(payload.len() as u64, |frame| frame.encoded_size())
}
