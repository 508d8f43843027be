//! A decoder as simple as it gets, written from `doc/format.md` alone: the whole delta in memory, one thing after the other.
//!
//! The real decoder is held to it. It shares nothing with that one but the compressors, and the codecs that it would not make
//! simpler: `gzip`, `align`, `zip` and `png` are decoded by `skiff-patch`, in memory and at once.

mod bytes;
mod codecs;
mod compressors;
mod container;
mod contents;
mod lists;
mod section;
mod tree;

use bytes::sha256;
pub(crate) use bytes::{Bytes, Digest};
pub(crate) use section::NewContent;
pub(crate) use tree::{Entry, read_tree};

/// Why a delta is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is wrong, unsupported or for another base.
    Wrong(&'static str),
    /// It passes a limit, and may be right.
    TooMuch,
}

pub(crate) type Result<T> = std::result::Result<T, Refusal>;

/// An error unless `holds`.
fn must(holds: bool, what: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Refusal::Wrong(what)) }
}

/// A release in memory: its entries, and the contents of those that are files, by place.
pub(crate) struct Base {
    pub(crate) release: Digest,
    pub(crate) tree: Digest,
    pub(crate) entries: Vec<Entry>,
    pub(crate) contents: Vec<Vec<u8>>,
}

/// What a delta leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The encoding of its tree.
    pub(crate) tree: Vec<u8>,
    pub(crate) contents: Vec<Vec<u8>>,
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) manifest: Option<Vec<u8>>,
}

impl Target {
    pub(crate) fn tree_digest(&self) -> Digest {
        sha256(&self.tree)
    }
}

/// Decodes a delta.
pub(crate) fn decode(delta: &[u8], base: &Base, limits: &skiff_replay::Limits) -> Result<Target> {
    let (header, target, new_bytes) = tell(delta, base, limits)?;
    must(new_bytes == header.facts[1], "fact 1 is not what the tree section tells")?;
    must(target.tree_digest() == header.tree, "another tree comes out")?;
    Ok(target)
}

/// What comes out of a delta, promised or not.
pub(crate) fn come_out(delta: &[u8], base: &Base, limits: &skiff_replay::Limits) -> Result<(Target, u64)> {
    let (_, target, new_bytes) = tell(delta, base, limits)?;
    Ok((target, new_bytes))
}

fn tell(
    delta: &[u8],
    base: &Base,
    limits: &skiff_replay::Limits,
) -> Result<(container::Header, Target, u64)> {
    let container = container::read(delta, limits)?;
    let header = &container.header;
    must(header.bases.iter().any(|(release, _)| *release == base.release), "it is for another base")?;
    must(header.bases[0].1 == base.tree, "its base has another tree")?;
    codecs::check(&header.codecs)?;
    let [config, manifest, tree] =
        [1, 2, 3].map(|number| container.section(number).map(|(_, payload)| payload).collect::<Vec<_>>());
    for section in [&config, &manifest, &tree] {
        let length: usize = section.iter().map(|payload| payload.len()).sum();
        if length as u64 > limits.sections.0 {
            return Err(Refusal::TooMuch);
        }
    }
    let held = |told: Option<Digest>, section: Vec<&[u8]>, what| match told {
        None => Ok(None),
        Some(digest) => must(sha256(&section.concat()) == digest, what).map(|()| Some(section.concat())),
    };
    let config = held(header.config, config, "another config")?;
    let manifest = held(header.manifest, manifest, "another manifest")?;
    let mut told = section::read(&tree.concat(), base, &limits.tree)?;
    let new_bytes = told.new.iter().try_fold(0_u64, |sum, new| sum.checked_add(new.size));
    let new_bytes = new_bytes.ok_or(Refusal::Wrong("more new bytes than can be counted"))?;
    let frames = container.section(4).map(|(_, payload)| payload);
    let contents = contents::read(frames, base, &told, (&header.codecs, &limits.patch))?;
    let digests: Vec<Digest> = contents.iter().map(|content| sha256(content)).collect();
    for entry in &mut told.entries {
        entry.complete(&digests);
    }
    let tree = tree::encode(&told.entries);
    if tree.len() as u64 > limits.tree.bytes {
        return Err(Refusal::TooMuch);
    }
    let target = Target { tree, contents, config, manifest };
    Ok((container.header, target, new_bytes))
}

/// What a tree section tells of new contents: for whoever writes records of them.
pub(crate) fn new_contents(section: &[u8], base: &Base, limits: &skiff_tree::Limits) -> Vec<NewContent> {
    section::read(section, base, limits).map(|told| told.new).unwrap_or_default()
}
