//! Where the bytes of a delta went.

use std::collections::BTreeMap;

use skiff_format::{CompressedFrame, Compression, Section, Summary, compress};
use skiff_patch::Codec;
use skiff_replay::record::{self, Known, Origin};
use skiff_tree::{EntryPath, Tree};

use crate::FileKind;
use crate::encoder::HEAD_BYTES;
use crate::plan::Planned;

/// Where the bytes of a delta went.
///
/// Sections are exact. A frame of the contents section holds the records of many files, compressed together, so that none
/// of them has a size of its own: the frame's bytes are divided among its records in proportion to what each record takes when
/// Zstandard compresses it alone, at level 3. A file that is like its neighbours in the frame is so charged with more than
/// leaving it out would save, and its neighbours with less. The shares add up, to the byte: those of the codecs, those of the kinds
/// and those of the files each to the contents section, and the sections to the delta.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// By part of the delta.
    pub sections: SectionShares,
    /// By codec, the costliest first.
    pub codecs: Vec<CodecShare>,
    /// By kind of file, the costliest first.
    pub kinds: Vec<KindShare>,
    /// By new content, the costliest first: every content that the base has not and that is not empty.
    pub files: Vec<FileShare>,
}

/// What the parts of a delta take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SectionShares {
    /// The header with its table of frames and its signatures.
    pub header: u64,
    /// The target's config.
    pub config: u64,
    /// The target's manifest.
    pub manifest: u64,
    /// What changed in paths and metadata.
    pub tree: u64,
    /// The new contents.
    pub contents: u64,
}

impl SectionShares {
    /// The delta's size.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let Self { header, config, manifest, tree, contents } = self;
        header + config + manifest + tree + contents
    }
}

/// What one codec's records take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodecShare {
    /// The codec.
    pub codec: Codec,
    /// How many records.
    pub records: usize,
    /// Bytes that come out of them.
    pub new_bytes: u64,
    /// Bytes in the delta.
    pub delta_bytes: u64,
}

/// What the files of one kind take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindShare {
    /// The kind.
    pub kind: FileKind,
    /// How many contents.
    pub files: usize,
    /// Their bytes.
    pub new_bytes: u64,
    /// Bytes in the delta.
    pub delta_bytes: u64,
}

/// What one new content takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileShare {
    /// The first file of the target that has it.
    pub path: EntryPath,
    /// What it is.
    pub kind: FileKind,
    /// Its bytes.
    pub new_bytes: u64,
    /// Bytes in the delta.
    pub delta_bytes: u64,
    /// The codecs that make it, in the order of their numbers.
    pub codecs: Vec<Codec>,
    /// The files that it is made from, those of the base first.
    pub sources: Vec<SourceFile>,
}

/// A file that another one is made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceFile {
    /// One of the base.
    Base(EntryPath),
    /// One of the target, which is made before.
    Target(EntryPath),
}

impl SourceFile {
    /// Its path, on whichever side.
    #[must_use]
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::Base(path) | Self::Target(path) => path,
        }
    }
}

/// Gathers what the frames hold, as they are made.
#[derive(Default)]
pub(crate) struct Shares {
    sections: SectionShares,
    codecs: BTreeMap<Codec, CodecShare>,
    contents: BTreeMap<u32, ContentShare>,
}

#[derive(Default)]
struct ContentShare {
    delta_bytes: u64,
    codecs: Vec<Codec>,
    sources: Vec<Origin>,
}

/// A record of a frame, and what it would weigh alone.
pub(crate) struct Weighed {
    content: u32,
    codec: Codec,
    output_len: u64,
    sources: Vec<Origin>,
    weight: u64,
}

/// Weighs the records of a frame of the contents section.
pub(crate) fn weigh(payload: &[u8], known: &Known) -> Vec<Weighed> {
    let records = record::decode(payload, known).expect("because the encoder wrote it");
    let weighed = |record: record::Record<&[u8]>| {
        let codec = Codec::ALL.iter().copied().find(|codec| codec.id() == record.codec);
        Weighed {
            content: record.content,
            codec: codec.expect("because the encoder uses codecs that are known"),
            output_len: record.output_len,
            sources: record.source.iter().map(|part| part.origin).collect(),
            weight: weight(record.payload),
        }
    };
    records.into_iter().map(weighed).collect()
}

/// A record without a payload still has a head.
fn weight(payload: &[u8]) -> u64 {
    let compressed = compress(Section::Contents, payload, &Compression::Zstd { level: 3 });
    HEAD_BYTES + compressed.map_or(payload.len() as u64, |frame| frame.encoded_size())
}

