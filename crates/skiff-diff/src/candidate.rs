//! The records that make one new content, by whatever codec comes out smallest.

use skiff_format::{Compression, Section, compress};
use skiff_patch::{Codec, bsdiff, gzip};
use skiff_replay::record::{Origin, Part, Record};

use crate::encoder::{FRAME_BYTES, RECORD_OVERHEAD};

/// Fast, and ranks as the real compressors do.
const ESTIMATE: Compression = Compression::Zstd { level: 3 };

/// The most output one record makes, so that any record fits a frame whatever its codec adds.
pub(crate) const SEGMENT_BYTES: usize = 4 << 20;

/// A new content with everything its records are made from.
pub(crate) struct Job {
    /// Its number.
    pub(crate) number: u32,
    /// Its bytes.
    pub(crate) new: Vec<u8>,
    /// The base's entry it is to be made from, and that file's bytes.
    pub(crate) base: Option<(u32, Vec<u8>)>,
}

/// Makes the records of a content, trying every codec that may serve and keeping the smallest.
///
/// What counts is the size after compression. It is estimated with a fast compressor, record by record: that ranks the
/// candidates as the real one does, at a fraction of its time.
pub(crate) fn records(job: &Job) -> Vec<Record> {
    let old = job.base.as_ref().map(|(_, bytes)| &bytes[..]);
    let mut best = plain(job);
    let mut best_size = estimate(&best);
    let mut offer = |candidate: Vec<Record>| {
        let size = estimate(&candidate);
        if size < best_size && candidate.iter().all(fits) {
            (best, best_size) = (candidate, size);
        }
    };
    if let Some(opened) = gzip::encode(old, &job.new) {
        offer(vec![record(job, Codec::Gzip, job.new.len() as u64, opened.payload, opened.reads_source)]);
    } else if let Some(old) = old {
        let make =
            |segment: bsdiff::Segment| record(job, Codec::Bsdiff, segment.output_len, segment.payload, true);
        offer(bsdiff::encode(old, &job.new, &bsdiff::Options::default()).into_iter().map(make).collect());
    }
    best
}

/// A content's bytes as they are.
fn plain(job: &Job) -> Vec<Record> {
    let make = |part: &[u8]| record(job, Codec::Data, part.len() as u64, part.to_vec(), false);
    job.new.chunks(SEGMENT_BYTES).map(make).collect()
}

fn record(job: &Job, codec: Codec, output_len: u64, payload: Vec<u8>, reads_source: bool) -> Record {
    let part = |(entry, _): &(u32, Vec<u8>)| Part { origin: Origin::Base(*entry), range: None };
    let source = job.base.iter().filter(|_| reads_source).map(part).collect();
    Record { codec: codec.id(), content: job.number, output_len, source, payload }
}

fn fits(record: &Record) -> bool {
    record.payload.len() + RECORD_OVERHEAD <= FRAME_BYTES
}

fn estimate(records: &[Record]) -> u64 {
    let size = |record: &Record| match compress(Section::Contents, &record.payload, &ESTIMATE) {
        Ok(frame) => frame.encoded_size(),
        Err(_) => record.payload.len() as u64,
    };
    records.iter().map(|record| size(record) + 8).sum()
}
