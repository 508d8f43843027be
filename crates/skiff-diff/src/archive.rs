//! Archives, made from what changed in their members.

use std::num::NonZeroU32;

use rayon::prelude::*;
use skiff_patch::{Codec, Plan, align, zip};

use crate::Idea;
use crate::candidate::{Job, Old};
use crate::encoder::RECORD_OVERHEAD;

/// An archive that was taken apart.
pub(crate) enum Archive {
    /// To be written with what else is in its frame.
    Planned(Plan),
    /// In payloads of their own.
    InSegments(Vec<zip::Segment>),
}

/// The most bytes that the payload of a plan may be expected to take: it cannot be cut.
const PLAN_BYTES: u64 = 4 << 20;

/// Takes the new content apart, if it is an archive. Whatever it becomes, its base would be of less use as bytes.
pub(crate) fn open(job: &Job<'_>, old: Option<&[u8]>) -> Option<Archive> {
    if !job.ideas.has(Idea::Zip) || matches!(job.old, Old::Open { .. } | Old::Signed(..)) {
        return None;
    }
    let most = u32::try_from(job.budget.frame_bytes.saturating_sub(RECORD_OVERHEAD)).unwrap_or(u32::MAX);
    let defaults = zip::Options::default();
    let options = zip::Options {
        segment_bytes: NonZeroU32::new(most.min(defaults.segment_bytes.get())).unwrap_or(NonZeroU32::MIN),
        comparison: align::Options {
            is_predicted: job.ideas.has(Idea::References),
            effort: job.effort,
            ..defaults.comparison
        },
        ..defaults
    };
    // What has no base is a long text for a code that learns, and takes it long: compressors do nearly as well.
    if job.ideas.has(Idea::Align) && old.is_some() {
        let plan = zip::Plan::new_with(old, job.new, &options, |comparisons| {
            comparisons.par_iter_mut().for_each(zip::Comparison::run);
        })?;
        let is_small = plan.forecast().estimate <= PLAN_BYTES.min(u64::from(most) / 2);
        if plan.forecast().reads_source
            && is_small
            && plan.forecast().decoder_memory <= job.budget.codec_memory
        {
            return Some(Archive::Planned(Plan::Zip(plan)));
        }
    }
    let segments = zip::encode(old, job.new, &options);
    segments.filter(|segments| may_be_records(segments)).map(Archive::InSegments)
}

/// Whether no segment makes less than a record of an archive has to: one can be short where what follows it does not fit behind it.
fn may_be_records(segments: &[zip::Segment]) -> bool {
    let size: u64 = segments.iter().map(|segment| segment.output_len).sum();
    let mut left = size;
    segments.iter().all(|segment| {
        left -= segment.output_len;
        Codec::Zip.portion().allows(segment.output_len, size, left)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_segment_may_be_short() {
        let of = |lengths: &[u64]| {
            let segment =
                |&output_len: &u64| zip::Segment { output_len, payload: Vec::new(), reads_source: false };
            may_be_records(&lengths.iter().map(segment).collect::<Vec<_>>())
        };
        assert!(of(&[100]) && of(&[4096, 100]) && of(&[9000, 4096, 1]));
        assert!(!of(&[4095, 9000]) && !of(&[9000, 100, 9000]));
    }
}