impl Shares {
    /// Counts a frame; of one of the contents section, with its records.
    pub(crate) fn count(&mut self, frame: &CompressedFrame, records: Vec<Weighed>) {
        let size = frame.encoded_size();
        let sections = &mut self.sections;
        *match frame.section() {
            Section::Config => &mut sections.config,
            Section::Manifest => &mut sections.manifest,
            Section::Contents => &mut sections.contents,
            Section::Tree | Section::Unknown(_) => &mut sections.tree,
        } += size;
        let weights: Vec<u64> = records.iter().map(|record| record.weight).collect();
        for (record, delta_bytes) in records.into_iter().zip(divide(size, &weights)) {
            self.record(record, delta_bytes);
        }
    }

    fn record(&mut self, record: Weighed, delta_bytes: u64) {
        let Weighed { content, codec, output_len, sources, weight: _ } = record;
        let none = CodecShare { codec, records: 0, new_bytes: 0, delta_bytes: 0 };
        let share = self.codecs.entry(codec).or_insert(none);
        share.records += 1;
        share.new_bytes += output_len;
        share.delta_bytes += delta_bytes;
        let share = self.contents.entry(content).or_default();
        share.delta_bytes += delta_bytes;
        share.codecs.push(codec);
        for origin in sources {
            if !share.sources.contains(&origin) {
                share.sources.push(origin);
            }
        }
    }

    /// Tells the shares by the files' names.
    pub(crate) fn explain(self, planned: &[Planned<'_>], base: &Tree, summary: &Summary) -> Explanation {
        let Self { mut sections, codecs, mut contents } = self;
        sections.header = summary.header_size;
        let paths: BTreeMap<u32, &EntryPath> = planned.iter().map(|file| (file.number, file.path)).collect();
        let source = |origin: &Origin| match origin {
            Origin::Base(index) => Some(SourceFile::Base(base.entries().get(*index as usize)?.path.clone())),
            Origin::Target(number) => Some(SourceFile::Target((*paths.get(number)?).clone())),
        };
        let mut kinds: BTreeMap<FileKind, KindShare> = BTreeMap::new();
        let mut files = Vec::with_capacity(planned.len());
        for file in planned {
            let mut share = contents.remove(&file.number).unwrap_or_default();
            let none = KindShare { kind: file.kind, files: 0, new_bytes: 0, delta_bytes: 0 };
            let of_kind = kinds.entry(file.kind).or_insert(none);
            of_kind.files += 1;
            of_kind.new_bytes += file.size;
            of_kind.delta_bytes += share.delta_bytes;
            share.codecs.sort_unstable();
            share.codecs.dedup();
            let mut sources: Vec<SourceFile> = share.sources.iter().filter_map(source).collect();
            sources.sort_unstable();
            files.push(FileShare {
                path: file.path.clone(),
                kind: file.kind,
                new_bytes: file.size,
                delta_bytes: share.delta_bytes,
                codecs: share.codecs,
                sources,
            });
        }
        let mut codecs: Vec<_> = codecs.into_values().collect();
        let mut kinds: Vec<_> = kinds.into_values().collect();
        codecs.sort_by_key(|share| std::cmp::Reverse(share.delta_bytes));
        kinds.sort_by_key(|share| std::cmp::Reverse(share.delta_bytes));
        files.sort_by(|a, b| b.delta_bytes.cmp(&a.delta_bytes).then_with(|| a.path.cmp(&b.path)));
        Explanation { sections, codecs, kinds, files }
    }
}

/// Divides a size by weights, none of which is zero, so that the parts add up to it.
fn divide(size: u64, weights: &[u64]) -> impl Iterator<Item = u64> {
    let whole: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    // Each part goes from where the one before ends to where the weights so far end: what is cut off here is added there.
    let end = move |sum: u128| u64::try_from(u128::from(size) * sum / whole).unwrap_or(size);
    let ends = weights.iter().scan(0, |sum: &mut u128, &weight| {
        let start = *sum;
        *sum += u128::from(weight);
        Some((start, *sum))
    });
    ends.map(move |(start, sum)| end(sum) - end(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_add_up(size in 0..u64::from(u32::MAX), weights in prop::collection::vec(1..1_000_000_u64, 1..50)) {
            let parts: Vec<u64> = divide(size, &weights).collect();
            prop_assert_eq!(parts.iter().sum::<u64>(), size);
            let whole: u64 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = size as f64 * *weight as f64 / whole as f64;
                prop_assert!((*part as f64 - exact).abs() <= 1.0 + exact / 1e9, "{part} for {exact}");
            }
        }
    }
}
