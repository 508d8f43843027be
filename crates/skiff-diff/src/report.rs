use skiff_patch::Codec;
use skiff_tree::ReleaseId;

use crate::Explanation;

/// What a delta holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The release the delta applies to.
    pub base: ReleaseId,
    /// The release it leads to.
    pub target: ReleaseId,
    /// The delta's size, in bytes.
    pub delta_bytes: u64,
    /// What a full pull would take, in bytes, where the caller told.
    pub pull_bytes: Option<u64>,
    /// Frames in the delta.
    pub frames: usize,
    /// Bytes of the target's distinct contents.
    pub target_bytes: u64,
    /// Bytes of contents that the base has not: what the device writes.
    pub new_bytes: u64,
    /// How many contents that is.
    pub new_contents: usize,
    /// Bytes of contents that the base has.
    pub unchanged_bytes: u64,
    /// Bytes of the tree section before compression.
    pub tree_section_bytes: u64,
    /// The most memory a device needs to decode, in bytes.
    pub decoder_memory: u64,
    /// By codec, in the order of their numbers; those that were used.
    pub codecs: Vec<CodecReport>,
    /// Where the delta's bytes went, where the [options](crate::Options::explain) asked for it.
    pub explanation: Option<Explanation>,
}

impl Report {
    /// Whether the delta is smaller than a full pull; none where the size of that is not known.
    #[must_use]
    pub fn is_smaller_than_pull(&self) -> Option<bool> {
        self.pull_bytes.map(|pull| self.delta_bytes < pull)
    }

    /// The delta got longer: its header has signatures now.
    pub(crate) fn grow_header(&mut self, delta_bytes: u64) {
        if let Some(explanation) = &mut self.explanation {
            explanation.sections.header += delta_bytes.saturating_sub(self.delta_bytes);
        }
        self.delta_bytes = delta_bytes;
    }
}

/// What one codec made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecReport {
    /// The codec.
    pub codec: Codec,
    /// Records that use it.
    pub records: usize,
    /// Bytes that come out of it.
    pub output_bytes: u64,
    /// Bytes of its payloads before compression.
    pub payload_bytes: u64,
}
