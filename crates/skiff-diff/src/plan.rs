//! In which order the new contents are encoded, and from what.

use skiff_patch::bsdiff;
use skiff_replay::record::Origin;
use skiff_tree::section::EncodedSection;
use skiff_tree::{ContentDigest, ContentSource, EntryPath};

use crate::candidate::{block_memory, signed_memory};
use crate::pairing::Pairing;
use crate::release::{Base, BaseContents};
use crate::similar;
use crate::{DiffError, FileKind, Idea, Options, Release};

/// A new content and what it is to be made from.
pub(crate) struct Planned<'a> {
    /// The content's number.
    pub(crate) number: u32,
    /// The first file of the target that has it.
    pub(crate) path: &'a EntryPath,
    pub(crate) digest: ContentDigest,
    pub(crate) size: u64,
    pub(crate) kind: FileKind,
    /// The file of the base that its name leads to.
    pub(crate) base: Option<PlannedSource<'a>>,
    /// What is like it, where that may serve better.
    pub(crate) similar: Vec<PlannedSource<'a>>,
    /// Whether there is room for it, what is made of it, and its base.
    pub(crate) is_held: bool,
    /// What encoding it takes, in bytes.
    pub(crate) memory: u64,
}

/// How it was found what a content is to be made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paired {
    /// By names, or not at all.
    Named,
    /// By what it has in common with others.
    Alike,
}

impl<'a> Planned<'a> {
    /// What it may be made from: several sources are read one after the other, and there may be none.
    pub(crate) fn alternatives(&self) -> impl Iterator<Item = (Paired, &[PlannedSource<'a>])> {
        let similar = Some((Paired::Alike, &self.similar[..])).filter(|(_, similar)| !similar.is_empty());
        let named = Some((Paired::Named, self.base.as_slice()));
        let named = named.filter(|(_, base)| !base.is_empty() || similar.is_none());
        named.into_iter().chain(similar)
    }
}

/// A content that another is to be made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedSource<'a> {
    pub(crate) origin: Origin,
    pub(crate) path: &'a EntryPath,
    pub(crate) digest: ContentDigest,
    /// How many bytes it has.
    pub(crate) size: u64,
}

impl PlannedSource<'_> {
    /// Where it is read from: which side that is, and its contents.
    pub(crate) fn side<'c>(
        &self,
        base: &'c dyn ContentSource,
        target: &'c dyn ContentSource,
    ) -> (&'static str, &'c dyn ContentSource) {
        match self.origin {
            Origin::Base(_) => ("base", base),
            Origin::Target(_) => ("target", target),
        }
    }
}

/// Plans all contents that have bytes, in the order of the target's tree: what stands in one directory is like enough to be
/// compressed together, and sorting by kind and extension made no pair smaller by half a per cent.
pub(crate) fn plan<'a>(
    whole_base: &Base<'a>,
    target: &Release<'a>,
    told: &EncodedSection,
    options: &Options<'_>,
) -> Result<Vec<Planned<'a>>, DiffError> {
    let pairing = Pairing::new(whole_base.tree, options.ideas);
    let signed = if let BaseContents::Signed(signed) = whole_base.contents { Some(signed) } else { None };
    let mut planned = Vec::new();
    for (number, new) in told.new_contents.iter().enumerate().filter(|(_, new)| new.size > 0) {
        let entry = &target.tree.entries()[new.entry as usize];
        let digest = entry.as_file().map(|file| file.digest).expect("because only files have contents");
        let base = pairing.base_for(&entry.path, new.size).and_then(|index| {
            let entry = &whole_base.tree.entries()[index as usize];
            entry.as_file().map(|file| (index, entry, *file))
        });
        let base_bytes = base.map_or(0, |(_, _, file)| file.size);
        let is_held = is_held(base_bytes, new.size, options.memory);
        let beside = match (base, signed) {
            (None, _) => 0,
            (Some((index, ..)), Some(signed)) => {
                signed.of_file(index as usize).map_or(0, |signature| signed_memory(signature, new.size))
            }
            (Some((_, _, file)), None) if is_held => beside_held(file.size, new.size),
            (Some((_, _, file)), None) => block_memory(file.size, new.size),
        };
        let memory = beside.saturating_add(new.size.saturating_mul(3));
        planned.push(Planned {
            number: u32::try_from(number).expect("because the section numbers contents in 32 bits"),
            path: &entry.path,
            digest,
            size: new.size,
            kind: kind(target, &entry.path)?,
            base: base.map(|(index, entry, file)| PlannedSource {
                origin: Origin::Base(index),
                path: &entry.path,
                digest: file.digest,
                size: file.size,
            }),
            similar: Vec::new(),
            is_held,
            memory,
        });
    }
    if options.ideas.has(Idea::Similar) {
        similar::find(&mut planned, whole_base, target, options)?;
    }
    Ok(planned)
}

/// Whether there is room for a content, what is made of it, and what it is made from. Beyond the budget only the window of the
/// matcher could be held, and not the files.
pub(crate) fn is_held(old: u64, new: u64, budget: u64) -> bool {
    old.saturating_add(new.saturating_mul(3)) <= budget
}

/// What encoding a content that is held takes, from so many bytes that are held, too.
pub(crate) fn encode_memory(old: u64, new: u64) -> u64 {
    beside_held(old, new).saturating_add(new.saturating_mul(3))
}

fn beside_held(old: u64, new: u64) -> u64 {
    bsdiff::encode_memory(old, new, &bsdiff::Options::default()).saturating_add(old)
}

fn kind(target: &Release<'_>, path: &EntryPath) -> Result<FileKind, DiffError> {
    let failed = |source| DiffError::Read { side: "target", path: path.clone(), source };
    FileKind::of(&*target.contents.open(path).map_err(failed)?).map_err(failed)
}

pub(crate) fn extension(path: &EntryPath) -> &[u8] {
    let name = path.name().unwrap_or_default();
    name.iter().rposition(|&byte| byte == b'.').map_or(&[][..], |dot| &name[dot..])
}
