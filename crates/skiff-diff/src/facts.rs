//! What the header tells a device before it reads on, and what the encoder's user is told.

use std::collections::{BTreeMap, HashSet};

use skiff_format::{BaseInfo, CodecInfo, CompressedFrame, Digest, Facts, HeaderFields, Summary, TargetInfo};
use skiff_patch::{Codec, Job};
use skiff_replay::record::{Extent, Record};
use skiff_replay::renew::MAX_LIST;
use skiff_tree::section::EncodedSection;
use skiff_tree::{ConfigDigest, Entry, Kind, ManifestDigest, Node, Tree};

use crate::release::Base;
use crate::report::CodecReport;
use crate::{DiffError, Release, Report};

/// What an allocation takes beside the bytes asked for, at most.
const ALLOCATION: u64 = 32;
/// What a node of a map of extended attributes takes; it has room for eleven, and for five at least where there are several.
const XATTR_NODE: u64 = 512;
/// What a replay holds for a new content, in bytes: its size and places, its digest three times, its MD5, and lists' room to grow.
const CONTENT_MEMORY: u64 = 272;
/// What a replay holds of a list that it renews: both its forms, each with room to grow.
pub(crate) const LIST_MEMORY: u64 = 4 * MAX_LIST;
/// What a replay holds whatever the delta: buffers, what waits between its two threads, what one of them compresses beside the other,
/// and base files that are small enough to be held.
const FIXED_MEMORY: u64 = 8 << 20;

/// Counts what goes into a delta.
#[derive(Default)]
pub(crate) struct Tally {
    codecs: BTreeMap<u16, CodecReport>,
    codec_memory: u64,
    frame_memory: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, record: &Record) -> Result<(), DiffError> {
        let used = Codec::ALL.iter().copied().find(|codec| codec.id() == record.codec);
        let codec = used.expect("because the encoder uses codecs that are known");
        let report = self.codecs.entry(record.codec).or_insert(CodecReport {
            codec,
            records: 0,
            output_bytes: 0,
            payload_bytes: 0,
        });
        report.records += 1;
        report.output_bytes += record.output_len;
        report.payload_bytes += record.payload.len() as u64;
        let mut memory = skiff_patch::decoder_memory(&Job::new(codec, &record.payload, record.output_len))?;
        if record.source.iter().any(|part| part.extent == Extent::Renewed) {
            memory += LIST_MEMORY;
        }
        self.codec_memory = self.codec_memory.max(memory);
        Ok(())
    }

    pub(crate) fn count_frame(&mut self, frame: &CompressedFrame) {
        self.frame_memory = self.frame_memory.max(frame.decoder_memory());
    }

    pub(crate) fn report(self, fields: &HeaderFields, summary: &Summary, told: &EncodedSection) -> Report {
        Report {
            base: skiff_tree::ReleaseId::from_bytes(*fields.bases[0].release.as_bytes()),
            target: skiff_tree::ReleaseId::from_bytes(*fields.target.release.as_bytes()),
            delta_bytes: summary.delta_size,
            pull_bytes: fields.facts.pull_bytes,
            frames: summary.frames,
            target_bytes: fields.facts.target_bytes,
            new_bytes: fields.facts.new_bytes,
            new_contents: told.new_contents.len(),
            unchanged_bytes: fields.facts.unchanged_bytes,
            tree_section_bytes: told.bytes.len() as u64,
            decoder_memory: fields.facts.decoder_memory,
            codecs: self.codecs.into_values().collect(),
            explanation: None,
        }
    }
}

/// All of the header but the frames and what a pull takes.
pub(crate) fn header_fields(
    base: &Base<'_>,
    target: &Release<'_>,
    told: &EncodedSection,
    tally: &Tally,
    fixed_memory: u64,
) -> HeaderFields {
    let codecs =
        tally.codecs.values().map(|used| CodecInfo { id: used.codec.id(), version: used.codec.version() });
    let digest = |bytes: &[u8; 32]| Digest::from_bytes(*bytes);
    let totals = target.tree.totals();
    let new_bytes: u64 = told.new_contents.iter().map(|new| new.size).sum();
    let target_bytes = target.tree.distinct_content_bytes();
    HeaderFields {
        codecs: codecs.collect(),
        bases: vec![BaseInfo {
            release: digest(base.release.as_bytes()),
            tree: digest(base.tree.digest().as_bytes()),
        }],
        target: TargetInfo {
            release: digest(target.id().as_bytes()),
            tree: digest(target.tree.digest().as_bytes()),
            config: target.config.map(|bytes| digest(ConfigDigest::of(bytes).as_bytes())),
            manifest: target.manifest.map(|bytes| digest(ManifestDigest::of(bytes).as_bytes())),
        },
        facts: Facts {
            target_bytes,
            new_bytes,
            unchanged_bytes: target_bytes - new_bytes,
            entries: totals.entries,
            inodes: totals.inodes,
            unchanged_inodes: unchanged_inodes(base.tree, target.tree),
            pull_bytes: None,
            decoder_memory: tally.codec_memory + tally.frame_memory + fixed_memory,
        },
    }
}

/// What a replay holds whatever the frames hold.
pub(crate) fn fixed_memory(base: &Base<'_>, target: &Release<'_>, told: &EncodedSection) -> u64 {
    trees_memory(base.tree, target.tree)
        + told.new_contents.len() as u64 * CONTENT_MEMORY
        + sections_memory(target, told)
        + FIXED_MEMORY
}

/// What a replay holds of both trees at the end: the base's, and the target's as skeleton, in a list that may have room for as
/// many again, and as tree.
fn trees_memory(base: &Tree, target: &Tree) -> u64 {
    let entries = base.entries().len() + 3 * target.entries().len();
    (entries * size_of::<Entry>()) as u64 + referred_bytes(base) + 2 * referred_bytes(target)
}

/// What a tree's entries refer to: paths, link targets, extended attributes.
fn referred_bytes(tree: &Tree) -> u64 {
    let held = |bytes: &[u8]| bytes.len() as u64 + ALLOCATION;
    let of_entry = |entry: &Entry| {
        held(entry.path.as_bytes())
            + match &entry.node {
                Node::HardLink { owner } => held(owner.as_bytes()),
                Node::Inode(inode) => {
                    let xattrs = &inode.metadata.xattrs;
                    let nodes = if xattrs.is_empty() { 0 } else { xattrs.len() as u64 / 5 + 1 };
                    let link = if let Kind::Symlink(to) = &inode.kind { held(to) } else { 0 };
                    let xattrs = xattrs.iter().map(|(name, value)| held(name) + held(value));
                    link + nodes * XATTR_NODE + xattrs.sum::<u64>()
                }
            }
    };
    tree.entries().iter().map(of_entry).sum()
}

/// What a replay holds of the sections before the contents, in lists that grow as frames arrive.
fn sections_memory(target: &Release<'_>, told: &EncodedSection) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64);
    2 * (told.bytes.len() as u64 + length(target.config) + length(target.manifest))
}

/// Files of the target whose content the base has.
fn unchanged_inodes(base: &Tree, target: &Tree) -> u64 {
    let known: HashSet<_> = base.files().map(|(_, _, content)| content.digest).collect();
    target.files().filter(|(_, _, content)| known.contains(&content.digest)).count() as u64
}
